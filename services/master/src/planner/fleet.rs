//! The workers as a plan sees them: where they are, what they can run, how full they are; and the choice among them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use fogflow_orchestration::WorkerProfile;
use foldhash::HashMap;

use super::capability::WorkerKind;
use super::objective::Objective;
use super::places::{Places, Unit, unit};

/// What placement has to know of a task.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// How to choose.
    pub objective: Objective,
    /// Where its inputs are.
    pub places: &'a Places,
    /// Whether it wants a worker for itself.
    pub exclusive: bool,
    /// Priority among exclusive tasks.
    pub level: i32,
    /// Per kind of worker, whether it can run there.
    pub runs_on: &'a [bool],
    /// Workers to leave out: where it is, and where it failed for good.
    pub except: &'a [usize],
    /// With an objective of distance: workers farther than this many metres (summed) are of no interest.
    pub within: Option<u64>,
}

/// A worker that was chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Index in the fleet.
    pub worker: usize,
    /// Whether the task would pause others there, or be paused.
    pub conflict: bool,
    /// Sum of the distances to its inputs; 0 unless the objective asks for it.
    pub metres: u64,
    /// Squared chord from the centre of its inputs, which breaks ties of the other objectives.
    away: f64,
}

/// The alive workers, sorted by id.
#[derive(Debug, Default)]
pub struct Fleet {
    ids: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
    slots: Vec<Slot>,
    /// Per worker, how many exclusive tasks of each level it has.
    levels: Vec<BTreeMap<i32, u32>>,
    kinds: Vec<WorkerKind>,
}

#[derive(Clone, Debug)]
struct Slot {
    position: Unit,
    located: bool,
    capacity: u32,
    load: u32,
    exclusive: u32,
    kind: usize,
    /// `load / capacity` now, and with one more task, in units of 2^-32: what workers are compared by.
    shares: (u64, u64),
}

impl Slot {
    fn weigh(&mut self) {
        let share = |load: u32| (u64::from(load) << 32) / u64::from(self.capacity.max(1));
        self.shares = (share(self.load), share(self.load.saturating_add(1)));
    }
}

impl Fleet {
    /// Empty workers.
    #[must_use]
    pub fn new<'a>(workers: impl IntoIterator<Item = &'a WorkerProfile>) -> Self {
        let sorted: BTreeMap<&str, &WorkerProfile> = workers.into_iter().map(|worker| (worker.id.as_str(), worker)).collect();
        let mut fleet = Fleet::default();
        for (id, worker) in sorted {
            let kind = WorkerKind::of(worker);
            let kind = fleet.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                fleet.kinds.push(kind);
                fleet.kinds.len() - 1
            });
            let id: Arc<str> = id.into();
            fleet.index.insert(id.clone(), fleet.ids.len());
            fleet.ids.push(id);
            fleet.slots.push(Slot {
                position: unit(worker.location),
                located: worker.location.is_known(),
                capacity: worker.capacity,
                load: 0,
                exclusive: 0,
                kind,
                shares: (0, 0),
            });
            if let Some(slot) = fleet.slots.last_mut() {
                slot.weigh();
            }
            fleet.levels.push(BTreeMap::new());
        }
        fleet
    }

    /// Whether there are no workers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The index of a worker.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The id of a worker.
    #[must_use]
    pub fn id(&self, worker: usize) -> &Arc<str> {
        &self.ids[worker]
    }

    /// The kinds of workers there are.
    #[must_use]
    pub fn kinds(&self) -> &[WorkerKind] {
        &self.kinds
    }

    /// Index of a worker's kind in [`Fleet::kinds`].
    #[must_use]
    pub fn kind(&self, worker: usize) -> usize {
        self.slots[worker].kind
    }

    /// Whether a worker can take one more task.
    #[must_use]
    pub fn has_room(&self, worker: usize) -> bool {
        self.slots[worker].load < self.slots[worker].capacity
    }

    /// How many workers are of these kinds.
    #[must_use]
    pub fn count_of_kinds(&self, kinds: &[bool]) -> usize {
        self.slots.iter().filter(|slot| kinds[slot.kind]).count()
    }

    /// Tasks on a worker, and how many it may have.
    #[must_use]
    pub fn load(&self, worker: usize) -> (u32, u32) {
        (self.slots[worker].load, self.slots[worker].capacity)
    }

    /// Counts a task in.
    pub fn add(&mut self, worker: usize, exclusive: bool, level: i32) {
        self.slots[worker].load += 1;
        self.slots[worker].weigh();
        if exclusive {
            self.slots[worker].exclusive += 1;
            *self.levels[worker].entry(level).or_default() += 1;
        }
    }

    /// Counts a task out.
    pub fn remove(&mut self, worker: usize, exclusive: bool, level: i32) {
        let slot = &mut self.slots[worker];
        slot.load = slot.load.saturating_sub(1);
        slot.weigh();
        if exclusive {
            slot.exclusive = slot.exclusive.saturating_sub(1);
            if let Some(count) = self.levels[worker].get_mut(&level) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.levels[worker].remove(&level);
                }
            }
        }
    }

    /// Whether a task that is on a worker is paused there in favour of an exclusive one (design of the worker: the exclusive
    /// tasks of the highest level run, or all if there is no exclusive one).
    #[must_use]
    pub fn is_paused_on(&self, worker: usize, exclusive: bool, level: i32) -> bool {
        let highest = self.levels[worker].keys().next_back();
        highest.is_some_and(|&highest| !exclusive || highest > level)
    }

    /// Whether a new task would pause one of a worker's tasks, or be paused there.
    fn would_conflict(&self, worker: usize, exclusive: bool, level: i32) -> bool {
        let slot = &self.slots[worker];
        if exclusive { slot.load > slot.exclusive || self.levels[worker].keys().any(|&other| other != level) } else { slot.exclusive > 0 }
    }

    /// The sum of the distances from a worker to places, in whole metres.
    #[must_use]
    pub fn metres(&self, worker: usize, places: &Places) -> u64 {
        let slot = &self.slots[worker];
        // Truncated as upstream does, so that centimetres decide nothing.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a distance on earth, at most 2e7 per input")]
        let metres = places.sum_of_metres(slot.located.then_some(&slot.position)) as u64;
        metres
    }

    /// The best worker with room, if there is one. Without conflict goes before the objective; equals go by id.
    #[must_use]
    pub fn choose(&self, wish: &Wish<'_>) -> Option<Choice> {
        let nearest = wish.objective == Objective::MinLatency && !wish.places.is_empty();
        let mut best: Option<Choice> = None;
        #[expect(clippy::cast_precision_loss, reason = "metres are far below 2^52")]
        let reach_of = |metres: u64| if nearest { wish.places.chord2_limit(metres as f64 + 1.0) } else { f64::INFINITY };
        // No worker beyond this is of interest, whatever else it has.
        let mut reach = wish.within.map_or(f64::INFINITY, reach_of);
        // Nor a worker whose load alone makes it worse than one without conflict.
        let mut to_beat = None;
        for (worker, slot) in self.slots.iter().enumerate() {
            if to_beat.is_some_and(|shares| is_worse_by_load(wish.objective, slot.shares, shares)) {
                continue;
            }
            if nearest && slot.located && wish.places.chord2_from_centre(&slot.position) > reach {
                continue;
            }
            if slot.load >= slot.capacity || !wish.runs_on[slot.kind] || wish.except.contains(&worker) {
                continue;
            }
            let conflict = (slot.exclusive > 0 || wish.exclusive) && self.would_conflict(worker, wish.exclusive, wish.level);
            let (metres, away) = if nearest { (self.metres(worker, wish.places), 0.0) } else { (0, away_from(wish.places, slot)) };
            let candidate = Choice { worker, conflict, metres, away };
            if best.is_none_or(|best| self.is_better(wish, &candidate, &best)) {
                best = Some(candidate);
                // A nearer one with a conflict would be no better, a farther one without conflict would.
                if !conflict {
                    reach = reach_of(candidate.metres);
                    to_beat = Some(slot.shares);
                }
            }
        }
        best
    }

    fn is_better(&self, wish: &Wish<'_>, new: &Choice, old: &Choice) -> bool {
        let by_load = || self.compare_load(new.worker, old.worker);
        let by_distance = || new.away.total_cmp(&old.away);
        let order = new.conflict.cmp(&old.conflict).then_with(|| match wish.objective {
            Objective::MinLatency => new.metres.cmp(&old.metres).then_with(by_load),
            Objective::MaxThroughput => by_load().then_with(by_distance),
            Objective::MinCost => by_load().reverse().then_with(by_distance),
        });
        // Workers come in the order of their ids: of equals the first stays.
        order == Ordering::Less
    }

    /// Compares relative loads: as they are, then after one more task.
    fn compare_load(&self, a: usize, b: usize) -> Ordering {
        self.slots[a].shares.cmp(&self.slots[b].shares)
    }
}

/// Whether the objective prefers the other load, whatever else there is.
fn is_worse_by_load(objective: Objective, shares: (u64, u64), other: (u64, u64)) -> bool {
    match objective {
        Objective::MinLatency => false,
        Objective::MaxThroughput => shares > other,
        Objective::MinCost => shares < other,
    }
}

/// How far a worker is from the centre of places, in a measure that only compares. Without location it is the farthest.
fn away_from(places: &Places, slot: &Slot) -> f64 {
    match (places.is_empty(), slot.located) {
        (true, _) => 0.0,
        (false, true) => places.chord2_from_centre(&slot.position),
        (false, false) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use fogflow_orchestration::Location;

    use super::*;

    fn worker(id: &str, latitude: f64, capacity: u32) -> WorkerProfile {
        WorkerProfile { id: id.to_owned(), location: Location { latitude, longitude: 8.0 }, capacity, ..WorkerProfile::default() }
    }

    fn choose(fleet: &Fleet, objective: Objective, places: &Places, exclusive: bool, level: i32) -> Option<String> {
        let wish = Wish { objective, places, exclusive, level, runs_on: &[true], except: &[], within: None };
        fleet.choose(&wish).map(|choice| fleet.id(choice.worker).to_string())
    }

    #[test]
    fn min_latency_takes_the_nearest_with_room() {
        let mut fleet = Fleet::new(&[worker("far", 60.0, 9), worker("near", 49.0, 1), worker("middle", 52.0, 9)]);
        let places = Places::new([Location { latitude: 48.0, longitude: 8.0 }]);
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, false, 0).as_deref(), Some("near"));
        let near = fleet.find("near").expect("it is there");
        fleet.add(near, false, 0);
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, false, 0).as_deref(), Some("middle"));
    }

    #[test]
    fn fault_14_capacity_counts_also_without_located_inputs() {
        let mut fleet = Fleet::new(&[worker("a", 49.0, 1), worker("b", 49.0, 1)]);
        for expected in [Some("a"), Some("b"), None] {
            let chosen = choose(&fleet, Objective::MinLatency, &Places::default(), false, 0);
            assert_eq!(chosen.as_deref(), expected);
            if let Some(index) = chosen.and_then(|id| fleet.find(&id)) {
                fleet.add(index, false, 0);
            }
        }
    }

    #[test]
    fn max_throughput_takes_the_least_relative_load_and_min_cost_the_fullest_with_room() {
        let mut fleet = Fleet::new(&[worker("a", 49.0, 4), worker("b", 49.0, 10), worker("c", 49.0, 2)]);
        let index = |fleet: &Fleet, id: &str| fleet.find(id).expect("it is there");
        let (a, b, c) = (index(&fleet, "a"), index(&fleet, "b"), index(&fleet, "c"));
        fleet.add(a, false, 0);
        fleet.add(b, false, 0);
        fleet.add(c, false, 0);
        assert_eq!(choose(&fleet, Objective::MaxThroughput, &Places::default(), false, 0).as_deref(), Some("b"));
        assert_eq!(choose(&fleet, Objective::MinCost, &Places::default(), false, 0).as_deref(), Some("c"));
        fleet.add(c, false, 0);
        assert_eq!(choose(&fleet, Objective::MinCost, &Places::default(), false, 0).as_deref(), Some("a"));
    }

    #[test]
    fn exclusive_tasks_look_for_an_idle_worker_and_others_keep_away_from_them() {
        let mut fleet = Fleet::new(&[worker("a", 49.0, 4), worker("b", 60.0, 4)]);
        let places = Places::new([Location { latitude: 49.0, longitude: 8.0 }]);
        let a = fleet.find("a").expect("it is there");
        fleet.add(a, false, 0);
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, true, 1).as_deref(), Some("b"));
        fleet.remove(a, false, 0);
        fleet.add(a, true, 1);
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, true, 1).as_deref(), Some("a"), "equal levels run together");
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, true, 2).as_deref(), Some("b"));
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, false, 0).as_deref(), Some("b"));
        assert!(fleet.is_paused_on(a, false, 9) && fleet.is_paused_on(a, true, 0) && !fleet.is_paused_on(a, true, 1));
    }

    #[test]
    fn a_worker_without_location_is_the_last_resort_of_min_latency() {
        let nowhere = WorkerProfile { id: "a".to_owned(), capacity: 9, ..WorkerProfile::default() };
        let fleet = Fleet::new(&[nowhere, worker("b", -40.0, 9)]);
        let places = Places::new([Location { latitude: 49.0, longitude: 8.0 }]);
        assert_eq!(choose(&fleet, Objective::MinLatency, &places, false, 0).as_deref(), Some("b"));
    }
}
