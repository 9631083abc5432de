//! The single committer: takes jobs, commits them in groups, answers after they are durable.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::{EntityKey, Timestamp};
use fogflow_store::follow::last_of;
use fogflow_store::{Batch, Document, Outcome, SharedStore, StoreError};
use foldhash::fast::RandomState;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot};

use super::gathering::Gathering;
use super::staging::{Group, Item, Staging, Verdict, verdicts};
use super::{Record, State, document};
use crate::change::{Change, Origin};
use crate::command::{Answer, Command, Done, Refusal};
use crate::metrics::Metrics;
use crate::replica::{Line, Own};

/// Most writes in one batch for the store (`reference`: larger ones only lengthen its pauses).
const BATCH: usize = 512;
/// Batches on their way to the store at one time.
const IN_FLIGHT: usize = 4;
/// While a batch is on its way, writes gather; another one is sent beside it only if it is at least this large. The disk is
/// waited for once per batch, so many small ones cost more than they gain.
const WORTHWHILE: usize = 128;
/// How long a job may be retried after conflicts, and how long it may wait in the queue.
const RETRY: Duration = Duration::from_secs(5);
/// How long an answer waits until this replica has applied the write, which is durable already.
const APPLY: Duration = Duration::from_secs(1);
/// After the stop was asked for, how long nobody must write before it ends.
const QUIET: Duration = Duration::from_millis(250);
/// Jobs that may wait before writers have to.
const QUEUE: usize = 4096;

/// Committed changes, in the order of their sequence.
pub type Changes = Vec<Arc<Change>>;

/// A request to write.
struct Job {
    commands: Vec<Command>,
    origin: Origin,
    reply: oneshot::Sender<Vec<Answer>>,
    since: Instant,
}

/// The way to the committer.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Carries out commands on the entities that this broker holds. Returns when they are durable, with one answer per
    /// command in the same order.
    pub async fn write(&self, origin: Origin, commands: Vec<Command>) -> Vec<Answer> {
        let count = commands.len();
        let (reply, answers) = oneshot::channel();
        let job = Job { commands, origin, reply, since: Instant::now() };
        let gone = || vec![Err(Refusal::Unavailable("the broker is stopping".to_owned())); count];
        // Boxed, with its timer, because there is nearly always room.
        let sent = match self.jobs.try_send(job) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(job)) => Box::pin(self.jobs.send_timeout(job, RETRY)).await.is_ok(),
            Err(mpsc::error::TrySendError::Closed(_)) => return gone(),
        };
        if !sent {
            return vec![Err(Refusal::Unavailable("too many writes are waiting".to_owned())); count];
        }
        answers.await.unwrap_or_else(|_| gone())
    }
}

/// A job of which parts are still open.
struct Open {
    origin: Origin,
    answers: Vec<Option<Answer>>,
    left: usize,
    reply: oneshot::Sender<Vec<Answer>>,
    since: Instant,
}

type Settled = (Vec<Group>, Result<Vec<Outcome>, StoreError>, Instant);

/// The committer's own state.
pub struct Committer {
    state: Arc<State>,
    store: SharedStore,
    jobs: mpsc::Receiver<Job>,
    published: mpsc::Sender<Changes>,
    metrics: Arc<Metrics>,
    /// When others write to the store, too: the way by which all changes come into memory.
    line: Option<Line>,
    open: HashMap<u64, Open, RandomState>,
    next_job: u64,
    /// Entities with a write on its way.
    busy: HashSet<EntityKey, RandomState>,
    /// Items that wait for their entity.
    waiting: HashMap<EntityKey, VecDeque<Item>, RandomState>,
    /// Items that can be staged now.
    ready: VecDeque<Item>,
    gathering: Gathering,
}

impl Committer {
    /// A committer and the way to it. Committed changes go to `published`; when that is full, writers wait. With a `line`,
    /// they go there instead, and are applied and published in their turn among those of other replicas.
    #[must_use]
    pub fn new(
        state: Arc<State>,
        store: SharedStore,
        published: mpsc::Sender<Changes>,
        metrics: Arc<Metrics>,
        line: Option<Line>,
    ) -> (Self, Writer) {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let committer = Committer {
            state,
            store,
            jobs,
            published,
            metrics,
            line,
            open: HashMap::default(),
            next_job: 0,
            busy: HashSet::default(),
            waiting: HashMap::default(),
            ready: VecDeque::new(),
            gathering: Gathering::default(),
        };
        (committer, Writer { jobs: sender })
    }

    /// Runs until every [`Writer`] is gone, or `stop` is done and nobody writes any more.
    ///
    /// # Errors
    /// If nobody receives the published changes any more.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        // Once asked to stop, it ends when no request has written for a while: those under way are still served.
        let mut quiet = None;
        let mut open = true;
        let mut in_flight = FuturesOrdered::new();
        let mut arrived = Vec::with_capacity(BATCH);
        while open || !in_flight.is_empty() || !self.ready.is_empty() {
            tokio::select! {
                biased;
                Some(settled) = in_flight.next(), if !in_flight.is_empty() => self.settle(settled).await?,
                count = self.jobs.recv_many(&mut arrived, BATCH), if open && in_flight.len() < IN_FLIGHT && self.ready.len() < BATCH => {
                    open = count > 0;
                    quiet = quiet.map(|_| Instant::now() + QUIET);
                    if count > 0 && count < BATCH && in_flight.is_empty() {
                        // Whoever is runnable now gets into this batch.
                        tokio::task::yield_now().await;
                        while arrived.len() < BATCH && let Ok(job) = self.jobs.try_recv() {
                            arrived.push(job);
                        }
                    }
                    for job in arrived.drain(..) {
                        self.accept(job);
                    }
                }
                () = &mut stop, if quiet.is_none() => quiet = Some(Instant::now() + QUIET),
                () = until(self.gathering.until()), if in_flight.is_empty() && !self.ready.is_empty() => {}
                () = until(quiet), if open && quiet.is_some() => {
                    self.jobs.close();
                    quiet = Some(Instant::now() + QUIET);
                }
                else => {}
            }
            while !self.ready.is_empty()
                && (in_flight.len() < IN_FLIGHT && self.ready.len() >= WORTHWHILE
                    || in_flight.is_empty() && (!open || self.gathering.is_done(self.open.len(), Instant::now())))
            {
                let mut staging = self.stage();
                if staging.is_empty() {
                    continue;
                }
                let described = self.line.clone().map(|line| (line, self.describe(&mut staging)));
                let batch = staging.batch();
                self.metrics.commit_size.observe(staging.len() as f64);
                let store = Arc::clone(&self.store);
                let begun = Instant::now();
                in_flight.push_back(async move {
                    let result = match described {
                        None => store.commit(batch).await,
                        Some((line, changes)) => commit_in_line(&line, &store, batch, changes).await,
                    };
                    (staging.groups, result, begun)
                });
            }
        }
        Ok(())
    }

    fn accept(&mut self, job: Job) {
        let number = self.next_job;
        self.next_job += 1;
        let left = job.commands.len();
        if left == 0 {
            let _ = job.reply.send(Vec::new());
            return;
        }
        let answers = std::iter::repeat_with(|| None).take(left).collect();
        self.open.insert(number, Open { origin: job.origin, answers, left, reply: job.reply, since: job.since });
        for (place, command) in job.commands.into_iter().enumerate() {
            self.enqueue(Item { command, job: number, place });
        }
    }

    fn enqueue(&mut self, item: Item) {
        if self.busy.contains(&item.command.key) {
            self.waiting.entry(item.command.key.clone()).or_default().push_back(item);
        } else {
            self.ready.push_back(item);
        }
    }

    fn stage(&mut self) -> Staging {
        let now = Timestamp::now();
        let mut staging = Staging::default();
        while staging.len() < BATCH
            && let Some(item) = self.ready.pop_front()
        {
            // Two batches may be staged from one ready queue; the second must not touch the first one's entities.
            if self.busy.contains(&item.command.key) {
                self.waiting.entry(item.command.key.clone()).or_default().push_back(item);
            } else if let Err(refused) = staging.add(&self.state, item, now) {
                let (item, refusal) = *refused;
                self.answer(item.job, item.place, Err(refusal));
            }
        }
        self.busy.extend(staging.groups.iter().map(|group| group.key.clone()));
        staging
    }

    /// The changes that a batch will be, for the line.
    fn describe(&self, staging: &mut Staging) -> Vec<Vec<Change>> {
        staging.describe(|job| self.open.get(&job).map(|open| open.origin.clone()).unwrap_or_default())
    }

    async fn settle(&mut self, (groups, result, begun): Settled) -> anyhow::Result<()> {
        let took = begun.elapsed();
        self.metrics.commit_seconds.observe(took.as_secs_f64());
        self.gathering.returned(self.open.len() + self.jobs.len(), begun, begun + took);
        let keys: Vec<EntityKey> = groups.iter().map(|group| group.key.clone()).collect();
        let mut retries = Vec::new();
        let mut changes = Changes::new();
        match result {
            Ok(outcomes) => {
                let verdicts = verdicts(&groups, outcomes);
                if self.line.is_none() {
                    self.show(&groups, &verdicts);
                }
                for (group, verdict) in groups.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::Committed(places) => self.committed(group, &places, &mut changes),
                        Verdict::Conflict(_) => retries.extend(group.staged.into_iter().map(|staged| staged.item)),
                    }
                }
            }
            Err(error) => {
                let refusal = refusal(&error);
                tracing::warn!(%error, writes = groups.len(), "the store refused a batch");
                for item in groups.into_iter().flat_map(|group| group.staged).map(|staged| staged.item) {
                    self.answer(item.job, item.place, Err(refusal.clone()));
                }
            }
        }
        self.release(keys, retries);
        if !changes.is_empty() {
            changes.sort_by_key(|change| change.sequence);
            self.published.send(changes).await?;
        }
        Ok(())
    }

    /// Shows what was committed to readers, and what another replica committed before us.
    fn show(&self, groups: &[Group], verdicts: &[Verdict]) {
        let effects = groups.iter().zip(verdicts).filter_map(|(group, verdict)| {
            let key = group.key.clone();
            match verdict {
                Verdict::Committed(places) => {
                    let (version, sequence) = *places.last()?;
                    let entity = group.staged.last()?.after.clone();
                    let path = key.path.clone();
                    Some((key, entity.map(|entity| Record { entity, path, version, sequence }), sequence))
                }
                Verdict::Conflict(document) => Some(standing(key, document.as_ref())),
            }
        });
        self.state.apply(effects);
    }

    fn committed(&mut self, group: Group, places: &[(u64, u64)], changes: &mut Changes) {
        self.metrics.updates.inc_by(places.len() as u64);
        for (mut staged, (_, sequence)) in group.staged.into_iter().zip(places) {
            let origin = self.open.get(&staged.item.job).map(|open| open.origin.clone()).unwrap_or_default();
            let done = Done {
                effect: staged.effect,
                sequence: *sequence,
                skipped: std::mem::take(&mut staged.skipped),
                entity: staged.after.clone(),
            };
            if self.line.is_none() {
                changes.push(Arc::new(staged.change(&group.key, origin, *sequence)));
            }
            self.answer(staged.item.job, staged.item.place, Ok(done));
        }
    }

    fn release(&mut self, keys: Vec<EntityKey>, retries: Vec<Item>) {
        for key in &keys {
            self.busy.remove(key);
        }
        let mut ready = VecDeque::new();
        for item in retries {
            let since = self.open.get(&item.job).map(|open| open.since);
            if since.is_some_and(|since| since.elapsed() < RETRY) {
                ready.push_back(item);
            } else {
                self.answer(item.job, item.place, Err(Refusal::Unavailable("other replicas kept writing the entity".to_owned())));
            }
        }
        for key in keys {
            ready.extend(self.waiting.remove(&key).into_iter().flatten());
        }
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    fn answer(&mut self, job: u64, place: usize, answer: Answer) {
        let Some(open) = self.open.get_mut(&job) else { return };
        if let Some(slot) = open.answers.get_mut(place) {
            *slot = Some(answer);
        }
        open.left -= 1;
        if open.left == 0
            && let Some(open) = self.open.remove(&job)
        {
            let lost = || Err(Refusal::Unavailable("no answer".to_owned()));
            let _ = open.reply.send(open.answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect());
        }
    }
}

/// Commits, and returns when this replica has applied the result: also what others wrote that it conflicted with, so that
/// a retry meets the newer version.
async fn commit_in_line(line: &Line, store: &SharedStore, batch: Batch, changes: Vec<Vec<Change>>) -> Result<Vec<Outcome>, StoreError> {
    let under_way = line.begin();
    let outcomes = store.commit(batch).await?;
    let own = changes.into_iter().flatten().zip(&outcomes).filter_map(|(change, outcome)| match outcome {
        Outcome::Committed { version, sequence } => Some((*sequence, Own::new(change, *version, *sequence))),
        Outcome::Conflict(_) | Outcome::GroupAborted => None,
    });
    line.committed(own);
    drop(under_way);
    if let Err(error) = line.reached(last_of(&outcomes), APPLY).await {
        tracing::debug!(%error, "a write is answered before this replica shows it");
    }
    Ok(outcomes)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What another replica left at a key.
fn standing(key: EntityKey, document: Option<&Document>) -> (EntityKey, Option<Record>, u64) {
    let Some(document) = document else { return (key, None, 0) };
    let entity = document.value.as_deref().and_then(|value| document::decode(value).ok());
    let record = entity.map(|entity| Record {
        entity: Arc::new(entity),
        path: key.path.clone(),
        version: document.version,
        sequence: document.sequence,
    });
    (key, record, document.sequence)
}

fn refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::Full,
        other => Refusal::Unavailable(other.to_string()),
    }
}
