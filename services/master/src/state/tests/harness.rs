//! Simulated workers, a simulated discovery, and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_orchestration::{
    RegistrySnapshot, ScheduledTaskInstance, ServiceIntent, TaskState, TaskUpdate, Topology, WorkerProfile, WorkerTasks,
};
use serde_json::{Value, json};

use super::super::copies::Command;
use super::super::{Order, State};
use crate::planner::Policy;
use crate::planner::testing::{intent, operator, topology, worker};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A worker that does what it is told, unless it is told not to.
pub(super) struct Sim {
    pub(super) profile: WorkerProfile,
    pub(super) tasks: BTreeMap<String, ScheduledTaskInstance>,
    pub(super) starts: BTreeMap<String, usize>,
    pub(super) received: Vec<Order>,
    pub(super) kept_outputs: Vec<String>,
    pub(super) epoch: u64,
    /// Nothing reaches it, and nothing comes from it.
    pub(super) is_cut: bool,
    /// What it reports of its tasks.
    pub(super) says: TaskState,
}

impl Sim {
    pub(super) fn is_upstream(&self) -> bool {
        self.profile.incarnation.is_empty()
    }

    fn update(&self, task: &ScheduledTaskInstance, status: TaskState) -> TaskUpdate {
        TaskUpdate {
            task_id: task.id.clone(),
            service_intent_id: task.service_intent_id.clone(),
            status,
            generation: task.generation.filter(|_| !self.is_upstream()),
            ..TaskUpdate::default()
        }
    }

    fn add(&mut self, task: &ScheduledTaskInstance) -> TaskUpdate {
        assert!(!task.docker_image.is_empty() || task.executable.is_some() || task.code.is_some(), "FAULT 13: an empty image");
        self.epoch = self.epoch.max(task.epoch.unwrap_or(0));
        if self.is_upstream() || !self.tasks.contains_key(&task.id) {
            *self.starts.entry(task.id.clone()).or_default() += 1;
        }
        self.tasks.insert(task.id.clone(), task.clone());
        self.update(task, self.says)
    }

    fn remove(&mut self, id: &str, keep_outputs: bool) -> Option<TaskUpdate> {
        let task = self.tasks.remove(id)?;
        if keep_outputs {
            self.kept_outputs.push(id.to_owned());
        }
        Some(self.update(&task, TaskState::Removed))
    }

    fn obey(&mut self, order: &Order) -> Vec<TaskUpdate> {
        self.received.push(order.clone());
        match order {
            Order::Task(Command::Add(task)) => vec![self.add(task)],
            Order::Task(Command::Remove(task)) => self.remove(&task.id, task.keep_outputs).into_iter().collect(),
            Order::Task(Command::AddInput(flow)) => {
                let task = self.tasks.get_mut(&flow.task_instance_id).expect("a task that it has");
                task.inputs.push(flow.input_stream.clone());
                task.generation = flow.generation;
                Vec::new()
            }
            Order::Task(Command::RemoveInput(flow)) => {
                let task = self.tasks.get_mut(&flow.task_instance_id).expect("FAULT 9: a task that it has");
                task.inputs.retain(|input| !flow.input_stream.names(input));
                task.generation = flow.generation;
                Vec::new()
            }
            Order::Task(Command::Whole(desired)) => {
                assert!(!self.is_upstream(), "upstream does not know DESIRED_TASKS");
                self.epoch = desired.epoch;
                let surplus: Vec<String> =
                    self.tasks.keys().filter(|id| !desired.tasks.iter().any(|task| task.id == **id)).cloned().collect();
                let mut updates: Vec<TaskUpdate> = surplus.iter().filter_map(|id| self.remove(id, desired.moved.contains(id))).collect();
                updates.extend(desired.tasks.iter().map(|task| self.add(task)));
                updates
            }
            Order::Prefetch(_) => Vec::new(),
        }
    }

    pub(super) fn count(&self, which: impl Fn(&Command) -> bool) -> usize {
        self.received.iter().filter(|order| matches!(order, Order::Task(command) if which(command))).count()
    }
}

pub(super) struct Rig {
    pub(super) state: State,
    pub(super) now: Instant,
    pub(super) workers: BTreeMap<String, Sim>,
    pub(super) bus_takes: bool,
}

pub(super) fn ours(id: &str, place: (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile { heartbeat_seconds: Some(2), incarnation: "1".to_owned(), ..worker(id, place, capacity) }
}

pub(super) fn upstream(id: &str, place: (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile { engine: String::new(), ..worker(id, place, capacity) }
}

pub(super) fn registry(topologies: Vec<Topology>, intents: Vec<ServiceIntent>) -> RegistrySnapshot {
    RegistrySnapshot { generation: 1, operators: vec![operator("op")], topologies, intents }
}

pub(super) fn one_per_device() -> RegistrySnapshot {
    registry(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")])
}

/// An entity as discovery describes it.
fn registration(path: &str, id: &str, kind: &str, place: Option<(f64, f64)>) -> Value {
    let metadata = place.map_or(
        json!([]),
        |(latitude, longitude)| json!([{"name": "location", "type": "point", "value": {"latitude": latitude, "longitude": longitude}}]),
    );
    json!({"entities": [{"id": id, "type": kind}], "contextMetadata": metadata, "ServicePath": path, "brokerId": "B",
        "providingApplication": "http://b/ngsi10"})
}

/// Entities are called `Type.number`.
fn kind_of(id: &str) -> &str {
    id.split('.').next().unwrap_or("A")
}

impl Rig {
    /// A leader that has read the registry, and knows that there are no entities.
    pub(super) fn new(registry: RegistrySnapshot) -> Self {
        let mut rig = Rig { state: State::new(Policy::default(), None), now: Instant::now(), workers: BTreeMap::new(), bus_takes: true };
        rig.state.set_registry(registry);
        rig.state.lead(1, rig.now);
        rig.subscribe();
        rig
    }

    /// Discovery takes all subscriptions, and has nothing.
    pub(super) fn subscribe(&mut self) {
        self.subscribe_to(&[]);
    }

    /// Discovery takes all subscriptions, and has entities.
    pub(super) fn subscribe_to(&mut self, entities: &[(&str, Option<(f64, f64)>)]) {
        let responses: Vec<Value> =
            entities.iter().map(|(id, place)| json!({"contextRegistration": registration("", id, kind_of(id), *place)})).collect();
        for selector in self.state.watches.to_subscribe() {
            self.state.watches.announce(&selector.id);
            self.state.subscribed(&selector.id, &selector.id.clone(), self.now);
            self.hear(json!({"subscribeId": &*selector.id, "snapshot": "whole", "errorCode": {"code": 201}, "contextRegistrationResponses": responses}));
        }
    }

    /// Another master leads: what it has is the store, and what the workers say.
    pub(super) fn next_leader(&mut self, registry: RegistrySnapshot) {
        let mut next = State::new(Policy::default(), None);
        for sim in self.workers.values() {
            next.workers.expect(sim.profile.clone());
            for task in sim.tasks.values() {
                next.copies.restore(task.clone(), self.now);
            }
        }
        self.state = next;
        self.state.set_registry(registry);
        self.state.lead(2, self.now);
    }

    pub(super) fn hear(&mut self, notification: Value) {
        let notification = NotifyContextAvailabilityRequest::decode(notification.to_string().as_bytes()).expect("a notification");
        self.state.availability(notification, self.now);
    }

    pub(super) fn tell(&mut self, code: u16, id: &str, kind: &str, place: Option<(f64, f64)>) {
        self.tell_on("", code, id, kind, place);
    }

    /// Discovery tells of an entity on a service path.
    pub(super) fn tell_on(&mut self, path: &str, code: u16, id: &str, kind: &str, place: Option<(f64, f64)>) {
        let registration = registration(path, id, kind, place);
        let selectors: Vec<Arc<str>> = self
            .state
            .planner
            .selectors()
            .values()
            .filter(|selector| selector.entity_type == kind)
            .map(|selector| selector.id.clone())
            .collect();
        for selector in selectors {
            self.hear(json!({"subscribeId": &*selector, "contextRegistrationResponses": [{"contextRegistration": registration}], "errorCode": {"code": code}}));
        }
    }

    pub(super) fn put(&mut self, id: &str, place: Option<(f64, f64)>) {
        self.tell(301, id, kind_of(id), place);
    }

    pub(super) fn join(&mut self, profile: WorkerProfile) {
        let id = profile.id.clone();
        let sim = Sim {
            profile: profile.clone(),
            tasks: BTreeMap::new(),
            starts: BTreeMap::new(),
            received: Vec::new(),
            kept_outputs: Vec::new(),
            epoch: 0,
            is_cut: false,
            says: TaskState::Running,
        };
        self.workers.insert(id.clone(), sim);
        self.state.worker_seen(profile, true, self.now, "now");
        self.report(&id);
        self.run();
    }

    pub(super) fn report(&mut self, id: &str) {
        let sim = &self.workers[id];
        if sim.is_cut || sim.is_upstream() {
            return;
        }
        let tasks = sim.tasks.values().map(|task| sim.update(task, sim.says)).collect();
        self.state.worker_reports(WorkerTasks { worker_id: id.to_owned(), epoch: sim.epoch, generation: None, tasks }, self.now);
    }

    /// Reconciles until nothing is left to say.
    pub(super) fn run(&mut self) {
        for _ in 0..20 {
            let orders = self.state.reconcile(self.now);
            if orders.is_empty() {
                return;
            }
            for (worker, orders) in orders {
                for order in orders {
                    self.state.ordered(&worker, &order, self.bus_takes, self.now);
                    let Some(sim) = self.workers.get_mut(&worker).filter(|sim| !sim.is_cut && self.bus_takes) else { continue };
                    for update in sim.obey(&order) {
                        self.state.task_update(&worker, update);
                    }
                }
            }
            if !self.bus_takes {
                return;
            }
        }
        panic!("the master never stops giving orders");
    }

    /// Time passes in steps of a second; workers beat every two seconds (upstream's every ten).
    pub(super) fn pass(&mut self, seconds: u64) {
        for second in 1..=seconds {
            self.now += SECOND;
            let beating: Vec<(String, WorkerProfile)> = self
                .workers
                .iter()
                .filter(|(_, sim)| !sim.is_cut && second % (if sim.is_upstream() { 10 } else { 2 }) == 0)
                .map(|(id, sim)| (id.clone(), sim.profile.clone()))
                .collect();
            for (id, profile) in beating {
                self.state.worker_seen(profile, false, self.now, "now");
                self.report(&id);
            }
            self.state.tick(self.now, SECOND);
            self.run();
        }
    }

    pub(super) fn sim(&mut self, worker: &str) -> &mut Sim {
        self.workers.get_mut(worker).expect("a worker")
    }

    pub(super) fn tasks_on(&self, worker: &str) -> usize {
        self.workers[worker].tasks.len()
    }

    /// No task is on two workers, and none was started twice on one.
    pub(super) fn assert_nothing_doubled(&self) {
        let mut seen = std::collections::BTreeSet::new();
        for (id, sim) in self.workers.iter().filter(|(_, sim)| !sim.is_cut) {
            assert!(sim.starts.values().all(|starts| *starts == 1), "{id}: {:?}", sim.starts);
            assert!(sim.tasks.keys().all(|task| seen.insert(task.clone())), "{id}");
        }
    }

    pub(super) fn assert_nothing_doubled_but_moved(&self) {
        let mut seen = std::collections::BTreeSet::new();
        for (id, sim) in &self.workers {
            assert!(sim.tasks.keys().all(|task| seen.insert(task.clone())), "{id} has a task that another one has");
        }
    }
}
