//! From tenant, id and service path to the slot. Only slot numbers are kept, the keys stand in the slots: with millions of entities a
//! second copy of each key would cost more than the rest of the index.

use std::hash::BuildHasher as _;

use fogflow_ngsi::Tenant;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Slot;
use crate::model::EntityRef;

/// The table.
#[derive(Debug, Default)]
pub(super) struct ByKey {
    table: HashTable<u32>,
    hasher: RandomState,
}

impl ByKey {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All occupied slots, in no order.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.table.iter().copied()
    }

    pub(super) fn find(&self, key: &EntityRef, slots: &[Option<Slot>]) -> Option<u32> {
        self.table.find(self.hash(&key.tenant, &key.id), |slot| key_of(*slot, slots) == Some(key)).copied()
    }

    /// The slots of the entities with an id, one for each service path that has one.
    pub(super) fn with_id(&self, tenant: &Tenant, id: &str, slots: &[Option<Slot>]) -> impl Iterator<Item = u32> {
        let same = move |slot: &u32| key_of(*slot, slots).is_some_and(|key| key.tenant == *tenant && key.id == id);
        self.table.iter_hash(self.hash(tenant, id)).copied().filter(same)
    }

    /// The path is left out, so that all paths of an id lie together.
    fn hash(&self, tenant: &Tenant, id: &str) -> u64 {
        self.hasher.hash_one((tenant, id))
    }

    /// Takes in an occupied slot whose key is not in the table.
    pub(super) fn insert(&mut self, slot: u32, slots: &[Option<Slot>]) {
        let hasher = &self.hasher;
        let hash = |slot: &u32| key_of(*slot, slots).map_or(0, |key| hasher.hash_one((&key.tenant, key.id.as_str())));
        if let Some(key) = key_of(slot, slots) {
            self.table.insert_unique(hasher.hash_one((&key.tenant, key.id.as_str())), slot, hash);
        }
    }

    /// Takes out a slot that is still occupied.
    pub(super) fn remove(&mut self, slot: u32, slots: &[Option<Slot>]) {
        let Some(key) = key_of(slot, slots) else { return };
        let hash = self.hash(&key.tenant, &key.id);
        if let Ok(entry) = self.table.find_entry(hash, |present| *present == slot) {
            entry.remove();
        }
    }
}

fn key_of(slot: u32, slots: &[Option<Slot>]) -> Option<&EntityRef> {
    slots.get(slot as usize)?.as_ref().map(|slot| &slot.registration.key)
}
