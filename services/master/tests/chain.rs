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
    // Upstream's worker reports a task once: what it said may have reached the master that has ended.
    eventually("it shows what our worker reports as running", async || {
        let rows: Vec<TaskRow> = master.get("/tasks").await;
        if rows.iter().filter(|row| row.status == TaskState::Running && row.worker == "Worker.001").count() == 3 {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    assert_eq!((one.task_ids(), two.task_ids()), before);
    assert!(two.book.lock().starts.values().all(|starts| *starts == 1), "upstream's worker starts what it is told, also twice");
    assert_eq!(one.count(MessageType::RemoveTask) + two.count(MessageType::RemoveTask), 0);
    master.stop().await;
}

#[tokio::test]
async fn fault_20_the_status_interface_has_its_usual_port_when_none_is_configured() {
    let config = fogflow_config::Config::default();
    assert_eq!((config.master.rest_api_port, config.master.ngsi_agent_port), (8010, 1060));
    let world = World::new().await;
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    let profile: serde_json::Value = master.get("/status").await;
    assert_eq!(
        (profile["id"].as_str(), profile["agent"].as_str()),
        (Some("Master.001"), Some(format!("http://{}", master.running.agent).as_str()))
    );
    eventually("the worker is listed", async || {
        let workers: serde_json::Value = master.get("/workers").await;
        if workers["Worker.001"]["capacity"] == 8 { Ok(()) } else { Err(workers.to_string()) }
    })
    .await;
    drop(worker);
    master.stop().await;
}

#[tokio::test]
async fn bad_input_on_routes_and_bus_is_refused_with_a_word_and_harms_nothing() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    let agent = format!("http://{}/notifyContextAvailability", master.running.agent);
    let http = reqwest::Client::new();
    for body in [
        "",
        "{",
        "[]",
        "7",
        r#"{"contextRegistrationResponses": 7}"#,
        r#"{"contextRegistrationResponses": [{"contextRegistration": {"entities": "x"}}]}"#,
    ] {
        let answer = http.post(&agent).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert!(answer["responseCode"]["reasonPhrase"].as_str().is_some_and(|words| !words.is_empty()), "{answer}");
    }
    for body in [
        "",
        "{",
        "7",
        r#"{"Type": "WORKER_JOIN", "PayLoad": {"id": 7}}"#,
        r#"{"Type": "TASK_UPDATE", "PayLoad": []}"#,
        r#"{"Type": "AVAILABILITY", "PayLoad": "x"}"#,
        r#"{"Type": "heart_beat", "PayLoad": {}}"#,
    ] {
        let message = fogflow_bus::Message { routing_key: "heartbeat.".to_owned(), body: body.to_owned().into(), traceparent: None };
        world.bus.publish(message).await.unwrap();
    }
    world.discovery.put("Device.1", "Temperature", None).await;
    runs_on(&worker, 1).await;
    master.stop().await;
}

#[tokio::test]
async fn an_upstream_designer_discovery_and_worker_are_understood() {
    let world = World::of(support::FakeDesigner::start(true).await, support::FakeDiscovery::start(true).await);
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let (near, far) = (
        SimWorker::upstream(&world.bus, "Worker.001", (49.0, 8.0), 8).await,
        SimWorker::upstream(&world.bus, "Worker.002", (60.0, 8.0), 8).await,
    );
    world.discovery.put("Device.1", "Temperature", Some((60.0, 8.0))).await;
    let master = world.master().await;
    let ids = runs_on(&far, 1).await;
    world.discovery.put("Device.2", "Temperature", Some((49.0, 8.0))).await;
    runs_on(&near, 1).await;
    assert!(world.discovery.book.lock().queries >= 2, "upstream's notification says no metadata: the broker is asked");
    // Its intents are announced on the bus only.
    let again = support::designer::intent_for("ServiceIntent.2", "t");
    let announce = async |action: &str| {
        let intent = fogflow_orchestration::ServiceIntent { action: action.to_owned(), ..again.clone() };
        let envelope = fogflow_orchestration::Envelope::new(MessageType::ServiceIntent, "orchestration.", "designer", &intent).unwrap();
        let body = serde_json::to_vec(&envelope).unwrap().into();
        world.bus.publish(fogflow_bus::Message { routing_key: "orchestration.".to_owned(), body, traceparent: None }).await.unwrap();
    };
    announce("ADD").await;
    runs_on(&far, 2).await;
    announce("DELETE").await;
    assert_eq!(runs_on(&far, 1).await, ids);
    world.discovery.delete("Device.1").await;
    runs_on(&far, 0).await;
    assert!(near.book.lock().starts.values().chain(far.book.lock().starts.values()).all(|starts| *starts == 1));
    master.stop().await;
}

#[tokio::test]
async fn a_notification_is_answered_at_once_although_the_broker_hangs() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::of(support::FakeDesigner::start(false).await, support::FakeDiscovery::start(true).await);
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let master = world.master().await;
    let subscription =
        eventually("the subscription", async || world.discovery.book.lock().subscriptions.keys().next().cloned().ok_or(String::new()))
            .await;
    let named = serde_json::json!({"subscribeId": subscription, "errorCode": {"code": 301}, "contextRegistrationResponses": [{"contextRegistration":
        {"entities": [{"id": "Device.1", "type": "Temperature"}], "providingApplication": format!("http://{}/ngsi10", silent.local_addr().unwrap())}}]});
    let started = std::time::Instant::now();
    support::discovery::deliver(&format!("http://{}/notifyContextAvailability", master.running.agent), &named).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
    master.stop().await;
}

#[tokio::test]
async fn a_subscription_that_discovery_lost_is_made_again_and_what_happened_meanwhile_is_caught_up() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let worker = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    world.discovery.put("Device.1", "Temperature", None).await;
    runs_on(&worker, 1).await;
    let lost = std::mem::take(&mut world.discovery.book.lock().subscriptions);
    world.discovery.delete("Device.1").await;
    world.discovery.put("Device.2", "Temperature", None).await;
    world.discovery.put("Device.3", "Temperature", None).await;
    runs_on(&worker, 2).await;
    let made: Vec<String> = world.discovery.book.lock().subscriptions.keys().cloned().collect();
    assert_eq!(made, lost.into_keys().collect::<Vec<_>>(), "under the same id");
    world.designer.change(|registry| registry.intents.clear());
    eventually("the subscription of a removed intent is ended", async || {
        let left = world.discovery.book.lock().subscriptions.len();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
    runs_on(&worker, 0).await;
    master.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_loses_its_tasks_to_another_within_its_missed_beats() {
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    let one = SimWorker::ours(&world.bus, "Worker.001", (49.0, 8.0), 8).await;
    let master = world.master().await;
    world.discovery.put("Device.1", "Temperature", Some((49.0, 8.0))).await;
    runs_on(&one, 1).await;
    let two = SimWorker::ours(&world.bus, "Worker.002", (60.0, 8.0), 8).await;
    one.kill();
    runs_on(&two, 1).await;
    master.stop().await;
}
