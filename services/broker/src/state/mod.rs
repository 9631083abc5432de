//! The broker's state: what is committed, in memory, and the one task that commits.
//!
//! Readers see committed state only. A write is merged in memory by the [`committer`], made durable through the Store
//! seam together with whatever else is waiting, and only then shown, answered and published.

pub mod committer;
pub mod document;
mod gathering;
pub mod load;
pub mod merge;
mod places;
pub mod space;
mod staging;

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_ngsi::bounds::Bounds;
use fogflow_ngsi::{Entity, EntityKey, Tenant};
use fogflow_store::Sequence;
use foldhash::fast::RandomState;
use parking_lot::RwLock;

pub use space::{Reach, Record, Space};

/// How many records a scan takes before it lets writers through.
const SCAN_PAGE: usize = 1024;

/// The committed entities of all tenants.
#[derive(Debug, Default)]
pub struct State {
    spaces: RwLock<HashMap<Tenant, Space, RandomState>>,
}

impl State {
    /// The entity with this id; on any service path if `path` is `None`.
    #[must_use]
    pub fn get(&self, tenant: &Tenant, path: Option<&str>, id: &str) -> Option<Record> {
        self.spaces.read().get(tenant)?.get(path, id).cloned()
    }

    /// Whether [`get`](Self::get) finds it.
    #[must_use]
    pub fn has(&self, tenant: &Tenant, path: Option<&str>, id: &str) -> bool {
        self.spaces.read().get(tenant).is_some_and(|space| space.get(path, id).is_some())
    }

    /// The entity under this key.
    #[must_use]
    pub fn record(&self, key: &EntityKey) -> Option<Record> {
        self.get(&key.tenant, Some(&key.path), &key.id)
    }

    /// Every entity with this id, one per service path.
    #[must_use]
    pub fn with_id(&self, tenant: &Tenant, id: &str) -> Vec<Record> {
        self.spaces.read().get(tenant).map(|space| space.with_id(id).cloned().collect()).unwrap_or_default()
    }

    /// Visits the records of `reach` in a stable order, in pages between which writes may happen, until `visit` says stop.
    pub fn visit(&self, tenant: &Tenant, reach: &Reach, mut visit: impl FnMut(Record) -> bool) {
        let mut from = Some(0);
        while let Some(start) = from {
            let (records, next) = match self.spaces.read().get(tenant) {
                Some(space) => space.page(reach, start, SCAN_PAGE),
                None => return,
            };
            for record in records {
                if !visit(record) {
                    return;
                }
            }
            from = next;
        }
    }

    /// The part of `reach` where entities in one of the boxes are, if that is so much less that it is the quicker way to them.
    #[must_use]
    pub fn narrowed(&self, tenant: &Tenant, reach: &Reach, boxes: &[Bounds]) -> Option<Reach> {
        self.with_space(tenant, |space| space.narrowed(reach, boxes)).flatten().map(Reach::Slots)
    }

    /// Records of these ids as of one moment, and the last commit that they reflect.
    #[must_use]
    pub fn snapshot_ids<'a>(&self, tenant: &Tenant, ids: impl IntoIterator<Item = &'a str>) -> (Vec<Record>, Sequence) {
        let spaces = self.spaces.read();
        let Some(space) = spaces.get(tenant) else { return Default::default() };
        (ids.into_iter().flat_map(|id| space.with_id(id)).cloned().collect(), space.applied)
    }

    /// Gives `look` the space of a tenant, if there is one. Keep it short: writers wait.
    pub fn with_space<T>(&self, tenant: &Tenant, look: impl FnOnce(&Space) -> T) -> Option<T> {
        self.spaces.read().get(tenant).map(look)
    }

    /// The tenants that have or had entities.
    #[must_use]
    pub fn tenants(&self) -> Vec<Tenant> {
        self.spaces.read().keys().cloned().collect()
    }

    /// The number of entities of all tenants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spaces.read().values().map(Space::len).sum()
    }

    /// Whether there is no entity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows committed states; `None` removes.
    pub(crate) fn apply(&self, effects: impl IntoIterator<Item = (EntityKey, Option<Record>, Sequence)>) {
        let mut spaces = self.spaces.write();
        for (key, record, sequence) in effects {
            let space = match spaces.get_mut(&key.tenant) {
                Some(space) => space,
                None => spaces.entry(key.tenant).or_default(),
            };
            match record {
                Some(record) => space.put(record),
                None => space.remove(&key.path, &key.id, sequence),
            }
        }
    }
}

/// The key of a record in a tenant.
#[must_use]
pub fn key_of(tenant: &Tenant, record: &Record) -> EntityKey {
    EntityKey { tenant: tenant.clone(), path: record.path.clone(), id: record.entity.id.clone() }
}

/// An entity that can be shared.
pub type SharedEntity = Arc<Entity>;
