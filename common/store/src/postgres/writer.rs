//! The writer of one store: it collects commits, evaluates them against what it knows of the documents, and sends them as
//! one guarded batch. When the guard says that another replica was first, it reads again and evaluates again.
//!
//! A connection that breaks while a batch is on its way leaves open whether it was committed. Each writer has a row with
//! the number of its last committed batch and a fence. Raising the fence waits for a statement that still runs, tells
//! whether the batch is in, and keeps out one that comes later. So the answer is always the truth, and nothing is applied
//! after an error was answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::batch::{self, FENCED, Found, Identity, NO_PARTITION, STALE, Statements, as_int, number};
use super::connect::{connection, error_of};
use super::head::Head;
use super::schema::{self, LogSize};
use crate::evaluate::{Current, Staged, Standing};
use crate::model::{Batch, Document, Key, Outcome, Sequence, StoreError};

/// Most writes in one batch; bigger ones were not faster and slower to answer.
const GROUP_WRITES: usize = 256;
/// Most bytes of values in one batch.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Time within which a commit is answered; design 12.3.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// A request with less time left is not tried again.
const LAST_CHANCE: Duration = Duration::from_millis(600);
/// Time that is kept to find out what became of a batch.
const CLEAR_UP_TIME: Duration = Duration::from_millis(500);
/// Pause between two attempts to find out what became of a batch.
const CLEAR_UP_PAUSE: Duration = Duration::from_millis(50);
/// Standings that are remembered; then the memory is emptied.
const KNOWN_LIMIT: usize = 500_000;
/// Sequences that are not known yet are counted from here, and moved when the batch has its place.
const UNPLACED: Sequence = 1 << 62;

/// A commit on its way.
pub(super) struct Request {
    pub(super) batch: Batch,
    /// When it must be answered.
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// What the writer task owns.
pub(super) struct Writer {
    pool: Pool,
    schema: String,
    statements: Statements,
    log_size: LogSize,
    head: Arc<Head>,
    who: Option<Identity>,
    /// How documents stood when this writer last saw them. May be old: the guard finds out.
    known: HashMap<Key, Standing, RandomState>,
}

/// Why a batch was not committed.
enum Failure {
    /// Read and evaluate again.
    Stale,
    /// Nothing was committed, try again.
    Again(StoreError),
    /// Nothing was committed, and trying again does not help.
    Final(StoreError),
}

impl Writer {
    pub(super) fn new(pool: Pool, schema: String, statements: Statements, log_size: LogSize, head: Arc<Head>) -> Self {
        Writer { pool, schema, statements, log_size, head, who: None, known: HashMap::default() }
    }

    /// Works until the last sender of the queue is gone.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        // What was not committed and still has time.
        let mut left: VecDeque<Request> = VecDeque::new();
        loop {
            let first = match left.pop_front() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => break,
                },
            };
            let (mut writes, mut bytes) = size(&first.batch);
            let mut group = vec![first];
            while writes < GROUP_WRITES && bytes < GROUP_BYTES {
                let Some(next) = left.pop_front().or_else(|| queue.try_recv().ok()) else { break };
                let (more, more_bytes) = size(&next.batch);
                (writes, bytes) = (writes + more, bytes + more_bytes);
                group.push(next);
            }
            let again = self.commit(group).await;
            for request in again.into_iter().rev() {
                left.push_front(request);
            }
        }
        if let Some(who) = self.who.take() {
            // Only tidying up; maintenance does it otherwise.
            let forget = format!("DELETE FROM {}.writers WHERE id = $1", self.schema);
            if let Ok(client) = connection(&self.pool).await {
                let _ = client.execute_typed(&forget, &[(&who.id, Type::TEXT)]).await;
            }
        }
    }

    /// Commits a group until the time of its oldest request has run out, and answers. Returns the requests that were not
    /// committed and have time left.
    async fn commit(&mut self, mut group: Vec<Request>) -> Vec<Request> {
        let batches: Vec<Batch> = group.iter_mut().map(|request| std::mem::take(&mut request.batch)).collect();
        let deadline = group.iter().map(|request| request.deadline).min().unwrap_or_else(Instant::now);
        let error = match self.commit_within(&batches, deadline).await {
            Ok(outcomes) => {
                for (request, outcomes) in group.into_iter().zip(outcomes) {
                    let _ = request.answer.send(Ok(outcomes));
                }
                return Vec::new();
            }
            Err(error) => error,
        };
        tracing::warn!(%error, commits = batches.len(), "not committed in time");
        let mut left = Vec::new();
        for (mut request, batch) in group.into_iter().zip(batches) {
            if matches!(error, StoreError::Full) {
                let _ = request.answer.send(Err(StoreError::Full));
            } else if Instant::now() + LAST_CHANCE >= request.deadline {
                let _ = request.answer.send(Err(StoreError::Unavailable(error.to_string())));
            } else {
                request.batch = batch;
                left.push(request);
            }
        }
        left
    }

    /// Tries until the deadline.
    async fn commit_within(&mut self, batches: &[Batch], deadline: Instant) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let mut fresh = false;
        let mut pause = Duration::from_millis(5);
        loop {
            let failure = match timeout_at(deadline, self.attempt(batches, fresh, deadline)).await {
                Ok(Ok(Some(outcomes))) => return Ok(outcomes),
                // A conflict by what is remembered is looked up before it is answered.
                Ok(Ok(None)) | Ok(Err(Failure::Stale)) => {
                    fresh = true;
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Final(StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())),
            };
            self.known.clear();
            fresh = true;
            match failure {
                Failure::Again(error) if Instant::now() + pause < deadline => {
                    tracing::debug!(%error, "trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                Failure::Again(error) | Failure::Final(error) => {
                    // Nobody may continue under this identity, should a statement of it still be on its way.
                    self.who = None;
                    return Err(error);
                }
                Failure::Stale => {}
            }
        }
    }

    /// One attempt. `Ok(None)` asks for another with fresh reads.
    async fn attempt(&mut self, batches: &[Batch], fresh: bool, deadline: Instant) -> Result<Option<Vec<Vec<Outcome>>>, Failure> {
        let client = connection(&self.pool).await.map_err(Failure::Again)?;
        let found = self.look_up(&client, batches, fresh).await?;
        let mut staged = Staged::after(UNPLACED);
        let view = View { known: &self.known, found: &found };
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            outcomes.push(staged.stage(batch.clone(), &view).map_err(Failure::Final)?);
        }
        let conflict = outcomes.iter().flatten().any(|outcome| matches!(outcome, Outcome::Conflict(_)));
        if conflict && !fresh {
            return Ok(None);
        }
        if staged.documents.is_empty() {
            return Ok(Some(outcomes));
        }
        if self.who.is_none() {
            self.who = Some(self.register(&client).await.map_err(|error| Failure::Again(error_of(&error)))?);
        }
        let seen = self.head.seen();
        let base = self.write(client, &staged.documents, seen, deadline).await?;
        self.head.answered(seen, base);
        for document in &staged.documents {
            self.known.insert(document.key.clone(), Standing { version: document.version, live: document.value.is_some() });
        }
        self.head.moved(base + staged.documents.len() as u64);
        for outcome in outcomes.iter_mut().flatten() {
            place(outcome, base);
        }
        Ok(Some(outcomes))
    }

    /// Reads what is not remembered, or with `fresh` everything, with the values that conflicts may need.
    async fn look_up(&mut self, client: &Object, batches: &[Batch], fresh: bool) -> Result<Found, Failure> {
        if self.known.len() > KNOWN_LIMIT {
            self.known.clear();
        }
        let mut keys = HashSet::<&Key, RandomState>::default();
        for write in batches.iter().flat_map(|batch| batch.groups.iter().flatten()) {
            if fresh || !self.known.contains_key(&write.key) {
                keys.insert(&write.key);
            }
        }
        if keys.is_empty() {
            return Ok(Found::default());
        }
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let found = self.statements.read(client, &keys, fresh).await.map_err(|error| Failure::Again(error_of(&error)))?;
        for key in keys {
            let standing = found.get(&key).map(|there| Standing { version: there.version, live: there.value.is_some() });
            self.known.insert(key, standing.unwrap_or_default());
        }
        Ok(found)
    }

    async fn write(&mut self, client: Object, changes: &[Document], seen: Sequence, deadline: Instant) -> Result<Sequence, Failure> {
        let known = &self.known;
        let Some(who) = &mut self.who else { return Err(Failure::Stale) };
        who.batch += 1;
        let before = |key: &Key| known.get(key).copied().unwrap_or_default();
        // A little before the callers' deadline, so that an unclear end can still be cleared up.
        let written = timeout_at(deadline - CLEAR_UP_TIME, self.statements.write(&client, who, changes, before)).await;
        let error = match written {
            Ok(Ok(base)) => return Ok(base),
            Ok(Err(error)) => error,
            Err(_) => {
                drop(Object::take(client));
                return self.clear_up(changes, seen, StoreError::Unavailable("PostgreSQL did not answer in time".to_owned())).await;
            }
        };
        match error.code() {
            Some(code) if *code == STALE => Err(Failure::Stale),
            Some(code) if *code == FENCED => {
                self.who = None;
                Err(Failure::Stale)
            }
            Some(code) if *code == NO_PARTITION => {
                let head = self.read_head(&client).await.map_err(|error| Failure::Again(error_of(&error)))?;
                schema::add_partitions(&self.pool, &self.schema, self.log_size, head + changes.len() as u64)
                    .await
                    .map_err(Failure::Again)?;
                Err(Failure::Again(error_of(&error)))
            }
            Some(code) if *code == SqlState::DISK_FULL => Err(Failure::Final(StoreError::Full)),
            // The server said no, so nothing was committed: a deadlock, a shutdown, a read-only replica, a limit.
            Some(code) if *code != SqlState::ADMIN_SHUTDOWN && *code != SqlState::CRASH_SHUTDOWN => Err(Failure::Again(error_of(&error))),
            _ => {
                drop(Object::take(client));
                self.clear_up(changes, seen, error_of(&error)).await
            }
        }
    }

    /// Finds out whether the last batch was committed, and keeps it out if not. `seen` is the head before it.
    async fn clear_up(&mut self, changes: &[Document], seen: Sequence, error: StoreError) -> Result<Sequence, Failure> {
        let Some(who) = &mut self.who else { return Err(Failure::Again(error)) };
        let raise = format!("UPDATE {}.writers SET fence = fence + 1 WHERE id = $1 RETURNING fence, batch", self.schema);
        let committed = loop {
            // The caller's deadline ends this loop and the next.
            let asked = match connection(&self.pool).await {
                Ok(client) => client.query_typed_opt(&raise, &[(&who.id, Type::TEXT)]).await.ok(),
                Err(_) => None,
            };
            match asked {
                Some(Some(row)) => {
                    who.fence = row.get(0);
                    break row.get::<_, i64>(1) == who.batch;
                }
                // The row is gone; so no batch of this identity can be committed any more.
                Some(None) => {
                    self.who = None;
                    return Err(Failure::Again(error));
                }
                None => tokio::time::sleep(CLEAR_UP_PAUSE).await,
            }
        };
        if !committed {
            return Err(Failure::Again(error));
        }
        tracing::info!("the connection broke after the batch was committed");
        loop {
            if let Ok(client) = connection(&self.pool).await
                && let Ok(base) = self.find_base(&client, changes, seen).await
            {
                return Ok(base);
            }
            tokio::time::sleep(CLEAR_UP_PAUSE).await;
        }
    }

    /// Where a committed batch begins: right before its first change, which lies behind the head that was `seen` before.
    async fn find_base(&self, client: &Object, changes: &[Document], seen: Sequence) -> Result<Sequence, tokio_postgres::Error> {
        let Some(first) = changes.first() else { return self.read_head(client).await };
        let find = format!(
            "SELECT sequence - 1 FROM {}.changes
             WHERE sequence > $1 AND collection = $2 AND tenant = $3 AND id = $4 AND version = $5",
            self.schema
        );
        let row = client
            .query_typed_one(
                &find,
                &[
                    (&as_int(seen), Type::INT8),
                    (&first.key.collection.as_str(), Type::TEXT),
                    (&first.key.tenant.as_str(), Type::TEXT),
                    (&first.key.id.as_str(), Type::TEXT),
                    (&as_int(first.version), Type::INT8),
                ],
            )
            .await?;
        Ok(number(&row, 0))
    }

    async fn read_head(&self, client: &Object) -> Result<Sequence, tokio_postgres::Error> {
        let row = client.query_typed_one(&format!("SELECT head FROM {}.state", self.schema), &[]).await?;
        Ok(number(&row, 0))
    }

    /// Makes a row for a new identity.
    async fn register(&self, client: &Object) -> Result<Identity, tokio_postgres::Error> {
        let who = Identity { id: uuid::Uuid::new_v4().to_string(), fence: 0, batch: 0 };
        let insert = format!("INSERT INTO {}.writers (id, fence, batch, seen) VALUES ($1, 0, 0, clock_timestamp())", self.schema);
        client.execute_typed(&insert, &[(&who.id, Type::TEXT)]).await?;
        Ok(who)
    }
}

/// The committed state for the evaluation.
struct View<'a> {
    known: &'a HashMap<Key, Standing, RandomState>,
    found: &'a batch::Found,
}

impl Current for View<'_> {
    fn standing(&self, key: &Key) -> Result<Standing, StoreError> {
        Ok(self.known.get(key).copied().unwrap_or_default())
    }

    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        Ok(self.found.get(key).cloned())
    }
}

/// Gives an outcome its real sequence.
fn place(outcome: &mut Outcome, base: Sequence) {
    match outcome {
        Outcome::Committed { sequence, .. } | Outcome::Conflict(Some(Document { sequence, .. })) if *sequence > UNPLACED => {
            *sequence = *sequence - UNPLACED + base;
        }
        _ => {}
    }
}

fn size(batch: &Batch) -> (usize, usize) {
    let bytes = batch.groups.iter().flatten().map(|write| write.value.as_ref().map_or(0, bytes::Bytes::len)).sum();
    (batch.len(), bytes)
}
