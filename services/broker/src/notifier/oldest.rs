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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fogflow_ngsi::{Entity, Timestamp};

    use super::*;

    fn oldest(limit: usize, wanted: impl Fn(&Record) -> bool + Copy) -> (Vec<u64>, bool) {
        let mut oldest = Oldest::of(limit);
        for sequence in [5, 2, 9, 1, 7, 3] {
            let entity = Arc::new(Entity::new("e", Some("T"), Timestamp(0)));
            oldest.offer(Record { entity, path: "/".into(), version: 1, sequence }, wanted);
        }
        let (records, is_all) = oldest.into_order();
        (records.iter().map(|record| record.sequence).collect(), is_all)
    }

    #[test]
    fn the_oldest_are_kept_in_order_and_it_says_whether_any_was_given_up() {
        assert_eq!(oldest(3, |_| true), (vec![1, 2, 3], false));
        assert_eq!(oldest(6, |_| true), (vec![1, 2, 3, 5, 7, 9], true));
        assert_eq!(oldest(3, |record| record.sequence > 3), (vec![5, 7, 9], true), "what is not wanted is not given up");
    }
}
