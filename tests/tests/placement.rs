//! Where tasks run, on two sites with real workers: each objective, migration, exclusiveness.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fogflow_tests::servers::RabbitMq;
use fogflow_tests::tasks::{ECHO, in_state, processes_of, register_function, tasks_when};
use fogflow_tests::{Http, Site, Started, http, wait_for};
use serde_json::{Value, json};

const SEATTLE: (f64, f64) = (47.6, -122.3);
const TOKYO: (f64, f64) = (35.7, 139.7);
const BOUND: Duration = Duration::from_secs(60);

struct TwoWorkers {
    cloud: Site,
    _edge: Site,
    _programs: Vec<Started>,
    _rabbit: RabbitMq,
}

/// `fogflow up` in Seattle with `Worker.001`, and an edge broker and `Worker.002` in Tokyo.
async fn two_workers(test: &str) -> Option<TwoWorkers> {
    let rabbit = RabbitMq::start(test).await?;
    let cloud = Site::new("001").on_rabbitmq(&rabbit);
    let mut programs = vec![cloud.up(&["--no-demo"]).await];
    let edge = Site::edge_of(&cloud, "002").with(|config| config["physical_location"] = json!({"latitude": TOKYO.0, "longitude": TOKYO.1}));
    programs.push(edge.start("fogflow-broker", &[]));
    programs.push(edge.start("fogflow-worker", &[]));
    edge.ready(&["broker", "worker"]).await;
    let workers = format!("{}/info/worker", cloud.url("designer"));
    wait_for("two workers", BOUND, async || {
        let list = Http::new().ok(&workers).await?;
        if list.as_array().is_some_and(|list| list.len() == 2) { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
    Some(TwoWorkers { cloud, _edge: edge, _programs: programs, _rabbit: rabbit })
}

async fn put(site: &Site, id: &str, entity_type: &str, place: (f64, f64)) {
    let body = http::update_at(id, entity_type, &[("value", json!(1))], place.0, place.1);
    let (_, answer) = Http::new().post(&format!("{}/ngsi10/updateContext", site.url("broker")), &body).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
}

fn workers_of<'a>(rows: &'a [Value], topology: &str) -> Vec<&'a str> {
    rows.iter().filter(|row| row["TopologyName"] == topology).filter_map(|row| row["Worker"].as_str()).collect()
}

#[tokio::test]
async fn each_objective_places_as_it_says() {
    let Some(two) = two_workers("each_objective_places_as_it_says").await else { return };
    for (name, objective) in [("near", "MIN_LATENCY"), ("spread", "MAX_THROUGHPUT"), ("packed", "MIN_COST")] {
        register_function(&two.cloud, name, name, ECHO, json!({"qos": objective})).await;
    }
    put(&two.cloud, "near.1", "near", SEATTLE).await;
    put(&two.cloud, "near.2", "near", TOKYO).await;
    let rows = tasks_when(&two.cloud, "two tasks near their data", BOUND, |rows| in_state(rows, "running") == 2).await;
    let mut near = workers_of(&rows, "near");
    near.sort_unstable();
    assert_eq!(near, ["Worker.001", "Worker.002"], "MIN_LATENCY runs each beside its input: {rows:?}");

    for index in 0..4 {
        put(&two.cloud, &format!("spread.{index}"), "spread", SEATTLE).await;
    }
    let rows = tasks_when(&two.cloud, "four spread tasks", BOUND, |rows| in_state(rows, "running") == 6).await;
    let at_cloud = workers_of(&rows, "spread").iter().filter(|worker| **worker == "Worker.001").count();
    assert_eq!(at_cloud, 2, "MAX_THROUGHPUT shares evenly: {rows:?}");

    for index in 0..2 {
        put(&two.cloud, &format!("packed.{index}"), "packed", if index == 0 { SEATTLE } else { TOKYO }).await;
    }
    let rows = tasks_when(&two.cloud, "two packed tasks", BOUND, |rows| in_state(rows, "running") == 8).await;
    let packed = workers_of(&rows, "packed");
    assert_eq!(packed[0], packed[1], "MIN_COST uses as few workers as it can: {rows:?}");
}

#[tokio::test]
async fn a_task_follows_its_input_to_another_site_and_keeps_its_name() {
    let Some(two) = two_workers("a_task_follows_its_input_to_another_site_and_keeps_its_name").await else { return };
    register_function(&two.cloud, "follow", "Car", ECHO, json!({})).await;
    put(&two.cloud, "Car.1", "Car", SEATTLE).await;
    let before =
        tasks_when(&two.cloud, "a task in Seattle", BOUND, |rows| in_state(rows, "running") == 1 && rows[0]["Worker"] == "Worker.001")
            .await;
    put(&two.cloud, "Car.1", "Car", TOKYO).await;
    let after = tasks_when(&two.cloud, "the task in Tokyo", BOUND, |rows| {
        rows.len() == 1 && rows[0]["Worker"] == "Worker.002" && rows[0]["Status"] == "running"
    })
    .await;
    assert_eq!(before[0]["TaskID"], after[0]["TaskID"]);
    let task = after[0]["TaskID"].as_str().unwrap();
    wait_for("the old instance to be gone", BOUND, async || match processes_of(task).as_slice() {
        [_] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let echo = format!("{}/ngsi10/queryContext", two.cloud.url("broker"));
    wait_for("results after the move", BOUND, async || {
        put(&two.cloud, "Car.1", "Car", TOKYO).await;
        let (_, body) = Http::new().post(&echo, &json!({"entities": [{"id": "Echo.Car.1"}]})).await?;
        if body["contextResponses"][0]["contextElement"]["entityId"]["id"] == "Echo.Car.1" { Ok(()) } else { Err(body.to_string()) }
    })
    .await;
}

/// FAULT 19: which task an exclusive one pauses depended on the order of events.
#[tokio::test]
async fn an_exclusive_intent_pauses_the_others_and_they_resume_after_it() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    register_function(&site, "ordinary", "Ordinary", ECHO, json!({})).await;
    put(&site, "Ordinary.1", "Ordinary", SEATTLE).await;
    let rows = tasks_when(&site, "the ordinary task", BOUND, |rows| in_state(rows, "running") == 1).await;
    let ordinary = rows[0]["TaskID"].as_str().unwrap().to_owned();

    register_function(&site, "urgent", "Urgent", ECHO, json!({"priority": {"exclusive": true, "level": 50}})).await;
    put(&site, "Urgent.1", "Urgent", SEATTLE).await;
    tasks_when(&site, "the urgent task alone", BOUND, |rows| {
        rows.iter().any(|row| row["TopologyName"] == "urgent" && row["Status"] == "running")
            && rows.iter().any(|row| row["TaskID"] == ordinary.as_str() && row["Status"] == "paused")
    })
    .await;
    assert!(processes_of(&ordinary).is_empty(), "a paused task does not run");

    Http::new().delete(&format!("{}/fogfunction/urgent", site.url("designer"))).await.unwrap();
    tasks_when(&site, "the ordinary task again", BOUND, |rows| {
        rows.len() == 1 && rows[0]["TaskID"] == ordinary.as_str() && rows[0]["Status"] == "running"
    })
    .await;
}
