//! The Dgraph engine: upstream's registry database, for the designer's registry. Over HTTP; see [`http`].
//!
//! A commit is one transaction: it reads the counter node and the documents, evaluates, and writes documents, changes and
//! the new counter. All commits write the counter, so of two at the same time Dgraph aborts one (409), which tries again;
//! sequences are in commit order and without gaps. When no answer comes, the next transaction looks whether the change is
//! there, and if not, writes the counter itself, which aborts a transaction that comes too late.
//!
//! The server has no clock function; leases use the `Date` of its answers, which counts seconds, so a lease ends up to two
//! seconds after its time, never before it.

mod http;
mod inner;
mod leases;
mod nodes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_background::Spawner;
use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use self::http::{Failure, Http};
use self::inner::Inner;
use self::nodes::{Names, encode, first_number, range, read};
use crate::contract::Store;
use crate::model::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, StoreError};

/// Time within which a commit is answered; design 12.3.
const LIMIT: Duration = Duration::from_secs(5);
/// How long opening waits for the server.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// Sizes of a Dgraph store.
#[derive(Clone, Debug)]
pub struct DgraphOptions {
    /// Changes that the log keeps at least. Default 100 000.
    pub log_keep: u64,
    /// Where its task is watched.
    pub spawner: Spawner,
}

impl Default for DgraphOptions {
    fn default() -> Self {
        DgraphOptions { log_keep: 100_000, spawner: Spawner::default() }
    }
}

/// The store in Dgraph.
pub struct DgraphStore {
    inner: Arc<Inner>,
    stop: CancellationToken,
}

impl DgraphStore {
    /// Opens a service's store at the HTTP address of an alpha, waits up to 60 s for it, and adds the schema.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is wrong or the server refuses or does not come.
    pub async fn open(url: &str, service: &str) -> Result<Self, StoreError> {
        Self::open_with(url, service, DgraphOptions::default()).await
    }

    /// [`open`](Self::open) with other sizes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, service: &str, options: DgraphOptions) -> Result<Self, StoreError> {
        let inner = Inner {
            http: Http::new(url)?,
            names: Names::new(service),
            head: watch::Sender::new(0),
            turn: Mutex::default(),
            closed: AtomicBool::new(false),
            log_keep: options.log_keep,
        };
        let start = Instant::now();
        while let Err(failure) = inner.prepare().await {
            // A cluster that is starting refuses, too.
            let error = StoreError::from(failure);
            if start.elapsed() > OPEN_LIMIT {
                return Err(error);
            }
            tracing::warn!(%error, "waiting for Dgraph");
            sleep(Duration::from_millis(500)).await;
        }
        let (inner, stop) = (Arc::new(inner), CancellationToken::new());
        options.spawner.spawn("store watcher", {
            let (inner, stop) = (Arc::clone(&inner), stop.clone());
            async move {
                stop.run_until_cancelled(inner.follow()).await;
                Ok(())
            }
        });
        Ok(DgraphStore { inner, stop })
    }

    fn open_inner(&self) -> Result<&Inner, StoreError> {
        if self.inner.closed.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("the store is closed".to_owned()))
        } else {
            Ok(&self.inner)
        }
    }
}

impl Drop for DgraphStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Store for DgraphStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.check()?;
        let inner = self.open_inner()?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + LIMIT;
        let late = || StoreError::Unavailable(format!("Dgraph did not commit within {LIMIT:?}"));
        let _turn = timeout_at(deadline, inner.turn.lock()).await.map_err(|_| late())?;
        let mut pause = Duration::from_millis(5);
        loop {
            let writer = uuid::Uuid::new_v4().to_string();
            match timeout_at(deadline, inner.attempt(&batch, &writer)).await.map_err(|_| late())? {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failure::Refused(error)) => return Err(error),
                Err(failure) if Instant::now() + pause >= deadline => return Err(failure.into()),
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(300));
        }
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let inner = self.open_inner()?;
        let query = format!(
            "query q($key: string) {{ documents(func: eq({}, $key)) {{ {} }} }}",
            inner.names.of("key"),
            inner.names.document_fields()
        );
        let answer = inner.http.query(&query, &[("$key", encode(key))]).await?;
        let found = answer.data["documents"].as_array().and_then(|nodes| nodes.first()).map(read).transpose()?;
        Ok(found.filter(|document| document.value.is_some()))
    }

    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        let inner = self.open_inner()?;
        let (begin, to) = range(collection, tenant);
        let after = after.map(encode).filter(|after| *after >= begin);
        let from = after.as_deref().unwrap_or(&begin);
        let mut documents = inner.page(from, after.is_none(), &to, true, limit.saturating_add(1)).await?;
        let more = documents.len() > limit;
        documents.truncate(limit);
        Ok(Page { documents, more })
    }

    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        let inner = self.open_inner()?;
        let (mut names, mut from) = (Vec::new(), "\u{1}".to_owned());
        loop {
            let Some(next) = inner.page(&from, true, "\u{10FFFF}", false, 1).await?.pop() else { return Ok(names) };
            let name = next.key.collection.to_string();
            from = range(&name, None).1;
            names.push(name);
        }
    }

    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        let inner = self.open_inner()?;
        let of = |name| inner.names.of(name);
        let query = format!(
            "{{ {} changes(func: gt({change}, {from}), orderasc: {change}, first: {limit}) {{
                sequence: {change} key: {} version: {} live: {} value: {} }} }}",
            inner.state_block(),
            of("changed"),
            of("version"),
            of("live"),
            of("value"),
            change = of("change"),
            limit = limit.min(inner::PAGE_LIMIT)
        );
        let answer = inner.http.query(&query, &[]).await?;
        if from < first_number(answer.data.get("state"), "log_from") {
            return Ok(Feed::Truncated { resume: first_number(answer.data.get("state"), "head") });
        }
        Ok(Feed::Changes(answer.data["changes"].as_array().into_iter().flatten().map(read).collect::<Result<_, _>>()?))
    }

    async fn head(&self) -> Result<Sequence, StoreError> {
        let inner = self.open_inner()?;
        let answer = inner.http.query(&format!("{{ {} }}", inner.state_block()), &[]).await?;
        Ok(first_number(answer.data.get("state"), "head"))
    }

    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.inner.head.subscribe()
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let inner = self.open_inner()?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let failure = match inner.take_lease(name, holder, ttl).await {
                Ok(lease) => return Ok(lease),
                Err(failure) => failure,
            };
            if !matches!(failure, Failure::Aborted) || Instant::now() >= deadline {
                return Err(failure.into());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let inner = self.open_inner()?;
        let answer = inner.find_lease(name).await?;
        let lease = &answer.data["lease"][0];
        if lease["holder"].as_str() != Some(holder) {
            return Ok(());
        }
        let node = json!({ "uid": lease["uid"], inner.names.of("until"): 0 });
        match inner.http.commit(answer.start_ts, &[node], &[]).await {
            // Whoever was first has changed the lease, so it is not this holder's any more, or renewed by it.
            Ok(()) | Err(Failure::Aborted) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.stop.cancel();
        // A commit that has begun is answered first.
        drop(self.inner.turn.lock().await);
        Ok(())
    }
}
