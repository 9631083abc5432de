//! Everything that the master knows, as one value behind one lock. Handlers put in what they hear; the reconciler takes out
//! what has to be done. Nothing here does I/O or reads a clock: times are handed in.

mod commands;
pub mod copies;
mod leading;
mod orders;
mod rows;
#[cfg(test)]
mod tests;
pub mod watches;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_orchestration::{
    DockerImage, EntityDetail, IntentState, RegistrySnapshot, ServiceIntent, TaskState, TaskUpdate, WorkerProfile, WorkerTasks,
};

use crate::planner::{EntityKey, Planner, Policy};
use copies::{Command, Copies};
use watches::{EntityNews, Watches};
use workers::Workers;

/// Announced intents that are remembered.
const ANNOUNCED: usize = 10_000;

/// A message to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// About its tasks.
    Task(Command),
    /// `PREFETCH_IMAGE`
    Prefetch(DockerImage),
}

/// What has changed since someone looked: each consumer takes its part.
#[derive(Debug, Default)]
pub struct Changes {
    /// Tasks whose row may differ.
    pub rows: BTreeSet<Arc<str>>,
    /// Intents whose state differs, and those that are gone.
    pub intents: BTreeSet<String>,
    /// Whether any worker's profile differs.
    pub workers: bool,
    /// Whether everything has to be reported.
    pub full: bool,
}

/// A notification that has arrived.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// W3C `traceparent` of what brought it, or of the first one after it that has one.
    pub traceparent: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    /// The plan.
    pub planner: Planner,
    /// The workers.
    pub workers: Workers,
    /// Who was told what, and what they report.
    pub copies: Copies,
    /// What is watched at discovery.
    pub watches: Watches,
    registry: Option<Arc<RegistrySnapshot>>,
    /// What an upstream designer said of intents on the bus.
    announced: BTreeMap<String, ServiceIntent>,
    /// When the oldest notification came that has not been planned for, and the trace that it belongs to.
    heard: Option<Heard>,
    intents: BTreeMap<String, IntentState>,
    /// The epoch of the lease while this master leads.
    lease: Option<u64>,
    /// The least epoch that workers obey, when the store of the lease has lost count.
    least_epoch: u64,
    /// The highest epoch that workers have reported.
    reported_epoch: u64,
    /// Whether the bus is connected.
    bus_is_there: bool,
    /// Tasks that failed where they are planned to be.
    failed: BTreeSet<Arc<str>>,
    led_since: Option<Instant>,
    /// Whether enough is known to give commands.
    open: bool,
    /// Tasks to compare with what workers were told.
    dirty: BTreeSet<Arc<str>>,
    /// Tasks with an unanswered command, looked at with every tick.
    unsettled: BTreeSet<Arc<str>>,
    /// Workers that need their whole set, and when each got it last.
    differing: BTreeSet<String>,
    whole_sent: HashMap<String, Instant>,
    prefetched: HashSet<(String, String)>,
    prefetch_due: bool,
    review_at: Option<Instant>,
    /// For the report to the designer.
    pub reported: Changes,
    /// For the entities at the broker.
    pub published: Changes,
    /// For the store.
    pub unsaved: BTreeSet<Arc<str>>,
    /// Workers whose stored profile differs.
    pub unsaved_workers: BTreeSet<String>,
}

impl State {
    /// Nothing known.
    #[must_use]
    pub fn new(policy: Policy, dead_after: Option<Duration>) -> Self {
        State {
            planner: Planner::new(policy),
            workers: Workers::new(dead_after),
            copies: Copies::default(),
            watches: Watches::default(),
            registry: None,
            announced: BTreeMap::new(),
            heard: None,
            intents: BTreeMap::new(),
            lease: None,
            least_epoch: 0,
            reported_epoch: 0,
            bus_is_there: true,
            failed: BTreeSet::new(),
            led_since: None,
            open: false,
            dirty: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            differing: BTreeSet::new(),
            whole_sent: HashMap::new(),
            prefetched: HashSet::new(),
            prefetch_due: false,
            review_at: None,
            reported: Changes::default(),
            published: Changes::default(),
            unsaved: BTreeSet::new(),
            unsaved_workers: BTreeSet::new(),
        }
    }

    /// Whether it gives commands.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The designer's registry.
    pub fn set_registry(&mut self, registry: RegistrySnapshot) {
        // Replicas of the designer may count generations apart.
        let same = |known: &RegistrySnapshot| {
            known.operators == registry.operators && known.topologies == registry.topologies && known.intents == registry.intents
        };
        if self.registry.as_deref().is_some_and(same) {
            return;
        }
        self.planner.set_registry(&registry.operators, &registry.topologies, &registry.intents);
        for selector in self.watches.set(self.planner.selectors()) {
            self.planner.set_complete(&selector, false);
        }
        let gone: Vec<String> =
            self.intents.keys().filter(|id| !registry.intents.iter().any(|intent| intent.id == **id)).cloned().collect();
        for id in gone {
            self.intents.remove(&id);
            self.note_intent(&id);
        }
        self.prefetch_due = true;
        self.registry = Some(Arc::new(registry));
    }

    /// A `ServiceIntent` message. Our designer's registry says the same; an upstream designer says it only here.
    pub fn note_announced(&mut self, intent: ServiceIntent) {
        if !intent.id.is_empty() {
            self.announced.insert(intent.id.clone(), intent);
        }
        while self.announced.len() > ANNOUNCED {
            self.announced.pop_first();
        }
    }

    /// The announced intents, deletions included.
    #[must_use]
    pub fn announced(&self) -> &BTreeMap<String, ServiceIntent> {
        &self.announced
    }

    /// A notification came.
    pub fn hear(&mut self, now: Instant, traceparent: Option<String>) {
        let heard = self.heard.get_or_insert(Heard { at: now, traceparent: None });
        heard.traceparent = heard.traceparent.take().or(traceparent);
    }

    /// The oldest notification that was not planned for until now.
    pub fn take_heard(&mut self) -> Option<Heard> {
        self.heard.take()
    }

    /// An upstream discovery names all entities of a selector: others are gone, and it is complete when all were looked up.
    pub fn only(&mut self, selector: &Arc<str>, named: &HashSet<EntityKey>) {
        self.forget_others(selector, named);
        self.complete_if_looked_up(selector);
    }

    fn forget_others(&mut self, selector: &Arc<str>, named: &HashSet<EntityKey>) {
        let known = self.planner.entities(selector).into_iter().flatten().map(|(key, _)| key);
        let vanished: Vec<EntityKey> = known.filter(|key| !named.contains(*key)).cloned().collect();
        for key in vanished {
            self.planner.set_entity(selector, key, None);
        }
    }

    fn complete_if_looked_up(&mut self, selector: &Arc<str>) {
        if !self.watches.is_looking_up(selector)
            && self.watches.iter().any(|watch| watch.selector.id == *selector && !watch.complete && !watch.is_ours())
        {
            self.watches.set_complete(selector);
            self.planner.set_complete(selector, true);
        }
    }

    /// The registry, once it is known.
    #[must_use]
    pub fn registry(&self) -> Option<&Arc<RegistrySnapshot>> {
        self.registry.as_ref()
    }

    /// `WORKER_JOIN` (`joins`) or `WORKER_HEARTBEAT`.
    pub fn worker_seen(&mut self, profile: WorkerProfile, joins: bool, now: Instant, wall: &str) {
        let id = profile.id.clone();
        if id.is_empty() {
            return;
        }
        let known_before = self.workers.get(&id).is_some();
        let seen = self.workers.seen(profile, now, wall);
        let is_upstream = self.workers.get(&id).is_some_and(workers::Worker::is_upstream);
        if joins && is_upstream && known_before {
            // It starts with nothing (FAULT 4).
            let forgotten = self.copies.forget_worker(&id);
            self.touch_copies(forgotten);
        }
        if seen.replan {
            self.workers_changed();
            self.note_unsaved_worker(&id);
            let tasks: Vec<Arc<str>> = self.copies.of_worker(&id).cloned().collect();
            self.dirty.extend(tasks);
        }
        if seen.replan || joins {
            self.prefetched.retain(|(worker, _)| *worker != id);
            self.prefetch_due = true;
        }
        if seen.shown {
            self.reported.workers = true;
            self.published.workers = true;
        }
    }

    /// `WORKER_LEAVE`
    pub fn worker_left(&mut self, id: &str) {
        if self.workers.left(id) {
            tracing::info!(worker = id, "a worker leaves");
            self.workers_changed();
        }
    }

    fn workers_changed(&mut self) {
        let alive = self.workers.alive().map(|profile| (profile.id.clone(), workers::plan_part(profile))).collect();
        if self.open {
            self.planner.set_workers(alive);
        }
        self.reported.workers = true;
        self.published.workers = true;
    }

    /// `WORKER_TASKS`
    pub fn worker_reports(&mut self, report: WorkerTasks, now: Instant) {
        let worker = report.worker_id.clone();
        self.workers.reported(&worker, now);
        self.reported_epoch = self.reported_epoch.max(report.epoch);
        let observed = self.copies.report(report, self.epoch().unwrap_or(0), now);
        if observed.differs {
            self.differing.insert(worker.clone());
        }
        for task in &observed.given_up {
            self.give_up(task, &worker);
        }
        self.touch_copies(observed.touched);
    }

    /// `TASK_UPDATE`
    pub fn task_update(&mut self, worker: &str, update: TaskUpdate) {
        let id: Arc<str> = update.task_id.as_str().into();
        let stranger = self.open && self.workers.get(worker).is_none();
        if id.is_empty() || worker.is_empty() || stranger {
            return;
        }
        let (changed, given_up) = self.copies.update(&id, worker, update);
        if given_up {
            self.give_up(&id, worker);
        }
        if changed {
            self.touch_copies([id]);
        }
    }

    fn give_up(&mut self, task: &Arc<str>, worker: &str) {
        tracing::warn!(task = &**task, worker, "a task fails again and again on this worker; another one is looked for");
        self.planner.avoid(task, worker);
    }

    fn touch_copies(&mut self, tasks: impl IntoIterator<Item = Arc<str>>) {
        for id in tasks {
            self.note_failure(&id);
            self.reported.rows.insert(id.clone());
            self.published.rows.insert(id.clone());
            if self.lease.is_some() {
                self.unsaved.insert(id.clone());
            }
            self.dirty.insert(id);
        }
    }

    /// Only a leader stores: what a follower knows of orders is less than what the leader has stored, maybe in the same place.
    fn note_unsaved_worker(&mut self, id: &str) {
        if self.lease.is_some() {
            self.unsaved_workers.insert(id.to_owned());
        }
    }

    /// Keeps the list of failed tasks true about one of them.
    fn note_failure(&mut self, id: &Arc<str>) {
        let task = self.planner.tasks().get(id);
        let copy = task.and_then(|task| task.worker()).and_then(|worker| self.copies.get(id, worker));
        let fails = copy.and_then(|copy| copy.observed.as_ref()).is_some_and(|update| update.status == TaskState::Failed);
        let changed = if fails { self.failed.insert(id.clone()) } else { self.failed.remove(id) };
        if let Some(task) = task.filter(|_| changed || fails) {
            let intent = task.flow.key.intent.clone();
            self.refresh_intent(&intent);
        }
    }

    /// An availability notification.
    pub fn availability(&mut self, notification: NotifyContextAvailabilityRequest, now: Instant) {
        let taken = self.watches.take(notification, now);
        for (selector, news) in taken.news {
            self.entity_news(&selector, news, now);
        }
        if let Some((selector, named)) = taken.ended {
            self.forget_others(&selector, &named);
            self.planner.set_complete(&selector, true);
        }
    }

    fn entity_news(&mut self, selector: &Arc<str>, news: EntityNews, now: Instant) {
        match news {
            EntityNews::Known(detail) => {
                let key = EntityKey::of(&detail);
                self.watches.forget_lookup(selector, &key);
                self.planner.set_entity(selector, key, Some(Arc::new(detail)));
            }
            EntityNews::Named { key, entity_type, provider } => self.watches.look_up(selector, key, &entity_type, &provider, now),
            EntityNews::Gone(key) => {
                self.watches.forget_lookup(selector, &key);
                self.planner.set_entity(selector, key, None);
            }
        }
    }

    /// Discovery has subscribed a selector under an id; notifications that came before are taken now (FAULT 15).
    pub fn subscribed(&mut self, selector: &Arc<str>, subscription: &str, now: Instant) {
        for notification in self.watches.subscribed(selector, subscription, now) {
            self.availability(notification, now);
        }
    }

    /// A broker answered about an entity; `None` when it has none, or does not answer.
    pub fn looked_up(&mut self, lookup: &watches::Lookup, found: Option<EntityDetail>) {
        let exhausted = self.watches.is_exhausted(&lookup.selector, &lookup.key);
        let detail = match found {
            Some(detail) => detail,
            // Upstream goes on with id and type, and so do we when all attempts were in vain.
            None if exhausted => EntityDetail {
                id: lookup.key.id.to_string(),
                entity_type: lookup.entity_type.clone(),
                provider: lookup.provider.clone(),
                ..EntityDetail::default()
            },
            None => return,
        };
        self.watches.forget_lookup(&lookup.selector, &lookup.key);
        self.planner.set_entity(&lookup.selector, lookup.key.clone(), Some(Arc::new(detail)));
        self.complete_if_looked_up(&lookup.selector);
    }

    /// The timer.
    pub fn tick(&mut self, now: Instant, period: Duration) {
        let (died, forgotten) = if self.bus_is_there { self.workers.tick(now, period) } else { <(Vec<String>, Vec<String>)>::default() };
        for worker in &died {
            tracing::warn!(worker, "a worker is silent; its tasks are planned anew");
        }
        if !died.is_empty() {
            self.workers_changed();
        }
        for worker in forgotten {
            let tasks = self.copies.forget_worker(&worker);
            self.touch_copies(tasks);
            self.note_unsaved_worker(&worker);
        }
        self.dirty.append(&mut self.unsettled);
        self.watches.expire_parked(now);
        if self.review_at.is_some_and(|at| at <= now) {
            self.review_at = None;
            self.planner.review_all();
        }
    }
}
