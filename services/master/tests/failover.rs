//! Several masters: one leads, the others listen; what discovery says reaches the leader through any of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fogflow_orchestration::{MessageType, TaskRow, TaskState};
use serde_json::json;
use support::{LiveMaster, SimWorker, World, eventually};

async fn plans(master: &LiveMaster) {
    eventually("it plans", async || if master.running.master.plans() { Ok(()) } else { Err(String::new()) }).await;
}

async fn runs(worker: &SimWorker, tasks: usize) {
    eventually(&format!("{tasks} tasks"), async || {
        let ids = worker.task_ids();
        if ids.len() == tasks { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
}

#[tokio::test]
async fn fault_28_a_second_master_takes_over_and_no_task_is_doubled_lost_or_moved() {
    let mut world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let ours = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let first = world.master().await;
    plans(&first).await;
    world.config.site_id = "002".to_owned();
    let second = world.master().await;
    for device in 0..5 {
        world.discovery.put(&format!("Device.{device}"), "Temperature", None).await;
    }
    runs(&ours, 5).await;
    assert!(!second.running.master.plans());
    eventually("the follower shows what workers say", async || {
        let rows: Vec<TaskRow> = second.get("/tasks").await;
        if rows.iter().filter(|row| row.status == TaskState::Running).count() == 5 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    let before = ours.task_ids();
    first.stop().await;
    plans(&second).await;
    world.discovery.put("Device.5", "Temperature", None).await;
    runs(&ours, 6).await;
    assert!(before.iter().all(|id| ours.task_ids().contains(id)));
    assert!(ours.book.lock().starts.values().all(|starts| *starts == 1), "{:?}", ours.book.lock().starts);
    assert_eq!(ours.count(MessageType::RemoveTask), 0);
    assert!(ours.book.lock().epoch >= 2, "orders carry the epoch of the new leader");
    second.stop().await;
}

#[tokio::test]
async fn a_follower_passes_availability_on_to_the_leader() {
    let mut world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let leader = world.master().await;
    plans(&leader).await;
    world.config.site_id = "002".to_owned();
    let follower = world.master().await;
    let subscription = world.discovery.book.lock().subscriptions.keys().next().cloned().unwrap();
    let body = json!({"subscribeId": subscription, "errorCode": {"code": 301}, "contextRegistrationResponses": [{"contextRegistration":
        {"entities": [{"id": "Device.1", "type": "Temperature"}], "brokerId": "Broker.001", "providingApplication": "http://127.0.0.1:1/ngsi10"}}]});
    support::discovery::deliver(&format!("http://{}/notifyContextAvailability", follower.running.agent), &body).await;
    runs(&worker, 1).await;
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_its_lease_gives_no_more_orders() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    plans(&master).await;
    world.designer.book.lock().is_down = true;
    eventually("it stops to lead", async || if master.running.master.plans() { Err(String::new()) } else { Ok(()) }).await;
    assert!(worker.task_ids().is_empty());
    world.designer.book.lock().is_down = false;
    world.discovery.put("Device.1", "Temperature", None).await;
    runs(&worker, 1).await;
    master.stop().await;
}
