//! What goes through the seam: keys, writes, documents, outcomes, feed, leases and errors.

use bytes::Bytes;
use smol_str::SmolStr;

/// Position in the order of all commits of one store: 1 for the first, without gaps. 0 is before everything.
pub type Sequence = u64;

/// How often a key was written: 1 for the first write; it goes on counting over deletions. 0 means never written.
pub type Version = u64;

/// The key of a document. Ordered by collection, then tenant, then id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind of document, for example `entity` or `subscription`.
    pub collection: SmolStr,
    /// The tenant; empty for the default one and for what belongs to no tenant.
    pub tenant: SmolStr,
    /// The id within the collection.
    pub id: SmolStr,
}

/// The most bytes that collection, tenant and id of a key may have together. PostgreSQL's index rows set it.
pub const MAX_KEY_BYTES: usize = 2048;

/// The most bytes that one value may have.
pub const MAX_VALUE_BYTES: usize = 32 * 1024 * 1024;

impl Key {
    /// A key from its three parts.
    #[must_use]
    pub fn new(collection: impl Into<SmolStr>, tenant: impl Into<SmolStr>, id: impl Into<SmolStr>) -> Self {
        Key { collection: collection.into(), tenant: tenant.into(), id: id.into() }
    }
}

/// What a write demands of the state that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the write always applies.
    Any,
    /// That the document does not exist (never written, or deleted).
    Absent,
    /// That the last write of the key, deletion included, had this version.
    Version(Version),
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The document.
    pub key: Key,
    /// The condition.
    pub expect: Expect,
    /// The new value; `None` deletes and leaves a tombstone.
    pub value: Option<Bytes>,
}

/// A document as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The key.
    pub key: Key,
    /// Its version.
    pub version: Version,
    /// The sequence of the commit that wrote it.
    pub sequence: Sequence,
    /// The value; `None` for a tombstone (only in the feed and in [`Outcome::Conflict`]).
    pub value: Option<Bytes>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Committed {
        /// The key's new version.
        version: Version,
        /// Its place in the feed.
        sequence: Sequence,
    },
    /// Its condition did not hold; nothing of its group was written. Carries what stands there now, if anything does.
    Conflict(Option<Document>),
    /// Another write of the same atomic group met a conflict.
    GroupAborted,
}

/// Writes that are committed together: each independent one succeeds or conflicts alone, each group as a whole.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Groups in order; a group of one is an independent write. Later groups see the effects of earlier ones.
    pub groups: Vec<Vec<Write>>,
}

impl Batch {
    /// How many writes the batch has over all groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(Vec::is_empty)
    }

    /// Refuses what some engine could not hold: keys over [`MAX_KEY_BYTES`] or with a zero byte, values over
    /// [`MAX_VALUE_BYTES`].
    ///
    /// # Errors
    /// [`StoreError::Invalid`] naming the document.
    pub fn check(&self) -> Result<(), StoreError> {
        for Write { key, value, .. } in self.groups.iter().flatten() {
            let parts = [&key.collection, &key.tenant, &key.id];
            let length: usize = parts.iter().map(|part| part.len()).sum();
            if length > MAX_KEY_BYTES {
                return Err(StoreError::Invalid(format!("a key of {length} bytes in {}", key.collection)));
            }
            if parts.iter().any(|part| part.contains('\0')) {
                return Err(StoreError::Invalid(format!("a key with a zero byte: {key:?}")));
            }
            let length = value.as_ref().map_or(0, Bytes::len);
            if length > MAX_VALUE_BYTES {
                return Err(StoreError::Invalid(format!("a value of {length} bytes for {}", key.id)));
            }
        }
        Ok(())
    }

    /// A batch of one independent write.
    #[must_use]
    pub fn one(write: Write) -> Self {
        Batch { groups: vec![vec![write]] }
    }

    /// A batch of independent writes.
    #[must_use]
    pub fn independent(writes: impl IntoIterator<Item = Write>) -> Self {
        Batch { groups: writes.into_iter().map(|write| vec![write]).collect() }
    }

    /// A batch in which all writes apply or none does.
    #[must_use]
    pub fn atomic(writes: Vec<Write>) -> Self {
        Batch { groups: vec![writes] }
    }
}

/// A stretch of the change feed.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Changes in commit order, without gaps, beginning right after the asked position. Empty at the head.
    Changes(Vec<Document>),
    /// The asked position is older than the log: read the current state by [`Store::scan`], then go on from `resume`.
    Truncated {
        /// Where to go on after the scan; changes of the scan's time come again.
        resume: Sequence,
    },
}

/// A page of a scan.
#[derive(Clone, Debug)]
pub struct Page {
    /// Live documents in key order.
    pub documents: Vec<Document>,
    /// Whether more follow after the last one.
    pub more: bool,
}

/// A lease as granted, by the store's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it now.
    pub holder: String,
    /// Grows with each change of holder, also from a holder to itself after expiry.
    pub epoch: u64,
    /// Whether the asking holder has it.
    pub granted: bool,
}

/// Why a store call failed. No write of a failed call is applied later.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine cannot be reached or is shutting down; try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// There is no space left for writes; reads go on.
    #[error("the store has no space left")]
    Full,
    /// Another process has opened this store.
    #[error("the store at {0} is in use by another process")]
    InUse(String),
    /// A stored value cannot be read.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A key or value that no engine could hold (see [`Batch::check`]); asking again cannot help.
    #[error("the store cannot hold {0}")]
    Invalid(String),
}
