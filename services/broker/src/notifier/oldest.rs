//! The records that were written first, of very many that are looked at.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::state::Record;

/// Keeps the records with the smallest sequences, at most a number of them. No two records have the same sequence.
pub(super) struct Oldest {
    limit: usize,
    kept: BinaryHeap<BySequence>,
    gave_up: bool,
}

struct BySequence(Record);

impl Oldest {
    pub(super) fn of(limit: usize) -> Self {
        Oldest { limit, kept: BinaryHeap::new(), gave_up: false }
    }

    /// Takes a record in if it is wanted and older than one that is kept.
    pub(super) fn offer(&mut self, record: Record, wanted: impl Fn(&Record) -> bool) {
        let is_known_newer = self.gave_up && self.kept.peek().is_none_or(|newest| newest.0.sequence < record.sequence);
        if is_known_newer || !wanted(&record) {
            return;
        }
        self.kept.push(BySequence(record));
        if self.kept.len() > self.limit {
            self.kept.pop();
            self.gave_up = true;
        }
    }

    /// The records in the order of their sequence, and whether they are all that were wanted.
    pub(super) fn into_order(self) -> (Vec<Record>, bool) {
        (self.kept.into_sorted_vec().into_iter().map(|BySequence(record)| record).collect(), !self.gave_up)
    }
}

impl Ord for BySequence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.sequence.cmp(&other.0.sequence)
    }
}

impl PartialOrd for BySequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BySequence {
    fn eq(&self, other: &Self) -> bool {
        self.0.sequence == other.0.sequence
    }
}

impl Eq for BySequence {}
