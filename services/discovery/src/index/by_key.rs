//! From tenant and id to the slot. Only slot numbers are kept, the keys stand in the slots: with millions of entities a
//! second copy of each key would cost more than the rest of the index.

use std::hash::BuildHasher as _;

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
        self.table.find(self.hasher.hash_one(Some(key)), |slot| key_of(*slot, slots) == Some(key)).copied()
    }

    /// Takes in an occupied slot whose key is not in the table.
    pub(super) fn insert(&mut self, slot: u32, slots: &[Option<Slot>]) {
        let hash = |slot: &u32| self.hasher.hash_one(key_of(*slot, slots));
        if let Some(key) = key_of(slot, slots) {
            self.table.insert_unique(self.hasher.hash_one(Some(key)), slot, hash);
        }
    }

    /// Takes out a slot that is still occupied.
    pub(super) fn remove(&mut self, slot: u32, slots: &[Option<Slot>]) {
        let hash = self.hasher.hash_one(key_of(slot, slots));
        if let Ok(entry) = self.table.find_entry(hash, |present| *present == slot) {
            entry.remove();
        }
    }
}

fn key_of(slot: u32, slots: &[Option<Slot>]) -> Option<&EntityRef> {
    slots.get(slot as usize)?.as_ref().map(|slot| &slot.registration.key)
}
