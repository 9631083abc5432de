//! How far each subscription has got, kept durably so that a restart neither loses nor repeats much.
//!
//! One document says up to which commit everything was delivered, and for each subscription that is behind, how far it
//! is. It is written about once a second when it has changed: after a crash the last second may be delivered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fogflow_ngsi::{EntityKey, Tenant};
use fogflow_store::{Batch, Expect, Feed, Key, Sequence, SharedStore, StoreError, Write};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Notifier;
use crate::change::Change;
use crate::state::document::{ENTITIES, entity_key};
use crate::state::{Reach, State, key_of};
use crate::subscription::Subscription;

/// The collection of cursors: one document per process. They are positions in this store, and mean nothing in another.
pub const CURSORS: &str = "cursor";
/// Time between two writes.
const EVERY: Duration = Duration::from_secs(1);

/// The stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursors {
    /// Everything up to here has been delivered, except to those behind.
    pub head: Sequence,
    /// Tenant and id of each subscription that is behind, with how far it has got.
    #[serde(default)]
    pub behind: BTreeMap<SmolStr, BTreeMap<SmolStr, Sequence>>,
}

impl Cursors {
    /// How far a subscription has got that was stored at `stored`: a newer one has yet to get the present state.
    #[must_use]
    pub fn of(&self, tenant: &Tenant, id: &str, stored: Sequence) -> Option<Sequence> {
        if stored > self.head {
            return Some(0);
        }
        self.behind.get(&tenant.0)?.get(id).copied()
    }

    /// From where a subscription goes on when its slot comes over; `None` when it has yet to get the present state.
    #[must_use]
    pub fn start_of(&self, subscription: &Subscription, stored: Sequence) -> Option<Sequence> {
        let is_new = stored > self.head && (subscription.is_as_made() || subscription.internal);
        match is_new {
            true if subscription.skip_initial => Some(stored),
            true => None,
            false => {
                let behind = self.behind.get(&subscription.tenant.0).and_then(|of_tenant| of_tenant.get(&subscription.id));
                Some(behind.copied().unwrap_or(self.head))
            }
        }
    }
}

/// Where the cursors of a process or a slot lie.
#[must_use]
pub fn key(process: &str) -> Key {
    Key { collection: SmolStr::new_static(CURSORS), tenant: SmolStr::default(), id: process.into() }
}

/// Reads the cursors of a process.
///
/// # Errors
/// If the store cannot be read.
pub async fn load(store: &SharedStore, process: &str) -> Result<Option<Cursors>, StoreError> {
    let Some(document) = store.get(&key(process)).await? else { return Ok(None) };
    let value = document.value.unwrap_or_default();
    serde_json::from_slice(&value).map(Some).map_err(|error| StoreError::Damaged(format!("cursors: {error}")))
}

/// The present cursors.
#[must_use]
pub fn present(notifier: &Notifier) -> Cursors {
    of_slot(notifier, 0, notifier.published.load(Ordering::Acquire))
}

/// The present cursors of a slot, of which everything up to `head` has been matched.
#[must_use]
pub fn of_slot(notifier: &Notifier, slot: usize, head: Sequence) -> Cursors {
    of_slots(notifier, [slot], head).remove(&slot).unwrap_or_default()
}

/// The present cursors of slots, of which everything up to `head` has been matched.
#[must_use]
pub fn of_slots(notifier: &Notifier, slots: impl IntoIterator<Item = usize>, head: Sequence) -> BTreeMap<usize, Cursors> {
    let begin = |slot| (slot, Cursors { head, behind: BTreeMap::new() });
    let mut cursors: BTreeMap<usize, Cursors> = slots.into_iter().map(begin).collect();
    notifier.behind.each(head, |watch, cursor| {
        let Some(of_slot) = cursors.get_mut(&watch.payload.slot) else { return };
        let of_tenant = of_slot.behind.entry(watch.subscription.tenant.0.clone()).or_default();
        of_tenant.insert(watch.subscription.id.clone(), cursor);
    });
    cursors
}

/// Writes the cursors now and then, and once more when `stop` is done.
///
/// # Errors
/// Never; a failed write is tried again with the next one.
pub async fn keep(notifier: Arc<Notifier>, store: SharedStore, process: String, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(stop);
    let mut written = Cursors::default();
    let mut last = false;
    while !last {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = &mut stop => last = true,
        }
        let cursors = present(&notifier);
        if cursors == written {
            continue;
        }
        let value = serde_json::to_vec(&cursors)?;
        let write = Write { key: key(&process), expect: Expect::Any, value: Some(value.into()) };
        match store.commit(Batch::one(write)).await {
            Ok(_) => written = cursors,
            Err(error) => tracing::warn!(%error, "the cursors of the notifications are not stored"),
        }
    }
    Ok(())
}

/// The entities that changed after `from`, in their present state, as changes to publish again after a restart.
///
/// # Errors
/// If the store cannot be read.
pub async fn missed(store: &SharedStore, state: &State, from: Sequence) -> Result<Vec<Arc<Change>>, StoreError> {
    let mut keys: BTreeSet<EntityKey> = BTreeSet::new();
    let mut gone: BTreeMap<EntityKey, Sequence> = BTreeMap::new();
    let mut position = from;
    loop {
        match store.feed(position, 4096).await? {
            Feed::Changes(documents) if documents.is_empty() => break,
            Feed::Changes(documents) => {
                for document in documents {
                    position = document.sequence;
                    if document.key.collection == ENTITIES
                        && let Some(key) = entity_key(&document.key)
                    {
                        if document.value.is_none() {
                            gone.insert(key.clone(), document.sequence);
                        }
                        keys.insert(key);
                    }
                }
            }
            Feed::Truncated { .. } => {
                // The log does not reach back so far; deletions of that time are not told any more.
                for tenant in state.tenants() {
                    state.visit(&tenant, &Reach::All, |record| {
                        if record.sequence > from {
                            keys.insert(key_of(&tenant, &record));
                        }
                        true
                    });
                }
                break;
            }
        }
    }
    let mut changes: Vec<Arc<Change>> = Vec::with_capacity(keys.len());
    for key in keys {
        match (state.record(&key), gone.get(&key)) {
            (Some(record), _) => changes.push(Arc::new(Change::snapshot(key, record.entity, record.sequence))),
            (None, Some(sequence)) => {
                let mut change =
                    Change::snapshot(key.clone(), Arc::new(fogflow_ngsi::Entity::new(&key.id, None, Default::default())), *sequence);
                change.before = change.after.take();
                changes.push(Arc::new(change));
            }
            (None, None) => {}
        }
    }
    changes.sort_by_key(|change| change.sequence);
    Ok(changes)
}
