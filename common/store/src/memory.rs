//! A store in memory, for tests and for what need not survive its process.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::contract::Store;
use crate::evaluate::{Current, Staged, Standing};
use crate::leases::Leases;
use crate::model::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, StoreError};

/// The store in memory. Its change log keeps the newest `log_limit` changes.
pub struct MemoryStore {
    state: Mutex<State>,
    log_limit: usize,
    head: watch::Sender<Sequence>,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<Key, Document>,
    log: VecDeque<Document>,
    leases: Leases,
    head: Sequence,
    closed: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store whose log keeps 100 000 changes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_log_limit(100_000)
    }

    /// An empty store whose log keeps the given number of changes.
    #[must_use]
    pub fn with_log_limit(log_limit: usize) -> Self {
        MemoryStore { state: Mutex::default(), log_limit, head: watch::Sender::new(0) }
    }

    fn state(&self) -> Result<parking_lot::MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.closed { Err(StoreError::Unavailable("closed".to_owned())) } else { Ok(state) }
    }
}

impl Current for State {
    fn standing(&self, key: &Key) -> Result<Standing, StoreError> {
        let standing = |document: &Document| Standing { version: document.version, live: document.value.is_some() };
        Ok(self.documents.get(key).map(standing).unwrap_or_default())
    }

    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        Ok(self.documents.get(key).cloned())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.check()?;
        let mut state = self.state()?;
        let mut staged = Staged::after(state.head);
        let outcomes = staged.stage(batch, &*state)?;
        for document in staged.documents {
            state.head = document.sequence;
            state.log.push_back(document.clone());
            state.documents.insert(document.key.clone(), document);
        }
        while state.log.len() > self.log_limit {
            state.log.pop_front();
        }
        self.head.send_replace(state.head);
        Ok(outcomes)
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        Ok(self.state()?.documents.get(key).filter(|document| document.value.is_some()).cloned())
    }

    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        let state = self.state()?;
        let first = Key::new(collection, tenant.unwrap_or_default(), "");
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        let inside = |key: &Key| key.collection == collection && tenant.is_none_or(|tenant| key.tenant == tenant);
        let mut live = state
            .documents
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| inside(key))
            .filter(|(_, document)| document.value.is_some())
            .map(|(_, document)| document.clone());
        let documents: Vec<Document> = live.by_ref().take(limit).collect();
        let more = live.next().is_some();
        Ok(Page { documents, more })
    }

    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> = self.state()?.documents.keys().map(|key| key.collection.to_string()).collect();
        names.dedup();
        Ok(names)
    }

    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        let state = self.state()?;
        let oldest = state.log.front().map_or(state.head + 1, |document| document.sequence);
        if from + 1 < oldest {
            return Ok(Feed::Truncated { resume: state.head });
        }
        let skip = usize::try_from(from + 1 - oldest).unwrap_or(usize::MAX);
        Ok(Feed::Changes(state.log.iter().skip(skip).take(limit).cloned().collect()))
    }

    async fn head(&self) -> Result<Sequence, StoreError> {
        Ok(self.state()?.head)
    }

    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        Ok(self.state()?.leases.take(name, holder, ttl, Instant::now()).0)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.state()?.leases.release(name, holder, Instant::now());
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.state.lock().closed = true;
        Ok(())
    }
}
