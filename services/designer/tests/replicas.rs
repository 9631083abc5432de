//! Two designers over one store: replicas behind one address.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fogflow_bus::SharedBus;
use fogflow_config::{Config, StoreEngine};
use fogflow_orchestration::{MasterProfile, MessageType, TaskState, TaskUpdate};
use fogflow_store::SharedStore;
use fogflow_store::memory::MemoryStore;
use serde_json::{Value, json};
use support::bus::MortalBus;
use support::stream::Reader;
use support::{Designer, alone, counter, topology, until};

/// A designer that may have replicas: its store stands for one on a server.
async fn replica(bus: &MortalBus, store: &SharedStore) -> (tempfile::TempDir, Designer) {
    let (directory, config) = alone();
    let mut config: Config = config;
    config.store.engine = StoreEngine::Postgres;
    let bus: SharedBus = Arc::new(bus.clone());
    (directory, Designer::start_over(&config, bus, Arc::clone(store)).await)
}

fn report(epoch: u64, full: bool, tasks: &[(&str, &str)]) -> Value {
    let tasks: Vec<Value> = tasks.iter().map(|(id, status)| json!({"TaskID": id, "Status": status, "Worker": "Worker.001"})).collect();
    json!({"master": "Master.001", "epoch": epoch, "full": full, "tasks": tasks, "workers": [{"id": "Worker.001"}],
        "intents": [{"id": "ServiceIntent.1", "status": "active"}]})
}

fn tasks(body: &Value) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    body.as_array().unwrap().iter().map(|row| (text(row, "TaskID"), text(row, "Status"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(id, status)| ((*id).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test]
async fn what_a_master_reports_to_one_replica_the_next_request_to_the_other_shows_and_so_does_its_stream() {
    let (bus, store) = (MortalBus::new(true), Arc::new(MemoryStore::new()) as SharedStore);
    let (_a, first) = replica(&bus, &store).await;
    let (_b, second) = replica(&bus, &store).await;
    let mut reader = Reader::open(&second, None).await;
    assert_eq!(reader.next().await.name, "snapshot");

    first.put("/internal/report", report(3, true, &[("Task.1", "starting"), ("Task.2", "running")])).await;
    assert_eq!(tasks(&second.get("/info/task").await.body), pairs(&[("Task.1", "starting"), ("Task.2", "running")]));
    assert_eq!(second.get("/info/worker").await.body[0]["id"], "Worker.001");
    reader.until("task", |task| task["TaskID"] == "Task.2").await;
    reader.until("intent", |intent| intent["id"] == "ServiceIntent.1").await;

    // The master's next report goes to the other replica, and builds on what the first was told.
    second.put("/internal/report", report(3, false, &[("Task.1", "running")])).await;
    assert_eq!(tasks(&first.get("/info/task").await.body), pairs(&[("Task.1", "running"), ("Task.2", "running")]));
    // A master whose lease is over is refused by every replica.
    first.put("/internal/report", report(4, true, &[("Task.2", "running")])).await;
    assert_eq!(second.post("/internal/report", report(3, true, &[("Task.9", "running")])).await.status, 409);
    for designer in [&first, &second] {
        assert_eq!(tasks(&designer.get("/info/task").await.body), pairs(&[("Task.2", "running")]));
    }
    reader.until("taskRemoved", |task| task["TaskID"] == "Task.1").await;

    // One that starts later has all of it at once.
    let (_c, third) = replica(&bus, &store).await;
    assert_eq!(tasks(&third.get("/info/task").await.body), pairs(&[("Task.2", "running")]));
    assert_eq!(third.post("/internal/report", report(3, true, &[])).await.status, 409);
    tokio::join!(first.stop(), second.stop(), third.stop());
}

#[tokio::test]
async fn two_replicas_that_are_told_at_once_end_with_the_same_tables() {
    let (bus, store) = (MortalBus::new(true), Arc::new(MemoryStore::new()) as SharedStore);
    let (_a, first) = replica(&bus, &store).await;
    let (_b, second) = replica(&bus, &store).await;
    let tell = |designer: &Designer, n: u32| {
        let body = report(1, false, &[(&format!("Task.{}", n % 7), if n.is_multiple_of(2) { "running" } else { "paused" })]);
        designer.http.post(designer.url("/internal/report")).json(&body).send()
    };
    let told = (0..40).flat_map(|n| [tell(&first, n), tell(&second, n + 1)]);
    for answer in futures::future::join_all(told).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let (one, other) = (first.get("/info/task").await.body, second.get("/info/task").await.body);
    assert_eq!(tasks(&one).len(), 7);
    assert_eq!(one, other);
    tokio::join!(first.stop(), second.stop());
}

#[tokio::test]
async fn messages_of_the_queue_and_notifications_reach_all_replicas_whichever_takes_them() {
    let (bus, store) = (MortalBus::new(true), Arc::new(MemoryStore::new()) as SharedStore);
    let (_a, first) = replica(&bus, &store).await;
    let (_b, second) = replica(&bus, &store).await;
    bus.designer_listens().await;
    let both = [&first, &second];

    let join = MasterProfile { id: "Master.002".to_owned(), ..MasterProfile::default() };
    bus.send(MessageType::MasterJoin, "designer.", "Master.002", &join).await;
    let update = |n: u32| TaskUpdate { task_id: format!("Task.{n}"), status: TaskState::Running, ..Default::default() };
    for n in 0..10 {
        bus.send(MessageType::TaskUpdate, "task.", "Worker.002", &update(n)).await;
    }
    for designer in both {
        until("everything at both replicas", || async {
            let (masters, tasks) = (designer.get("/info/master").await.body, designer.get("/info/task").await.body);
            if masters.to_string().contains("Master.002") && tasks.as_array().map(Vec::len) == Some(10) {
                Ok(())
            } else {
                Err(format!("{masters} {tasks}"))
            }
        })
        .await;
    }

    let mut reader = Reader::open(&second, None).await;
    for value in 0..5 {
        let told = both[value % 2].notify("Thing.1", json!({"n": value})).await;
        assert_eq!(told.status, 200);
    }
    for designer in both {
        let shown = designer.get("/info/entity/Thing.1").await.body;
        assert_eq!((&shown["entity"]["attributes"]["n"]["value"], &shown["entity"]["updates"]), (&json!(4), &json!(5)), "{shown}");
    }
    reader.until("entity", |entity| entity["attributes"]["n"]["value"] == 4).await;
    first.notify("Thing.1", json!({})).await;
    reader.until("entityRemoved", |entity| entity["id"] == "Thing.1").await;
    assert_eq!(second.get("/info/entity/Thing.1").await.status, 404);
    tokio::join!(first.stop(), second.stop());
}

#[tokio::test]
async fn what_one_replica_acknowledged_the_next_request_to_another_finds_and_it_is_announced_once() {
    let (bus, store) = (MortalBus::new(true), Arc::new(MemoryStore::new()) as SharedStore);
    let mut master = bus.master().await;
    let (_a, first) = replica(&bus, &store).await;
    let (_b, second) = replica(&bus, &store).await;
    first.put("/operator", counter()).await;
    second.put("/service", json!({"topology": topology("one")})).await;
    for n in 0..20 {
        let (writes, reads) = if n % 2 == 0 { (&first, &second) } else { (&second, &first) };
        writes.put("/intent", json!({"id": format!("ServiceIntent.{n}"), "topology": "one"})).await;
        assert_eq!(reads.get(&format!("/intent/ServiceIntent.{n}")).await.status, 200);
        let registry = reads.get("/internal/registry").await.body;
        assert_eq!(registry["intents"].as_array().map(Vec::len), Some(n + 1));
    }
    let mut heard = Vec::new();
    while let Some(payload) = master.next(Duration::from_secs(if heard.len() < 20 { 10 } else { 1 })).await {
        heard.push(payload["id"].as_str().unwrap_or_default().to_owned());
    }
    let distinct: BTreeSet<&String> = heard.iter().collect();
    assert_eq!((heard.len(), distinct.len()), (20, 20), "{heard:?}");
    tokio::join!(first.stop(), second.stop());
}

#[tokio::test]
async fn what_one_replica_stored_the_other_shows_and_no_change_is_lost_between_them() {
    let (_a, config_a) = alone();
    let (_b, config_b) = alone();
    let store = Arc::new(MemoryStore::new());
    let bus = MortalBus::new(true);
    let mut master = bus.master().await;
    let first = Designer::start_over(&config_a, Arc::new(bus.clone()), store.clone()).await;
    let second = Designer::start_over(&config_b, Arc::new(bus.clone()), store).await;

    first.put("/operator", counter()).await;
    until("the operator being seen by the other", || async {
        let answer = second.get("/operator/counter").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;

    // Both change the same operator at once: each adds its images to what stands there.
    let add = |designer: &Designer, who: &str, n: u32| {
        designer.http.post(designer.url("/dockerimage/counter")).json(&json!({"name": format!("image-{who}-{n}")})).send()
    };
    let posts = (0..20).flat_map(|n| [add(&first, "a", n), add(&second, "b", n)]);
    for answer in futures::future::join_all(posts).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    until("all images being seen by both", || async {
        let count = |body: serde_json::Value| body.as_array().map_or(0, Vec::len);
        let seen = (count(first.get("/dockerimage/counter").await.body), count(second.get("/dockerimage/counter").await.body));
        if seen == (41, 41) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    // Whoever publishes: every announcement of both arrives.
    second.put("/service", json!({"topology": topology("one")})).await;
    until("the topology being seen by the other", || async {
        let answer = first.get("/topology/one").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    for n in 0..5 {
        first.put("/intent", json!({"id": format!("ServiceIntent.a{n}"), "topology": "one"})).await;
        second.put("/intent", json!({"id": format!("ServiceIntent.b{n}"), "topology": "one"})).await;
    }
    let mut heard = BTreeSet::new();
    while heard.len() < 10 {
        heard.insert(master.intent().await.1);
    }
    let lease = |designer: &Designer, holder: &str| {
        designer.http.post(designer.url("/internal/lease/master")).json(&json!({"holder": holder, "ttlMs": 60000})).send()
    };
    assert!(lease(&first, "m1").await.unwrap().text().await.unwrap().contains("\"granted\":true"));
    assert!(lease(&second, "m2").await.unwrap().text().await.unwrap().contains("\"granted\":false"));
    tokio::join!(first.stop(), second.stop());
}
