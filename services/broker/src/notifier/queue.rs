//! What waits for one subscription: a pure data structure with three stages.
//!
//! ```text
//! every change, in order  --bound reached or endpoint failed-->  newest state per entity  --too many-->  a position
//! ```
//!
//! A healthy subscriber gets every change in order. While it fails, only the newest state of each entity is kept; when
//! even that is too much, only the position from which the state has to be read again. So memory is bounded whatever the
//! number of dead subscribers, and a returned one still gets the newest state of all that it missed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use fogflow_ngsi::EntityKey;
use fogflow_store::Sequence;
use foldhash::fast::RandomState;

use crate::change::Change;

/// Most changes that wait in order.
pub(super) const ORDERED: usize = 2000;
/// Most entities of which the newest state waits.
pub(super) const NEWEST: usize = 20_000;

/// The queue of one subscription.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ordered: VecDeque<Arc<Change>>,
    newest: Newest,
    coalescing: bool,
    /// State newer than this has to be read again before anything else is sent.
    resync: Option<Sequence>,
    /// Changes up to here are known to the subscriber, or part of what has been read for it.
    floor: Sequence,
    /// The oldest change that is being sent.
    sending: Option<Sequence>,
}

#[derive(Debug, Default)]
struct Newest {
    order: VecDeque<EntityKey>,
    changes: HashMap<EntityKey, Arc<Change>, RandomState>,
}

impl Newest {
    /// Adds a change that is newer than all that wait.
    fn put(&mut self, change: Arc<Change>) {
        if let Some(existing) = self.changes.get_mut(&change.key) {
            *existing = change;
        } else {
            self.order.push_back(change.key.clone());
            self.changes.insert(change.key.clone(), change);
        }
    }

    /// Puts changes back that are older than all that wait.
    fn put_back(&mut self, changes: Vec<Arc<Change>>) {
        for change in changes.into_iter().rev() {
            if !self.changes.contains_key(&change.key) {
                self.order.push_front(change.key.clone());
                self.changes.insert(change.key.clone(), change);
            }
        }
    }

    fn take(&mut self, limit: usize) -> Vec<Arc<Change>> {
        let count = limit.min(self.order.len());
        self.order.drain(..count).filter_map(|key| self.changes.remove(&key)).collect()
    }
}

impl Queue {
    /// A queue for a subscriber that knows everything up to `floor`.
    #[must_use]
    pub(super) fn from(floor: Sequence) -> Self {
        Queue { floor, ..Queue::default() }
    }

    /// A queue whose subscriber has to be sent all state newer than `after` first.
    #[must_use]
    pub(super) fn behind(after: Sequence) -> Self {
        Queue { resync: Some(after), ..Queue::default() }
    }

    /// Adds a change. Returns whether an older one was given up for it.
    pub(super) fn push(&mut self, change: Arc<Change>) -> bool {
        if change.sequence <= self.floor && change.sequence != 0 {
            return false;
        }
        if self.resync.is_some() && change.sequence != 0 && change.after.is_some() {
            // It is read with the rest of the state.
            return true;
        }
        if !self.coalescing && self.ordered.len() >= ORDERED {
            self.coalesce();
        }
        if !self.coalescing {
            self.ordered.push_back(change);
            return false;
        }
        let known = self.newest.changes.contains_key(&change.key);
        self.newest.put(without_past(change));
        self.bound();
        known
    }

    /// Adds state that was read for the subscriber, newest commit `head`; what waits and is part of it is dropped.
    pub(super) fn read(&mut self, changes: Vec<Arc<Change>>, head: Sequence) {
        self.resync = None;
        self.floor = self.floor.max(head);
        let floor = self.floor;
        self.ordered.retain(|change| change.sequence > floor || change.sequence == 0 || change.after.is_none());
        if self.coalescing || changes.len() > ORDERED {
            self.coalesce();
            self.newest.put_back(changes);
        } else {
            for change in changes.into_iter().rev() {
                self.ordered.push_front(change);
            }
        }
    }

    /// Takes what is to be sent next, up to `limit` changes. Tell [`Queue::sent`] or [`Queue::failed`] before taking again.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Arc<Change>> {
        let taken = if self.coalescing {
            let taken = self.newest.take(limit);
            if self.newest.order.is_empty() {
                // The subscriber has caught up: every change counts again.
                self.coalescing = false;
                self.newest = Newest::default();
            }
            taken
        } else {
            let count = limit.min(self.ordered.len());
            self.ordered.drain(..count).collect()
        };
        self.sending = taken.iter().map(|change| change.sequence).filter(|sequence| *sequence > 0).min();
        taken
    }

    /// A part of what was taken is not being sent after all: it is next.
    pub(super) fn put_back(&mut self, rest: Vec<Arc<Change>>) {
        if self.coalescing {
            self.newest.put_back(rest);
        } else {
            for change in rest.into_iter().rev() {
                self.ordered.push_front(change);
            }
        }
    }

    /// What was taken has arrived, or was given up.
    pub(super) fn sent(&mut self) {
        self.sending = None;
    }

    /// What was taken has not arrived: it waits again, in front, and from now on only the newest state of each entity
    /// counts.
    pub(super) fn failed(&mut self, taken: Vec<Arc<Change>>) {
        self.sending = None;
        let waiting: Vec<_> = self.ordered.drain(..).collect();
        self.coalescing = true;
        self.newest.put_back(taken.into_iter().map(without_past).collect());
        for change in waiting {
            self.newest.put(without_past(change));
        }
        self.bound();
    }

    /// Gives up all state that waits and remembers from where to read it again.
    pub(super) fn forget(&mut self) {
        let cursor = self.cursor(Sequence::MAX);
        if cursor == Sequence::MAX {
            return;
        }
        self.resync = Some(cursor);
        self.coalesce();
        // What the local state does not tell: deletions, and entities of other brokers.
        let untold = |change: &Arc<Change>| change.after.is_none() || change.sequence == 0;
        for change in self.newest.take(usize::MAX).into_iter().filter(untold).take(NEWEST / 2) {
            self.newest.put(change);
        }
    }

    /// From where the state has to be read before anything is sent.
    #[must_use]
    pub(super) fn resync(&self) -> Option<Sequence> {
        self.resync
    }

    /// Changes that wait.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.ordered.len() + self.newest.order.len()
    }

    /// Whether nothing waits, not even a reading of the state.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.resync.is_none()
    }

    /// Everything up to here has arrived, given that everything up to `published` has been pushed.
    #[must_use]
    pub(super) fn cursor(&self, published: Sequence) -> Sequence {
        let waiting = self.ordered.iter().chain(self.newest.changes.values()).map(|change| change.sequence);
        let oldest = waiting.chain(self.sending).filter(|sequence| *sequence > 0).min();
        let cursor = oldest.map_or(published, |oldest| oldest - 1);
        self.resync.map_or(cursor, |resync| resync.min(cursor))
    }

    fn coalesce(&mut self) {
        self.coalescing = true;
        for change in self.ordered.drain(..) {
            self.newest.put(without_past(change));
        }
    }

    fn bound(&mut self) {
        if self.newest.order.len() > NEWEST {
            self.forget();
        }
    }
}

/// The same change without the state before, which may be the last holder of an old state in memory. What was deleted
/// keeps it: its type is told.
fn without_past(change: Arc<Change>) -> Arc<Change> {
    if change.after.is_none() || change.before.is_none() {
        return change;
    }
    Arc::new(Change {
        key: change.key.clone(),
        before: None,
        after: change.after.clone(),
        written: change.written.clone(),
        correlator: change.correlator.clone(),
        trace: change.trace.clone(),
        sequence: change.sequence,
        silent: change.silent,
        v1: OnceLock::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fogflow_ngsi::{Attribute, Entity, Json, Tenant, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn change(id: u8, sequence: Sequence) -> Arc<Change> {
        let id = format!("e{id}");
        let mut entity = Entity::new(&id, Some("T"), Timestamp(0));
        entity.attributes.push(Attribute::property("n", Json::from(sequence as f64), Timestamp(0)));
        let key = EntityKey { tenant: Tenant::default(), path: "/".into(), id: id.into() };
        Arc::new(Change::snapshot(key, Arc::new(entity), sequence))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Deliver(usize),
        Fail(usize),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..5u8).prop_map(Step::Push),
            2 => (1..4usize).prop_map(Step::Deliver),
            2 => (1..4usize).prop_map(Step::Fail),
            1 => Just(Step::Forget),
        ]
    }

    proptest! {
        /// F 6: whatever fails in between, the subscriber ends with the newest state of every entity and never sees an
        /// older state of an entity after a newer one.
        #[test]
        fn the_newest_state_arrives_and_time_never_runs_backwards_f6(steps in proptest::collection::vec(step(), 0..60)) {
            let mut queue = Queue::default();
            let mut state: BTreeMap<EntityKey, Arc<Change>> = BTreeMap::new();
            let mut seen: BTreeMap<EntityKey, Sequence> = BTreeMap::new();
            let mut sequence = 0;
            let mut deliver = |queue: &mut Queue, state: &BTreeMap<EntityKey, Arc<Change>>, head: Sequence, limit: usize| {
                if let Some(after) = queue.resync() {
                    queue.read(state.values().filter(|change| change.sequence > after).cloned().collect(), head);
                }
                for change in queue.take(limit) {
                    let last = seen.insert(change.key.clone(), change.sequence).unwrap_or(0);
                    assert!(change.sequence >= last, "an older state after a newer one");
                }
                queue.sent();
                seen.clone()
            };
            for step in steps {
                match step {
                    Step::Push(id) => {
                        sequence += 1;
                        let change = change(id, sequence);
                        state.insert(change.key.clone(), Arc::clone(&change));
                        queue.push(change);
                    }
                    Step::Deliver(limit) => {
                        deliver(&mut queue, &state, sequence, limit);
                    }
                    Step::Fail(limit) => {
                        let taken = queue.take(limit);
                        queue.failed(taken);
                    }
                    Step::Forget => queue.forget(),
                }
            }
            let mut last = BTreeMap::new();
            for _ in 0..200 {
                last = deliver(&mut queue, &state, sequence, 3);
                if queue.is_empty() {
                    break;
                }
            }
            prop_assert!(queue.is_empty());
            prop_assert_eq!(queue.cursor(sequence), sequence);
            let expected: BTreeMap<_, _> = state.into_iter().map(|(key, change)| (key, change.sequence)).collect();
            prop_assert_eq!(last, expected);
        }
    }

    #[test]
    fn a_healthy_subscriber_gets_every_change_in_order() {
        let mut queue = Queue::default();
        for sequence in 1..=10 {
            assert!(!queue.push(change(0, sequence)));
        }
        let taken: Vec<_> = queue.take(100).iter().map(|change| change.sequence).collect();
        assert_eq!(taken, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn memory_for_a_dead_subscriber_is_bounded() {
        let mut queue = Queue::default();
        let taken = {
            queue.push(change(0, 1));
            queue.take(1)
        };
        queue.failed(taken);
        for sequence in 2..200_000 {
            let mut change = Arc::into_inner(change(0, sequence)).unwrap();
            change.key.id = format!("e{sequence}").into();
            queue.push(Arc::new(change));
            assert!(queue.len() <= NEWEST + 1);
        }
        assert_eq!(queue.resync(), Some(0), "it has to be read again from before the first undelivered change");
    }

    #[test]
    fn the_cursor_stays_before_what_is_being_sent() {
        let mut queue = Queue::from(4);
        queue.push(change(0, 3));
        assert!(queue.is_empty(), "already known");
        queue.push(change(0, 5));
        queue.push(change(1, 6));
        let taken = queue.take(1);
        assert_eq!(queue.cursor(9), 4);
        queue.sent();
        assert_eq!(queue.cursor(9), 5);
        drop(taken);
        queue.take(1);
        queue.sent();
        assert_eq!(queue.cursor(9), 9);
    }
}
