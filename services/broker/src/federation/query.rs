//! Entities of other brokers in the answer to a query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fogflow_client::ClientError;
use fogflow_ngsi::v1::availability::DiscoverContextAvailabilityRequest;
use fogflow_ngsi::v1::{EntityId, QueryContextRequest, Restriction};
use fogflow_ngsi::{EntityKey, Name, Tenant};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use smol_str::SmolStr;

use super::peer::{self, Keyed};
use super::{Federation, Owner};
use crate::change::Origin;
use crate::filter::{EntitySelector, Filter};

/// All answers must be there within this time; what is not is left out and said to be missing.
const DEADLINE: Duration = Duration::from_secs(5);
/// Ids in one request.
const IDS: usize = 1000;

/// What other brokers contributed.
#[derive(Debug, Default)]
pub struct Remote {
    /// Their entities.
    pub entities: Vec<Keyed>,
    /// Why the answer may be incomplete; one sentence per source that did not answer.
    pub missing: Vec<String>,
}

/// Discovery's form of a selector.
pub(super) fn wire_selectors(selectors: &[EntitySelector]) -> Vec<EntityId> {
    let mut wire = Vec::new();
    for selector in selectors {
        let (id, is_pattern) = match (&selector.id, &selector.id_pattern) {
            (Some(id), _) => (id.clone(), false),
            (None, Some(pattern)) => (pattern.clone(), true),
            (None, None) => (SmolStr::default(), true),
        };
        if selector.types.is_empty() {
            wire.push(EntityId { entity_type: SmolStr::default(), is_pattern, id });
        } else {
            let one = |name: &Name| EntityId { entity_type: name.as_str().into(), is_pattern, id: id.clone() };
            wire.extend(selector.types.iter().map(one));
        }
    }
    wire
}

impl Federation {
    /// Asks the other brokers that have matching entities, in parallel, and applies the filter to what they say.
    pub async fn ask(&self, tenant: &Tenant, origin: &Origin, filter: &Filter, restriction: &Restriction) -> Remote {
        let mut remote = Remote::default();
        if !self.registrar.reachable() {
            remote.missing.push("discovery does not answer: only entities of this broker are shown".to_owned());
            return remote;
        }
        let specs: Vec<EntitySelector> = filter.selectors.iter().map(|selector| selector.spec.clone()).collect();
        let request = DiscoverContextAvailabilityRequest {
            entities: wire_selectors(&specs),
            attributes: filter.all_attributes.iter().map(|name| name.as_str().into()).collect(),
            restriction: restriction.clone(),
            tenant: tenant.0.clone(),
            ..DiscoverContextAvailabilityRequest::default()
        };
        let found = match tokio::time::timeout(DEADLINE, self.peers.discovery().discover(&request)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                remote.missing.push(error.to_string());
                return remote;
            }
            Err(_) => {
                remote.missing.push("discovery did not answer in time".to_owned());
                return remote;
            }
        };
        let mut by_owner: BTreeMap<Owner, Vec<SmolStr>> = BTreeMap::new();
        for registration in found.responses.into_iter().map(|response| response.registration) {
            let owner = Owner { url: registration.providing_application, id: registration.broker_id };
            // A broker is an entity of discovery only.
            let ids = registration.entities.into_iter().filter(|entity| entity.entity_type != "IoTBroker").map(|entity| entity.id);
            if !self.is_me(&owner) {
                by_owner.entry(owner).or_default().extend(ids);
            }
        }
        let asked: FuturesUnordered<_> = by_owner
            .iter()
            .flat_map(|(owner, ids)| ids.chunks(IDS).map(move |ids| (owner, ids)))
            .map(|(owner, ids)| async move {
                let answer = tokio::time::timeout(DEADLINE, self.fetch(owner, tenant, origin, ids)).await;
                match answer {
                    Ok(Ok(entities)) => Ok(entities),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(format!("{} did not answer in time", owner.url)),
                }
            })
            .collect();
        for answer in asked.collect::<Vec<_>>().await {
            match answer {
                Ok(entities) => remote.entities.extend(entities),
                Err(missing) => remote.missing.push(missing),
            }
        }
        remote.entities.retain(|keyed| filter.matches(&keyed.key.path, &keyed.entity));
        remote.entities.sort_by(|a, b| a.key.cmp(&b.key));
        remote.entities.dedup_by(|a, b| a.key == b.key);
        remote
    }

    /// Entities of one broker by id.
    pub(super) async fn fetch(&self, owner: &Owner, tenant: &Tenant, origin: &Origin, ids: &[SmolStr]) -> Result<Vec<Keyed>, ClientError> {
        let context = self.tenant_context(tenant, origin);
        if owner.is_ours() {
            let wanted = peer::Wanted { tenant: tenant.clone(), ids: ids.to_vec() };
            let answer: peer::Entities = self.say(owner, peer::ENTITIES, &wanted, &context).await?;
            return Ok(answer.entities);
        }
        let entities = ids.iter().map(|id| EntityId { id: id.clone(), ..EntityId::default() }).collect();
        let request = QueryContextRequest { entities, ..QueryContextRequest::default() };
        let answer = self.peers.provider(&owner.url).query(&request, &context).await?;
        let good = answer.responses.into_iter().filter(|response| matches!(response.status.code, 0 | 200));
        Ok(good
            .map(|response| {
                let entity = response.element.entity;
                let key = EntityKey { tenant: tenant.clone(), path: SmolStr::new_static("/"), id: entity.id.clone() };
                Keyed { key, entity: Arc::new(entity) }
            })
            .collect())
    }
}
