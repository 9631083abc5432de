//! The one writer: it drains the queue of commits, evaluates them in order, appends them to the log as one frame, waits
//! once for the disk, and answers all of them (group commit).

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::index::{Index, Stored};
use super::log::Log;
use super::versions::Versions;
use super::{frame, key};
use crate::evaluate::{Current, Staged, Standing};
use crate::model::{Batch, Document, Key, Outcome, Sequence, StoreError};
use crate::settings::Durability;

/// Most writes that share one frame and one wait for the disk.
const GROUP_WRITES: usize = 512;
/// Most bytes of values that do.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that may wait for their transfer into the index before commits wait.
const WAITING_BYTES: usize = 96 * 1024 * 1024;
/// How long commits wait for that; design 12.3 bounds the time of a write to 5 s.
const WAIT_LIMIT: Duration = Duration::from_secs(4);

/// A commit on its way.
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) log: Log,
    pub(super) index: Arc<Index>,
    pub(super) versions: Arc<Versions>,
    pub(super) head: watch::Sender<Sequence>,
    pub(super) durability: Durability,
    pub(super) dir: PathBuf,
    pub(super) reserve_bytes: u64,
}

impl Writer {
    /// Works until the last sender of the queue is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut buffer = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let (mut writes, mut bytes) = size(&first.batch);
            let mut group = vec![first];
            while writes < GROUP_WRITES && bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                let (more_writes, more_bytes) = size(&next.batch);
                writes += more_writes;
                bytes += more_bytes;
                group.push(next);
            }
            self.commit(group, &mut buffer);
        }
    }

    fn commit(&mut self, group: Vec<Request>, buffer: &mut Vec<u8>) {
        if let Err(error) = self.check_room() {
            for request in group {
                let _ = request.answer.send(Err(again(&error)));
            }
            return;
        }
        let head = *self.head.borrow();
        let mut staged = Staged::after(head);
        let mut answers = Vec::with_capacity(group.len());
        {
            let view = View { index: &self.index, versions: &self.versions, scratch: RefCell::default() };
            for request in group {
                answers.push((request.answer, staged.stage(request.batch, &view)));
            }
        }
        if let Some(last) = staged.documents.last().map(|document| document.sequence) {
            buffer.clear();
            frame::encode(&staged.documents, buffer);
            if let Err(error) = self.log.append(buffer, head + 1, last, self.durability == Durability::Fsync) {
                tracing::error!(%error, "cannot write to the log; nothing of this group was committed");
                let error = super::io_error(error);
                for (answer, _) in answers {
                    let _ = answer.send(Err(again(&error)));
                }
                return;
            }
            self.publish(staged.documents);
            self.head.send_replace(last);
        }
        buffer.shrink_to(GROUP_BYTES * 2);
        for (answer, outcome) in answers {
            let _ = answer.send(outcome);
        }
    }

    /// Makes committed changes visible to reads.
    fn publish(&self, changes: Vec<Document>) {
        let mut scratch = Vec::with_capacity(128);
        let changes: Vec<(Arc<[u8]>, Stored)> = changes
            .into_iter()
            .map(|change| {
                scratch.clear();
                key::encode(&change.key, &mut scratch);
                let stored = Stored { version: change.version, sequence: change.sequence, value: change.value };
                (Arc::from(&scratch[..]), stored)
            })
            .collect();
        self.versions.set(changes.iter().map(|(key, stored)| (&key[..], stored.standing())));
        self.index.insert(changes.into_iter());
    }

    /// Refuses commits early while the disk is nearly full, and waits while the index is far behind.
    fn check_room(&self) -> Result<(), StoreError> {
        if super::free_bytes(&self.dir).is_some_and(|free| free < self.reserve_bytes) {
            return Err(StoreError::Full);
        }
        let start = Instant::now();
        while self.index.waiting_bytes() > WAITING_BYTES {
            if start.elapsed() > WAIT_LIMIT {
                return Err(StoreError::Unavailable("the document files cannot keep up".to_owned()));
            }
            self.index.wait_for_room(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// The committed state for the evaluation.
struct View<'a> {
    index: &'a Index,
    versions: &'a Versions,
    scratch: RefCell<Vec<u8>>,
}

impl Current for View<'_> {
    fn standing(&self, key: &Key) -> Result<Standing, StoreError> {
        let mut bytes = self.scratch.borrow_mut();
        bytes.clear();
        key::encode(key, &mut bytes);
        if let Some(standing) = self.versions.get(&bytes) {
            return Ok(standing);
        }
        let standing = self.index.get(&bytes)?.as_ref().map(Stored::standing).unwrap_or_default();
        if standing.version > 0 {
            self.versions.set(std::iter::once((&bytes[..], standing)));
        }
        Ok(standing)
    }

    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let mut bytes = self.scratch.borrow_mut();
        bytes.clear();
        key::encode(key, &mut bytes);
        Ok(self.index.get(&bytes)?.map(|stored| stored.into_document(key.clone())))
    }
}

fn size(batch: &Batch) -> (usize, usize) {
    let bytes = batch.groups.iter().flatten().map(|write| write.value.as_ref().map_or(0, bytes::Bytes::len)).sum();
    (batch.len(), bytes)
}

/// The same error for another caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full => StoreError::Full,
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}
