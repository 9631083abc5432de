//! `kill -9` of the whole node at random moments: nothing acknowledged is lost, no task is doubled or lost.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fogflow_tests::tasks::{ECHO, in_state, processes_of, register_function, tasks_when};
use fogflow_tests::{Http, Sink, Site, http, wait_for};
use serde_json::json;

const KILLS: u64 = 20;
const WRITERS: usize = 4;

/// What the writers know to be acknowledged: the newest value per entity.
type Acknowledged = Arc<Mutex<HashMap<String, u64>>>;

fn newest(acknowledged: &Acknowledged) -> Vec<(String, u64)> {
    acknowledged.lock().unwrap().iter().map(|(id, value)| (id.clone(), *value)).collect()
}

/// F 29: nothing outlived a restart.
#[tokio::test]
async fn twenty_kills_lose_nothing_acknowledged_and_double_no_task() {
    let site = Site::new("001");
    let mut node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let broker = site.url("broker");
    let sink = Sink::start().await;

    register_function(&site, "echo", "Steady", ECHO, json!({})).await;
    for index in 0..2 {
        let update = http::update(&format!("Steady.{index}"), "Steady", &[("value", json!(index))]);
        http.post(&format!("{broker}/ngsi10/updateContext"), &update).await.unwrap();
    }
    let subscription = json!({"entities": [{"type": "Flow", "isPattern": true, "id": ""}], "reference": sink.url()});
    let (_, answer) = http.post(&format!("{broker}/ngsi10/subscribeContext"), &subscription).await.unwrap();
    let subscription_id = answer["subscribeResponse"]["subscriptionId"].as_str().expect("an id").to_owned();
    let rows = tasks_when(&site, "two running tasks", Duration::from_secs(40), |rows| in_state(rows, "running") == 2).await;
    let tasks: Vec<String> = rows.iter().filter_map(|row| row["TaskID"].as_str().map(str::to_owned)).collect();

    let acknowledged: Acknowledged = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(writer, broker.clone(), acknowledged.clone(), stop.clone()))).collect();

    let mut random = 0x9e37_79b9_u64;
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + random % 900)).await;
        node.kill();
        node = site.up(&["--no-demo"]).await;

        for (id, known) in newest(&acknowledged) {
            let attribute =
                http.ok(&format!("{broker}/ngsi10/entity/{id}/value")).await.unwrap_or_else(|error| panic!("kill {kill}: {id}: {error}"));
            let value = attribute["value"].as_u64().expect("a number");
            // Writers go on while this looks, so the value may be newer than what was known.
            assert!(value >= known, "kill {kill}: {id} is {value}, but {known} was acknowledged");
        }
        http.ok(&format!("{broker}/ngsi10/subscription/{subscription_id}"))
            .await
            .unwrap_or_else(|error| panic!("kill {kill}: subscription: {error}"));
        http.ok(&format!("{}/operator/echo", site.url("designer"))).await.unwrap_or_else(|error| panic!("kill {kill}: operator: {error}"));
        http.ok(&format!("{}/fogfunction/echo", site.url("designer")))
            .await
            .unwrap_or_else(|error| panic!("kill {kill}: function: {error}"));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }

    let rows =
        tasks_when(&site, "the same two tasks running", Duration::from_secs(40), |rows| in_state(rows, "running") == 2 && rows.len() == 2)
            .await;
    for row in &rows {
        assert!(tasks.iter().any(|task| row["TaskID"] == task.as_str()), "{row} is not one of {tasks:?}");
    }
    for task in &tasks {
        wait_for(&format!("exactly one process of {task}"), Duration::from_secs(20), async || match processes_of(task).as_slice() {
            [_] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    // The subscriber has the newest state of each entity, also of what was written just before a kill.
    for (id, known) in newest(&acknowledged) {
        wait_for(&format!("the subscriber to have {known} of {id}"), Duration::from_secs(20), async || {
            let seen = sink.values(&id, "value").last().and_then(serde_json::Value::as_u64);
            if seen.is_some_and(|seen| seen >= known) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
}

async fn write(writer: usize, broker: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let http = Http::new();
    let url = format!("{broker}/ngsi10/updateContext");
    let mut value = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        value += 1;
        let id = format!("Flow.{writer}.{}", value % 5);
        if let Ok((_, answer)) = http.post(&url, &http::update(&id, "Flow", &[("value", json!(value))])).await {
            if http::acknowledged(&answer) {
                acknowledged.lock().unwrap().insert(id, value);
            }
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
