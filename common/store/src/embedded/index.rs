//! The documents by key: what is newer than the last transfer in an ordered map (the overlay), the rest in fjall.
//!
//! The log is the truth; the index may be behind it on disk, never in what it answers. Fjall gets the overlay in big
//! transfers together with the sequence that they reach to, so its own journal need not be synchronous, a hot key costs
//! one write per transfer, and a failed transfer is simply done again, on a reopened fjall if it must be.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::{Condvar, Mutex, RwLock};

use super::key;
use crate::evaluate::Standing;
use crate::model::{Document, Key, Page, Sequence, StoreError, Version};

const APPLIED: &str = "applied";
/// Bytes of fjall's journals after which it flushes; what is in them is replayed at the start.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Size of one of fjall's tables in memory. Its many small blocks lie among those of the service that uses the store, and
/// what they leave behind is reused but not given back: the smaller, the less memory a node keeps after many writes.
const TABLE_BYTES: u64 = 16 * 1024 * 1024;
const VALUE_START: usize = 17;

/// A document or tombstone without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) version: Version,
    pub(super) sequence: Sequence,
    pub(super) value: Option<Bytes>,
}

type Map = BTreeMap<Arc<[u8]>, Stored>;

/// Entries in key order, and the last key up to which they are complete if they were cut short.
type Slice = (Vec<(Arc<[u8]>, Stored)>, Option<Arc<[u8]>>);

/// Writes that fjall does not have yet.
#[derive(Default)]
struct Overlay {
    active: Map,
    active_bytes: usize,
    /// Being transferred; still answers reads until the transfer has succeeded.
    moving: Arc<Map>,
    moving_bytes: usize,
}

struct Tables {
    database: Database,
    documents: Keyspace,
    meta: Keyspace,
}

/// The index. One writer inserts, one thread transfers, any number of readers.
pub(super) struct Index {
    dir: PathBuf,
    overlay: RwLock<Overlay>,
    tables: RwLock<Option<Tables>>,
    /// Signalled when a transfer has made room; guards nothing but the waiting.
    room: (Mutex<()>, Condvar),
}

impl Index {
    /// Opens fjall in `dir` and returns the index with the sequence that it reaches to.
    pub(super) fn open(dir: PathBuf) -> Result<(Self, Sequence), StoreError> {
        let tables = Tables::open(&dir)?;
        let applied = tables.applied()?;
        let index = Index { dir, overlay: RwLock::default(), tables: RwLock::new(Some(tables)), room: Default::default() };
        Ok((index, applied))
    }

    /// Adds committed changes with their encoded keys.
    pub(super) fn insert(&self, changes: impl Iterator<Item = (Arc<[u8]>, Stored)>) {
        let mut overlay = self.overlay.write();
        for (key, stored) in changes {
            overlay.active_bytes += key.len() + stored.value.as_ref().map_or(0, Bytes::len) + 128;
            overlay.active.insert(key, stored);
        }
    }

    /// Bytes that wait for a transfer, roughly.
    pub(super) fn waiting_bytes(&self) -> usize {
        let overlay = self.overlay.read();
        overlay.active_bytes + overlay.moving_bytes
    }

    /// Waits until a transfer has made room, at most for `limit`.
    pub(super) fn wait_for_room(&self, limit: Duration) {
        let mut guard = self.room.0.lock();
        self.room.1.wait_for(&mut guard, limit);
    }

    /// What stands at an encoded key: document, tombstone, or nothing.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        {
            let overlay = self.overlay.read();
            if let Some(stored) = overlay.active.get(key).or_else(|| overlay.moving.get(key)) {
                return Ok(Some(stored.clone()));
            }
        }
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        tables.documents.get(key).map_err(super::fjall_error)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Live documents whose encoded keys begin with `prefix`, after `after`. `seen` hears of every document and
    /// tombstone that fjall had, for the cache of versions.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        mut seen: impl FnMut(&[u8], &Stored),
    ) -> Result<Page, StoreError> {
        let mut page = Page { documents: Vec::new(), more: false };
        let mut start = match after {
            Some(after) if after >= prefix => Bound::Excluded(Arc::from(after)),
            _ => Bound::Included(Arc::from(prefix)),
        };
        // The overlay is copied in parts of about the page's size; one part is enough unless it is full of tombstones.
        while let Some(end) = self.scan_part(prefix, &start, limit, &mut page, &mut seen)? {
            start = Bound::Excluded(end);
        }
        Ok(page)
    }

    /// Adds to the page until it is full and the next document is known to exist (`more`), or the range ends, or, with
    /// `Some`, up to the key to go on after.
    fn scan_part(
        &self,
        prefix: &[u8],
        start: &Bound<Arc<[u8]>>,
        limit: usize,
        page: &mut Page,
        seen: &mut impl FnMut(&[u8], &Stored),
    ) -> Result<Option<Arc<[u8]>>, StoreError> {
        let start = start.as_ref().map(|key| &key[..]);
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        // The snapshot is taken while the overlay is locked: a transfer cannot end in between and hide its documents.
        let (newer, horizon, snapshot) = {
            let overlay = self.overlay.read();
            let (newer, horizon) = overlay.slice(prefix, start, limit);
            (newer, horizon, tables.database.snapshot())
        };
        let mut newer = newer.into_iter().peekable();
        for entry in snapshot.range::<&[u8], _>(&tables.documents, (start, Bound::Unbounded)) {
            let (key, value) = entry.into_inner().map_err(super::fjall_error)?;
            if !key.starts_with(prefix) || horizon.as_ref().is_some_and(|horizon| key[..] > horizon[..]) {
                break;
            }
            while let Some((newer_key, stored)) = newer.next_if(|(newer_key, _)| newer_key[..] < key[..]) {
                if !add(page, limit, &newer_key, stored)? {
                    return Ok(None);
                }
            }
            let stored = match newer.next_if(|(newer_key, _)| newer_key[..] == key[..]) {
                Some((_, stored)) => stored,
                None => {
                    let stored = decode(&value)?;
                    seen(&key, &stored);
                    stored
                }
            };
            if !add(page, limit, &key, stored)? {
                return Ok(None);
            }
        }
        for (key, stored) in newer {
            if !add(page, limit, &key, stored)? {
                return Ok(None);
            }
        }
        Ok(horizon)
    }

    /// The collections in order, found by jumping from each to the next.
    pub(super) fn collections(&self) -> Result<Vec<String>, StoreError> {
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        let mut names = Vec::new();
        let mut from: Vec<u8> = Vec::new();
        loop {
            let range = (Bound::Included(&from[..]), Bound::Unbounded);
            let mut nearest = {
                let overlay = self.overlay.read();
                let first = |map: &Map| map.range::<[u8], _>(range).next().map(|(key, _)| Arc::clone(key));
                [first(&overlay.active), first(&overlay.moving)].into_iter().flatten().min()
            };
            if let Some(entry) = tables.documents.range::<&[u8], _>(range).next() {
                let key: Arc<[u8]> = Arc::from(&entry.key().map_err(super::fjall_error)?[..]);
                nearest = Some(nearest.map_or(Arc::clone(&key), |nearest| nearest.min(key)));
            }
            let Some(key) = nearest else { return Ok(names) };
            let name = key::decode(&key)?.collection.to_string();
            // All keys of a collection begin with its name and a zero byte.
            from = name.as_bytes().to_vec();
            from.push(1);
            names.push(name);
        }
    }

    /// Moves the overlay into fjall; false when there was nothing to move. On an error the overlay stays as it was.
    pub(super) fn transfer(&self) -> Result<bool, StoreError> {
        let moving = {
            let mut overlay = self.overlay.write();
            if overlay.moving.is_empty() {
                overlay.moving = Arc::new(std::mem::take(&mut overlay.active));
                overlay.moving_bytes = std::mem::take(&mut overlay.active_bytes);
            }
            Arc::clone(&overlay.moving)
        };
        if moving.is_empty() {
            return Ok(false);
        }
        {
            let tables = self.tables.read();
            tables.as_ref().ok_or_else(reopening)?.store(&moving)?;
        }
        {
            let mut overlay = self.overlay.write();
            overlay.moving = Arc::default();
            overlay.moving_bytes = 0;
        }
        self.room.1.notify_all();
        Ok(true)
    }

    /// Makes all transfers durable and returns the sequence that they reach to.
    pub(super) fn persist(&self) -> Result<Sequence, StoreError> {
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        let applied = tables.applied()?;
        tables.database.persist(PersistMode::SyncAll).map_err(super::fjall_error)?;
        Ok(applied)
    }

    /// Closes and opens fjall, after it has refused to go on ("poisoned").
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut tables = self.tables.write();
        *tables = None;
        *tables = Some(Tables::open(&self.dir)?);
        Ok(())
    }

    /// Closes fjall for good.
    pub(super) fn close(&self) {
        *self.tables.write() = None;
    }

    /// The stored leases: name and the bytes that [`put_lease`](Self::put_lease) got.
    pub(super) fn leases(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        let mut leases = Vec::new();
        for entry in tables.meta.prefix("lease/") {
            let (name, value) = entry.into_inner().map_err(super::fjall_error)?;
            let name = String::from_utf8_lossy(&name).trim_start_matches("lease/").to_owned();
            leases.push((name, value.to_vec()));
        }
        Ok(leases)
    }

    /// Stores a lease durably.
    pub(super) fn put_lease(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let tables = self.tables.read();
        let tables = tables.as_ref().ok_or_else(reopening)?;
        tables.meta.insert(format!("lease/{name}"), value).map_err(super::fjall_error)?;
        tables.database.persist(PersistMode::SyncData).map_err(super::fjall_error)
    }
}

impl Overlay {
    /// The overlay's entries in a range, newest per key, at most `limit + 1`. When that cut them short, also the last
    /// key up to which they are complete.
    fn slice(&self, prefix: &[u8], start: Bound<&[u8]>, limit: usize) -> Slice {
        let range = (start, Bound::Unbounded);
        let inside = |(key, _): &(&Arc<[u8]>, &Stored)| key.starts_with(prefix);
        let mut active = self.active.range::<[u8], _>(range).take_while(inside).peekable();
        let mut moving = self.moving.range::<[u8], _>(range).take_while(inside).peekable();
        let mut entries: Vec<(Arc<[u8]>, Stored)> = Vec::new();
        loop {
            let next = match (active.peek(), moving.peek()) {
                (None, None) => return (entries, None),
                (Some(_), None) => active.next(),
                (None, Some(_)) => moving.next(),
                (Some((left, _)), Some((right, _))) => {
                    if left > right {
                        moving.next()
                    } else {
                        if left == right {
                            moving.next();
                        }
                        active.next()
                    }
                }
            };
            let Some((key, stored)) = next else { return (entries, None) };
            if entries.len() > limit {
                let horizon = entries.last().map(|(key, _)| Arc::clone(key));
                return (entries, horizon);
            }
            entries.push((Arc::clone(key), stored.clone()));
        }
    }
}

impl Tables {
    fn open(dir: &std::path::Path) -> Result<Self, StoreError> {
        // Durability is the log's business: fjall's journal is flushed to the system once per transfer.
        let builder = Database::builder(dir).manual_journal_persist(true).max_journaling_size(JOURNAL_BYTES);
        let database = builder.open().map_err(super::fjall_error)?;
        let options = || KeyspaceCreateOptions::default().manual_journal_persist(true).max_memtable_size(TABLE_BYTES);
        let documents = database.keyspace("documents", options).map_err(super::fjall_error)?;
        let meta = database.keyspace("meta", options).map_err(super::fjall_error)?;
        Ok(Tables { database, documents, meta })
    }

    fn applied(&self) -> Result<Sequence, StoreError> {
        let bytes = self.meta.get(APPLIED).map_err(super::fjall_error)?;
        Ok(bytes.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes))
    }

    /// Stores entries and the sequence that they reach to.
    fn store(&self, entries: &Map) -> Result<(), StoreError> {
        let mut left = entries.len();
        let mut last = 0;
        let mut entries = entries.iter();
        while left > 0 {
            let mut batch = self.database.batch();
            for (key, stored) in entries.by_ref().take(4096) {
                left -= 1;
                last = last.max(stored.sequence);
                batch.insert(&self.documents, &key[..], encode(stored));
            }
            if left == 0 {
                // Only the last part says that all of them are there.
                batch.insert(&self.meta, APPLIED, last.to_le_bytes());
                batch = batch.durability(Some(PersistMode::Buffer));
            }
            batch.commit().map_err(super::fjall_error)?;
        }
        Ok(())
    }
}

impl Stored {
    /// How its key stands.
    pub(super) fn standing(&self) -> Standing {
        Standing { version: self.version, live: self.value.is_some() }
    }

    pub(super) fn into_document(self, key: Key) -> Document {
        Document { key, version: self.version, sequence: self.sequence, value: self.value }
    }
}

/// Adds a live document to a page; false when the page was full already, so that there is more.
fn add(page: &mut Page, limit: usize, key: &[u8], stored: Stored) -> Result<bool, StoreError> {
    if stored.value.is_none() {
        return Ok(true);
    }
    if page.documents.len() >= limit {
        page.more = true;
        return Ok(false);
    }
    page.documents.push(stored.into_document(key::decode(key)?));
    Ok(true)
}

/// Version u64, sequence u64 (little-endian), kind u8 (0 tombstone, 1 value), value.
fn encode(stored: &Stored) -> Vec<u8> {
    let value = stored.value.as_deref().unwrap_or_default();
    let mut bytes = Vec::with_capacity(VALUE_START + value.len());
    bytes.extend_from_slice(&stored.version.to_le_bytes());
    bytes.extend_from_slice(&stored.sequence.to_le_bytes());
    bytes.push(u8::from(stored.value.is_some()));
    bytes.extend_from_slice(value);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Stored, StoreError> {
    let damaged = || StoreError::Damaged("a document cannot be decoded".to_owned());
    let (head, value) = bytes.split_at_checked(VALUE_START).ok_or_else(damaged)?;
    let version = u64::from_le_bytes(head[..8].try_into().map_err(|_| damaged())?);
    let sequence = u64::from_le_bytes(head[8..16].try_into().map_err(|_| damaged())?);
    Ok(Stored { version, sequence, value: (head[16] == 1).then(|| Bytes::copy_from_slice(value)) })
}

fn reopening() -> StoreError {
    StoreError::Unavailable("the document files are closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    fn entries(sequence: Sequence, count: u64) -> impl Iterator<Item = (Arc<[u8]>, Stored)> {
        (0..count).map(move |number| {
            let mut key = Vec::new();
            key::encode(&Key::new("entity", "", format!("{number:05}")), &mut key);
            let value = Some(Bytes::from(format!("{sequence} {}", "x".repeat(4000))));
            (Arc::from(key), Stored { version: 1, sequence: sequence + number, value })
        })
    }

    #[test]
    fn fjall_on_a_full_disk_answers_reads_and_is_brought_back_when_space_returns() {
        let mount = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(mount.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            return fogflow_tests::skip("fjall_on_a_full_disk", "mounting a small file system needs root");
        }
        let (index, applied) = Index::open(mount.path().join("db")).unwrap();
        assert_eq!(applied, 0);
        index.insert(entries(1, 1000));
        assert!(index.transfer().unwrap());
        // Not a byte is free, and what follows needs 8 MB.
        let ballast = mount.path().join("ballast");
        let mut block = vec![7; 1 << 20];
        while !block.is_empty() {
            let written = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&ballast)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &block));
            if written.is_err() {
                block.truncate(block.len() / 2);
            }
        }
        index.insert(entries(1001, 2000));
        assert!(matches!(index.transfer(), Err(StoreError::Full | StoreError::Unavailable(_))));
        assert!(index.transfer().is_err(), "fjall does not recover by itself");
        let check = |index: &Index| {
            let page = index.scan(b"entity\0", None, 5000, |_, _| {}).unwrap();
            assert_eq!(page.documents.len(), 2000);
            assert!(page.documents.iter().all(|document| document.sequence > 1000));
        };
        check(&index);
        fs::remove_file(&ballast).unwrap();
        index.reopen().unwrap();
        assert!(index.transfer().unwrap());
        check(&index);
        assert_eq!(index.persist().unwrap(), 3000);
        index.close();
        let (index, applied) = Index::open(mount.path().join("db")).unwrap();
        assert_eq!(applied, 3000);
        check(&index);
        index.close();
        let _ = Command::new("umount").arg("--lazy").arg(mount.path()).status();
    }
}
