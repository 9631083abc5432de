//! What a batch does to a state: conditions, groups, versions and sequence numbers. Pure, and shared by the engines
//! that have one writer (memory, embedded).

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::model::{Batch, Document, Expect, Key, Outcome, Sequence, StoreError, Version, Write};

/// How a key stands, as far as conditions ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Version of the last write; 0 when there was none.
    pub(crate) version: Version,
    /// Whether the last write was one with a value.
    pub(crate) live: bool,
}

/// The committed state that a batch meets.
pub(crate) trait Current {
    /// How a key stands. Called once or more for every write, so it must be cheap.
    fn standing(&self, key: &Key) -> Result<Standing, StoreError>;
    /// The document or tombstone at a key. Called for conflicts only.
    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError>;
}

/// The effects of the batches evaluated so far that are not committed yet. Later batches see them.
pub(crate) struct Staged {
    /// New documents and tombstones in commit order; their sequences have no gaps.
    pub(crate) documents: Vec<Document>,
    next: Sequence,
    /// The index into `documents` of the newest write of each key.
    newest: HashMap<Key, usize, RandomState>,
}

impl Staged {
    /// Nothing staged on top of `head`.
    pub(crate) fn after(head: Sequence) -> Self {
        Staged { documents: Vec::new(), next: head + 1, newest: HashMap::default() }
    }

    /// Evaluates a batch on top of what is staged.
    ///
    /// # Errors
    /// Only those of `current`; then nothing of this batch is staged.
    pub(crate) fn stage(&mut self, batch: Batch, current: &impl Current) -> Result<Vec<Outcome>, StoreError> {
        let start = self.documents.len();
        let mut outcomes = Vec::with_capacity(batch.len());
        for group in batch.groups {
            if let Err(error) = self.stage_group(group, current, &mut outcomes) {
                self.undo_to(start);
                return Err(error);
            }
        }
        Ok(outcomes)
    }

    fn stage_group(&mut self, group: Vec<Write>, current: &impl Current, outcomes: &mut Vec<Outcome>) -> Result<(), StoreError> {
        let start = self.documents.len();
        let size = group.len();
        let first_outcome = outcomes.len();
        for (position, write) in group.into_iter().enumerate() {
            let standing = match self.newest.get(&write.key) {
                Some(&index) => Standing { version: self.documents[index].version, live: self.documents[index].value.is_some() },
                None => current.standing(&write.key)?,
            };
            let holds = match write.expect {
                Expect::Any => true,
                Expect::Absent => !standing.live,
                Expect::Version(version) => version == standing.version,
            };
            if !holds {
                self.undo_to(start);
                let there = match self.newest.get(&write.key) {
                    Some(&index) => Some(self.documents[index].clone()),
                    None => current.document(&write.key)?,
                };
                outcomes.truncate(first_outcome);
                outcomes.resize(first_outcome + size, Outcome::GroupAborted);
                outcomes[first_outcome + position] = Outcome::Conflict(there);
                return Ok(());
            }
            let version = standing.version + 1;
            outcomes.push(Outcome::Committed { version, sequence: self.next });
            self.newest.insert(write.key.clone(), self.documents.len());
            self.documents.push(Document { key: write.key, version, sequence: self.next, value: write.value });
            self.next += 1;
        }
        Ok(())
    }

    /// Takes back everything staged from `start` on.
    fn undo_to(&mut self, start: usize) {
        while self.documents.len() > start {
            let Some(document) = self.documents.pop() else { return };
            self.next = document.sequence;
            // The key's previous staged write is found by walking back; conflicts inside batches are rare.
            match self.documents.iter().rposition(|earlier| earlier.key == document.key) {
                Some(index) => self.newest.insert(document.key, index),
                None => self.newest.remove(&document.key),
            };
        }
    }
}
