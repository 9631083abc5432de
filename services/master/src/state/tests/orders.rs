//! What workers are told, and what becomes of it.

use fogflow_orchestration::{RegistrySnapshot, ScheduledTaskInstance, TaskState, WorkerProfile};

use super::super::Order;
use super::super::copies::Command;
use super::harness::{Rig, Sim, one_per_device, ours, upstream};

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
