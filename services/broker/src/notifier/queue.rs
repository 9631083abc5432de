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
    /// Whether a part of that state is being read just now: what changes meanwhile waits.
    reading: bool,
    /// Changes up to here are known to the subscriber, or part of what has been read for it.
    floor: Sequence,
    /// The oldest change that is being sent.
    sending: Option<Sequence>,
}

/// State that was read for a subscriber.
#[derive(Debug)]
pub(super) struct Part {
    /// In the order of commits.
    pub(super) changes: Vec<Arc<Change>>,
    /// All state that was wanted up to here is among the changes.
    pub(super) until: Sequence,
    /// Whether nothing newer was there to be read.
    pub(super) is_last: bool,
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

    /// Puts changes in front, except those of which a newer one waits.
    fn put_back(&mut self, changes: Vec<Arc<Change>>) {
        for change in changes.into_iter().rev() {
            match self.changes.get_mut(&change.key) {
                Some(waiting) if (1..change.sequence).contains(&waiting.sequence) => *waiting = change,
                Some(_) => {}
                None => {
                    self.order.push_front(change.key.clone());
                    self.changes.insert(change.key.clone(), change);
                }
            }
        }
    }

    fn retain(&mut self, stays: impl Fn(&Arc<Change>) -> bool) {
        self.changes.retain(|_, change| stays(change));
        self.order.retain(|key| self.changes.contains_key(key));
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
        if self.resync.is_some() && !self.reading && change.sequence != 0 && change.after.is_some() {
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

    /// After which commit state has to be read now, if any has to and nothing is left of what was read before. Tell
    /// [`Queue::read`] what was found.
    pub(super) fn begin_reading(&mut self) -> Option<Sequence> {
        let after = self.resync.filter(|_| self.ordered.is_empty() && self.newest.order.is_empty())?;
        self.reading = true;
        Some(after)
    }

    /// Adds state that was read for the subscriber; what waits and is part of it, or will be read with the next part, is
    /// dropped. Returns by how much the number of those that wait has changed.
    pub(super) fn read(&mut self, part: Part) -> i64 {
        let before = self.len();
        // Not so if too much came meanwhile and was given up.
        let nothing_is_missing = std::mem::take(&mut self.reading) || self.resync.is_none();
        let is_last = part.is_last && nothing_is_missing;
        self.floor = self.floor.max(part.until);
        self.resync = (!is_last).then_some(part.until);
        let floor = self.floor;
        let stays = |change: &Arc<Change>| (is_last && change.sequence > floor) || is_untold(change);
        self.ordered.retain(stays);
        // A deletion may be older than what was read of a new entity with the same id.
        let is_mixed = self.ordered.iter().any(|change| (1..=floor).contains(&change.sequence));
        if self.coalescing || is_mixed || part.changes.len() > ORDERED {
            self.coalesce();
            self.newest.retain(stays);
            self.newest.put_back(part.changes);
        } else {
            for change in part.changes.into_iter().rev() {
                self.ordered.push_front(change);
            }
        }
        let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        count(self.len()) - count(before)
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
        self.reading = false;
        self.coalesce();
        for change in self.newest.take(usize::MAX).into_iter().filter(is_untold).take(NEWEST / 2) {
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

/// Whether reading the local state would not tell it: deletions, and entities of other brokers.
fn is_untold(change: &Arc<Change>) -> bool {
    change.after.is_none() || change.sequence == 0
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

    fn deletion(id: u8, sequence: Sequence) -> Arc<Change> {
        let mut change = Arc::into_inner(change(id, sequence)).unwrap();
        change.before = change.after.take();
        Arc::new(change)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Delete(u8),
        /// A part of the state is read, and meanwhile an entity changes.
        Read(Option<u8>),
        Deliver(usize),
        Fail(usize),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..5u8).prop_map(Step::Push),
            1 => (0..5u8).prop_map(Step::Delete),
            1 => proptest::option::of(0..5u8).prop_map(Step::Read),
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
            let mut node = Node::default();
            for step in steps {
                match step {
                    Step::Push(id) => node.write(change(id, node.head + 1)),
                    Step::Delete(id) => node.write(deletion(id, node.head + 1)),
                    Step::Read(meanwhile) => node.read(meanwhile),
                    Step::Deliver(limit) => node.deliver(limit),
                    Step::Fail(limit) => {
                        let taken = node.queue.take(limit);
                        node.queue.failed(taken);
                    }
                    Step::Forget => node.queue.forget(),
                }
            }
            for _ in 0..200 {
                node.read(None);
                node.deliver(3);
                if node.queue.is_empty() {
                    break;
                }
            }
            prop_assert!(node.queue.is_empty());
            prop_assert_eq!(node.queue.cursor(node.head), node.head);
            let expected: BTreeMap<_, _> = node.state.into_iter().map(|(key, change)| (key, change.sequence)).collect();
            prop_assert_eq!(node.seen, expected);
        }
    }

    /// A state with one subscriber.
    #[derive(Default)]
    struct Node {
        queue: Queue,
        /// The last change of each entity.
        state: BTreeMap<EntityKey, Arc<Change>>,
        head: Sequence,
        /// The last sequence of each entity that the subscriber has got.
        seen: BTreeMap<EntityKey, Sequence>,
    }

    impl Node {
        fn write(&mut self, change: Arc<Change>) {
            self.head = change.sequence;
            self.state.insert(change.key.clone(), Arc::clone(&change));
            self.queue.push(change);
        }

        /// Reads the two oldest states that are wanted, if any are.
        fn read(&mut self, meanwhile: Option<u8>) {
            let Some(after) = self.queue.begin_reading() else { return };
            let wanted = |change: &&Arc<Change>| change.sequence > after && change.after.is_some();
            let mut found: Vec<_> = self.state.values().filter(wanted).cloned().collect();
            found.sort_by_key(|change| change.sequence);
            let is_last = found.len() <= 2;
            found.truncate(2);
            let until = found.last().filter(|_| !is_last).map_or(self.head, |change| change.sequence);
            if let Some(id) = meanwhile {
                self.write(change(id, self.head + 1));
            }
            self.queue.read(Part { changes: found, until, is_last });
        }

        fn deliver(&mut self, limit: usize) {
            for change in self.queue.take(limit) {
                let last = self.seen.insert(change.key.clone(), change.sequence).unwrap_or(0);
                assert!(change.sequence >= last, "an older state after a newer one");
            }
            self.queue.sent();
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
