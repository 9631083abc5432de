//! `registerContext`: what brokers say they hold.

use std::sync::Arc;

use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::{ContextRegistration, RegisterContextRequest, RemovedEntity, Snapshot};
use fogflow_ngsi::{Name, Tenant, Timestamp};
use smol_str::{SmolStr, ToSmolStr as _};

use super::persist::StoredPart;
use super::state::State;
use crate::brokers::{OpenSnapshot, Presence};
use crate::clock;
use crate::model::{EntityRef, Owner, Registration, merge_metadata};

/// The longest entity id taken, in bytes.
const ID_LENGTH: usize = 1024;

/// The longest service path taken, in bytes.
const PATH_LENGTH: usize = 256;

/// What became of a `registerContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Whether the broker shall register everything again.
    pub registrations_wanted: bool,
    /// Entities of a snapshot that another broker, which is there, owns by now; they were left to it.
    pub owned_elsewhere: Vec<EntityRef>,
}

/// Finds what is wrong with a request before any of it is applied.
///
/// # Errors
/// A sentence that names the member.
pub(crate) fn validate(request: &RegisterContextRequest) -> Result<(), String> {
    let ids = request.registrations.iter().flat_map(|registration| &registration.entities).map(|entity| &entity.id);
    let ids = ids.chain(request.removed.iter().map(|removed| &removed.id));
    for id in ids {
        if id.is_empty() {
            return Err("contextRegistrations.entities.id: is empty".to_owned());
        }
        if id.len() > ID_LENGTH || id.contains('\0') {
            return Err(format!("contextRegistrations.entities.id: is longer than {ID_LENGTH} bytes or contains a zero byte"));
        }
    }
    let paths = request.registrations.iter().map(|registration| &registration.service_path);
    for path in paths.chain(request.removed.iter().map(|removed| &removed.service_path)) {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if !path.is_empty() && (!path.starts_with('/') || path.len() > PATH_LENGTH || path.contains(odd)) {
            return Err(format!("ServicePath: must begin with / and have no spaces and at most {PATH_LENGTH} bytes"));
        }
    }
    if request.broker_id.is_empty() && request.snapshot.is_some() {
        return Err("snapshot: needs brokerId".to_owned());
    }
    Ok(())
}

impl State {
    /// Applies a validated request: removals, then registrations, in order.
    pub(crate) fn register(&mut self, request: RegisterContextRequest, tenant: &Tenant, now: Timestamp) -> Registered {
        let sender = Sender::of(&request, tenant.clone(), now);
        if let Some(broker) = &sender.broker {
            self.sign_of_life(broker, &sender.url, sender.generation, now);
            if request.snapshot == Some(Snapshot::Begin) {
                let round = uuid::Uuid::new_v4().to_smolstr();
                let mark = self.index.begin_snapshot();
                let open = OpenSnapshot { generation: request.generation, round, mark, ..OpenSnapshot::default() };
                self.open_snapshot(broker, open);
            }
        }
        for removed in &request.removed {
            self.deregister(removed, &sender);
        }
        let mut registered = Registered::default();
        let mut told = Vec::new();
        for registration in request.registrations {
            let ContextRegistration { entities, attributes, metadata, providing_application, tenant, service_path, other_types, .. } =
                registration;
            let tenant = if tenant.is_empty() { sender.tenant.clone() } else { Tenant(tenant) };
            for entity in entities {
                let key = EntityRef::new(tenant.clone(), entity.id.clone()).at(&service_path);
                if request.snapshot.is_some() && self.owner_elsewhere(&key, &sender) {
                    registered.owned_elsewhere.push(key);
                    continue;
                }
                let parts = Parts {
                    entity,
                    other_types: other_types.iter().map(|name| Name::new(name)).collect(),
                    attributes: attributes.clone(),
                    metadata: metadata.0.clone(),
                    url: providing_application.clone(),
                };
                if request.snapshot.is_some() && self.crossing.is_some() {
                    told.push(key.clone());
                }
                let registration = self.assemble(key, parts, &sender);
                // Upstream's brokers forget their subscriptions when they restart; hearing of an entity again makes
                // others renew theirs.
                self.put(registration, sender.broker.is_none());
            }
        }
        if let Some(broker) = &sender.broker {
            self.note_part(broker, told);
            if request.snapshot == Some(Snapshot::End) {
                self.end_snapshot(broker, request.generation);
            }
            registered.registrations_wanted = self.brokers.get(broker).is_some_and(crate::brokers::Broker::registrations_wanted);
        }
        registered
    }

    fn deregister(&mut self, removed: &RemovedEntity, sender: &Sender) {
        let tenant = if removed.tenant.is_empty() { sender.tenant.clone() } else { Tenant(removed.tenant.clone()) };
        let key = EntityRef::new(tenant, removed.id.clone()).at(&removed.service_path);
        if !self.owner_is_another(&key, sender) {
            self.remove(&key);
        }
    }

    /// Whether the entity is registered by somebody else than the sending broker.
    fn owner_is_another(&self, key: &EntityRef, sender: &Sender) -> bool {
        let Some(broker) = sender.broker.as_ref().and_then(|id| self.brokers.get(id)) else { return false };
        self.index.registration(key).is_some_and(|registration| !broker.is(&registration.owner))
    }

    /// Whether somebody else owns the entity who is there to answer for it.
    fn owner_elsewhere(&self, key: &EntityRef, sender: &Sender) -> bool {
        self.owner_is_another(key, sender) && self.index.registration(key).is_some_and(|registration| self.index.is_available(registration))
    }

    fn assemble(&mut self, key: EntityRef, parts: Parts, sender: &Sender) -> Registration {
        let before = self.index.registration(&key).cloned();
        let entity_type = match (&before, parts.entity.entity_type.as_str()) {
            (Some(before), "") => before.entity_type.clone(),
            (_, name) => Name::new(name),
        };
        // A broker of ours registers everything it has; upstream's sends only the metadata of the current update (F 11).
        let metadata = match &before {
            Some(before) if sender.broker.is_none() => merge_metadata(&before.metadata, parts.metadata),
            _ => parts.metadata,
        };
        let owner = match &before {
            Some(before) if sender.broker.is_none() && parts.url.is_empty() => Arc::clone(&before.owner),
            _ => {
                let url = if parts.url.is_empty() { sender.url.clone() } else { parts.url };
                self.index.shared_owner(Owner { broker: sender.broker.clone(), url })
            }
        };
        let attributes = self.share(&entity_type, parts.attributes);
        let expires = sender.ends.filter(|_| self.brokers.of(&owner).is_none());
        let other_types = parts.other_types;
        Registration { attributes, expires, other_types, ..Registration::new(key, entity_type, owner) }.with_metadata(metadata)
    }

    /// A re-registration begins, in place of one that was not ended.
    fn open_snapshot(&mut self, id: &SmolStr, open: OpenSnapshot) {
        let Some(broker) = self.brokers.get_mut(id) else { return };
        let before = broker.snapshot.replace(open);
        if self.crossing.is_some() {
            self.dirty.parts.extend(before.into_iter().flat_map(|before| before.parts).map(|part| (part, None)));
            self.dirty.brokers.insert(id.clone());
            self.version += 1;
        }
    }

    /// Lets other replicas know what this one was told in a re-registration, most of which is no change.
    fn note_part(&mut self, id: &SmolStr, told: Vec<EntityRef>) {
        let Some(open) = self.brokers.get_mut(id).and_then(|broker| broker.snapshot.as_mut()) else { return };
        if told.is_empty() {
            return;
        }
        let part = uuid::Uuid::new_v4().to_smolstr();
        open.parts.push(part.clone());
        let stored = StoredPart { broker: id.clone(), round: open.round.clone(), told };
        self.dirty.parts.insert(part, Some(stored));
        self.version += 1;
    }

    fn end_snapshot(&mut self, id: &SmolStr, generation: u64) {
        let Some(broker) = self.brokers.get_mut(id) else { return };
        // Without its beginning (discovery restarted in the middle) it says nothing about what is missing.
        let Some(open) = broker.snapshot.take().filter(|open| open.generation == generation) else { return };
        broker.complete = Some(generation);
        broker.stale = false;
        let broker = &*broker;
        let mut older = self.index.older_than(open.mark, |owner| broker.is(owner));
        older.retain(|key| !open.told_elsewhere.contains(key));
        if self.crossing.is_some() {
            self.dirty.parts.extend(open.parts.into_iter().map(|part| (part, None)));
        }
        tracing::info!(broker = %id, generation, dropped = older.len(), "the broker has registered everything");
        for key in older {
            self.remove(&key);
        }
        self.set_presence(id, Presence::Present);
    }
}

/// Who sent a request, and what holds for all of it.
struct Sender {
    broker: Option<SmolStr>,
    url: SmolStr,
    generation: Option<u64>,
    tenant: Tenant,
    ends: Option<Timestamp>,
}

impl Sender {
    fn of(request: &RegisterContextRequest, tenant: Tenant, now: Timestamp) -> Self {
        let url = request.registrations.first().map(|registration| registration.providing_application.clone()).unwrap_or_default();
        Sender {
            broker: Some(request.broker_id.clone()).filter(|id| !id.is_empty()),
            url,
            generation: Some(request.generation).filter(|generation| *generation != 0),
            tenant,
            // A duration that cannot be read is none: upstream's clients send anything.
            ends: clock::end_of(&request.duration, now).unwrap_or_default(),
        }
    }
}

/// What a request says of one entity.
struct Parts {
    entity: EntityId,
    other_types: Box<[Name]>,
    attributes: Vec<fogflow_ngsi::v1::availability::RegistrationAttribute>,
    metadata: Vec<fogflow_ngsi::Attribute>,
    url: SmolStr,
}
