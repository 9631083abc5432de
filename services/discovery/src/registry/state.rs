//! Everything that discovery knows, and how it changes. One lock guards it (see [`super::Registry`]); nothing here waits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fogflow_ngsi::v1::availability::{RegistrationAttribute, SubscribeContextAvailabilityRequest};
use fogflow_ngsi::{Name, Timestamp};
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::brokers::{Brokers, Presence};
use crate::index::{Directory, Event, Index};
use crate::model::{BROKER_TYPE, EntityRef, Owner, Registration};
use crate::notify::queue::Queue;

use super::duty::Duty;
use super::persist::StoredPart;
use super::replica::Crossing;

/// An availability subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// As it was sent, with its id.
    pub(crate) request: SubscribeContextAvailabilityRequest,
    /// When it ends by itself.
    pub(crate) expires: Option<Timestamp>,
    /// What the subscriber has yet to be told.
    pub(crate) queue: Queue,
    /// Tells apart subscriptions that had the same id one after the other.
    pub(crate) incarnation: u64,
    /// Whether the notifier is at work on the queue.
    pub(crate) sending: bool,
    /// Since when no notification has got through, if none has.
    pub(crate) failing_since: Option<Timestamp>,
    /// Whether the subscriber wants to hear that nothing matches.
    pub(crate) even_if_empty: bool,
}

/// What has changed since it was last stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dirty {
    pub(crate) registrations: HashSet<EntityRef, RandomState>,
    pub(crate) subscriptions: HashSet<SmolStr, RandomState>,
    pub(crate) brokers: HashSet<SmolStr, RandomState>,
    /// Brokers of which other replicas have to be told that they are there.
    pub(crate) beats: HashSet<SmolStr, RandomState>,
    /// Parts of re-registrations by their ids; `None` to be deleted.
    pub(crate) parts: HashMap<SmolStr, Option<StoredPart>, RandomState>,
}

impl Dirty {
    pub(crate) fn is_empty(&self) -> bool {
        self.registrations.is_empty()
            && self.subscriptions.is_empty()
            && self.brokers.is_empty()
            && self.beats.is_empty()
            && self.parts.is_empty()
    }

    /// Takes back what could not be stored. What has changed meanwhile stays.
    pub(crate) fn take_back(&mut self, other: Dirty) {
        self.registrations.extend(other.registrations);
        self.subscriptions.extend(other.subscriptions);
        self.brokers.extend(other.brokers);
        self.beats.extend(other.beats);
        for (id, part) in other.parts {
            self.parts.entry(id).or_insert(part);
        }
    }
}

/// The state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) brokers: Brokers,
    pub(crate) subscriptions: HashMap<SmolStr, Subscription, RandomState>,
    /// The latest attribute list of each type: most entities of a type have the same one and share it.
    pub(crate) attribute_lists: HashMap<Name, Arc<[RegistrationAttribute]>, RandomState>,
    /// Registrations that end by themselves.
    pub(crate) endings: BTreeSet<(Timestamp, EntityRef)>,
    pub(crate) dirty: Dirty,
    /// Grows with each change; see [`super::Registry::durable`].
    pub(crate) version: u64,
    /// Subscriptions that have something to be sent and nobody at work on it.
    pub(crate) ready: Vec<(SmolStr, u64)>,
    pub(crate) incarnations: u64,
    /// Whether this replica is the one that notifies.
    pub(crate) duty: Duty,
    /// Own writes that may meet those of other replicas; `None` where there are no others.
    pub(crate) crossing: Option<Crossing>,
}

impl State {
    pub(crate) fn new(heartbeat_seconds: u64) -> Self {
        State {
            index: Index::default(),
            brokers: Brokers::new(heartbeat_seconds),
            subscriptions: HashMap::default(),
            attribute_lists: HashMap::default(),
            endings: BTreeSet::new(),
            dirty: Dirty::default(),
            version: 0,
            ready: Vec::new(),
            incarnations: 0,
            duty: Duty::Always,
            crossing: None,
        }
    }

    /// Queues events for their subscribers, if this replica is the one to tell them.
    pub(crate) fn dispatch(&mut self, events: Vec<Event>) {
        if !self.duty.is_on() {
            return;
        }
        for event in events {
            let id = event.subscription.clone();
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.queue.push(event);
                subscription.queue.continue_trace(fogflow_chassis::current_traceparent);
                self.call_for_sending(&id);
            }
        }
    }

    /// Asks the notifier to look at a subscription, unless it is at it or there is nothing to send.
    pub(crate) fn call_for_sending(&mut self, id: &SmolStr) {
        if let Some(subscription) = self.subscriptions.get_mut(id)
            && !subscription.sending
            && !subscription.queue.is_empty()
        {
            subscription.sending = true;
            self.ready.push((id.clone(), subscription.incarnation));
        }
    }

    /// Registers or replaces; `announce` also tells subscribers when nothing has changed.
    pub(crate) fn put(&mut self, registration: Registration, announce: bool) {
        let key = registration.key.clone();
        let owner = Arc::clone(&registration.owner);
        if self.brokers.of(&owner).is_some_and(|broker| broker.presence != Presence::Present) {
            let events = self.index.set_lost(&owner, true);
            self.dispatch(events);
        }
        let before = self.index.registration(&key).cloned();
        if before.as_deref() != Some(&registration) {
            if let Some(end) = before.and_then(|before| before.expires) {
                self.endings.remove(&(end, key.clone()));
            }
            self.endings.extend(registration.expires.map(|end| (end, key.clone())));
            self.dirty.registrations.insert(key);
            self.version += 1;
        } else if announce && self.crossing.is_some() {
            // The replica that notifies has to hear of it.
            self.dirty.registrations.insert(key);
            self.version += 1;
        }
        let events = self.index.put(registration, announce);
        self.dispatch(events);
    }

    /// Removes a registration. That of a broker itself is its good-bye.
    pub(crate) fn remove(&mut self, key: &EntityRef) {
        let (removed, events) = self.index.remove(key);
        let Some(removed) = removed else { return };
        if let Some(end) = removed.expires {
            self.endings.remove(&(end, key.clone()));
        }
        self.dirty.registrations.insert(key.clone());
        self.version += 1;
        self.dispatch(events);
        if removed.entity_type.as_str() == BROKER_TYPE && self.brokers.get(&key.id).is_some() {
            self.set_presence(&key.id, Presence::Left);
        }
    }

    /// Changes whether a broker is there, and with it whether its registrations are shown.
    pub(crate) fn set_presence(&mut self, id: &SmolStr, presence: Presence) {
        let Some(broker) = self.brokers.get_mut(id) else { return };
        broker.presence = presence;
        self.dirty.brokers.insert(id.clone());
        self.version += 1;
        self.show_according_to_presence(id);
    }

    /// Brings the index in line with a broker's presence.
    pub(crate) fn show_according_to_presence(&mut self, id: &SmolStr) {
        let Some(broker) = self.brokers.get(id) else { return };
        let owners: Vec<Arc<Owner>> = self.index.owners(|owner| broker.is(owner)).cloned().collect();
        let lost = broker.presence != Presence::Present;
        for owner in owners {
            let events = self.index.set_lost(&owner, lost);
            self.dispatch(events);
        }
    }

    /// Takes note of a heartbeat or of another request that a broker signed.
    pub(crate) fn sign_of_life(&mut self, id: &SmolStr, url: &SmolStr, generation: Option<u64>, now: Timestamp) {
        let sign = self.brokers.sign_of_life(id, url, generation, now);
        if sign.stored {
            self.dirty.brokers.insert(id.clone());
            self.version += 1;
        } else if self.crossing.is_some() {
            self.dirty.beats.insert(id.clone());
            self.version += 1;
        }
        if sign.returned {
            tracing::info!(broker = %id, "the broker is back");
            self.show_according_to_presence(id);
        }
    }

    /// The shared form of an attribute list.
    pub(crate) fn share(&mut self, entity_type: &Name, attributes: Vec<RegistrationAttribute>) -> Arc<[RegistrationAttribute]> {
        match self.attribute_lists.get(entity_type) {
            Some(list) if **list == *attributes => Arc::clone(list),
            _ => {
                let list: Arc<[RegistrationAttribute]> = Arc::from(attributes);
                // Bounded, since types come from outside; the lists live on in the registrations.
                if self.attribute_lists.len() > 10_000 {
                    self.attribute_lists.clear();
                }
                self.attribute_lists.insert(entity_type.clone(), Arc::clone(&list));
                list
            }
        }
    }

    /// Ends a subscription; returns whether there was one.
    pub(crate) fn unsubscribe(&mut self, id: &SmolStr) -> bool {
        self.index.unwatch(id);
        let known = self.subscriptions.remove(id).is_some();
        if known {
            self.dirty.subscriptions.insert(id.clone());
            self.version += 1;
        }
        known
    }
}
