//! The newest state of the entities that the cloud broker tells about: a bounded table with a queue of what is to be told.

use std::collections::{BTreeMap, HashMap};

use indexmap::{IndexMap, IndexSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::ToldEntity;
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct EntityRow {
    /// Entity id.
    pub id: String,
    /// Entity type.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// Attributes by name.
    #[schemars(with = "BTreeMap<String, TypedValue>")]
    pub attributes: Attributes,
    /// Domain metadata by name.
    #[schemars(with = "BTreeMap<String, TypedValue>")]
    pub metadata: Attributes,
    /// RFC 3339 time of its last notification.
    pub updated: String,
    /// Notifications since the designer knows it.
    pub updates: u64,
}

impl EntityRow {
    /// The row after a notification. Attributes that it does not carry stay.
    pub(super) fn told(mut self, id: &str, news: &ToldEntity) -> Self {
        id.clone_into(&mut self.id);
        if !news.entity_type.is_empty() {
            news.entity_type.clone_into(&mut self.entity_type);
        }
        self.attributes.extend(news.attributes.clone().into_iter().map(bounded));
        self.metadata.extend(news.metadata.clone().into_iter().map(bounded));
        self.updated = super::now();
        self.updates += 1;
        self
    }
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

    /// The ids of all rows.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.slots.keys()
    }

    /// The rows that have to go, longest without a change first, when this many come.
    pub(super) fn surplus(&self, come: usize) -> impl Iterator<Item = &String> {
        self.by_age.values().take((self.slots.len() + come).saturating_sub(KEPT))
    }

    /// Takes over a row.
    pub(super) fn put(&mut self, row: EntityRow) {
        self.tick += 1;
        let (tick, id) = (self.tick, row.id.clone());
        if let Some(slot) = self.slots.insert(id.clone(), Slot { row, tick }) {
            self.by_age.remove(&slot.tick);
        }
        self.by_age.insert(tick, id.clone());
        self.untold.insert(id);
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
