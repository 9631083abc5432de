//! The embedded engine: one directory, one process, crash-safe.
//!
//! ```text
//! commit -> queue -> writer: evaluate, append one frame to the log, fdatasync once, publish, answer all
//!                                                    |                       |
//!                                         log/ (truth, change feed)     index (overlay) -> every 50 ms -> db/ (fjall)
//! ```
//!
//! The log is what is durable; fjall holds the documents by key and may be behind. At the start the changes that it
//! lacks are read from the log. A full disk therefore never leaves anything half-written: a frame is in the log as a
//! whole or not at all, and a transfer into fjall that failed is done again.

mod ahead;
mod frame;
mod index;
mod key;
mod log;
mod transfer;
mod versions;
mod writer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fogflow_background::Spawner;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use self::index::{Index, Stored};
use self::log::{Log, LogReader};
use self::transfer::Transfer;
use self::versions::Versions;
use self::writer::{Request, Writer};
use crate::contract::Store;
use crate::leases::Leases;
use crate::model::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, StoreError};
use crate::settings::Durability;

/// Commits that may wait for the writer; more wait in their callers.
const QUEUE: usize = 1024;

/// Sizes of an embedded store. The defaults are right for a node.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// When a commit is answered.
    pub durability: Durability,
    /// Bytes of change log that are kept at least; about one segment more is used. Default 256 MiB.
    pub feed_bytes: u64,
    /// Size of a log segment. Default 32 MiB.
    pub segment_bytes: u64,
    /// Free bytes on the disk below which commits are refused with [`StoreError::Full`], so that compaction can still
    /// work. Default 64 MiB.
    pub reserve_bytes: u64,
    /// Where its two threads are watched.
    pub spawner: Spawner,
}

impl EmbeddedOptions {
    /// The defaults with this durability.
    #[must_use]
    pub fn new(durability: Durability) -> Self {
        const MIB: u64 = 1024 * 1024;
        EmbeddedOptions { durability, feed_bytes: 256 * MIB, segment_bytes: 32 * MIB, reserve_bytes: 64 * MIB, spawner: Spawner::default() }
    }
}

/// The embedded store. Dropping it without [`close`](Store::close) waits for its threads, too.
pub struct EmbeddedStore {
    index: Arc<Index>,
    log: LogReader,
    versions: Arc<Versions>,
    leases: Arc<Mutex<Leases>>,
    head: watch::Receiver<Sequence>,
    running: Mutex<Option<Running>>,
}

/// What ends with the store.
struct Running {
    queue: mpsc::Sender<Request>,
    writer: JoinHandle<()>,
    stop_transfer: std_mpsc::Sender<()>,
    transfer: JoinHandle<()>,
    lock: File,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, which is created if need be.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when any process has it open, [`StoreError::Damaged`] when it cannot be read,
    /// [`StoreError::Full`] or [`StoreError::Unavailable`] when the operating system refuses.
    pub async fn open(dir: impl Into<PathBuf>, durability: Durability) -> Result<Self, StoreError> {
        Self::open_with(dir, EmbeddedOptions::new(durability)).await
    }

    /// [`open`](Self::open) with other sizes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(dir: impl Into<PathBuf>, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let dir = dir.into();
        blocking(move || Self::open_now(dir, options)).await
    }

    fn open_now(dir: PathBuf, options: EmbeddedOptions) -> Result<Self, StoreError> {
        fs::create_dir_all(&dir).map_err(io_error)?;
        let lock = lock(&dir)?;
        let (index, applied) = Index::open(dir.join("db"))?;
        let versions = Arc::new(Versions::default());
        let log = Log::open(&dir.join("log"), options.segment_bytes, applied, |change| {
            let mut bytes = Vec::new();
            key::encode(&change.key, &mut bytes);
            let key: Arc<[u8]> = Arc::from(bytes);
            let stored = Stored { version: change.version, sequence: change.sequence, value: change.value };
            versions.set(std::iter::once((&key[..], stored.standing())));
            index.insert(std::iter::once((key, stored)));
        })?;
        let leases = restore_leases(&index)?;
        let (index, reader) = (Arc::new(index), log.reader());
        let (head_sender, head) = watch::channel(reader.head());
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = Writer {
            log,
            index: Arc::clone(&index),
            versions: Arc::clone(&versions),
            head: head_sender,
            durability: options.durability,
            dir: dir.clone(),
            reserve_bytes: options.reserve_bytes,
        };
        let transfer = Transfer {
            index: Arc::clone(&index),
            log: reader.clone(),
            durability: options.durability,
            dir,
            feed_bytes: options.feed_bytes,
        };
        let (stop_transfer, stopped) = std_mpsc::channel();
        let transfer = options.spawner.thread("store transfer", move || transfer.run(stopped)).map_err(io_error)?;
        let writer = options.spawner.thread("store writer", move || writer.run(requests)).map_err(io_error)?;
        let running = Mutex::new(Some(Running { queue, writer, stop_transfer, transfer, lock }));
        Ok(EmbeddedStore { index, log: reader, versions, leases: Arc::new(Mutex::new(leases)), head, running })
    }

    fn queue(&self) -> Result<mpsc::Sender<Request>, StoreError> {
        self.running.lock().as_ref().map(|running| running.queue.clone()).ok_or_else(closed)
    }

    /// Runs a blocking read elsewhere, if the store is open.
    async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        self.queue()?;
        blocking(work).await
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(running) = self.running.get_mut().take() {
            running.end(&self.index);
        }
    }
}

impl Running {
    /// Lets the writer finish what is queued, then the transfer, then unlocks.
    fn end(self, index: &Index) {
        let Running { queue, writer, stop_transfer, transfer, lock } = self;
        drop(queue);
        let writer = writer.join();
        drop(stop_transfer);
        if writer.and(transfer.join()).is_err() {
            tracing::error!("a thread of the store had panicked");
        }
        index.close();
        if let Err(error) = lock.unlock() {
            tracing::warn!(%error, "cannot unlock the store");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.check()?;
        let (answer, outcome) = oneshot::channel();
        self.queue()?.send(Request { batch, answer }).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let (index, key) = (Arc::clone(&self.index), key.clone());
        self.read(move || {
            let mut bytes = Vec::with_capacity(128);
            key::encode(&key, &mut bytes);
            let stored = index.get(&bytes)?.filter(|stored| stored.value.is_some());
            Ok(stored.map(|stored| stored.into_document(key)))
        })
        .await
    }

    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        let (index, versions) = (Arc::clone(&self.index), Arc::clone(&self.versions));
        let prefix = key::prefix(collection, tenant);
        let after = after.map(|after| {
            let mut bytes = Vec::new();
            key::encode(after, &mut bytes);
            bytes
        });
        self.read(move || {
            let mut seen = Vec::new();
            let page = index.scan(&prefix, after.as_deref(), limit, |key, stored| {
                seen.push((versions.hash(key), stored.standing()));
            });
            versions.learn(&seen);
            page
        })
        .await
    }

    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        let index = Arc::clone(&self.index);
        self.read(move || index.collections()).await
    }

    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        let log = self.log.clone();
        self.read(move || log.feed(from, limit)).await
    }

    async fn head(&self) -> Result<Sequence, StoreError> {
        self.queue()?;
        Ok(*self.head.borrow())
    }

    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.head.clone()
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let (index, leases) = (Arc::clone(&self.index), Arc::clone(&self.leases));
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.read(move || {
            let mut leases = leases.lock();
            let before = leases.entry(&name).cloned();
            let (lease, changed) = leases.take(&name, &holder, ttl, Instant::now());
            if changed {
                let stored = StoredLease { holder: lease.holder.clone(), epoch: lease.epoch, ttl_ms: millis(ttl) };
                let put = serde_json::to_vec(&stored).map_err(|error| StoreError::Unavailable(error.to_string()));
                if let Err(error) = put.and_then(|bytes| index.put_lease(&name, &bytes)) {
                    leases.put_back(&name, before);
                    return Err(error);
                }
            }
            Ok(lease)
        })
        .await
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.queue()?;
        self.leases.lock().release(name, holder, Instant::now());
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(running) = self.running.lock().take() else { return Ok(()) };
        let index = Arc::clone(&self.index);
        blocking(move || {
            running.end(&index);
            Ok(())
        })
        .await
    }
}

/// A lease on disk. How much of its time has passed is not known after a restart, so it holds for its whole ttl again.
#[derive(Serialize, Deserialize)]
struct StoredLease {
    holder: String,
    epoch: u64,
    ttl_ms: u64,
}

fn restore_leases(index: &Index) -> Result<Leases, StoreError> {
    let mut leases = Leases::default();
    for (name, bytes) in index.leases()? {
        let stored: StoredLease = serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged(format!("lease {name}: {error}")))?;
        leases.restore(name, stored.holder, stored.epoch, Duration::from_millis(stored.ttl_ms), Instant::now());
    }
    Ok(leases)
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
}

fn free_bytes(dir: &Path) -> Option<u64> {
    rustix::fs::statvfs(dir).ok().map(|state| state.f_bavail.saturating_mul(state.f_frsize))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn io_error(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(error.to_string()),
    }
}

fn fjall_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(error) => io_error(error),
        fjall::Error::Locked => StoreError::InUse("db".to_owned()),
        fjall::Error::JournalRecovery(_) | fjall::Error::Unrecoverable | fjall::Error::InvalidVersion(_) => {
            StoreError::Damaged(error.to_string())
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
