//! A store that fails when it is told to, and survives its broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_store::memory::MemoryStore;
use fogflow_store::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, Store, StoreError};
use tokio::sync::watch;

#[derive(Default)]
pub struct Faulty {
    pub inner: MemoryStore,
    /// Commits are refused for lack of space.
    pub full: AtomicBool,
    /// Commits, leases and questions for what is new fail.
    pub away: AtomicBool,
    /// How many commits of entities were asked for.
    pub commits: AtomicUsize,
    /// Leases take a while.
    pub slow: AtomicBool,
    /// Leases that are asked for at present, and the most at one time.
    leasing: AtomicUsize,
    pub leasing_most: AtomicUsize,
}

impl Faulty {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn there(&self) -> Result<(), StoreError> {
        if self.away.load(Ordering::SeqCst) { Err(StoreError::Unavailable("stopped for a test".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        if batch.groups.iter().flatten().any(|write| write.key.collection == "entity") {
            self.commits.fetch_add(1, Ordering::SeqCst);
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        self.there()?;
        self.inner.commit(batch).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.inner.get(key).await
    }

    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        self.inner.scan(tenant, collection, after, limit).await
    }

    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.inner.collections().await
    }

    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        self.there()?;
        self.inner.feed(from, limit).await
    }

    async fn head(&self) -> Result<Sequence, StoreError> {
        self.there()?;
        self.inner.head().await
    }

    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.inner.head_hint()
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.there()?;
        if self.slow.load(Ordering::SeqCst) {
            let now = self.leasing.fetch_add(1, Ordering::SeqCst) + 1;
            self.leasing_most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.leasing.fetch_sub(1, Ordering::SeqCst);
        }
        self.inner.lease(name, holder, ttl).await
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.inner.release(name, holder).await
    }

    /// It can be opened again, as files can.
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
