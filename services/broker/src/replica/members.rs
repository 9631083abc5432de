//! Which replicas are alive, as far as this one sees: each writes a document about once a second, which the others find
//! in the log. This only balances; that two never serve one slot is ensured by the leases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fogflow_store::{Expect, Key, Write};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use tokio::sync::Notify;

/// The collection of these documents, one per replica.
pub const REPLICAS: &str = "replica";
/// After this time without a sign a replica counts as dead.
const DEAD: Duration = Duration::from_millis(2500);
/// After this time the document of a dead replica is removed.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The slots that the replica serves.
    pub slots: Vec<usize>,
    /// Counts the signs, so that each is another value.
    pub count: u64,
}

/// What this replica knows of all, itself included.
#[derive(Debug, Default)]
pub struct Members {
    seen: Mutex<BTreeMap<SmolStr, (Instant, Beat)>>,
    changed: Notify,
}

/// Those that are alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// Place of this replica among them, and how many they are.
    pub rank: usize,
    /// How many, this one included.
    pub count: usize,
    /// The slots that one of the others serves.
    pub taken: Vec<usize>,
}

impl Members {
    /// Takes in a sign of life, or that a replica has left.
    pub fn saw(&self, id: &str, value: Option<&[u8]>) {
        let beat = value.and_then(|value| serde_json::from_slice::<Beat>(value).ok());
        let mut seen = self.seen.lock();
        let changed = match beat {
            Some(beat) => {
                let slots = beat.slots.clone();
                seen.insert(id.into(), (Instant::now(), beat)).is_none_or(|(_, old)| old.slots != slots)
            }
            None => seen.remove(id).is_some(),
        };
        drop(seen);
        if changed {
            self.changed.notify_one();
        }
    }

    /// Returns when a replica has come or left, or serves other slots.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Who is alive now, in the eyes of the replica `me`.
    #[must_use]
    pub fn alive(&self, me: &str) -> Alive {
        let seen = self.seen.lock();
        let alive = seen.iter().filter(|(id, (when, _))| id.as_str() != me && when.elapsed() < DEAD);
        let mut result = Alive { count: 1, ..Alive::default() };
        for (id, (_, beat)) in alive {
            result.count += 1;
            result.rank += usize::from(id.as_str() < me);
            result.taken.extend(&beat.slots);
        }
        result
    }

    /// The write of a sign of life; of the last one with `None`.
    #[must_use]
    pub fn sign(me: &str, beat: Option<&Beat>) -> Write {
        let value = beat.and_then(|beat| serde_json::to_vec(beat).ok()).map(Into::into);
        Write { key: Key::new(REPLICAS, "", me), expect: Expect::Any, value }
    }

    /// The writes that remove the documents of replicas that ended without a word.
    #[must_use]
    pub fn cleaning(&self) -> Vec<Write> {
        let seen = self.seen.lock();
        let dead = seen.iter().filter(|(_, (when, _))| when.elapsed() > FORGOTTEN);
        dead.map(|(id, _)| Members::sign(id, None)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_knows_its_place_among_those_alive() {
        let members = Members::default();
        let beat = |slots: &[usize]| serde_json::to_vec(&Beat { slots: slots.to_vec(), count: 1 }).unwrap();
        members.saw("a", Some(&beat(&[1, 2])));
        members.saw("c", Some(&beat(&[3])));
        assert_eq!(members.alive("b"), Alive { rank: 1, count: 3, taken: vec![1, 2, 3] });
        members.saw("a", None);
        assert_eq!(members.alive("b"), Alive { rank: 0, count: 2, taken: vec![3] });
        assert_eq!(members.alive("c"), Alive { rank: 0, count: 1, taken: vec![] });
    }
}
