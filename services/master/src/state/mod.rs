//! Everything that the master knows, as one value behind one lock. Handlers put in what they hear; the reconciler takes out
//! what has to be done. Nothing here does I/O or reads a clock: times are handed in.

pub mod copies;
mod rows;
pub mod watches;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_orchestration::{
    DockerImage, EntityDetail, IntentState, OutputStream, RegistrySnapshot, ScheduledTaskInstance, ServiceIntent, TaskUpdate, WorkerProfile, WorkerTasks, ids,
};

use crate::planner::{Artefact, Place, PlannedTask, Planner, Policy};
use copies::{Command, Copies, Intended};
use watches::{EntityNews, Watches};
use workers::Workers;

/// A worker's whole set is sent at most once in this time.
const WHOLE_SET_PAUSE: Duration = Duration::from_secs(1);
/// How long after the last change of room all tasks are reviewed for better workers.
const REVIEW_AFTER: Duration = Duration::from_secs(1);

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
    /// When the oldest notification came that has not been planned for.
    heard_at: Option<Instant>,
    intents: BTreeMap<String, IntentState>,
    /// The epoch while this master leads.
    epoch: Option<u64>,
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
            heard_at: None,
            intents: BTreeMap::new(),
            epoch: None,
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

    /// The epoch, while this master leads.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Whether it gives commands.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// This master leads from now on. It begins with looking: nothing is commanded until discovery, designer and the workers
    /// have spoken.
    pub fn lead(&mut self, epoch: u64, now: Instant) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.led_since = Some(now);
        self.open = false;
        self.watches.lose_all();
        let selectors: Vec<Arc<str>> = self.planner.selectors().keys().cloned().collect();
        for selector in selectors {
            self.planner.set_complete(&selector, false);
        }
        self.reported.full = true;
        self.published.full = true;
    }

    /// Another master leads, or nobody knows.
    pub fn follow(&mut self) {
        self.epoch = None;
        self.led_since = None;
        self.open = false;
    }

    /// The designer's registry.
    pub fn set_registry(&mut self, registry: RegistrySnapshot) {
        if self.registry.as_deref() == Some(&registry) {
            return;
        }
        self.planner.set_registry(&registry.operators, &registry.topologies, &registry.intents);
        for selector in self.watches.set(self.planner.selectors()) {
            self.planner.set_complete(&selector, false);
        }
        let gone: Vec<String> = self.intents.keys().filter(|id| !registry.intents.iter().any(|intent| intent.id == **id)).cloned().collect();
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
    pub fn heard(&mut self, now: Instant) {
        self.heard_at.get_or_insert(now);
    }

    /// When the oldest notification came that was not planned for until now.
    pub fn take_heard_at(&mut self) -> Option<Instant> {
        self.heard_at.take()
    }

    /// An upstream discovery names all entities of a selector: others are gone, and it is complete when all were looked up.
    pub fn only(&mut self, selector: &Arc<str>, named: &BTreeSet<String>) {
        let vanished: Vec<Arc<str>> =
            self.planner.entities(selector).into_iter().flatten().map(|(id, _)| id).filter(|id| !named.contains(&***id)).cloned().collect();
        for id in vanished {
            self.planner.set_entity(selector, &id, None);
        }
        self.complete_if_looked_up(selector);
    }

    fn complete_if_looked_up(&mut self, selector: &Arc<str>) {
        if !self.watches.is_looking_up(selector) && self.watches.iter().any(|watch| watch.selector.id == *selector && !watch.complete && !watch.is_ours()) {
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
            self.unsaved_workers.insert(id.clone());
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
        let observed = self.copies.report(report, self.epoch.unwrap_or(0), now);
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
        if id.is_empty() || worker.is_empty() {
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
            if let Some(task) = self.planner.tasks().get(&id) {
                let intent = task.flow.key.intent.to_string();
                self.refresh_intent(&intent);
            }
            self.reported.rows.insert(id.clone());
            self.published.rows.insert(id.clone());
            self.unsaved.insert(id.clone());
            self.dirty.insert(id);
        }
    }

    /// An availability notification.
    pub fn availability(&mut self, notification: NotifyContextAvailabilityRequest, now: Instant) {
        let taken = self.watches.take(notification, now);
        for (selector, news) in taken.news {
            self.entity_news(&selector, news, now);
        }
        if let Some((selector, named)) = taken.ended {
            let vanished: Vec<Arc<str>> =
                self.planner.entities(&selector).into_iter().flatten().map(|(id, _)| id).filter(|id| !named.contains(&***id)).cloned().collect();
            for id in vanished {
                self.planner.set_entity(&selector, &id, None);
            }
            self.planner.set_complete(&selector, true);
        }
    }

    fn entity_news(&mut self, selector: &Arc<str>, news: EntityNews, now: Instant) {
        match news {
            EntityNews::Known(detail) => {
                self.watches.forget_lookup(selector, &detail.id);
                self.planner.set_entity(selector, &detail.id.clone(), Some(detail));
            }
            EntityNews::Named { id, entity_type, provider } => self.watches.look_up(selector, &id, &entity_type, &provider, now),
            EntityNews::Gone(id) => {
                self.watches.forget_lookup(selector, &id);
                self.planner.set_entity(selector, &id, None);
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
        let exhausted = self.watches.is_exhausted(&lookup.selector, &lookup.id);
        let detail = match found {
            Some(detail) => detail,
            // Upstream goes on with id and type, and so do we when all attempts were in vain.
            None if exhausted => EntityDetail {
                id: lookup.id.clone(),
                entity_type: lookup.entity_type.clone(),
                provider: lookup.provider.clone(),
                ..EntityDetail::default()
            },
            None => return,
        };
        self.watches.forget_lookup(&lookup.selector, &lookup.id);
        self.planner.set_entity(&lookup.selector, &lookup.id, Some(detail));
        self.complete_if_looked_up(&lookup.selector);
    }

    /// The bus was away: silence proves nothing.
    pub fn bus_returned(&mut self, now: Instant) {
        self.workers.excuse_silence(now);
    }

    /// The timer.
    pub fn tick(&mut self, now: Instant, period: Duration) {
        let (died, forgotten) = self.workers.tick(now, period);
        for worker in &died {
            tracing::warn!(worker, "a worker is silent; its tasks are planned anew");
        }
        if !died.is_empty() {
            self.workers_changed();
        }
        for worker in forgotten {
            let tasks = self.copies.forget_worker(&worker);
            self.touch_copies(tasks);
            self.unsaved_workers.insert(worker);
        }
        self.dirty.append(&mut self.unsettled);
        self.watches.expire_parked(now);
        if self.review_at.is_some_and(|at| at <= now) {
            self.review_at = None;
            self.planner.review_all();
        }
    }

    /// Brings the plan up to date and says what workers have to be told.
    pub fn reconcile(&mut self, now: Instant) -> BTreeMap<String, Vec<Order>> {
        let Some(epoch) = self.epoch else { return BTreeMap::new() };
        if !self.open && !self.try_open(now) {
            return BTreeMap::new();
        }
        let changed = self.planner.settle();
        if changed.iter().any(|id| !self.planner.tasks().contains_key(id)) {
            // Room appeared; others may be better off there.
            self.review_at.get_or_insert(now + REVIEW_AFTER);
        }
        self.reported.rows.extend(changed.iter().cloned());
        self.published.rows.extend(changed.iter().cloned());
        self.dirty.extend(changed);
        for intent in self.planner.take_touched_intents() {
            self.refresh_intent(&intent);
        }
        let mut commands: BTreeMap<String, Vec<Command>> = BTreeMap::new();
        for id in std::mem::take(&mut self.dirty) {
            let intended = self.intended(&id);
            for (worker, command) in self.copies.commands_for(&id, &intended, &self.workers, epoch, now) {
                if self.workers.is_alive(&worker) {
                    commands.entry(worker).or_default().push(command);
                }
            }
            if !self.is_settled(&id, &intended) {
                self.unsettled.insert(id);
            }
        }
        self.replace_by_whole_sets(&mut commands, epoch, now);
        let mut orders: BTreeMap<String, Vec<Order>> =
            commands.into_iter().map(|(worker, commands)| (worker, commands.into_iter().map(Order::Task).collect())).collect();
        self.add_prefetches(&mut orders);
        orders
    }

    /// The bus has taken an order, or has not: then it is derived again.
    pub fn ordered(&mut self, worker: &str, order: &Order, taken: bool, now: Instant) {
        match order {
            Order::Task(command) if taken => {
                if matches!(command, Command::Whole(_)) {
                    self.whole_sent.insert(worker.to_owned(), now);
                }
                let touched = self.copies.told(worker, command, now);
                self.unsettled.extend(touched.iter().cloned());
                self.unsaved.extend(touched);
            }
            Order::Task(Command::Whole(_)) => {
                self.differing.insert(worker.to_owned());
                let tasks: Vec<Arc<str>> = self.copies.of_worker(worker).cloned().collect();
                self.unsettled.extend(tasks);
            }
            Order::Task(Command::Add(task) | Command::Remove(task)) => {
                self.unsettled.insert(task.id.as_str().into());
            }
            Order::Task(Command::AddInput(flow) | Command::RemoveInput(flow)) => {
                self.unsettled.insert(flow.task_instance_id.as_str().into());
            }
            Order::Prefetch(image) if !taken => {
                self.prefetched.remove(&(worker.to_owned(), crate::planner::capability::image_reference(image)));
                self.prefetch_due = true;
            }
            Order::Prefetch(_) => {}
        }
    }

    /// Opens when everything that a plan depends on is known: the registry, all entities, and the workers of the earlier start,
    /// or one and a half of their heartbeats have passed. So a restart moves nothing (FAULT 5).
    fn try_open(&mut self, now: Instant) -> bool {
        let Some(since) = self.led_since else { return false };
        if self.registry.is_none() || !self.watches.all_complete() {
            return false;
        }
        let longest = self.workers.awaited().map(workers::heartbeat_of).max();
        if longest.is_some_and(|heartbeat| now.saturating_duration_since(since) < heartbeat.mul_f32(1.5)) {
            return false;
        }
        self.open = true;
        self.workers.give_up_waiting(now);
        for id in self.copies.tasks() {
            if let Some(worker) = self.copies.whereabouts(id, &self.workers) {
                self.planner.remember(id, worker);
            }
            self.dirty.insert(id.clone());
        }
        self.workers_changed();
        let intents: Vec<String> = self.planner.intent_ids().map(str::to_owned).collect();
        for intent in intents {
            self.refresh_intent(&intent);
        }
        self.planner.settle_first();
        self.dirty.extend(self.planner.tasks().keys().cloned());
        self.reported.full = true;
        tracing::info!(epoch = self.epoch, tasks = self.planner.tasks().len(), workers = self.workers.alive().count(), "this master leads and plans");
        true
    }

    fn intended(&self, id: &Arc<str>) -> Intended {
        match self.planner.tasks().get(id) {
            None => Intended::Gone,
            Some(task) => match &task.place {
                Place::On { worker, artefact } => Intended::On(Box::new(self.message(task, worker, artefact))),
                Place::Impossible(_) | Place::Waiting(_) => Intended::Nowhere,
            },
        }
    }

    /// The message that tells a worker about a task.
    fn message(&self, task: &PlannedTask, worker: &str, artefact: &Artefact) -> ScheduledTaskInstance {
        let flow = &task.flow;
        let suffix = ids::suffix_of(&task.instance.id);
        let output = |(index, entity_type): (usize, &String)| OutputStream {
            entity_type: entity_type.clone(),
            stream_id: ids::output_id(entity_type, suffix, index + 1),
            annotations: None,
        };
        let mut message = ScheduledTaskInstance {
            id: task.instance.id.to_string(),
            topology_name: flow.topology.clone(),
            task_name: flow.key.task.to_string(),
            service_intent_id: flow.key.intent.to_string(),
            operator_name: flow.operator.clone(),
            parameters: self.planner.operator(&flow.operator).map(|operator| operator.parameters.clone()).unwrap_or_default(),
            worker_id: worker.to_owned(),
            is_exclusive: flow.exclusive,
            priority_level: flow.level,
            status: "scheduled".to_owned(),
            inputs: task.instance.inputs.clone(),
            outputs: flow.outputs.iter().enumerate().map(output).collect(),
            tenant: (!flow.tenant.is_empty()).then(|| flow.tenant.clone()),
            ..ScheduledTaskInstance::default()
        };
        match artefact {
            Artefact::Image(image) => message.docker_image.clone_from(image),
            Artefact::Executable(executable) => message.executable = Some(executable.clone()),
            Artefact::Code(code) => message.code = Some(code.clone()),
        }
        message
    }

    /// Whether nothing is outstanding about a task.
    fn is_settled(&self, id: &Arc<str>, intended: &Intended) -> bool {
        let alive = || self.copies.of_task(id).filter(|(worker, _)| self.workers.is_alive(worker));
        match intended {
            Intended::On(task) => {
                let mut copies = alive();
                copies.next().is_some_and(|(worker, copy)| *worker == task.worker_id && copy.observed.is_some() && copy.told_task().is_some()) && copies.next().is_none()
            }
            Intended::Nowhere | Intended::Gone => alive().next().is_none(),
        }
    }

    fn replace_by_whole_sets(&mut self, commands: &mut BTreeMap<String, Vec<Command>>, epoch: u64, now: Instant) {
        let mut due: BTreeSet<String> = commands
            .iter()
            .filter(|(worker, commands)| self.copies.whole_set_is_shorter(worker, commands.len()))
            .map(|(worker, _)| worker.clone())
            .collect();
        let rested = |sent: &HashMap<String, Instant>, worker: &str| {
            sent.get(worker).is_none_or(|at| now.saturating_duration_since(*at) >= WHOLE_SET_PAUSE)
        };
        let differing: Vec<String> = self.differing.iter().filter(|worker| rested(&self.whole_sent, worker)).cloned().collect();
        due.extend(differing);
        for worker in due {
            self.differing.remove(&worker);
            let ours = self.workers.get(&worker).is_some_and(|known| known.alive && !known.is_upstream());
            if !ours {
                continue;
            }
            let wanted = self.tasks_planned_on(&worker);
            let planner = &self.planner;
            let copies = &self.copies;
            // Some(true): runs elsewhere. Some(false): shall run elsewhere, does not yet. None: nobody asks for it.
            let elsewhere: HashMap<Arc<str>, bool> = copies
                .of_worker(&worker)
                .filter_map(|id| {
                    let target = planner.tasks().get(id)?.worker()?;
                    Some((id.clone(), copies.get(id, target).is_some_and(copies::Copy::is_up)))
                })
                .collect();
            if let Some(desired) = self.copies.whole_set(&worker, wanted, epoch, |id| elsewhere.get(id).copied()) {
                commands.insert(worker, vec![Command::Whole(Box::new(desired))]);
            }
        }
    }

    fn tasks_planned_on(&self, worker: &str) -> Vec<ScheduledTaskInstance> {
        let here = |task: &&PlannedTask| task.worker().is_some_and(|planned| **planned == *worker);
        let message = |task: &PlannedTask| match &task.place {
            Place::On { worker, artefact } => Some(self.message(task, worker, artefact)),
            Place::Impossible(_) | Place::Waiting(_) => None,
        };
        self.planner.tasks().values().filter(here).filter_map(message).collect()
    }

    fn add_prefetches(&mut self, orders: &mut BTreeMap<String, Vec<Order>>) {
        if !std::mem::take(&mut self.prefetch_due) {
            return;
        }
        let Some(registry) = self.registry.clone() else { return };
        for profile in self.workers.alive() {
            let kind = crate::planner::capability::WorkerKind::of(profile);
            for operator in &registry.operators {
                for image in operator.dockerimages.iter().filter(|image| image.prefetched) {
                    let reference = crate::planner::capability::image_reference(image);
                    let fits = crate::planner::capability::artefact_for(operator, &kind) == Some(Artefact::Image(reference.clone()));
                    if fits && self.prefetched.insert((profile.id.clone(), reference)) {
                        let image = DockerImage { operator_name: operator.name.clone(), ..image.clone() };
                        orders.entry(profile.id.clone()).or_default().push(Order::Prefetch(image));
                    }
                }
            }
        }
    }
}
