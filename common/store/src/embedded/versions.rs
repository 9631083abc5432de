//! The versions of the keys that were written or scanned since the start, so that conditions are checked without reading.
//!
//! A key is known by a hash of 128 bits under a seed of this process: with millions of documents the keys themselves would
//! cost more than all the rest. Two keys that meet are as likely as a memory error that nobody notices: with 10^9 keys
//! about 10^-21.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::evaluate::Standing;
use crate::model::Version;

/// See the module. 24 bytes an entry.
pub(super) struct Versions {
    seed: u64,
    table: Mutex<HashTable<Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    key: KeyHash,
    /// The version shifted left by one; the lowest bit says whether the document is live. Versions count the writes of one
    /// key and stay far below 2^63.
    standing: u64,
}

/// The two halves of a key's hash; the first one places it in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash(u64, u64);

impl Versions {
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = xxh3_128_with_seed(key, self.seed);
        KeyHash(hash as u64, (hash >> 64) as u64)
    }

    /// How an encoded key stands, if that is known.
    pub(super) fn get(&self, key: &[u8]) -> Option<Standing> {
        let hash = self.hash(key);
        self.table.lock().find(hash.0, |known| known.key == hash).map(|known| known.standing())
    }

    /// Learns what a scan met. The writer is always right, so what it knows already stays.
    pub(super) fn learn(&self, scanned: &[(KeyHash, Standing)]) {
        let mut table = self.table.lock();
        for (key, standing) in scanned {
            if table.find(key.0, |known| known.key == *key).is_none() {
                table.insert_unique(key.0, Known::new(*key, *standing), |known| known.key.0);
            }
        }
    }

    /// Takes note of committed writes.
    pub(super) fn set<'a>(&self, written: impl Iterator<Item = (&'a [u8], Standing)>) {
        let mut table = self.table.lock();
        for (key, standing) in written {
            let key = self.hash(key);
            let known = Known::new(key, standing);
            match table.find_mut(key.0, |known| known.key == key) {
                Some(place) => *place = known,
                None => {
                    table.insert_unique(key.0, known, |known| known.key.0);
                }
            }
        }
    }
}

impl Default for Versions {
    fn default() -> Self {
        // The standard library's way to random numbers that needs no further crate.
        Versions { seed: RandomState::new().hash_one(0), table: Mutex::default() }
    }
}

impl Known {
    fn new(key: KeyHash, Standing { version, live }: Standing) -> Self {
        Known { key, standing: version << 1 | u64::from(live) }
    }

    fn standing(self) -> Standing {
        let version: Version = self.standing >> 1;
        Standing { version, live: self.standing & 1 == 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_knows_wins_over_what_a_scan_met() {
        let versions = Versions::default();
        let standing = |version, live| Standing { version, live };
        assert_eq!(versions.get(b"a"), None);
        versions.set([(&b"a"[..], standing(7, false))].into_iter());
        versions.learn(&[(versions.hash(b"a"), standing(6, true)), (versions.hash(b"b"), standing(1, true))]);
        assert_eq!(versions.get(b"a"), Some(standing(7, false)));
        assert_eq!(versions.get(b"b"), Some(standing(1, true)));
        versions.set([(&b"b"[..], standing(2, true))].into_iter());
        assert_eq!(versions.get(b"b"), Some(standing(2, true)));
    }
}
