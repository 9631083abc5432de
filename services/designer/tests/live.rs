//! The live picture: one snapshot, then changes, over `GET /events`.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_orchestration::{MessageType, TaskState, TaskUpdate};
use serde_json::{Value, json};
use support::bus::MortalBus;
use support::stream::Reader;
use support::{Designer, alone, counter, until};

fn update(id: &str, status: TaskState) -> TaskUpdate {
    TaskUpdate { task_id: id.to_owned(), topology_name: "t".to_owned(), status, ..Default::default() }
}

#[tokio::test]
async fn a_reader_gets_a_snapshot_then_changes_with_growing_generations() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let mut reader = Reader::open(&designer, None).await;
    let snapshot = reader.next().await;
    assert_eq!(snapshot.name, "snapshot");
    for key in ["services", "workers", "brokers", "masters", "intents", "tasks", "entities", "events"] {
        assert!(snapshot.data[key].is_array(), "{key}");
    }
    designer.put("/operator", counter()).await;
    let registry = reader.until("registry", |_| true).await;
    assert_eq!((&registry.data["kind"], &registry.data["id"]), (&json!("operators"), &json!("counter")));
    designer.put("/internal/report", json!({"master": "m", "epoch": 1, "tasks": [{"TaskID": "t", "Status": "running"}], "intents": [{"id": "i", "status": "active"}]})).await;
    let task = reader.until("task", |task| task["TaskID"] == "t").await;
    let intent = reader.until("intent", |_| true).await;
    let generation = |id: &str| id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
    assert!(generation(&snapshot.id) < generation(&registry.id) && generation(&task.id) < generation(&intent.id));
    designer.stop().await;
}

#[tokio::test]
async fn a_reader_that_returns_gets_what_it_missed_and_after_a_restart_a_snapshot() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let mut reader = Reader::open(&designer, None).await;
    let last = reader.next().await.id;
    drop(reader);
    designer.put("/operator", json!({"name": "a"})).await;
    designer.put("/operator", json!({"name": "b"})).await;
    let mut reader = Reader::open(&designer, Some(&last)).await;
    let first = reader.until("registry", |_| true).await;
    let second = reader.until("registry", |_| true).await;
    assert_eq!((&first.data["id"], &second.data["id"]), (&json!("a"), &json!("b")));
    // The end of the process ends the stream, and its generations mean nothing to the next one.
    let ended = tokio::spawn(async move { reader.ends().await });
    designer.stop().await;
    assert!(ended.await.unwrap());
    let designer = Designer::start(&config).await;
    assert_eq!(Reader::open(&designer, Some(&second.id)).await.next().await.name, "snapshot");
    designer.stop().await;
}

#[tokio::test]
async fn fault_33_a_task_that_moved_keeps_its_row_when_the_old_worker_says_late_that_it_removed_it() {
    let (_directory, config) = alone();
    let bus = MortalBus::new(true);
    let designer = Designer::start_on(&config, Arc::new(bus.clone())).await;
    bus.designer_listens().await;
    let mut reader = Reader::open(&designer, None).await;
    bus.send(MessageType::TaskUpdate, "task.", "Worker.001", &update("moves", TaskState::Running)).await;
    bus.send(MessageType::TaskUpdate, "task.", "Worker.002", &update("moves", TaskState::Running)).await;
    reader.until("task", |task| task["Worker"] == "Worker.002").await;
    bus.send(MessageType::TaskUpdate, "task.", "Worker.001", &update("moves", TaskState::Removed)).await;
    bus.send(
        MessageType::TaskInfo,
        "task.",
        "Worker.002",
        &json!({"TaskID": "moves", "Info": "refURL=http://10.0.0.2:4000; containerID=c"}),
    )
    .await;
    reader.until("task", |task| task["Endpoint"] == "http://10.0.0.2:4000").await;
    assert_eq!(designer.get("/info/task").await.body[0]["Worker"], "Worker.002");
    bus.send(MessageType::TaskUpdate, "task.", "Worker.002", &update("moves", TaskState::Removed)).await;
    reader.until("taskRemoved", |task| task["TaskID"] == "moves").await;
    assert_eq!(designer.get("/info/task").await.body, json!([]));
    designer.stop().await;
}

#[tokio::test]
async fn a_master_without_the_lease_is_refused_and_changes_nothing() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let lease = |holder: &str| json!({"holder": holder, "ttlMs": 60_000});
    let first = designer.put("/internal/lease/master", lease("a")).await;
    assert_eq!((&first["granted"], &first["holder"]), (&json!(true), &json!("a")));
    assert_eq!(designer.put("/internal/lease/master", lease("b")).await, json!({"granted": false, "holder": "a", "epoch": first["epoch"]}));
    assert_eq!(designer.delete("/internal/lease/master?holder=b").await.status, 200);
    assert_eq!(designer.put("/internal/lease/master", lease("b")).await["granted"], false);
    assert_eq!(designer.delete("/internal/lease/master?holder=a").await.status, 200);
    let second = designer.put("/internal/lease/master", lease("b")).await;
    assert_eq!(second["granted"], true);
    assert!(second["epoch"].as_u64() > first["epoch"].as_u64());

    let report =
        |epoch: &Value, task: &str| json!({"master": "m", "epoch": epoch, "full": true, "tasks": [{"TaskID": task, "Status": "running"}]});
    designer.put("/internal/report", report(&second["epoch"], "new")).await;
    assert_eq!(designer.post("/internal/report", report(&first["epoch"], "old")).await.status, 409);
    assert_eq!(designer.get("/info/task").await.body[0]["TaskID"], "new");
    designer.stop().await;
}

#[tokio::test]
async fn an_entity_is_told_at_most_ten_times_a_second_and_its_newest_state_last() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let mut reader = Reader::open(&designer, None).await;
    let began = Instant::now();
    for value in 0..200 {
        assert_eq!(designer.notify("fast", json!({"n": value})).await.status, 200);
    }
    let took = began.elapsed();
    let mut told = 0_u32;
    loop {
        let event = reader.until("entity", |entity| entity["id"] == "fast").await;
        told += 1;
        if event.data["attributes"]["n"]["value"] == 199 {
            assert_eq!(event.data["updates"], 200);
            break;
        }
    }
    let most = u32::try_from(took.as_millis() / 100).unwrap() + 3;
    assert!(told <= most, "{told} events in {took:?}");
    let shown = designer.get("/info/entity/fast").await.body;
    assert_eq!(shown["entity"]["attributes"]["n"]["value"], 199);
    let values = shown["series"]["n"]["values"].as_array().unwrap();
    assert_eq!((values.len(), values.last()), (150, Some(&json!(199.0))));
    assert_eq!(designer.get("/info/entity/none").await.status, 404);
    // Without attributes: it is gone.
    designer.notify("fast", json!({})).await;
    reader.until("entityRemoved", |entity| entity["id"] == "fast").await;
    designer.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_gets_a_snapshot_when_it_does() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let mut slow = Reader::open(&designer, None).await;
    assert_eq!(slow.next().await.name, "snapshot");
    // More and larger frames than sockets and channel hold.
    let reason = "x".repeat(16 * 1024);
    for n in 0..1500 {
        let report = json!({"master": "m", "epoch": 1, "tasks": [{"TaskID": "t", "Status": "running", "Reason": format!("{n} {reason}")}]});
        designer.put("/internal/report", report).await;
    }
    let again = slow.until("snapshot", |_| true).await;
    assert!(again.data["tasks"][0]["Reason"].as_str().unwrap().starts_with("1499 "));
    designer.stop().await;
}

#[tokio::test]
async fn the_log_of_a_task_comes_from_its_worker_as_plain_text() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    let worker = axum::Router::new().route(
        "/tasks/{id}/logs",
        axum::routing::get(
            |axum::extract::Path(id): axum::extract::Path<String>, axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
                (axum::http::StatusCode::OK, [("content-type", "text/html")], format!("<b>{id}</b> {}", query.unwrap_or_default()))
            },
        ),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, worker).await });
    designer
        .put("/internal/report", json!({"master": "m", "epoch": 1, "workers": [{"id": "Worker.001", "Url": url}, {"id": "Worker.old"}],
            "tasks": [{"TaskID": "Task.a.b.1", "Worker": "Worker.001"}, {"TaskID": "Task.a.b.2", "Worker": "Worker.old"}, {"TaskID": "Task.a.b.3", "Worker": "Worker.gone"}]}))
        .await;
    let response = designer.http.get(designer.url("/tasks/Task.a.b.1/logs?tail=5")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let text = response.text().await.unwrap();
    assert!(text.starts_with("<b>Task.a.b.1</b> ") && text.contains("tail=5"), "{text}");
    assert_eq!(designer.get("/tasks/Task.a.b.2/logs").await.status, 503);
    assert_eq!(designer.get("/tasks/Task.a.b.3/logs").await.status, 503);
    assert_eq!(designer.get("/tasks/none/logs").await.status, 404);
    designer.stop().await;
}

#[tokio::test]
async fn services_are_shown_up_and_down() {
    let (_directory, mut config) = alone();
    let broker = support::broker::Broker::default();
    config.broker.http_port = broker.start().await.port();
    let designer = Designer::start(&config).await;
    let seen = until("the services being probed", || async {
        let snapshot = Reader::open(&designer, None).await.next().await.data;
        let state = |name: &str| snapshot["services"].as_array()?.iter().find(|row| row["name"] == name).map(|row| row["up"].clone());
        let states = [state("broker"), state("discovery"), state("designer"), state("bus")];
        if states.iter().all(Option::is_some) { Ok(states) } else { Err(snapshot["services"].to_string()) }
    })
    .await;
    assert_eq!(seen.map(|up| up == Some(json!(true))), [true, false, true, true]);
    tokio::time::timeout(Duration::from_secs(15), designer.stop()).await.expect("it ends in time");
}
