//! The newest state of the entities that the cloud broker tells about: a bounded table with a queue of what is to be told.

use std::collections::{BTreeMap, HashMap};

use indexmap::{IndexMap, IndexSet};
use serde::Serialize;
use serde_json::Value;

use crate::records::TypedValue;

/// Entities kept; beyond it, the one that was longest without a change is dropped.
const KEPT: usize = 5000;
/// Entities in a snapshot, newest first.
const IN_SNAPSHOT: usize = 1000;
/// Largest value told to browsers, in bytes of JSON; a larger one is named by its size only.
const LARGEST_VALUE: usize = 16 * 1024;

/// Values by name.
pub(crate) type Attributes = IndexMap<String, TypedValue>;

/// An entity as browsers see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct EntityRow {
    /// Entity id.
    pub id: String,
    /// Entity type.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// Attributes by name.
    pub attributes: Attributes,
    /// Domain metadata by name.
    pub metadata: Attributes,
    /// RFC 3339 time of its last notification.
    pub updated: String,
    /// Notifications since the designer knows it.
    pub updates: u64,
}

struct Slot {
    row: EntityRow,
    /// Key in `by_age`.
    tick: u64,
}

#[derive(Default)]
pub(super) struct EntityTable {
    slots: HashMap<String, Slot>,
    by_age: BTreeMap<u64, String>,
    /// Changed since they were told, longest waiting first.
    untold: IndexSet<String>,
    tick: u64,
}

impl EntityTable {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// One row.
    pub(super) fn get(&self, id: &str) -> Option<&EntityRow> {
        self.slots.get(id).map(|slot| &slot.row)
    }

    /// The newest rows, for a snapshot.
    pub(super) fn newest(&self) -> Vec<&EntityRow> {
        self.by_age.values().rev().take(IN_SNAPSHOT).filter_map(|id| self.slots.get(id)).map(|slot| &slot.row).collect()
    }

    /// Merges a notification. Attributes that it does not carry stay.
    pub(super) fn put(&mut self, id: &str, entity_type: &str, attributes: Attributes, metadata: Attributes) {
        self.tick += 1;
        let tick = self.tick;
        let slot = self.slots.entry(id.to_owned()).or_insert_with(|| Slot { row: EntityRow::default(), tick });
        self.by_age.remove(&slot.tick);
        slot.tick = tick;
        self.by_age.insert(tick, id.to_owned());
        let row = &mut slot.row;
        id.clone_into(&mut row.id);
        if !entity_type.is_empty() {
            entity_type.clone_into(&mut row.entity_type);
        }
        row.attributes.extend(attributes.into_iter().map(bounded));
        row.metadata.extend(metadata.into_iter().map(bounded));
        row.updated = super::now();
        row.updates += 1;
        self.untold.insert(id.to_owned());
        if self.slots.len() > KEPT
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.slots.remove(&oldest);
            self.untold.shift_remove(&oldest);
        }
    }

    /// Forgets an entity; `false` if it was not known.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(slot) = self.slots.remove(id) else { return false };
        self.by_age.remove(&slot.tick);
        self.untold.shift_remove(id);
        true
    }

    /// At most `most` rows that changed since they were told, longest waiting first.
    pub(super) fn take_untold(&mut self, most: usize) -> Vec<EntityRow> {
        let count = most.min(self.untold.len());
        let ids: Vec<String> = self.untold.drain(..count).collect();
        ids.iter().filter_map(|id| self.slots.get(id)).map(|slot| slot.row.clone()).collect()
    }
}

fn bounded((name, item): (String, TypedValue)) -> (String, TypedValue) {
    let size = match &item.value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => item.value.to_string().len(),
        _ => 0,
    };
    if size <= LARGEST_VALUE {
        return (name, item);
    }
    (name, TypedValue { value: Value::String(format!("({size} bytes)")), ..item })
}
