//! The state machine of a replica: the one place where changes come into the memory of a broker that shares its store.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use fogflow_ngsi::{Entity, EntityKey, Tenant};
use fogflow_store::follow::{StateMachine, Step};
use fogflow_store::{Document, Sequence, StoreError, Version};
use foldhash::fast::RandomState;

use super::mail::{MAIL, Mail};
use super::members::REPLICAS;
use super::slots::SLOTS;
use super::{Parts, owner};
use crate::change::{Change, Names};
use crate::contexts::{self, Contexts};
use crate::federation::peer::Told;
use crate::matcher::concerns;
use crate::notifier::Start;
use crate::notifier::cursor::{CURSORS, Cursors};
use crate::southbound::{self, Devices};
use crate::state::committer::Changes;
use crate::state::document::{self, ENTITIES, entity_key};
use crate::state::{Reach, Record, key_of, load};
use crate::subscription::registry::{self, SUBSCRIPTIONS};

/// What a replica has in memory, in the order in which it is loaded: subscriptions after what they match.
pub const COLLECTIONS: &[&str] = &[contexts::COLLECTION, southbound::DEVICES, REPLICAS, ENTITIES, SUBSCRIPTIONS];

/// A commit of this replica.
#[derive(Debug)]
pub struct Own {
    change: Arc<Change>,
    version: Version,
}

impl Own {
    /// The change that was committed as this version.
    #[must_use]
    pub fn new(change: Change, version: Version, sequence: Sequence) -> Self {
        Own { change: Arc::new(Change { sequence, ..change }), version }
    }
}

/// What the applier writes to.
pub struct Applier {
    parts: Parts,
    contexts: Arc<Contexts>,
    devices: Arc<Devices>,
    /// Up to where the subscriptions of each slot have got, as their owners last stored it.
    delivered: [Sequence; SLOTS],
    /// What was found while the whole state is read again; `None` until it has been loaded for the first time.
    found: Option<Found>,
}

/// Keys of what exists.
#[derive(Debug, Default)]
struct Found {
    entities: HashSet<EntityKey, RandomState>,
    subscriptions: HashSet<(Tenant, smol_str::SmolStr), RandomState>,
}

/// Changes of entities that have not been shown yet. Later ones build on earlier ones.
#[derive(Default)]
struct Pending {
    changes: Changes,
    effects: Vec<(EntityKey, Option<Record>, Sequence)>,
    newest: HashMap<EntityKey, (Option<Arc<Entity>>, Sequence), RandomState>,
}

impl Pending {
    fn add(&mut self, change: Arc<Change>, version: Version) {
        let (key, sequence) = (change.key.clone(), change.sequence);
        let record = change.after.clone().map(|entity| Record { entity, path: key.path.clone(), version, sequence });
        self.newest.insert(key.clone(), (change.after.clone(), sequence));
        self.effects.push((key, record, sequence));
        self.changes.push(change);
    }
}

#[async_trait]
impl StateMachine for Applier {
    type Own = Own;

    async fn apply(&mut self, steps: Vec<Step<Own>>) -> Result<(), StoreError> {
        let mut pending = Pending::default();
        for step in steps {
            match step {
                Step::Own(_, own) => pending.add(own.change, own.version),
                Step::Read(document) if document.key.collection == ENTITIES => self.entity(document, &mut pending)?,
                Step::Read(document) => {
                    self.show(&mut pending);
                    self.other(document);
                }
            }
        }
        self.show(&mut pending);
        Ok(())
    }

    async fn restore(&mut self, documents: Vec<Document>, last: bool) -> Result<(), StoreError> {
        let Some(mut found) = self.found.take() else { return self.load(documents, last).await };
        let mut pending = Pending::default();
        for document in documents {
            if document.key.collection == ENTITIES {
                found.entities.extend(entity_key(&document.key));
                self.entity(document, &mut pending)?;
            } else {
                if document.key.collection == SUBSCRIPTIONS {
                    found.subscriptions.insert((Tenant(document.key.tenant.clone()), document.key.id.clone()));
                }
                self.other(document);
            }
        }
        self.show(&mut pending);
        if last {
            self.remove_missing(&found);
            found = Found::default();
        }
        self.found = Some(found);
        Ok(())
    }
}

impl Applier {
    /// An applier that has loaded nothing.
    #[must_use]
    pub fn new(parts: Parts, contexts: Arc<Contexts>, devices: Arc<Devices>) -> Self {
        Applier { parts, contexts, devices, delivered: Default::default(), found: None }
    }

    /// The first loading: nothing is told to anybody.
    async fn load(&mut self, documents: Vec<Document>, last: bool) -> Result<(), StoreError> {
        let (entities, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(|document| document.key.collection == ENTITIES);
        for document in others {
            self.other(document);
        }
        let state = Arc::clone(&self.parts.state);
        load::apply_elsewhere(state, entities).await?;
        if last {
            self.found = Some(Found::default());
        }
        Ok(())
    }

    /// A change of an entity, on top of what is pending.
    fn entity(&self, document: Document, pending: &mut Pending) -> Result<(), StoreError> {
        let broken = |why: String| StoreError::Damaged(format!("entity {}: {why}", document.key.id));
        let key = entity_key(&document.key).ok_or_else(|| broken("the key has no service path".to_owned()))?;
        let (before, known) = match pending.newest.get(&key) {
            Some((entity, sequence)) => (entity.clone(), *sequence),
            None => match self.parts.state.record(&key) {
                Some(record) => (Some(record.entity), record.sequence),
                None => (None, 0),
            },
        };
        if document.sequence <= known || before.is_none() && document.value.is_none() {
            return Ok(());
        }
        let after = match &document.value {
            Some(value) => Some(Arc::new(document::decode(value).map_err(|error| broken(error.to_string()))?)),
            None => None,
        };
        let about = document.value.as_deref().and_then(document::about);
        let written: Names = match &about {
            Some(about) => about.written.iter().cloned().collect(),
            None => after.iter().chain(&before).flat_map(|entity| entity.attributes.iter().map(|one| one.name.clone())).collect(),
        };
        let about = about.unwrap_or_default();
        let change = Change {
            key,
            before,
            after,
            written,
            correlator: about.correlator,
            trace: about.trace,
            sequence: document.sequence,
            silent: false,
            v1: std::sync::OnceLock::new(),
        };
        pending.add(Arc::new(change), document.version);
        Ok(())
    }

    /// Shows pending changes to readers, then to subscribers.
    fn show(&self, pending: &mut Pending) {
        let Pending { changes, effects, .. } = std::mem::take(pending);
        if !changes.is_empty() {
            self.parts.state.apply(effects);
            self.parts.notifier.publish(&changes);
            self.parts.registrar.note(&changes);
        }
    }

    /// A change of anything but an entity. What cannot be read is left out, as at a start.
    fn other(&mut self, document: Document) {
        let Document { key, sequence, value, .. } = document;
        let value = value.as_deref();
        match key.collection.as_str() {
            SUBSCRIPTIONS => self.subscription(&Tenant(key.tenant), &key.id, value, sequence),
            CURSORS => self.delivered(&key.id, value),
            REPLICAS => self.parts.members.saw(&key.id, value),
            contexts::COLLECTION => self.contexts.changed(&key.id, value),
            southbound::DEVICES => {
                if let Some(entity) = self.devices.changed(&Tenant(key.tenant), &key.id, value) {
                    self.parts.registrar.mark(entity);
                }
            }
            MAIL => {
                if let Some(mail) = value.and_then(|value| serde_json::from_slice(value).ok()) {
                    self.mail(mail);
                }
            }
            _ => {}
        }
    }

    fn subscription(&self, tenant: &Tenant, id: &str, value: Option<&[u8]>, stored: Sequence) {
        let Some(value) = value else {
            self.parts.notifier.remove(tenant, id);
            self.parts.federation.unwatch(tenant, id);
            return;
        };
        let old = self.parts.notifier.get(tenant, id);
        if old.as_ref().is_some_and(|old| old.payload.stored() >= stored) {
            return;
        }
        let (subscription, filter) = match registry::decode(id, value) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a stored subscription cannot be used");
                return;
            }
        };
        let start = match old {
            _ if subscription.internal => Start::Initial,
            Some(_) => Start::Now,
            None if subscription.skip_initial => Start::From(stored),
            None => Start::Initial,
        };
        let is_watched_elsewhere = !subscription.internal && self.parts.slots.is_mine(self.parts.slots.of(tenant, id));
        self.parts.notifier.add(Arc::clone(&subscription), filter, start, stored);
        // All earlier changes have been matched: what is stored as delivered includes the making of this subscription.
        self.parts.notifier.resume(stored);
        if is_watched_elsewhere {
            self.parts.federation.watch(&subscription);
        }
    }

    /// What every owner has delivered need not be remembered.
    fn delivered(&mut self, slot: &str, value: Option<&[u8]>) {
        let cursors = value.and_then(|value| serde_json::from_slice::<Cursors>(value).ok());
        if let (Some(slot), Some(cursors)) = (owner::slot_of(slot), cursors)
            && let Some(known) = self.delivered.get_mut(slot)
        {
            *known = cursors.head;
            self.parts.notifier.forget(self.delivered.iter().copied().min().unwrap_or(0));
        }
    }

    fn mail(&self, mail: Mail) {
        let is_ours = |tenant: &Tenant, id: &str| self.parts.slots.is_mine(self.parts.slots.of(tenant, id));
        match mail {
            Mail::Availability { tenant, message } => {
                if let Some(notification) = Mail::decoded(&message)
                    && is_ours(&tenant, &notification.subscribe_id)
                {
                    self.parts.federation.availability(&tenant, notification);
                }
            }
            Mail::Told { tenant, id, changes } => {
                if is_ours(&tenant, &id) {
                    self.told(&tenant, &id, changes);
                }
            }
            Mail::Upstream { tenant, remote, changes } => {
                if let Some(id) = self.parts.federation.main_of(&tenant, &remote).filter(|id| is_ours(&tenant, id)) {
                    self.told(&tenant, &id, changes);
                }
            }
        }
    }

    fn told(&self, tenant: &Tenant, id: &str, changes: Vec<Told>) {
        let Some(watch) = self.parts.notifier.get(tenant, id) else { return };
        for change in changes.into_iter().map(Change::from).map(Arc::new) {
            if self.parts.state.record(&change.key).is_none() && concerns(&watch.subscription, &watch.filter, &change) {
                self.parts.notifier.deliver(&watch, &change);
            }
        }
    }

    /// The log was too short: what is in memory but not in the store was deleted meanwhile.
    fn remove_missing(&self, found: &Found) {
        let mut pending = Pending::default();
        for tenant in self.parts.state.tenants() {
            self.parts.state.visit(&tenant, &Reach::All, |record| {
                let key = key_of(&tenant, &record);
                if !found.entities.contains(&key) {
                    let shown = Change::snapshot(key, record.entity, record.sequence);
                    pending.add(Arc::new(Change { before: shown.after.clone(), after: None, ..shown }), record.version);
                }
                true
            });
        }
        self.show(&mut pending);
        for watch in self.parts.notifier.all() {
            let (tenant, id) = (watch.subscription.tenant.clone(), watch.subscription.id.clone());
            if !found.subscriptions.contains(&(tenant.clone(), id.clone())) {
                self.subscription(&tenant, &id, None, 0);
            }
        }
    }
}
