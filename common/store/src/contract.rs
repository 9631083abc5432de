//! The trait that every engine implements. What it promises is tested by the conformance suite (`tests/conformance.rs`).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, StoreError};

/// The seam. Every method is safe to call concurrently.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Commits a batch and returns an outcome per write, in the order of the batch. When it returns `Ok`, every
    /// committed write is durable and in the feed; when it returns `Err`, none of the batch is applied, also not later.
    /// (One case no store can settle: the connection to a server breaks in the moment of the commit and the server cannot
    /// be asked again within 5 s. Then the batch may have been applied before the error was returned, but not after.)
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError>;

    /// The live document at a key.
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError>;

    /// Live documents of one collection over all tenants (`tenant: None`) or of one tenant, in key order, after `after`.
    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError>;

    /// The collections that have, or had, documents, in order. For backups.
    async fn collections(&self) -> Result<Vec<String>, StoreError>;

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
