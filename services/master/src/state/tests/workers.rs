//! Workers that come, go, fall silent and fail; leaders that change; the bus that is away.

use fogflow_orchestration::{TaskState, TaskUpdate, WorkerProfile};
use serde_json::json;

use super::super::copies::Command;
use super::harness::{Rig, one_per_device, ours, upstream};

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

    rig.next_leader(one_per_device());
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
fn what_moved_while_nobody_led_is_followed_by_the_next_leader() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 2));
    rig.join(ours("W2", (60.0, 8.0), 2));
    rig.put("A.1", Some((49.0, 8.0)));
    rig.put("A.2", Some((49.0, 8.0)));
    rig.run();
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (2, 0));
    rig.next_leader(one_per_device());
    rig.subscribe_to(&[("A.1", Some((49.0, 8.0))), ("A.2", Some((60.0, 8.0)))]);
    rig.pass(6);
    assert_eq!((rig.tasks_on("W1"), rig.tasks_on("W2")), (1, 1));
    rig.assert_nothing_doubled();
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
fn a_master_that_no_longer_leads_is_silent() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.state.follow();
    rig.put("A.1", None);
    assert!(rig.state.reconcile(rig.now).is_empty());
}
