//! The registry: everything the designer stores, as one value in memory that follows the store.
//!
//! A write is a function from a draft of the contents to a new one. Its changes and the messages that announce them are
//! committed as one atomic group, conditional on the versions that the function saw; if another replica was first, the
//! registry catches up and the function runs again. Readers get a snapshot and hold no lock.

mod contents;
mod draft;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogflow_store::{Batch, Document, Feed, Outcome, Sequence, SharedStore, StoreError, Write};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify, watch};

pub(crate) use contents::{Contents, Entry, Shelf};
pub(crate) use draft::{Action, Draft};

use crate::error::{ApiError, ApiResult};
use crate::records::{OutgoingMessage, Record};

/// How often a write is tried again after another replica was first.
const ATTEMPTS: usize = 20;
/// How many documents are read at once.
const PAGE: usize = 512;

/// One document that changed, as told to the observer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The collection.
    pub collection: String,
    /// The id in it.
    pub id: String,
    /// Whether it is gone.
    pub removed: bool,
}

/// Collections whose names begin so belong to the live picture: they follow the same feed and are not kept here.
pub(crate) const LIVE: &str = "live-";

/// What the store says of the live picture's collections.
pub(crate) enum LiveNews<'a> {
    /// These documents changed, in this order.
    Changed(&'a [Document]),
    /// These are all that there are.
    Whole(&'a [Document]),
}

/// Takes what changed in the registry and the generation after it.
type RegistryObserver = dyn Fn(&[Changed], Sequence) + Send + Sync;

/// Who is told of changes. Must not block.
#[derive(Clone)]
pub(crate) struct Observers {
    /// Is told what changed in the registry, and the generation after it.
    pub registry: Arc<RegistryObserver>,
    /// Is told what changed in the live picture's collections.
    pub live: Arc<dyn Fn(&LiveNews<'_>) + Send + Sync>,
    /// The live picture's collections; none where no other replica can write them.
    pub live_collections: &'static [&'static str],
}

/// See the module.
pub(crate) struct Registry {
    store: SharedStore,
    contents: RwLock<Arc<Contents>>,
    /// Held over a write or a step along the feed; guards the position in the feed.
    position: Mutex<Sequence>,
    generation: watch::Sender<Sequence>,
    outbox_filled: Notify,
    broker_work: Notify,
    observers: Observers,
    /// How many readers have asked to see the newest state, and how many of them may by now.
    asked: AtomicU64,
    answered: AtomicU64,
}

impl Registry {
    /// Reads everything from the store. `observers` are told of each change afterwards.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) async fn open(store: SharedStore, observers: Observers) -> Result<Self, StoreError> {
        let head = store.head().await?;
        let contents = load(&store).await?;
        (observers.live)(&LiveNews::Whole(&load_live(&store, &observers).await?));
        Ok(Registry {
            store,
            contents: RwLock::new(Arc::new(contents)),
            position: Mutex::new(head),
            generation: watch::Sender::new(head),
            outbox_filled: Notify::new(),
            broker_work: Notify::new(),
            observers,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        })
    }

    /// The contents as they stand.
    pub(crate) fn read(&self) -> Arc<Contents> {
        Arc::clone(&self.contents.read())
    }

    /// Grows with each change of what a plan needs (operators, topologies, intents, functions), also over restarts.
    pub(crate) fn generation(&self) -> Sequence {
        *self.generation.borrow()
    }

    /// The store, for leases.
    pub(crate) fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Returns after something was put into the outbox.
    pub(crate) async fn outbox_filled(&self) {
        self.outbox_filled.notified().await;
    }

    /// Returns after devices, forwarded subscriptions or removals changed.
    pub(crate) async fn broker_work(&self) {
        self.broker_work.notified().await;
    }

    /// Applies `edit` to the contents. When it returns `Ok`, everything that `edit` put is durable.
    ///
    /// # Errors
    /// Whatever `edit` refuses; 503 or 507 when the store cannot take the write; 409 when others keep being first.
    pub(crate) async fn write<T>(&self, edit: impl Fn(&mut Draft) -> ApiResult<T>) -> ApiResult<T> {
        let mut position = self.position.lock().await;
        for _ in 0..ATTEMPTS {
            let mut draft = Draft::new(Contents::clone(&self.read()));
            let result = edit(&mut draft)?;
            let writes = draft.into_writes()?;
            if writes.is_empty() {
                return Ok(result);
            }
            let outcomes = self.store.commit(Batch::atomic(writes.clone())).await?;
            let committed = committed(writes, outcomes);
            if committed.is_empty() {
                self.catch_up(&mut position).await?;
            } else {
                self.apply(&committed);
                return Ok(result);
            }
        }
        Err(ApiError::conflict("it is being changed by others at the same time; try again"))
    }

    /// Commits documents of the live picture and tells its observer, in step with the feed. `plan` is called when all
    /// that was committed before is told, and again when another replica was first.
    ///
    /// # Errors
    /// Whatever `plan` refuses; 503 or 507 when the store cannot take the write; 409 when others keep being first.
    pub(crate) async fn write_live(&self, plan: impl Fn() -> ApiResult<Vec<Write>>) -> ApiResult<()> {
        let mut position = self.position.lock().await;
        for _ in 0..ATTEMPTS {
            self.catch_up(&mut position).await?;
            let writes = plan()?;
            if writes.is_empty() {
                return Ok(());
            }
            let outcomes = self.store.commit(Batch::atomic(writes)).await?;
            if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })) {
                // Through the feed, as for every other replica, so that all see the same order.
                return Ok(self.catch_up(&mut position).await?);
            }
        }
        Err(ApiError::conflict("it is being changed by others at the same time; try again"))
    }

    /// Waits until everything is seen that was committed before the call, by whichever replica. Calls that arrive together
    /// share one question to the store.
    ///
    /// # Errors
    /// If the store cannot be asked.
    pub(crate) async fn fresh(&self) -> Result<(), StoreError> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut position = self.position.lock().await;
        if self.answered.load(Ordering::SeqCst) >= ticket {
            return Ok(());
        }
        let covered = self.asked.load(Ordering::SeqCst);
        self.catch_up(&mut position).await?;
        self.answered.store(covered, Ordering::SeqCst);
        Ok(())
    }

    /// Follows the changes of other replicas until the store is closed.
    ///
    /// # Errors
    /// If the store cannot be read; the caller starts it again.
    pub(crate) async fn follow(&self) -> anyhow::Result<()> {
        let mut hint = self.store.head_hint();
        loop {
            {
                let mut position = self.position.lock().await;
                self.catch_up(&mut position).await?;
            }
            if let Ok(Err(_)) = tokio::time::timeout(Duration::from_secs(1), hint.changed()).await {
                anyhow::bail!("the store was closed");
            }
        }
    }

    async fn catch_up(&self, position: &mut Sequence) -> Result<(), StoreError> {
        loop {
            match self.store.feed(*position, PAGE).await? {
                Feed::Changes(documents) => {
                    let Some(last) = documents.last() else { return Ok(()) };
                    *position = last.sequence;
                    self.apply(&documents);
                    let live: Vec<Document> = documents.into_iter().filter(|document| document.key.collection.starts_with(LIVE)).collect();
                    if !live.is_empty() && !self.observers.live_collections.is_empty() {
                        (self.observers.live)(&LiveNews::Changed(&live));
                    }
                    let mut contents = self.contents.write();
                    Arc::make_mut(&mut contents).forget_removals_until(*position);
                }
                Feed::Truncated { resume } => {
                    let fresh = load(&self.store).await?;
                    let live = load_live(&self.store, &self.observers).await?;
                    *self.contents.write() = Arc::new(fresh);
                    (self.observers.live)(&LiveNews::Whole(&live));
                    *position = resume;
                    self.generation.send_replace(resume.max(self.generation()));
                }
            }
        }
    }

    fn apply(&self, documents: &[Document]) {
        let mut changed = Vec::new();
        let mut generation = self.generation();
        {
            let mut guard = self.contents.write();
            let contents = Arc::make_mut(&mut guard);
            for document in documents {
                if contents.apply(document) {
                    if contents::is_planned(&document.key.collection) {
                        generation = generation.max(document.sequence);
                    }
                    changed.push(Changed {
                        collection: document.key.collection.to_string(),
                        id: document.key.id.to_string(),
                        removed: document.value.is_none(),
                    });
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        self.generation.send_replace(generation);
        if changed.iter().any(|change| change.collection == OutgoingMessage::COLLECTION && !change.removed) {
            self.outbox_filled.notify_one();
        }
        if changed.iter().any(|change| contents::is_kept_at_broker(&change.collection)) {
            self.broker_work.notify_one();
        }
        (self.observers.registry)(&changed, generation);
    }
}

fn committed(writes: Vec<Write>, outcomes: Vec<Outcome>) -> Vec<Document> {
    let document = |(write, outcome): (Write, Outcome)| match outcome {
        Outcome::Committed { version, sequence } => Some(Document { key: write.key, version, sequence, value: write.value }),
        Outcome::Conflict(_) | Outcome::GroupAborted => None,
    };
    writes.into_iter().zip(outcomes).filter_map(document).collect()
}

async fn load(store: &SharedStore) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    for collection in contents::COLLECTIONS {
        scan(store, collection, |document| {
            contents.apply(&document);
        })
        .await?;
    }
    Ok(contents)
}

async fn load_live(store: &SharedStore, observers: &Observers) -> Result<Vec<Document>, StoreError> {
    let mut documents = Vec::new();
    for collection in observers.live_collections {
        scan(store, collection, |document| documents.push(document)).await?;
    }
    Ok(documents)
}

async fn scan(store: &SharedStore, collection: &str, mut each: impl FnMut(Document)) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.scan(None, collection, after.as_ref(), PAGE).await?;
        after = page.documents.last().map(|document| document.key.clone());
        page.documents.into_iter().for_each(&mut each);
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}
