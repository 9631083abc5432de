//! The state with simulated workers, in simulated time: no task, no socket, no sleep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_orchestration::{
    EntityDetail, RegistrySnapshot, ScheduledTaskInstance, ServiceIntent, TaskState, TaskUpdate, Topology, WorkerProfile, WorkerTasks,
};
use serde_json::{Value, json};

use super::copies::Command;
use super::watches::Lookup;
use super::{Order, State};
use crate::planner::Policy;
use crate::planner::testing::{intent, operator, topology, worker};

const SECOND: Duration = Duration::from_secs(1);

/// A worker that does what it is told, unless it is told not to.
struct Sim {
    profile: WorkerProfile,
    tasks: BTreeMap<String, ScheduledTaskInstance>,
    starts: BTreeMap<String, usize>,
    received: Vec<Order>,
    kept_outputs: Vec<String>,
    epoch: u64,
    /// Nothing reaches it, and nothing comes from it.
    is_cut: bool,
    /// What it reports of its tasks.
    says: TaskState,
}

impl Sim {
    fn is_upstream(&self) -> bool {
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
                task.inputs.retain(|input| input.id != flow.input_stream.id);
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

    fn count(&self, which: impl Fn(&Command) -> bool) -> usize {
        self.received.iter().filter(|order| matches!(order, Order::Task(command) if which(command))).count()
    }
}

struct Rig {
    state: State,
    now: Instant,
    workers: BTreeMap<String, Sim>,
    bus_takes: bool,
}

fn ours(id: &str, place: (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile { heartbeat_seconds: Some(2), incarnation: "1".to_owned(), ..worker(id, place, capacity) }
}

fn upstream(id: &str, place: (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile { engine: String::new(), ..worker(id, place, capacity) }
}

fn registry(topologies: Vec<Topology>, intents: Vec<ServiceIntent>) -> RegistrySnapshot {
    RegistrySnapshot { generation: 1, operators: vec![operator("op")], topologies, intents }
}

fn one_per_device() -> RegistrySnapshot {
    registry(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")])
}

impl Rig {
    /// A leader that has read the registry, and knows that there are no entities.
    fn new(registry: RegistrySnapshot) -> Self {
        let mut rig = Rig { state: State::new(Policy::default(), None), now: Instant::now(), workers: BTreeMap::new(), bus_takes: true };
        rig.state.set_registry(registry);
        rig.state.lead(1, rig.now);
        rig.subscribe();
        rig
    }

    /// Discovery takes all subscriptions, and has nothing.
    fn subscribe(&mut self) {
        for selector in self.state.watches.to_subscribe() {
            self.state.watches.announce(&selector.id);
            self.state.subscribed(&selector.id, &selector.id.clone(), self.now);
            self.hear(json!({"subscribeId": &*selector.id, "snapshot": "whole", "errorCode": {"code": 201}}));
        }
    }

    fn hear(&mut self, notification: Value) {
        let notification = NotifyContextAvailabilityRequest::decode(notification.to_string().as_bytes()).expect("a notification");
        self.state.availability(notification, self.now);
    }

    fn tell(&mut self, code: u16, id: &str, kind: &str, place: Option<(f64, f64)>) {
        let metadata = place.map_or(
            json!([]),
            |(latitude, longitude)| json!([{"name": "location", "type": "point", "value": {"latitude": latitude, "longitude": longitude}}]),
        );
        let registration = json!({"entities": [{"id": id, "type": kind}], "contextMetadata": metadata, "brokerId": "B", "providingApplication": "http://b/ngsi10"});
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

    fn put(&mut self, id: &str, place: Option<(f64, f64)>) {
        self.tell(301, id, id.split('.').next().unwrap_or("A"), place);
    }

    fn join(&mut self, profile: WorkerProfile) {
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

    fn report(&mut self, id: &str) {
        let sim = &self.workers[id];
        if sim.is_cut || sim.is_upstream() {
            return;
        }
        let tasks = sim.tasks.values().map(|task| sim.update(task, sim.says)).collect();
        self.state.worker_reports(WorkerTasks { worker_id: id.to_owned(), epoch: sim.epoch, tasks }, self.now);
    }

    /// Reconciles until nothing is left to say.
    fn run(&mut self) {
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
    fn pass(&mut self, seconds: u64) {
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

    fn sim(&mut self, worker: &str) -> &mut Sim {
        self.workers.get_mut(worker).expect("a worker")
    }

    fn tasks_on(&self, worker: &str) -> usize {
        self.workers[worker].tasks.len()
    }

    /// No task is on two workers, and none was started twice on one.
    fn assert_nothing_doubled(&self) {
        let mut seen = std::collections::BTreeSet::new();
        for (id, sim) in self.workers.iter().filter(|(_, sim)| !sim.is_cut) {
            assert!(sim.starts.values().all(|starts| *starts == 1), "{id}: {:?}", sim.starts);
            assert!(sim.tasks.keys().all(|task| seen.insert(task.clone())), "{id}");
        }
    }
}

#[test]
fn fault_3_the_tasks_of_a_silent_worker_move_and_when_it_returns_it_ends_them_but_keeps_outputs() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.put("A.2", None);
    rig.run();
    rig.pass(4);
    let before = rig.tasks_on("W1");
    assert!(before >= 1 && before + rig.tasks_on("W2") == 2);
    rig.sim("W1").is_cut = true;
    rig.pass(10);
    assert_eq!(rig.tasks_on("W2"), 2);
    // W1 comes back with its tasks still running. A.1 is nearer to it and returns there, after W1 has given up its old copy.
    rig.sim("W1").is_cut = false;
    rig.pass(10);
    rig.assert_nothing_doubled_but_moved();
    assert_eq!(rig.tasks_on("W1") + rig.tasks_on("W2"), 2);
}

impl Rig {
    fn assert_nothing_doubled_but_moved(&self) {
        let mut seen = std::collections::BTreeSet::new();
        for (id, sim) in &self.workers {
            assert!(sim.tasks.keys().all(|task| seen.insert(task.clone())), "{id} has a task that another one has");
        }
    }
}

#[test]
fn fault_3_a_worker_that_leaves_is_replanned_at_once() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.join(upstream("W2", (49.0, 8.0), 5));
    rig.sim("W1").is_cut = true;
    rig.state.worker_left("W1");
    rig.run();
    assert_eq!(rig.tasks_on("W2"), 1);
}

#[test]
fn fault_4_a_worker_that_starts_with_nothing_gets_its_tasks_again() {
    for profile in [ours("W1", (49.0, 8.0), 5), upstream("W1", (49.0, 8.0), 5)] {
        let mut rig = Rig::new(one_per_device());
        rig.join(profile.clone());
        rig.put("A.1", None);
        rig.put("A.2", None);
        rig.run();
        assert_eq!(rig.tasks_on("W1"), 2);
        rig.join(WorkerProfile { incarnation: if profile.incarnation.is_empty() { String::new() } else { "2".to_owned() }, ..profile });
        rig.pass(4);
        assert_eq!(rig.tasks_on("W1"), 2);
        rig.assert_nothing_doubled();
    }
}

#[test]
fn fault_5_a_new_leader_waits_for_the_workers_it_knows_and_then_moves_nothing() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 2));
    rig.join(upstream("W2", (49.0, 8.0), 2));
    for device in 0..4 {
        rig.put(&format!("A.{device}"), None);
    }
    rig.run();
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (2, 2));

    // The next master: what it has is the store, and what the workers say.
    let mut next = State::new(Policy::default(), None);
    for sim in rig.workers.values() {
        next.workers.expect(sim.profile.clone());
        for task in sim.tasks.values() {
            next.copies.restore(task.clone(), rig.now);
        }
    }
    rig.state = next;
    rig.state.set_registry(one_per_device());
    rig.state.lead(2, rig.now);
    let received: Vec<usize> = rig.workers.values().map(|sim| sim.received.len()).collect();
    for selector in rig.state.watches.to_subscribe() {
        rig.state.watches.announce(&selector.id);
        rig.state.subscribed(&selector.id, &selector.id.clone(), rig.now);
        rig.run();
        assert!(!rig.state.is_open(), "not before the snapshot");
        let entity = |id: usize| json!({"contextRegistration": {"entities": [{"id": format!("A.{id}"), "type": "A"}], "brokerId": "B", "providingApplication": "p"}});
        rig.hear(json!({"subscribeId": &*selector.id, "snapshot": "whole", "errorCode": {"code": 201}, "contextRegistrationResponses": (0..4).map(entity).collect::<Vec<_>>()}));
    }
    rig.run();
    assert!(!rig.state.is_open(), "not before the workers have spoken");
    assert_eq!(received, rig.workers.values().map(|sim| sim.received.len()).collect::<Vec<_>>());
    rig.pass(12);
    assert!(rig.state.is_open());
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (2, 2));
    rig.assert_nothing_doubled();
    let removals: usize = rig.workers.values().map(|sim| sim.count(|command| matches!(command, Command::Remove(_)))).sum();
    assert_eq!(removals, 0);
}

#[test]
fn fault_5_a_worker_that_does_not_come_back_is_waited_for_one_and_a_half_heartbeats() {
    let mut rig = Rig::new(one_per_device());
    rig.state.workers.expect(ours("gone", (49.0, 8.0), 2));
    rig.put("A.1", None);
    rig.join(ours("W1", (49.0, 8.0), 2));
    rig.pass(2);
    assert_eq!(rig.tasks_on("W1"), 0);
    rig.pass(2);
    assert_eq!(rig.tasks_on("W1"), 1);
}

#[test]
fn fault_6_an_intent_that_is_sent_again_starts_nothing_twice() {
    let mut rig = Rig::new(one_per_device());
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.state.set_registry(RegistrySnapshot { generation: 2, ..one_per_device() });
    rig.subscribe();
    rig.pass(30);
    rig.assert_nothing_doubled();
    assert_eq!(rig.sim("W1").received.len(), 1);
}

#[test]
fn fault_13_an_operator_that_fits_no_worker_is_not_sent_and_its_intent_says_why() {
    let mut registry = one_per_device();
    registry.operators[0].dockerimages[0].hw_type = "ARM".to_owned();
    let mut rig = Rig::new(registry);
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    assert!(rig.sim("W1").received.is_empty());
    let state = rig.state.intent_state("i").expect("a state");
    assert!(state.status == "failed" && state.reason.contains("images/op:1"), "{state:?}");
    let arm = WorkerProfile { hardware: "arm64".to_owned(), ..ours("W2", (49.0, 8.0), 5) };
    rig.join(arm);
    assert_eq!(rig.tasks_on("W2"), 1);
}

#[test]
fn fault_14_a_moving_task_is_ended_only_when_it_runs_elsewhere() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.run();
    rig.sim("W2").says = TaskState::Pulling;
    rig.put("A.1", Some((60.0, 8.0)));
    rig.pass(6);
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (1, 1), "the old one works until the new one does");
    let id = rig.sim("W1").tasks.keys().next().cloned().expect("a task");
    let row = rig.state.row(&id).expect("a row");
    assert_eq!((row.worker.as_str(), row.status), ("W1", TaskState::Running));
    rig.sim("W2").says = TaskState::Running;
    rig.pass(4);
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (0, 1));
    assert_eq!(rig.sim("W1").kept_outputs, [id], "FAULT 35: outputs stay when a task moves");
}

#[test]
fn fault_14_what_found_no_room_is_placed_when_a_worker_joins_or_a_task_ends() {
    let mut rig = Rig::new(one_per_device());
    rig.put("A.1", None);
    rig.put("A.2", None);
    rig.run();
    assert_eq!(rig.state.intent_state("i").map(|state| state.status.as_str()), Some("pending"));
    rig.join(ours("W1", (49.0, 8.0), 1));
    assert_eq!(rig.tasks_on("W1"), 1);
    let first = rig.sim("W1").tasks.values().next().map(|task| task.inputs[0].id.clone()).expect("a task");
    rig.tell(410, &first, "A", None);
    rig.run();
    rig.pass(3);
    assert_eq!(rig.tasks_on("W1"), 1, "the other one");
    assert_eq!(rig.state.intent_state("i").map(|state| state.status.as_str()), Some("active"));
}

#[test]
fn fault_15_a_notification_that_comes_before_its_subscription_is_known_is_not_lost() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.state.watches.lost(&selector);
    let described =
        json!({"contextRegistration": {"entities": [{"id": "A.1", "type": "A"}], "brokerId": "B", "providingApplication": "p"}});
    rig.hear(json!({"subscribeId": "their-own-id", "contextRegistrationResponses": [described], "errorCode": {"code": 201}}));
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 0);
    rig.state.subscribed(&selector, "their-own-id", rig.now);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 1);
}

#[test]
fn fault_16_an_entity_of_which_only_the_name_is_known_is_looked_up_before_it_is_placed() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    let named = json!({"contextRegistration": {"entities": [{"id": "A.1", "type": "A"}], "providingApplication": "http://b/ngsi10"}});
    rig.hear(json!({"subscribeId": &*selector, "contextRegistrationResponses": [named], "errorCode": {"code": 301}}));
    rig.run();
    assert_eq!(rig.tasks_on("W1") + rig.tasks_on("W2"), 0);
    let due = |rig: &mut Rig| -> Lookup { rig.state.watches.due_lookups(rig.now, 10).0.pop().expect("a question is due") };
    let lookup = due(&mut rig);
    rig.state.looked_up(&lookup, None);
    rig.run();
    assert_eq!(rig.tasks_on("W1") + rig.tasks_on("W2"), 0, "the broker has not stored it yet");
    rig.now += SECOND;
    let lookup = due(&mut rig);
    rig.state.looked_up(&lookup, Some(crate::planner::testing::entity("A.1", "A", Some((60.0, 8.0)))));
    rig.run();
    assert_eq!(rig.tasks_on("W2"), 1);
}

#[test]
fn fault_16_when_the_broker_never_answers_id_and_type_have_to_do() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.state.watches.look_up(&selector, "A.1", "A", "http://b/ngsi10", rig.now);
    for _ in 0..10 {
        let (due, _) = rig.state.watches.due_lookups(rig.now, 10);
        for lookup in due {
            rig.state.looked_up(&lookup, None);
        }
        rig.now += SECOND;
        rig.run();
    }
    assert_eq!(rig.tasks_on("W1"), 1);
}

#[test]
fn fault_35_outputs_go_when_a_task_ends() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.tell(410, "A.1", "A", None);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 0);
    assert!(rig.sim("W1").kept_outputs.is_empty());
}

#[test]
fn fault_36_every_order_about_a_task_names_its_intent() {
    let mut rig = Rig::new(one_per_device());
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.state.set_registry(RegistrySnapshot { generation: 2, intents: Vec::new(), ..one_per_device() });
    rig.run();
    let intents: Vec<String> = rig
        .sim("W1")
        .received
        .iter()
        .map(|order| match order {
            Order::Task(Command::Add(task) | Command::Remove(task)) => task.service_intent_id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(intents, ["i", "i"]);
}

#[test]
fn inputs_that_come_and_go_are_told_as_upstream_tells_them() {
    let mut rig = Rig::new(registry(vec![topology("t", &[("A", "EntityID"), ("B", "ALL")])], vec![intent("i", "t")]));
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.put("B.1", None);
    rig.run();
    rig.put("B.2", None);
    rig.run();
    rig.tell(410, "B.1", "B", None);
    rig.run();
    let sim = rig.sim("W1");
    let inputs: Vec<&str> = sim.tasks.values().flat_map(|task| &task.inputs).map(|input| input.id.as_str()).collect();
    assert_eq!(inputs, ["A.1", "B.2"]);
    assert_eq!(
        (sim.count(|command| matches!(command, Command::AddInput(_))), sim.count(|command| matches!(command, Command::RemoveInput(_)))),
        (1, 1)
    );
    assert_eq!(sim.received.len(), 3);
}

#[test]
fn an_order_that_the_bus_did_not_take_is_given_again() {
    let mut rig = Rig::new(one_per_device());
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.bus_takes = false;
    rig.put("A.1", None);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 0);
    rig.bus_takes = true;
    rig.pass(1);
    assert_eq!(rig.tasks_on("W1"), 1);
    rig.assert_nothing_doubled();
}

#[test]
fn an_order_that_was_lost_on_the_way_is_repaired_by_the_next_report() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.pass(2);
    rig.put("A.1", None);
    rig.sim("W1").is_cut = true;
    rig.run();
    rig.sim("W1").is_cut = false;
    assert_eq!(rig.tasks_on("W1"), 0);
    rig.pass(4);
    assert_eq!(rig.tasks_on("W1"), 1);
    rig.assert_nothing_doubled();
}

#[test]
fn fault_8_a_removal_that_an_upstream_worker_ignored_is_repeated() {
    let mut rig = Rig::new(one_per_device());
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.sim("W1").is_cut = true;
    rig.tell(410, "A.1", "A", None);
    rig.run();
    rig.sim("W1").is_cut = false;
    rig.pass(9);
    assert_eq!(rig.tasks_on("W1"), 1);
    rig.pass(3);
    assert_eq!(rig.tasks_on("W1"), 0);
}

#[test]
fn fault_33_a_late_removed_of_the_old_worker_does_not_hide_the_new_one() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.run();
    rig.put("A.1", Some((60.0, 8.0)));
    rig.run();
    let id = rig.sim("W2").tasks.keys().next().cloned().expect("it moved");
    rig.state.task_update("W1", TaskUpdate { task_id: id.clone(), status: TaskState::Removed, ..TaskUpdate::default() });
    rig.run();
    let row = rig.state.row(&id).expect("a row");
    assert_eq!((row.worker.as_str(), row.status), ("W2", TaskState::Running));
}

#[test]
fn a_task_that_fails_again_and_again_goes_to_another_worker_and_the_intent_says_so_meanwhile() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.sim("W1").says = TaskState::Failed;
    rig.run();
    assert_eq!(rig.state.intent_state("i").map(|state| state.status.as_str()), Some("failed"));
    rig.join(ours("W2", (60.0, 8.0), 5));
    rig.pass(10);
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (0, 1));
    assert_eq!(rig.state.intent_state("i").map(|state| state.status.as_str()), Some("active"));
}

#[test]
fn while_the_bus_is_away_nobody_dies_and_nothing_is_ordered() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.run();
    rig.state.bus_is(false, rig.now);
    for id in ["W1", "W2"] {
        rig.sim(id).is_cut = true;
    }
    rig.pass(30);
    rig.state.bus_is(true, rig.now);
    rig.sim("W2").is_cut = false;
    rig.pass(8);
    rig.sim("W1").is_cut = false;
    rig.pass(4);
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (1, 0));
    rig.assert_nothing_doubled();
}

#[test]
fn a_master_that_no_longer_leads_is_silent() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.state.follow();
    rig.put("A.1", None);
    assert!(rig.state.reconcile(rig.now).is_empty());
}

#[test]
fn a_leader_whose_lease_store_lost_count_goes_on_from_the_epoch_of_the_workers() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.sim("W1").epoch = 40;
    rig.report("W1");
    assert!(rig.state.is_behind());
    assert_eq!(rig.state.epoch(), Some(1), "it may be that another master leads: the lease decides");
    rig.state.lead(1, rig.now);
    assert_eq!(rig.state.epoch(), Some(41));
    rig.put("A.1", None);
    rig.pass(4);
    assert_eq!(rig.sim("W1").epoch, 41);
}

#[test]
fn one_of_ours_with_another_set_is_told_the_whole_and_what_moved_away_from_it() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    let stray =
        ScheduledTaskInstance { id: "Task.t.main.stray".to_owned(), docker_image: "x".to_owned(), ..ScheduledTaskInstance::default() };
    rig.sim("W1").tasks.insert(stray.id.clone(), stray);
    rig.pass(4);
    let ids: Vec<String> = rig.sim("W1").tasks.keys().cloned().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    rig.assert_nothing_doubled();
}

#[test]
fn images_to_prefetch_are_told_once_to_each_worker_that_can_run_them() {
    let mut registry = one_per_device();
    registry.operators[0].dockerimages[0].prefetched = true;
    let mut rig = Rig::new(registry);
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(WorkerProfile { engine: "process".to_owned(), ..ours("W2", (49.0, 8.0), 5) });
    rig.pass(10);
    let prefetches = |sim: &Sim| sim.received.iter().filter(|order| matches!(order, Order::Prefetch(_))).count();
    assert_eq!((prefetches(&rig.workers["W1"]), prefetches(&rig.workers["W2"])), (1, 0));
}

#[test]
fn an_entity_detail_of_discovery_reaches_the_planner_whole() {
    let registration = json!({"entities": [{"id": "A.1", "type": "A"}], "attributes": [{"name": "temp", "type": "float", "isDomain": false}],
        "contextMetadata": [{"name": "city", "type": "string", "value": "Heidelberg"}, {"name": "location", "type": "point", "value": {"latitude": 49.4, "longitude": 8.7}}],
        "providingApplication": "http://b/ngsi10", "brokerId": "B"});
    let mut rig = Rig::new(one_per_device());
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.hear(json!({"subscribeId": &*selector, "contextRegistrationResponses": [{"contextRegistration": registration}], "errorCode": {"code": 301}}));
    let entity: &EntityDetail = rig.state.planner.entities(&selector).and_then(|entities| entities.get("A.1")).expect("it is known");
    assert_eq!(entity.attributes, ["temp"]);
    assert_eq!(entity.metadata["city"]["value"], "Heidelberg");
    assert_eq!(crate::planner::scope::location_of(entity).map(|place| (place.latitude, place.longitude)), Some((49.4, 8.7)));
}
