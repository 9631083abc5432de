//! The master with its real routers, on an in-process bus, between a designer, a discovery and workers that are simulated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use fogflow_orchestration::{IntentState, MessageType, TaskRow, TaskState};
use support::{SimWorker, World, eventually};

async fn runs_on(worker: &SimWorker, tasks: usize) -> Vec<String> {
    eventually(&format!("{tasks} tasks on {}", worker.id), async || {
        let ids = worker.task_ids();
        if ids.len() == tasks { Ok(ids) } else { Err(format!("{ids:?}")) }
    })
    .await
}

#[tokio::test]
async fn an_entity_becomes_a_task_and_goes_with_it() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    eventually("the intent waits for entities", async || {
        let intents: Vec<IntentState> = master.get("/intents").await;
        intents
            .iter()
            .find(|intent| intent.status == "pending" && intent.reason.contains("Temperature"))
            .cloned()
            .ok_or(format!("{intents:?}"))
    })
    .await;
    world.discovery.put("Device.1", "Temperature", Some((49.0, 8.0))).await;
    let ids = runs_on(&worker, 1).await;
    assert!(ids[0].starts_with("Task.t.main."));
    let row = eventually("the task is shown as running", async || {
        let rows: Vec<TaskRow> = master.get("/tasks?intent=ServiceIntent.1").await;
        rows.iter().find(|row| row.status == TaskState::Running).cloned().ok_or(format!("{rows:?}"))
    })
    .await;
    assert_eq!((row.worker.as_str(), row.inputs[0].id.as_str()), ("Worker.001", "Device.1"));
    eventually("the designer hears of it", async || {
        let book = world.designer.book.lock();
        let told = book.reports.iter().any(|report| report.tasks.iter().any(|row| row.status == TaskState::Running));
        let active = book.reports.iter().any(|report| report.intents.iter().any(|intent| intent.status == "active"));
        if told && active { Ok(()) } else { Err(format!("{:?}", book.reports)) }
    })
    .await;
    eventually("the broker shows it as an entity", async || {
        world
            .discovery
            .book
            .lock()
            .published
            .get(&ids[0])
            .filter(|element| element["attributes"][2]["value"] == "running")
            .cloned()
            .ok_or_else(String::new)
    })
    .await;
    world.discovery.delete("Device.1").await;
    runs_on(&worker, 0).await;
    eventually("its entity is deleted", async || {
        if world.discovery.book.lock().published.contains_key(&ids[0]) { Err(String::new()) } else { Ok(()) }
    })
    .await;
    master.stop().await;
}

#[tokio::test]
async fn fault_5_a_restarted_master_moves_nothing() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let (one, two) = (
        SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 3).await,
        SimWorker::upstream(&world.bus, "Worker.002", (60.0, 8.0), 3).await,
    );
    let master = world.master_on_disk().await;
    for device in 0..6 {
        world.discovery.put(&format!("Device.{device}"), "Temperature", None).await;
    }
    let before = (runs_on(&one, 3).await, runs_on(&two, 3).await);
    master.stop().await;
    let master = world.master_on_disk().await;
    eventually("it plans", async || if master.running.master.plans() { Ok(()) } else { Err(String::new()) }).await;
    eventually("it shows all tasks as running", async || {
        let rows: Vec<TaskRow> = master.get("/tasks").await;
        if rows.iter().filter(|row| row.status == TaskState::Running).count() == 3 { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_eq!((one.task_ids(), two.task_ids()), before);
    assert!(two.book.lock().starts.values().all(|starts| *starts == 1), "upstream's worker starts what it is told, also twice");
    assert_eq!(one.count(MessageType::RemoveTask) + two.count(MessageType::RemoveTask), 0);
    master.stop().await;
}
