//! The index: registrations by id, type, owner and place; subscriptions by what they name. Pure: no I/O, no clock.

mod by_key;
mod candidates;
mod nearest;
mod places;
mod watches;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use fogflow_ngsi::{Name, Tenant};
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::filter::Filter;
use crate::model::{EntityRef, Owner, Registration};
use by_key::ByKey;
use places::Places;
use watches::Watches;

type Slots = HashSet<u32, RandomState>;

/// What happened to an entity in the eyes of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It began to match.
    Appeared,
    /// It matched before and still does, with other content.
    Changed,
    /// It no longer matches: removed, changed, or its owner is lost.
    Gone,
}

/// One event for one subscription.
#[derive(Clone, Debug)]
pub struct Event {
    /// The subscription.
    pub subscription: SmolStr,
    /// The entity as it is now; as it last matched, if it is gone.
    pub registration: Arc<Registration>,
    /// What happened.
    pub kind: EventKind,
}

/// A match of a query.
#[derive(Clone, Debug)]
pub struct Found {
    /// The registration.
    pub registration: Arc<Registration>,
    /// Metres from the asked point; only with `nearby`, and then the answer is sorted by it.
    pub distance: Option<f64>,
}

#[derive(Debug)]
struct Slot {
    registration: Arc<Registration>,
    /// The last snapshot (see [`Index::begin_snapshot`]) in which it was registered.
    snapshot: u32,
}

#[derive(Debug, Default)]
struct Holdings {
    lost: bool,
    slots: Slots,
}

/// The two questions that discovery answers.
pub trait Directory {
    /// The available registrations that match now; sorted by distance when the filter has `nearby`, else in a stable order.
    fn get(&self, filter: &Filter) -> Vec<Found>;

    /// Begins to watch: returns what matches now, and from then on every change yields the events that follow from it.
    /// Replaces the watch of the same id.
    fn watch(&mut self, id: SmolStr, filter: Filter) -> Vec<Found>;

    /// Ends a watch.
    fn unwatch(&mut self, id: &str);
}

impl Directory for Index {
    fn get(&self, filter: &Filter) -> Vec<Found> {
        match filter.nearby {
            Some(nearby) => self.nearest(filter, nearby),
            None => self.matches(filter).into_iter().map(|registration| Found { registration, distance: None }).collect(),
        }
    }

    fn watch(&mut self, id: SmolStr, filter: Filter) -> Vec<Found> {
        let found = self.get(&filter);
        self.watches.insert(id.clone(), filter);
        self.remember_nearest(&id, &found);
        found
    }

    fn unwatch(&mut self, id: &str) {
        self.watches.remove(id);
    }
}

/// All registrations and subscriptions.
#[derive(Debug, Default)]
pub struct Index {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: ByKey,
    by_type: HashMap<Name, Slots, RandomState>,
    by_owner: HashMap<Arc<Owner>, Holdings, RandomState>,
    places: Places,
    watches: Watches,
    snapshots: u32,
}

impl Index {
    /// How many entities are registered, available or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many subscriptions are watched.
    #[must_use]
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    /// The registration of an entity, also of a lost owner.
    #[must_use]
    pub fn registration(&self, key: &EntityRef) -> Option<&Arc<Registration>> {
        self.find(key).and_then(|slot| self.slot(slot)).map(|slot| &slot.registration)
    }

    /// The registrations of an id, in the order of their service paths; also of lost owners.
    pub fn with_id(&self, tenant: &Tenant, id: &str) -> impl Iterator<Item = &Arc<Registration>> {
        let slots = self.by_key.with_id(tenant, id, &self.slots);
        let mut found: Vec<_> = slots.filter_map(|slot| Some(&self.slot(slot)?.registration)).collect();
        found.sort_by(|a, b| a.key.path.cmp(&b.key.path));
        found.into_iter()
    }

    /// Every registration, also of lost owners, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.slots.iter().flatten().map(|slot| &slot.registration)
    }

    /// Whether the owner of a registration is there.
    #[must_use]
    pub fn is_available(&self, registration: &Registration) -> bool {
        self.by_owner.get(&registration.owner).is_none_or(|holdings| !holdings.lost)
    }

    /// The distinct types of what is available.
    #[must_use]
    pub fn types(&self) -> Vec<Name> {
        let available = |slot: &u32| self.slot(*slot).is_some_and(|slot| self.is_available(&slot.registration));
        let mut types: Vec<Name> =
            self.by_type.iter().filter(|(_, slots)| slots.iter().any(available)).map(|(name, _)| name.clone()).collect();
        types.retain(|name| !name.as_str().is_empty());
        types.sort();
        types
    }

    /// Everything an owner has registered.
    pub fn owned_by<'a>(&'a self, owner: &Owner) -> impl Iterator<Item = &'a Arc<Registration>> {
        let holdings = self.by_owner.get(owner);
        holdings.into_iter().flat_map(|holdings| &holdings.slots).filter_map(|slot| Some(&self.slot(*slot)?.registration))
    }

    /// The owners that satisfy a condition.
    pub fn owners<'a>(&'a self, condition: impl Fn(&Owner) -> bool + 'a) -> impl Iterator<Item = &'a Arc<Owner>> {
        self.by_owner.keys().filter(move |owner| condition(owner))
    }

    /// The shared form of an owner.
    #[must_use]
    pub fn shared_owner(&self, owner: Owner) -> Arc<Owner> {
        self.by_owner.get_key_value(&owner).map_or_else(|| Arc::new(owner), |(shared, _)| Arc::clone(shared))
    }

    /// Registers an entity or replaces its registration. Without `announce`, an identical one causes no event.
    pub fn put(&mut self, registration: Registration, announce: bool) -> Vec<Event> {
        let key = registration.key.clone();
        let known = self.find(&key);
        let snapshot = self.snapshots;
        if let Some(slot) = known.and_then(|slot| self.slots.get_mut(slot as usize)?.as_mut()) {
            slot.snapshot = snapshot;
            if *slot.registration == registration && !announce {
                return Vec::new();
            }
        }
        let before = known.and_then(|slot| self.detach(slot));
        let was_available = before.as_ref().is_some_and(|before| self.is_available(before));
        let after = Arc::new(registration);
        self.attach(Arc::clone(&after), snapshot);
        let is_available = self.is_available(&after);
        self.events(before.filter(|_| was_available), Some(after).filter(|_| is_available))
    }

    /// Removes a registration.
    pub fn remove(&mut self, key: &EntityRef) -> (Option<Arc<Registration>>, Vec<Event>) {
        let Some(before) = self.find(key).and_then(|slot| self.detach(slot)) else { return (None, Vec::new()) };
        let events = if self.is_available(&before) { self.events(Some(Arc::clone(&before)), None) } else { Vec::new() };
        if self.by_owner.get(&before.owner).is_some_and(|holdings| holdings.slots.is_empty() && !holdings.lost) {
            self.by_owner.remove(&before.owner);
        }
        (Some(before), events)
    }

    /// Declares an owner lost or found again; its registrations stay, but are not shown while it is lost.
    pub fn set_lost(&mut self, owner: &Arc<Owner>, lost: bool) -> Vec<Event> {
        let holdings = self.by_owner.entry(Arc::clone(owner)).or_default();
        if std::mem::replace(&mut holdings.lost, lost) == lost {
            return Vec::new();
        }
        let registrations: Vec<_> = self.owned_by(owner).cloned().collect();
        let state = |registration, shown: bool| Some(registration).filter(|_| shown);
        registrations
            .into_iter()
            .flat_map(|registration| self.events(state(Arc::clone(&registration), lost), state(registration, !lost)))
            .collect()
    }

    /// Begins a full re-registration: what is registered from now on carries the returned mark.
    pub fn begin_snapshot(&mut self) -> u32 {
        self.snapshots += 1;
        self.snapshots
    }

    /// What the owners that satisfy the condition have not registered again since the snapshot with this mark began.
    #[must_use]
    pub fn older_than(&self, snapshot: u32, condition: impl Fn(&Owner) -> bool) -> Vec<EntityRef> {
        let owned = self.by_owner.iter().filter(|(owner, _)| condition(owner)).flat_map(|(_, holdings)| &holdings.slots);
        owned
            .filter_map(|slot| self.slot(*slot))
            .filter(|slot| slot.snapshot < snapshot)
            .map(|slot| slot.registration.key.clone())
            .collect()
    }

    /// What a watched subscription matches now.
    #[must_use]
    pub fn watched(&self, id: &str) -> Vec<Found> {
        self.watches.get(id).map(|watch| self.get(&watch.filter)).unwrap_or_default()
    }

    /// The events that follow when the visible state of an entity goes from `before` to `after`.
    fn events(&mut self, before: Option<Arc<Registration>>, after: Option<Arc<Registration>>) -> Vec<Event> {
        let candidates = self.watches.candidates(before.iter().chain(&after).map(AsRef::as_ref));
        let mut events = Vec::new();
        for id in candidates {
            let Some(watch) = self.watches.get(&id) else { continue };
            let matched = |state: &Option<Arc<Registration>>| state.as_ref().is_some_and(|state| watch.filter.matches(state));
            let (matched_before, matches_now) = (matched(&before), matched(&after));
            if watch.filter.nearby.is_some() {
                if matched_before || matches_now {
                    let changed = after.as_ref().filter(|_| matches_now).map(|after| after.key.clone());
                    self.nearest_events(&id, changed.as_ref(), before.as_ref(), &mut events);
                }
                continue;
            }
            let (kind, state) = match (matched_before, matches_now) {
                (false, true) => (EventKind::Appeared, &after),
                (true, true) => (EventKind::Changed, &after),
                (true, false) => (EventKind::Gone, &before),
                (false, false) => continue,
            };
            events.extend(state.iter().map(|state| Event { subscription: id.clone(), registration: Arc::clone(state), kind }));
        }
        events
    }

    fn find(&self, key: &EntityRef) -> Option<u32> {
        self.by_key.find(key, &self.slots)
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn attach(&mut self, registration: Arc<Registration>, snapshot: u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // 2^32 registrations need more memory than any machine of this decade has.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        for name in registration.types() {
            self.by_type.entry(name.clone()).or_default().insert(slot);
        }
        self.by_owner.entry(Arc::clone(&registration.owner)).or_default().slots.insert(slot);
        if let Some(location) = &registration.location {
            self.places.insert(location, slot);
        }
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Some(Slot { registration, snapshot });
        }
        self.by_key.insert(slot, &self.slots);
    }

    fn detach(&mut self, slot: u32) -> Option<Arc<Registration>> {
        self.by_key.remove(slot, &self.slots);
        let Slot { registration, .. } = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        for name in registration.types() {
            if let Some(slots) = self.by_type.get_mut(name) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.by_type.remove(name);
                }
            }
        }
        if let Some(holdings) = self.by_owner.get_mut(&registration.owner) {
            holdings.slots.remove(&slot);
        }
        if let Some(location) = &registration.location {
            self.places.remove(location, slot);
        }
        Some(registration)
    }
}
