//! The Store seam: versioned documents with compare-and-swap, an ordered change feed, and leases.
//!
//! Every engine obeys the contract written on [`Store`] and passes the same conformance suite. Engines hold no query
//! logic: indexes belong to the services, in memory. A service opens its own store and never another service's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::sync::watch;

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
}

/// The seam. Every method is safe to call concurrently.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Commits a batch and returns an outcome per write, in the order of the batch. When it returns `Ok`, every
    /// committed write is durable and in the feed; when it returns `Err`, none of the batch is applied, also not later.
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError>;

    /// The live document at a key.
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError>;

    /// Live documents of one collection over all tenants (`tenant: None`) or of one tenant, in key order, after `after`.
    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError>;

    /// Changes after `from`, at most `limit` of them.
    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError>;

    /// The sequence of the last commit.
    async fn head(&self) -> Result<Sequence, StoreError>;

    /// A hint that the head has moved, possibly by another replica. May lag; never the only way to learn of a change.
    fn head_hint(&self) -> watch::Receiver<Sequence>;

    /// Takes or renews a lease by the store's clock. A lease not renewed within `ttl` is free.
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError>;

    /// Gives a lease back, if `holder` has it.
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError>;

    /// Flushes what is buffered (`relaxed` durability) and closes; later calls fail with `Unavailable`.
    async fn close(&self) -> Result<(), StoreError>;
}

/// A store that can be shared.
pub type SharedStore = Arc<dyn Store>;
