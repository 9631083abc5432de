//! Cloud 001 and edge 002 on one machine: each broker reaches the other's entities, and tasks run where their data is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fogflow_tests::tasks::{ECHO, in_state, register_function, tasks_when};
use fogflow_tests::{Http, Sink, Site, Started, http, node::free_ports, wait_for};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// The cloud as five processes' worth of services in one, and an edge broker and worker joined over RabbitMQ or, here,
/// over the cloud's own addresses.
struct Two {
    cloud: Site,
    edge: Site,
    _cloud_node: Started,
    edge_broker: Started,
}

async fn two_sites() -> Two {
    let cloud = Site::new("001");
    let cloud_node = cloud.up(&["--no-demo"]).await;
    let edge = Site::edge_of(&cloud, "002");
    let edge_broker = edge.start("fogflow-broker", &[]);
    edge.ready(&["broker"]).await;
    Two { cloud, edge, _cloud_node: cloud_node, edge_broker }
}

async fn value_at(http: &Http, broker: &str, id: &str) -> Result<Value, String> {
    let (_, body) = http.post(&format!("{broker}/ngsi10/queryContext"), &json!({"entities": [{"id": id}]})).await?;
    body["contextResponses"][0]["contextElement"]["attributes"]
        .as_array()
        .and_then(|list| list.iter().find(|attribute| attribute["name"] == "value"))
        .map(|attribute| attribute["value"].clone())
        .ok_or(body.to_string())
}

async fn expect_value(http: &Http, broker: &str, id: &str, value: u64) {
    wait_for(&format!("{id} = {value} at {broker}"), Duration::from_secs(15), async || match value_at(http, broker, id).await? {
        seen if seen == json!(value) => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}

async fn write(http: &Http, broker: &str, id: &str, value: u64) {
    let url = format!("{broker}/ngsi10/updateContext");
    let (status, answer) = http.post(&url, &http::update(id, "Thing", &[("value", json!(value))])).await.unwrap();
    assert!(status == StatusCode::OK && http::acknowledged(&answer), "{answer}");
}

#[tokio::test]
async fn update_query_subscribe_and_delete_reach_the_entities_of_the_other_site() {
    let two = two_sites().await;
    let (http, cloud, edge) = (Http::new(), two.cloud.url("broker"), two.edge.url("broker"));
    write(&http, &edge, "Edge.1", 1).await;
    write(&http, &cloud, "Cloud.1", 1).await;
    expect_value(&http, &cloud, "Edge.1", 1).await;
    expect_value(&http, &edge, "Cloud.1", 1).await;

    // A subscription at one broker is served by the entity's owner, whichever that is; F 7: each change once.
    let sink = Sink::start().await;
    let subscription = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ""}], "reference": sink.url()});
    http.post(&format!("{cloud}/ngsi10/subscribeContext"), &subscription).await.unwrap();
    wait_for("the initial state of both", Duration::from_secs(15), async || {
        let seen = (sink.values("Edge.1", "value").len(), sink.values("Cloud.1", "value").len());
        if seen.0 > 0 && seen.1 > 0 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    // An update at the broker that is not the owner goes to the owner.
    write(&http, &cloud, "Edge.1", 2).await;
    let (status, local) = http.get(&format!("{edge}/ngsi10/entity/Edge.1/value")).await.unwrap();
    assert!(status == StatusCode::OK && local["value"] == 2, "the owner has the update: {local}");
    for value in 3..=10 {
        write(&http, &edge, "Edge.1", value).await;
    }
    wait_for("the last change at the subscriber", Duration::from_secs(10), async || match sink.values("Edge.1", "value").last() {
        Some(last) if *last == json!(10) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let seen: Vec<Value> = sink.values("Edge.1", "value");
    let repeated = seen.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!(repeated <= 1, "changes of a remote entity arrive once, not several times: {seen:?}");

    // A deletion at the other broker reaches the owner.
    http.delete(&format!("{cloud}/ngsi10/entity/Edge.1")).await.unwrap();
    wait_for("the deletion at the owner", Duration::from_secs(10), async || {
        match http.get(&format!("{edge}/ngsi10/entity/Edge.1")).await? {
            (StatusCode::NOT_FOUND, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn entities_of_a_killed_owner_are_taken_over_and_come_back() {
    let mut two = two_sites().await;
    let (http, cloud, edge) = (Http::new(), two.cloud.url("broker"), two.edge.url("broker"));
    write(&http, &edge, "Edge.1", 1).await;
    expect_value(&http, &cloud, "Edge.1", 1).await;
    two.edge_broker.kill();
    // While the owner's lease runs, the update is refused or fails; afterwards the cloud's broker becomes the owner.
    wait_for("the cloud's broker to take the entity over", Duration::from_secs(30), async || {
        let (_, answer) =
            http.post(&format!("{cloud}/ngsi10/updateContext"), &http::update("Edge.1", "Thing", &[("value", json!(2))])).await?;
        if http::acknowledged(&answer) { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    expect_value(&http, &cloud, "Edge.1", 2).await;

    let _edge_broker = two.edge.start("fogflow-broker", &[]);
    two.edge.ready(&["broker"]).await;
    expect_value(&http, &edge, "Edge.1", 2).await;
    write(&http, &edge, "Edge.1", 3).await;
    expect_value(&http, &edge, "Edge.1", 3).await;
    expect_value(&http, &cloud, "Edge.1", 3).await;
}

#[tokio::test]
async fn a_geoscoped_task_runs_at_the_edge() {
    let Some(rabbit) = fogflow_tests::servers::RabbitMq::start("a_geoscoped_task_runs_at_the_edge").await else { return };
    let cloud = Site::new("001").on_rabbitmq(&rabbit);
    let _cloud_node = cloud.up(&["--no-demo"]).await;
    let [worker_port] = free_ports();
    let edge = Site::edge_of(&cloud, "002").with(|config| {
        config["physical_location"] = json!({"latitude": 35.7, "longitude": 139.7});
        config["worker"]["http_port"] = json!(worker_port);
    });
    let _broker = edge.start("fogflow-broker", &[]);
    let _worker = edge.start("fogflow-worker", &[]);
    edge.ready(&["broker", "worker"]).await;

    let http = Http::new();
    let circle = json!({"scopeType": "circle", "scopeValue": {"centerLatitude": 35.7, "centerLongitude": 139.7, "radius": 50000}});
    register_function(&cloud, "echo", "Thing", ECHO, json!({"geoscope": circle})).await;
    for (broker, id, latitude, longitude) in [(edge.url("broker"), "Near", 35.71, 139.71), (cloud.url("broker"), "Far", 47.6, -122.3)] {
        let body = http::update_at(id, "Thing", &[("value", json!(1))], latitude, longitude);
        http.post(&format!("{broker}/ngsi10/updateContext"), &body).await.unwrap();
    }
    let rows = tasks_when(&cloud, "a running task", Duration::from_secs(40), |rows| in_state(rows, "running") == 1).await;
    assert_eq!(rows.len(), 1, "the entity outside the scope has no task: {rows:?}");
    assert_eq!(rows[0]["Worker"], "Worker.002", "{rows:?}");
    expect_value(&http, &cloud.url("broker"), "Echo.Near", 1).await;
}
