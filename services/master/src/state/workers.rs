//! The workers: their profiles and whether they are alive.
//!
//! A worker is dead after three missed heartbeats: of the period that it names itself, else of upstream's 10 s. When the
//! configuration sets `worker.heartbeat_interval`, it is dead after `heartbeat_interval × detection_duration` seconds; a
//! product of 0 counts as not set (FAULT 2: upstream then drops every worker between two heartbeats).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fogflow_orchestration::WorkerProfile;
use serde::{Deserialize, Serialize};

/// Upstream's workers beat with this period.
const UPSTREAM_HEARTBEAT: Duration = Duration::from_secs(10);
const MISSED_BEATS: u32 = 3;
/// Capacity of an upstream worker whose configuration names none (FAULT 38: it says 0, which would mean always full).
const DEFAULT_CAPACITY: u32 = 8;
/// After this time without a sign of life a worker is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// A worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// As it last described itself; `Last_Heartbeat_Update` is set.
    pub profile: WorkerProfile,
    /// Whether its heartbeats come.
    pub alive: bool,
    /// Whether it has reported its tasks in full since this master began to listen. Always true for upstream's.
    pub reported: bool,
    last_seen: Instant,
}

impl Worker {
    /// Whether it speaks upstream's messages only: no full reports, no generations.
    #[must_use]
    pub fn is_upstream(&self) -> bool {
        is_upstream(&self.profile)
    }
}

fn is_upstream(profile: &WorkerProfile) -> bool {
    profile.incarnation.is_empty() && profile.heartbeat_seconds.is_none()
}

/// What is stored of a worker, to know after a restart whom to wait for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownWorker {
    /// Its last profile.
    pub profile: WorkerProfile,
}

/// All workers by id.
#[derive(Debug, Default)]
pub struct Workers {
    by_id: BTreeMap<String, Worker>,
    dead_after: Option<Duration>,
    /// Workers of an earlier start that have not been heard of since.
    awaited: BTreeMap<String, WorkerProfile>,
    last_tick: Option<Instant>,
}

/// What a sign of life changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// It is new, back, or differs in what a plan depends on.
    pub replan: bool,
    /// Its profile differs in anything that is shown.
    pub shown: bool,
}

impl Workers {
    /// No workers. `dead_after` overrides the workers' own periods.
    #[must_use]
    pub fn new(dead_after: Option<Duration>) -> Self {
        Workers { dead_after: dead_after.filter(|limit| !limit.is_zero()), ..Workers::default() }
    }

    /// A worker of an earlier start.
    pub fn expect(&mut self, profile: WorkerProfile) {
        if !self.by_id.contains_key(&profile.id) {
            self.awaited.insert(profile.id.clone(), profile);
        }
    }

    /// The workers of an earlier start whose state is not known yet.
    pub fn awaited(&self) -> impl Iterator<Item = &WorkerProfile> {
        let unreported = self.by_id.values().filter(|worker| worker.alive && !worker.reported).map(|worker| &worker.profile);
        self.awaited.values().chain(unreported)
    }

    /// Workers that have not come back count as dead from now on.
    pub fn give_up_waiting(&mut self, now: Instant) {
        for (id, profile) in std::mem::take(&mut self.awaited) {
            self.by_id.entry(id).or_insert(Worker { profile, alive: false, reported: true, last_seen: now });
        }
        for worker in self.by_id.values_mut() {
            worker.reported = true;
        }
    }

    /// `WORKER_JOIN` or `WORKER_HEARTBEAT`. `wall` is the time as shown.
    pub fn seen(&mut self, mut profile: WorkerProfile, now: Instant, wall: &str) -> Seen {
        if profile.capacity == 0 && is_upstream(&profile) {
            profile.capacity = DEFAULT_CAPACITY;
        }
        wall.clone_into(&mut profile.last_heartbeat_update);
        self.awaited.remove(&profile.id);
        let reported = is_upstream(&profile);
        match self.by_id.get_mut(&profile.id) {
            Some(worker) => {
                let replan = !worker.alive || plan_part(&worker.profile) != plan_part(&profile);
                let shown = replan || shown_part(&worker.profile) != shown_part(&profile);
                worker.profile = profile;
                worker.alive = true;
                worker.last_seen = now;
                Seen { replan, shown }
            }
            None => {
                self.by_id.insert(profile.id.clone(), Worker { profile, alive: true, reported, last_seen: now });
                Seen { replan: true, shown: true }
            }
        }
    }

    /// A full report came. Also a sign of life.
    pub fn reported(&mut self, id: &str, now: Instant) {
        if let Some(worker) = self.by_id.get_mut(id) {
            worker.reported = true;
            worker.last_seen = now;
        }
    }

    /// `WORKER_LEAVE`. Returns whether it was alive.
    pub fn left(&mut self, id: &str) -> bool {
        self.awaited.remove(id);
        self.by_id.get_mut(id).is_some_and(|worker| std::mem::replace(&mut worker.alive, false))
    }

    /// All workers may have beaten unheard (the bus was away): their time starts anew.
    pub fn excuse_silence(&mut self, now: Instant) {
        for worker in self.by_id.values_mut().filter(|worker| worker.alive) {
            worker.last_seen = now;
        }
    }

    /// Looks for silent workers; to be called every `period`. Returns those that died now, and those to forget altogether.
    pub fn tick(&mut self, now: Instant, period: Duration) -> (Vec<String>, Vec<String>) {
        // A process that was stopped itself (a debugger, a sleeping laptop) heard nobody.
        if self.last_tick.is_some_and(|last| now.saturating_duration_since(last) > period * 3) {
            self.excuse_silence(now);
        }
        self.last_tick = Some(now);
        let mut died = Vec::new();
        let mut forgotten = Vec::new();
        for (id, worker) in &mut self.by_id {
            let silence = now.saturating_duration_since(worker.last_seen);
            let limit = self.dead_after.unwrap_or_else(|| heartbeat_of(&worker.profile) * MISSED_BEATS);
            if worker.alive && silence > limit {
                worker.alive = false;
                died.push(id.clone());
            } else if !worker.alive && silence > FORGOTTEN_AFTER {
                forgotten.push(id.clone());
            }
        }
        for id in &forgotten {
            self.by_id.remove(id);
        }
        (died, forgotten)
    }

    /// A worker, dead or alive.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Worker> {
        self.by_id.get(id)
    }

    /// Whether a worker is alive.
    #[must_use]
    pub fn is_alive(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|worker| worker.alive)
    }

    /// The profiles of those that are alive.
    pub fn alive(&self) -> impl Iterator<Item = &WorkerProfile> {
        self.by_id.values().filter(|worker| worker.alive).map(|worker| &worker.profile)
    }
}

/// The period of a worker's heartbeats.
#[must_use]
pub fn heartbeat_of(profile: &WorkerProfile) -> Duration {
    match profile.heartbeat_seconds {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.into()),
        _ => UPSTREAM_HEARTBEAT,
    }
}

/// A profile without what changes from heartbeat to heartbeat.
#[must_use]
pub fn plan_part(profile: &WorkerProfile) -> WorkerProfile {
    WorkerProfile { workload: 0, last_heartbeat_update: String::new(), incarnation: String::new(), url: String::new(), ..profile.clone() }
}

fn shown_part(profile: &WorkerProfile) -> WorkerProfile {
    WorkerProfile { last_heartbeat_update: String::new(), ..profile.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);

    fn profile(id: &str, heartbeat: Option<u32>) -> WorkerProfile {
        WorkerProfile { id: id.to_owned(), capacity: 2, heartbeat_seconds: heartbeat, ..WorkerProfile::default() }
    }

    /// Ticks every second from `from` to `to`, and returns the second in which the first worker died.
    fn dies_at(workers: &mut Workers, start: Instant, from: u64, to: u64) -> Option<u64> {
        (from..=to).find(|second| !workers.tick(start + Duration::from_secs(*second), TICK).0.is_empty())
    }

    #[test]
    fn fault_2_without_configuration_a_worker_is_dead_after_three_missed_beats_of_its_own() {
        let start = Instant::now();
        let mut workers = Workers::new(Some(Duration::ZERO));
        workers.seen(profile("ours", Some(2)), start, "");
        assert_eq!(dies_at(&mut workers, start, 1, 60), Some(7));
        let mut workers = Workers::new(None);
        workers.seen(profile("upstream", None), start, "");
        assert_eq!(dies_at(&mut workers, start, 1, 60), Some(31));
    }

    #[test]
    fn the_configured_product_overrides_the_workers_period() {
        let start = Instant::now();
        let mut workers = Workers::new(Some(Duration::from_secs(5)));
        workers.seen(profile("w", Some(2)), start, "");
        assert_eq!(dies_at(&mut workers, start, 1, 60), Some(6));
    }

    #[test]
    fn nobody_is_dead_because_the_master_itself_was_stopped() {
        let start = Instant::now();
        let mut workers = Workers::new(None);
        workers.seen(profile("w", Some(2)), start, "");
        assert!(workers.tick(start + TICK, TICK).0.is_empty());
        assert!(workers.tick(start + Duration::from_secs(500), TICK).0.is_empty());
        assert!(workers.is_alive("w"));
    }

    #[test]
    fn fault_38_an_upstream_worker_without_capacity_has_the_default_one_and_ours_may_have_none() {
        let mut workers = Workers::new(None);
        workers.seen(WorkerProfile { capacity: 0, ..profile("upstream", None) }, Instant::now(), "");
        workers.seen(WorkerProfile { capacity: 0, ..profile("ours", Some(2)) }, Instant::now(), "");
        assert_eq!(workers.get("upstream").map(|worker| worker.profile.capacity), Some(DEFAULT_CAPACITY));
        assert_eq!(workers.get("ours").map(|worker| worker.profile.capacity), Some(0));
    }

    #[test]
    fn only_what_a_plan_depends_on_asks_for_a_new_plan() {
        let now = Instant::now();
        let mut workers = Workers::new(None);
        assert!(workers.seen(profile("w", Some(2)), now, "1").replan);
        assert_eq!(workers.seen(profile("w", Some(2)), now, "2"), Seen::default());
        assert_eq!(workers.seen(WorkerProfile { workload: 1, ..profile("w", Some(2)) }, now, "3"), Seen { replan: false, shown: true });
        assert!(workers.seen(WorkerProfile { capacity: 9, ..profile("w", Some(2)) }, now, "4").replan);
        assert!(workers.left("w"));
        assert!(workers.seen(WorkerProfile { capacity: 9, ..profile("w", Some(2)) }, now, "5").replan);
    }

    #[test]
    fn workers_of_an_earlier_start_are_awaited_until_they_have_reported() {
        let now = Instant::now();
        let mut workers = Workers::new(None);
        workers.expect(profile("ours", Some(2)));
        workers.expect(profile("upstream", None));
        assert_eq!(workers.awaited().count(), 2);
        workers.seen(profile("upstream", None), now, "");
        workers.seen(profile("ours", Some(2)), now, "");
        assert_eq!(workers.awaited().count(), 1);
        workers.reported("ours", now);
        assert_eq!(workers.awaited().count(), 0);
    }
}
