//! What one availability subscription has yet to be told. Pure.
//!
//! A queue holds at most one entry per entity, the newest state. An entity that came and went unseen is forgotten. When
//! more than a bound waits, the queue forgets it all and asks for a snapshot of what matches then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::index::{Event, EventKind, Found};
use crate::model::{EntityRef, Registration};

/// What a notification says about its entities: the number is NGSI-9's `errorCode.code` as FogFlow uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// 201: part of the snapshot of what matches, sent after subscribing.
    Initial,
    /// 301: begins to match, or has changed.
    Update,
    /// 410: no longer matches.
    Gone,
}

/// Which part of a snapshot a notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotPart {
    /// All of it.
    Whole,
    /// The first of several.
    Begin,
    /// One in the middle.
    Part,
    /// The last of several: what none of them named does not match. When it comes again because its answer was lost, no
    /// beginning precedes it, and it only adds.
    End,
}

/// One notification to be sent.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What it says.
    pub action: Action,
    /// About these entities. Only a [`SnapshotPart::Whole`] or `End` may be empty.
    pub registrations: Vec<Arc<Registration>>,
    /// Which part of the snapshot; `Some` exactly for [`Action::Initial`].
    pub snapshot: Option<SnapshotPart>,
    /// Grows with each notification of the subscription; a repeated one has a new number.
    pub sequence: u64,
    /// `traceparent` of the oldest change that waited, if it has one.
    pub trace: Option<String>,
    /// Which filling of the queue it belongs to; see [`Queue::put_back`].
    filling: u64,
}

/// What to do next for a subscription.
#[derive(Debug)]
pub enum Next {
    /// Nothing waits.
    Idle,
    /// Send this.
    Send(Batch),
    /// The bound was reached: give the queue a fresh snapshot.
    Refill,
}

#[derive(Debug)]
struct Waiting {
    registration: Arc<Registration>,
    action: Action,
    /// Whether the subscriber may know of the entity, so that it must be told of its end.
    told: bool,
}

#[derive(Debug)]
struct Snapshot {
    begun: bool,
    /// Whether the subscriber wants to be told that nothing matches.
    even_if_empty: bool,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    waiting: HashMap<EntityRef, Waiting, RandomState>,
    /// In order of arrival, one lane per action; may name entities that have left the lane.
    lanes: [VecDeque<EntityRef>; 3],
    snapshot: Option<Snapshot>,
    overflowed: bool,
    bound: usize,
    /// The bound, widened by the snapshot that is being sent.
    room: usize,
    sequence: u64,
    filling: u64,
    trace: Option<String>,
}

impl Queue {
    /// An empty queue. `sequence` is where numbering begins, `bound` how many changed entities may wait.
    #[must_use]
    pub fn new(sequence: u64, bound: usize) -> Self {
        Queue {
            waiting: HashMap::default(),
            lanes: Default::default(),
            snapshot: None,
            overflowed: false,
            bound,
            room: bound,
            sequence,
            filling: 0,
            trace: None,
        }
    }

    /// How many entities wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.snapshot.is_none() && !self.overflowed
    }

    /// Replaces everything by the present matches.
    pub fn fill(&mut self, found: Vec<Found>, even_if_empty: bool) {
        self.clear();
        if found.is_empty() && !even_if_empty {
            return;
        }
        self.snapshot = Some(Snapshot { begun: false, even_if_empty });
        self.room = self.bound + found.len();
        for Found { registration, .. } in found {
            self.set(registration, Action::Initial, false);
        }
    }

    /// Takes note of an event.
    pub fn push(&mut self, event: Event) {
        if self.overflowed {
            return;
        }
        let Event { registration, kind, .. } = event;
        let present = self.waiting.get(&registration.key);
        let told = present.map_or(kind != EventKind::Appeared, |waiting| waiting.told);
        let still_initial = present.is_some_and(|waiting| waiting.action == Action::Initial);
        match kind {
            EventKind::Gone if !told => {
                self.waiting.remove(&registration.key);
            }
            EventKind::Gone => self.set(registration, Action::Gone, told),
            EventKind::Appeared | EventKind::Changed if still_initial => self.set(registration, Action::Initial, told),
            EventKind::Appeared | EventKind::Changed => self.set(registration, Action::Update, told),
        }
        if self.waiting.len() > self.room {
            self.clear();
            self.overflowed = true;
        }
        self.sweep();
    }

    /// The next batch continues this trace, unless one waits already. `trace` is only made when it is needed.
    pub fn continue_trace(&mut self, trace: impl FnOnce() -> Option<String>) {
        self.trace = self.trace.take().or_else(trace);
    }

    /// What to send next, at most `limit` entities of it.
    pub fn next(&mut self, limit: usize) -> Next {
        if self.overflowed {
            return Next::Refill;
        }
        if let Some(snapshot) = self.snapshot.take() {
            let registrations = self.take(Action::Initial, limit);
            let last = !self.waiting.values().any(|waiting| waiting.action == Action::Initial);
            if !registrations.is_empty() || snapshot.begun || snapshot.even_if_empty {
                let part = match (snapshot.begun, last) {
                    (false, true) => SnapshotPart::Whole,
                    (false, false) => SnapshotPart::Begin,
                    (true, false) => SnapshotPart::Part,
                    (true, true) => SnapshotPart::End,
                };
                if !last {
                    self.snapshot = Some(Snapshot { begun: true, ..snapshot });
                }
                return Next::Send(self.batch(Action::Initial, registrations, Some(part)));
            }
        }
        for action in [Action::Gone, Action::Update] {
            let registrations = self.take(action, limit);
            if !registrations.is_empty() {
                return Next::Send(self.batch(action, registrations, None));
            }
        }
        Next::Idle
    }

    /// Takes back a batch that could not be delivered. What is newer stays; a refilled queue needs nothing back.
    pub fn put_back(&mut self, batch: Batch) {
        if batch.filling != self.filling || self.overflowed {
            return;
        }
        self.trace = batch.trace.or_else(|| self.trace.take());
        for registration in batch.registrations.into_iter().rev() {
            // Whether the subscriber took it in before the connection broke is unknown.
            if let Some(newer) = self.waiting.get_mut(&registration.key) {
                newer.told = true;
            } else {
                self.lanes[lane(batch.action)].push_front(registration.key.clone());
                self.waiting.insert(registration.key.clone(), Waiting { registration, action: batch.action, told: true });
            }
        }
        match batch.snapshot {
            Some(SnapshotPart::Whole | SnapshotPart::Begin) => self.snapshot = Some(Snapshot { begun: false, even_if_empty: true }),
            Some(SnapshotPart::Part | SnapshotPart::End) => self.snapshot = Some(Snapshot { begun: true, even_if_empty: true }),
            None => {}
        }
    }

    fn batch(&mut self, action: Action, registrations: Vec<Arc<Registration>>, snapshot: Option<SnapshotPart>) -> Batch {
        self.sequence += 1;
        Batch { action, registrations, snapshot, sequence: self.sequence, trace: self.trace.take(), filling: self.filling }
    }

    fn set(&mut self, registration: Arc<Registration>, action: Action, told: bool) {
        let key = registration.key.clone();
        let previous = self.waiting.insert(key.clone(), Waiting { registration, action, told });
        if previous.is_none_or(|previous| previous.action != action) {
            self.lanes[lane(action)].push_back(key);
        }
    }

    fn take(&mut self, action: Action, limit: usize) -> Vec<Arc<Registration>> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(key) = self.lanes[lane(action)].pop_front() else { break };
            if self.waiting.get(&key).is_some_and(|waiting| waiting.action == action) {
                taken.extend(self.waiting.remove(&key).map(|waiting| waiting.registration));
            }
        }
        taken
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.lanes = Default::default();
        self.snapshot = None;
        self.overflowed = false;
        self.room = self.bound;
        self.filling += 1;
    }

    /// Drops names of entities that have left their lane, once they are the majority.
    fn sweep(&mut self) {
        let names: usize = self.lanes.iter().map(VecDeque::len).sum();
        if names > 2 * self.waiting.len() + 1024 {
            for action in [Action::Initial, Action::Update, Action::Gone] {
                let waiting = &self.waiting;
                let mut seen = std::collections::HashSet::with_hasher(RandomState::default());
                self.lanes[lane(action)]
                    .retain(|key| waiting.get(key).is_some_and(|waiting| waiting.action == action) && seen.insert(key.clone()));
            }
        }
    }
}

fn lane(action: Action) -> usize {
    match action {
        Action::Initial => 0,
        Action::Update => 1,
        Action::Gone => 2,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fogflow_ngsi::Tenant;
    use proptest::prelude::*;

    use super::*;
    use crate::model::Owner;

    fn registration(id: u8) -> Arc<Registration> {
        let key = EntityRef::new(Tenant::default(), format!("e{id}"));
        Arc::new(Registration::new(key, "Car".into(), Arc::new(Owner::default())))
    }

    fn event(id: u8, kind: EventKind) -> Event {
        Event { subscription: "s".into(), registration: registration(id), kind }
    }

    fn found(ids: std::ops::Range<u8>) -> Vec<Found> {
        ids.map(|id| Found { registration: registration(id), distance: None }).collect()
    }

    fn send(queue: &mut Queue, limit: usize) -> Batch {
        match queue.next(limit) {
            Next::Send(batch) => batch,
            other => panic!("nothing to send: {other:?}"),
        }
    }

    #[test]
    fn an_entity_that_came_and_went_unseen_is_not_mentioned() {
        let mut queue = Queue::new(0, 100);
        queue.push(event(1, EventKind::Appeared));
        queue.push(event(1, EventKind::Gone));
        assert!(matches!(queue.next(10), Next::Idle) && queue.is_empty());
    }

    #[test]
    fn a_snapshot_says_where_it_begins_and_ends() {
        let mut queue = Queue::new(0, 100);
        queue.fill(found(0..5), false);
        let parts: Vec<_> = (0..3).map(|_| send(&mut queue, 2).snapshot.unwrap()).collect();
        assert_eq!(parts, [SnapshotPart::Begin, SnapshotPart::Part, SnapshotPart::End]);
        queue.fill(found(0..2), false);
        assert_eq!(send(&mut queue, 2).snapshot, Some(SnapshotPart::Whole));
        queue.fill(Vec::new(), false);
        assert!(queue.is_empty());
        queue.fill(Vec::new(), true);
        assert_eq!(send(&mut queue, 2).snapshot, Some(SnapshotPart::Whole));
    }

    #[test]
    fn a_batch_that_failed_comes_again_unless_something_newer_waits() {
        let mut queue = Queue::new(0, 100);
        queue.push(event(1, EventKind::Appeared));
        queue.push(event(2, EventKind::Appeared));
        let failed = send(&mut queue, 10);
        queue.push(event(1, EventKind::Gone));
        queue.put_back(failed);
        let gone = send(&mut queue, 10);
        assert_eq!((gone.action, gone.registrations.len()), (Action::Gone, 1));
        let update = send(&mut queue, 10);
        assert_eq!((update.action, update.registrations[0].key.id.as_str()), (Action::Update, "e2"));
        assert!(update.sequence > gone.sequence);
    }

    #[test]
    fn fault_15_what_waits_is_bounded_and_replaced_by_a_snapshot() {
        let mut queue = Queue::new(0, 10);
        for id in 0..200 {
            queue.push(event(id, EventKind::Appeared));
        }
        assert!(queue.len() <= 10 && matches!(queue.next(10), Next::Refill));
        queue.fill(found(0..3), true);
        assert_eq!(send(&mut queue, 10).registrations.len(), 3);
    }

    #[test]
    fn entities_that_come_and_go_for_ever_do_not_fill_the_memory() {
        let mut queue = Queue::new(0, 10);
        for _ in 0..100_000 {
            queue.push(event(1, EventKind::Appeared));
            queue.push(event(1, EventKind::Gone));
        }
        assert!(queue.lanes.iter().map(VecDeque::len).sum::<usize>() < 2000);
    }

    proptest! {
        /// Whatever happens and fails, a subscriber that applies what arrives ends with the truth.
        #[test]
        fn the_subscriber_ends_with_the_truth(steps in prop::collection::vec((0..6u8, 0..4u8), 0..200), limit in 1..4usize, bound in 3..20usize) {
            let mut queue = Queue::new(0, bound);
            let (mut truth, mut known) = (BTreeMap::new(), BTreeMap::new());
            let mut version = 0u64;
            let mut collecting: Option<BTreeMap<String, u64>> = None;
            let mut deliver = |known: &mut BTreeMap<String, u64>, batch: &Batch| {
                if matches!(batch.snapshot, Some(SnapshotPart::Whole | SnapshotPart::Begin)) {
                    collecting = Some(BTreeMap::new());
                }
                for registration in &batch.registrations {
                    let id = registration.key.id.to_string();
                    let version = registration.expires.map_or(0, |time| time.0 as u64);
                    match (batch.action, &mut collecting) {
                        (Action::Gone, _) => { known.remove(&id); }
                        (Action::Initial, Some(collecting)) => { collecting.insert(id, version); }
                        // A repeated end, whose beginning is closed already, only adds.
                        (Action::Initial, None) | (Action::Update, _) => { known.insert(id, version); }
                    }
                }
                if matches!(batch.snapshot, Some(SnapshotPart::Whole | SnapshotPart::End)) && let Some(all) = collecting.take() {
                    *known = all;
                }
            };
            let with_version = |id: u8, version: u64| {
                let mut registration = (*registration(id)).clone();
                registration.expires = Some(fogflow_ngsi::Timestamp(version as i64));
                Arc::new(registration)
            };
            let snapshot = |truth: &BTreeMap<u8, u64>| truth.iter()
                .map(|(id, version)| Found { registration: with_version(*id, *version), distance: None }).collect::<Vec<_>>();
            for (id, step) in steps {
                version += 1;
                match step {
                    0 => {
                        let kind = if truth.insert(id, version).is_some() { EventKind::Changed } else { EventKind::Appeared };
                        queue.push(Event { registration: with_version(id, version), ..event(id, kind) });
                    }
                    1 => if truth.remove(&id).is_some() { queue.push(event(id, EventKind::Gone)) },
                    // A delivery that fails: half of the time the subscriber has taken it in all the same.
                    2 => match queue.next(limit) {
                        Next::Send(batch) => {
                            if version.is_multiple_of(2) { deliver(&mut known, &batch) }
                            queue.put_back(batch);
                        }
                        Next::Refill => queue.fill(snapshot(&truth), true),
                        Next::Idle => {}
                    },
                    _ => match queue.next(limit) {
                        Next::Send(batch) => deliver(&mut known, &batch),
                        Next::Refill => queue.fill(snapshot(&truth), true),
                        Next::Idle => {}
                    },
                }
            }
            while !queue.is_empty() {
                match queue.next(limit) {
                    Next::Send(batch) => deliver(&mut known, &batch),
                    Next::Refill => queue.fill(snapshot(&truth), true),
                    Next::Idle => break,
                }
            }
            let truth: BTreeMap<String, u64> = truth.into_iter().map(|(id, version)| (format!("e{id}"), version)).collect();
            prop_assert_eq!(known, truth);
        }
    }
}
