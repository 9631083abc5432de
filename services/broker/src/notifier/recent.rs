//! The newest changes, for a slot that comes over from another replica: what that one may not have delivered is matched
//! here again, exactly as it was.

use std::collections::VecDeque;
use std::sync::Arc;

use fogflow_store::Sequence;

use crate::change::Change;

/// Changes that are kept. What is older is made up for with the present state.
const KEPT: usize = 16_384;

/// A window on the newest changes, in commit order.
#[derive(Debug)]
pub(super) struct Recent {
    /// Every change after this one is in the window.
    since: Sequence,
    changes: VecDeque<Arc<Change>>,
}

impl Recent {
    /// A window that begins after this commit.
    pub(super) fn after(since: Sequence) -> Self {
        Recent { since, changes: VecDeque::new() }
    }

    pub(super) fn push(&mut self, changes: &[Arc<Change>]) {
        self.changes.extend(changes.iter().cloned());
        while self.changes.len() > KEPT
            && let Some(old) = self.changes.pop_front()
        {
            self.since = old.sequence;
        }
    }

    /// Drops what no replica needs any more.
    pub(super) fn forget(&mut self, until: Sequence) {
        while self.changes.front().is_some_and(|change| change.sequence <= until)
            && let Some(old) = self.changes.pop_front()
        {
            self.since = old.sequence;
        }
    }

    /// Whether every change after a commit is here.
    pub(super) fn reaches(&self, than: Sequence) -> bool {
        than >= self.since
    }

    /// The changes after a commit; `None` when the window does not reach back to it.
    pub(super) fn newer(&self, than: Sequence) -> Option<impl Iterator<Item = &Arc<Change>>> {
        let first = self.changes.partition_point(|change| change.sequence <= than);
        self.reaches(than).then(|| self.changes.iter().skip(first))
    }
}

#[cfg(test)]
mod tests {
    use fogflow_ngsi::{Entity, EntityKey, Tenant, Timestamp};

    use super::*;

    fn change(sequence: Sequence) -> Arc<Change> {
        let key = EntityKey { tenant: Tenant::default(), path: "/".into(), id: "e".into() };
        Arc::new(Change::snapshot(key, Arc::new(Entity::new("e", None, Timestamp(0))), sequence))
    }

    #[test]
    fn the_window_says_when_it_does_not_reach_back() {
        let mut recent = Recent::after(10);
        recent.push(&[change(12), change(15)]);
        let newer = |recent: &Recent, than| recent.newer(than).map(|changes| changes.map(|change| change.sequence).collect::<Vec<_>>());
        assert_eq!(newer(&recent, 9), None);
        assert_eq!(newer(&recent, 10), Some(vec![12, 15]));
        assert_eq!(newer(&recent, 12), Some(vec![15]));
        recent.forget(13);
        assert_eq!((newer(&recent, 11), newer(&recent, 12)), (None, Some(vec![15])));
        recent.push(&(20..20 + KEPT as u64).map(change).collect::<Vec<_>>());
        assert_eq!(newer(&recent, 12), None, "its size is bounded");
    }
}
