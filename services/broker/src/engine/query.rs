//! Reading entities by filter.

use std::collections::HashSet;

use fogflow_ngsi::EntityKey;
use fogflow_ngsi::v1::{Restriction, Scope};
use smol_str::SmolStr;

use super::Engine;
use crate::federation::peer::Keyed;
use crate::filter::{EntitySelector, Filter};
use crate::identity::Identity;
use crate::restriction;
use crate::state::{Reach, Record, SharedEntity};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which entities. Its service paths are set by the engine.
    pub filter: Filter,
    /// What discovery is told of the places where they are; also `nearby`.
    pub restriction: Restriction,
    /// How many to leave out.
    pub offset: usize,
    /// How many to give at most.
    pub limit: usize,
    /// Whether to count all that match.
    pub count: bool,
    /// Whether to ask this broker only.
    pub local: bool,
}

impl Query {
    /// Everything that passes the filter, at all brokers.
    #[must_use]
    pub fn all(filter: Filter) -> Self {
        Query { filter, restriction: Restriction::default(), offset: 0, limit: usize::MAX, count: false, local: false }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The page.
    pub entities: Vec<SharedEntity>,
    /// How many match, if that was asked.
    pub total: Option<usize>,
    /// Why more may exist than is shown: one sentence per source that did not answer.
    pub missing: Vec<String>,
}

impl Engine {
    /// Entities that pass a filter: first this broker's, in a stable order, then others'.
    pub async fn query(&self, identity: &Identity, mut query: Query) -> Found {
        query.filter.path = identity.scope();
        let local_only = query.local || identity.origin.internal || self.all_here(identity, &query.filter);
        let nearby = query.restriction.scopes.iter().any(|scope| matches!(scope, Scope::Nearby { .. }));
        if local_only && !nearby {
            return self.page_here(identity, &query);
        }
        let records = self.closest_here(identity, &query).unwrap_or_else(|| {
            let mut all = Vec::new();
            self.visit(identity, &query.filter, |record| {
                all.push(record);
                true
            });
            all
        });
        let known: HashSet<(SmolStr, SmolStr)> = records.iter().map(|record| (record.path.clone(), record.entity.id.clone())).collect();
        let mut here: Vec<SharedEntity> = records.into_iter().map(|record| record.entity).collect();
        let mut found = Found::default();
        if !local_only {
            let remote = self.inner.federation.ask(&identity.tenant, &identity.origin, &query.filter, &query.restriction).await;
            // It may be here and not among the closest.
            let is_here = |key: &EntityKey| {
                let record = self.inner.state.record(key);
                record.is_some_and(|record| query.filter.matches(&record.path, &record.entity))
            };
            let is_new = |keyed: &Keyed| !known.contains(&(keyed.key.path.clone(), keyed.key.id.clone())) && !is_here(&keyed.key);
            here.extend(remote.entities.into_iter().filter(is_new).map(|keyed| keyed.entity));
            found.missing = remote.missing;
        }
        restriction::nearest(&query.restriction, &mut here);
        found.total = query.count.then_some(here.len());
        found.entities = here.into_iter().skip(query.offset).take(query.limit).collect();
        found
    }

    /// The entity with this id, wherever it is. Sentences say who could not be asked.
    pub async fn find(&self, identity: &Identity, id: &str) -> Result<Option<SharedEntity>, Vec<String>> {
        if let Some(entity) = self.get(identity, id) {
            return Ok(Some(entity));
        }
        let selector = EntitySelector { id: Some(id.into()), ..EntitySelector::default() };
        let filter = Filter::of([selector]).map_err(|error| vec![error])?;
        let mut found = self.query(identity, Query { limit: 1, ..Query::all(filter) }).await;
        match found.entities.pop() {
            Some(entity) => Ok(Some(entity)),
            None if found.missing.is_empty() => Ok(None),
            None => Err(found.missing),
        }
    }

    /// Entities of this broker by id, for another broker.
    #[must_use]
    pub fn keyed(&self, tenant: &fogflow_ngsi::Tenant, ids: &[SmolStr]) -> Vec<Keyed> {
        let (records, _) = self.inner.state.snapshot_ids(tenant, ids.iter().map(SmolStr::as_str));
        records.into_iter().map(|record| Keyed { key: crate::state::key_of(tenant, &record), entity: record.entity }).collect()
    }

    /// Whether every alternative names an entity that is here: then nobody else has to be asked.
    fn all_here(&self, identity: &Identity, filter: &Filter) -> bool {
        let is_here = |id: &&str| self.inner.state.with_id(&identity.tenant, id).iter().any(|record| filter.path.contains(&record.path));
        filter.ids().is_some_and(|ids| ids.iter().all(is_here))
    }

    fn page_here(&self, identity: &Identity, query: &Query) -> Found {
        let mut found = Found::default();
        let mut matched = 0;
        self.visit(identity, &query.filter, |record| {
            if matched >= query.offset && found.entities.len() < query.limit {
                found.entities.push(record.entity);
            }
            matched += 1;
            query.count || found.entities.len() < query.limit
        });
        found.total = query.count.then_some(matched);
        found
    }

    /// Visits this broker's entities that pass the filter, by the narrowest index, until `visit` says stop.
    pub fn visit(&self, identity: &Identity, filter: &Filter, mut visit: impl FnMut(Record) -> bool) {
        let state = &self.inner.state;
        let wanted = |record: &Record| filter.matches(&record.path, &record.entity);
        if let Some(mut ids) = filter.ids() {
            ids.sort_unstable();
            ids.dedup();
            for record in ids.into_iter().flat_map(|id| state.with_id(&identity.tenant, id)) {
                if wanted(&record) && !visit(record) {
                    return;
                }
            }
            return;
        }
        let reach = reach(filter);
        let reach = filter.boxes().and_then(|boxes| state.narrowed(&identity.tenant, &reach, boxes)).unwrap_or(reach);
        state.visit(&identity.tenant, &reach, |record| !wanted(&record) || visit(record));
    }
}

/// Where the entities are that may pass a filter, by the index of types or of attributes.
pub(super) fn reach(filter: &Filter) -> Reach {
    match filter.types() {
        Some(types) => Reach::Types(types),
        None => match (filter.all_attributes.first(), filter.any_attribute.is_empty()) {
            (Some(name), _) => Reach::Attributes(vec![name.clone()]),
            (None, false) => Reach::Attributes(filter.any_attribute.clone()),
            (None, true) => Reach::All,
        },
    }
}
