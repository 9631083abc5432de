//! Following the log of a shared store: how the state of a replica comes into its memory.
//!
//! Every replica applies the same changes in the order of their commits, its own and the others', by one path. What it
//! has just committed itself need not be read again: the committer says it ([`Follower::committed`]), and the log is
//! read only where there is a gap before it.
//!
//! ```text
//! own commits ---committed()---> [ sequence -> what it was ] --\
//!                                                               > applied+1, applied+2, ... -> StateMachine
//! head moved, a gap ------------> store.feed(applied, ...) ----/
//! ```
//!
//! A reader that must see what others were told asks for the head and waits until its replica has applied it
//! ([`Follower::barrier`]); all that wait together share one question.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use crate::contract::SharedStore;
use crate::model::{Batch, Document, Feed, Key, Outcome, Page, Sequence, StoreError};

/// Changes read at one time.
const PAGE: usize = 1000;
/// Documents read at one time while the whole state is loaded.
const SCAN_PAGE: usize = 4096;
/// How long a change that may be one of our own, just committed, is waited for before the log is read for it.
const GRACE: Duration = Duration::from_millis(2);
/// Longest pause after a failed reading of the log.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One change of the log.
#[derive(Debug)]
pub enum Step<T> {
    /// One of our own, as the committer described it.
    Own(Sequence, T),
    /// One that was read: another replica's, or our own when reading was faster.
    Read(Document),
}

impl<T> Step<T> {
    /// Its place in the order of commits.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        match self {
            Step::Own(sequence, _) => *sequence,
            Step::Read(document) => document.sequence,
        }
    }
}

/// The state in the memory of a replica.
#[async_trait]
pub trait StateMachine: Send {
    /// How own commits are described; `()` where they are read like all others.
    type Own: Send;

    /// Applies changes: in commit order, without gaps, none twice.
    ///
    /// # Errors
    /// When a document cannot be read. The replica cannot go on then.
    async fn apply(&mut self, steps: Vec<Step<Self::Own>>) -> Result<(), StoreError>;

    /// Takes in a part of the whole state as it is now; with `last`, whatever is in memory and was in none of the parts
    /// does not exist any more. Documents may be older than what is in memory or come again by [`apply`](Self::apply).
    ///
    /// # Errors
    /// When a document cannot be read. The replica cannot go on then.
    async fn restore(&mut self, documents: Vec<Document>, last: bool) -> Result<(), StoreError>;
}

/// The follower of one store. Share it in an `Arc`; one task calls [`run`](Self::run).
pub struct Follower<T> {
    store: SharedStore,
    collections: &'static [&'static str],
    applied: watch::Sender<Sequence>,
    /// Own commits that wait for their turn. As many as the committer has on their way.
    own: Mutex<BTreeMap<Sequence, T>>,
    /// Own commits on their way to the store.
    under_way: AtomicUsize,
    /// The highest sequence that somebody waits for.
    wanted: AtomicU64,
    wake: Notify,
    /// Readers that wait for the head; no more than there are requests.
    asking: Mutex<Vec<oneshot::Sender<Result<Sequence, String>>>>,
    asked: Notify,
}

/// An own commit on its way; see [`Follower::begin`].
#[derive(Debug)]
pub struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: Send> Follower<T> {
    /// A follower that has applied nothing yet. The state consists of these collections; changes of others are applied,
    /// too, but not loaded.
    #[must_use]
    pub fn new(store: SharedStore, collections: &'static [&'static str]) -> Self {
        Follower {
            store,
            collections,
            applied: watch::Sender::new(0),
            own: Mutex::default(),
            under_way: AtomicUsize::new(0),
            wanted: AtomicU64::new(0),
            wake: Notify::new(),
            asking: Mutex::default(),
            asked: Notify::new(),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// The last change that was applied.
    #[must_use]
    pub fn applied(&self) -> Sequence {
        *self.applied.borrow()
    }

    /// The same, to be watched.
    pub fn watch(&self) -> watch::Receiver<Sequence> {
        self.applied.subscribe()
    }

    /// Loads the whole state. To be called before [`run`](Self::run).
    ///
    /// # Errors
    /// If the store cannot be read, or the machine fails.
    pub async fn load(&self, machine: &mut impl StateMachine<Own = T>) -> Result<(), StoreError> {
        let head = self.store.head().await?;
        self.restore(machine, head).await
    }

    /// Says that own commits are on their way, until the answer is dropped: their changes are then waited for a moment
    /// instead of being read.
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(&self.under_way)
    }

    /// Hands in own commits, to be applied when it is their turn.
    pub fn committed(&self, own: impl IntoIterator<Item = (Sequence, T)>) {
        let applied = self.applied();
        self.own.lock().extend(own.into_iter().filter(|(sequence, _)| *sequence > applied));
        self.wake.notify_one();
    }

    /// Commits and returns when this replica has applied the result, and what it conflicted with.
    ///
    /// # Errors
    /// As [`Store::commit`](crate::Store::commit). A replica that cannot follow just now is no error: what was committed
    /// is durable.
    pub async fn commit(&self, batch: Batch, limit: Duration) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.store.commit(batch).await?;
        let _ = self.reached(last_of(&outcomes), limit).await;
        Ok(outcomes)
    }

    /// Returns when everything up to `sequence` has been applied.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that takes longer than `limit`.
    pub async fn reached(&self, sequence: Sequence, limit: Duration) -> Result<(), StoreError> {
        if self.applied() >= sequence {
            return Ok(());
        }
        self.wanted.fetch_max(sequence, Ordering::AcqRel);
        self.wake.notify_one();
        let mut applied = self.applied.subscribe();
        let waiting = timeout(limit, applied.wait_for(|applied| *applied >= sequence)).await;
        match waiting {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::Unavailable("this replica has not read all that others wrote".to_owned())),
        }
    }

    /// Returns when everything has been applied that was committed by anybody before this was called.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if that takes longer than `limit`, or the store does not answer.
    pub async fn barrier(&self, limit: Duration) -> Result<(), StoreError> {
        let (answer, head) = oneshot::channel();
        self.asking.lock().push(answer);
        self.asked.notify_one();
        let begun = tokio::time::Instant::now();
        let head = match timeout(limit, head).await {
            Ok(Ok(Ok(head))) => head,
            Ok(Ok(Err(why))) => return Err(StoreError::Unavailable(why)),
            Ok(Err(_)) => return Err(StoreError::Unavailable("this replica is stopping".to_owned())),
            Err(_) => return Err(StoreError::Unavailable("the store did not say how far it is".to_owned())),
        };
        self.reached(head, limit.saturating_sub(begun.elapsed())).await
    }

    /// Applies what is committed, as long as `stop` is not done.
    ///
    /// # Errors
    /// Those of the machine.
    pub async fn run(&self, machine: &mut impl StateMachine<Own = T>, stop: impl Future<Output = ()>) -> Result<(), StoreError> {
        let result = tokio::select! {
            result = self.follow(machine) => result,
            () = self.answer_heads() => Ok(()),
            () = stop => Ok(()),
        };
        // Nobody answers them any more.
        self.asking.lock().clear();
        result
    }

    async fn follow(&self, machine: &mut impl StateMachine<Own = T>) -> Result<(), StoreError> {
        let mut hint = self.store.head_hint();
        let mut pause = Duration::ZERO;
        loop {
            let own = self.next_own();
            if let Some(last) = own.last().map(Step::sequence) {
                machine.apply(own).await?;
                self.applied.send_replace(last);
                continue;
            }
            let applied = self.applied();
            let gap = self.own.lock().first_key_value().map(|(first, _)| *first - applied - 1);
            let known = self.wanted.load(Ordering::Acquire).max(*hint.borrow_and_update());
            if gap.is_none() && known <= applied {
                tokio::select! {
                    () = self.wake.notified() => {}
                    // The sender lives as long as the store.
                    changed = hint.changed() => if changed.is_err() { self.wake.notified().await },
                }
                continue;
            }
            if gap.is_none()
                && self.under_way.load(Ordering::Acquire) > 0
                && timeout(GRACE, self.wake.notified()).await.is_ok()
                && !self.own.lock().is_empty()
            {
                continue;
            }
            let limit = gap.and_then(|gap| usize::try_from(gap).ok()).map_or(PAGE, |gap| gap.min(PAGE));
            match self.store.feed(applied, limit).await {
                Ok(Feed::Changes(documents)) => {
                    match documents.last().map(|document| document.sequence) {
                        Some(last) => {
                            machine.apply(documents.into_iter().map(Step::Read).collect()).await?;
                            self.applied.send_replace(last);
                        }
                        // Another connection of the store has seen more than this one.
                        None => tokio::time::sleep(GRACE).await,
                    }
                    if !pause.is_zero() {
                        tracing::info!("the log of the store is read again");
                        pause = Duration::ZERO;
                    }
                }
                Ok(Feed::Truncated { resume }) => {
                    tracing::warn!(applied, resume, "the log does not reach back to where this replica was; it reads the whole state");
                    match self.restore(machine, resume).await {
                        Err(StoreError::Unavailable(why)) => pause = rest(pause, &why).await,
                        result => result?,
                    }
                }
                Err(error) => pause = rest(pause, &error.to_string()).await,
            }
        }
    }

    /// Own commits whose turn it is.
    fn next_own(&self) -> Vec<Step<T>> {
        let mut next = self.applied() + 1;
        let mut own = self.own.lock();
        while own.first_key_value().is_some_and(|(first, _)| *first < next) {
            own.pop_first();
        }
        let mut steps = Vec::new();
        while own.first_key_value().is_some_and(|(first, _)| *first == next)
            && let Some((sequence, what)) = own.pop_first()
        {
            steps.push(Step::Own(sequence, what));
            next += 1;
        }
        steps
    }

    /// Reads everything; the next page is read while one is taken in.
    async fn restore(&self, machine: &mut impl StateMachine<Own = T>, resume: Sequence) -> Result<(), StoreError> {
        for (number, collection) in self.collections.iter().enumerate() {
            let is_last = number + 1 == self.collections.len();
            let mut page = self.page(collection, None).await?;
            while page.more {
                let after = page.documents.last().map(|document| document.key.clone());
                let (next, done) = tokio::join!(self.page(collection, after.as_ref()), machine.restore(page.documents, false));
                done?;
                page = next?;
            }
            machine.restore(page.documents, is_last).await?;
        }
        self.applied.send_replace(resume);
        Ok(())
    }

    async fn page(&self, collection: &str, after: Option<&Key>) -> Result<Page, StoreError> {
        self.store.scan(None, collection, after, SCAN_PAGE).await
    }

    /// Asks the store for its head, once for all who wait.
    async fn answer_heads(&self) {
        loop {
            self.asked.notified().await;
            let waiting = std::mem::take(&mut *self.asking.lock());
            if waiting.is_empty() {
                continue;
            }
            let head = self.store.head().await.map_err(|error| error.to_string());
            for one in waiting {
                let _ = one.send(head.clone());
            }
        }
    }
}

/// The last change that outcomes speak of.
#[must_use]
pub fn last_of(outcomes: &[Outcome]) -> Sequence {
    let sequence = |outcome: &Outcome| match outcome {
        Outcome::Committed { sequence, .. } => *sequence,
        Outcome::Conflict(there) => there.as_ref().map_or(0, |document| document.sequence),
        Outcome::GroupAborted => 0,
    };
    outcomes.iter().map(sequence).max().unwrap_or(0)
}

/// Waits after a failure, longer each time. Returns how long.
async fn rest(pause: Duration, why: &str) -> Duration {
    if pause.is_zero() {
        tracing::warn!(why, "the log of the store cannot be read; trying again");
    }
    let pause = (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE);
    tokio::time::sleep(pause).await;
    pause
}

/// A follower that can be shared.
pub type SharedFollower<T> = Arc<Follower<T>>;
