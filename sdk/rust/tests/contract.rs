//! The task contract, as a worker and a broker see it: the real program between a notification and a broker that remembers.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

type Updates = Arc<Mutex<Vec<(String, Value)>>>;

async fn take(State(updates): State<Updates>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    let correlator = headers.get("fiware-correlator").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    updates.lock().unwrap().push((correlator, body));
    Json(json!({"contextResponses": []}))
}

#[tokio::test]
async fn each_entity_of_a_notification_is_handled_and_published_and_sigterm_ends_the_task() {
    let updates = Updates::default();
    let broker = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ngsi10", broker.local_addr().unwrap());
    let router = Router::new().route("/ngsi10/updateContext", post(take)).with_state(updates.clone());
    tokio::spawn(async move { axum::serve(broker, router).await });

    let commands = json!([
        {"command": "CONNECT_BROKER", "brokerURL": url},
        {"command": "SET_CORRELATORID", "correlatorID": "Task.1"},
        {"command": "SET_OUTPUTS", "type": "Fahrenheit", "id": "Fahrenheit.1"},
    ]);
    let mut task = Command::new(env!("CARGO_BIN_EXE_fogflow-task"))
        .env("adminCfg", commands.to_string())
        .env("myport", "0")
        .env("FOGFLOW_LISTEN", "127.0.0.1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(task.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let port = first.trim().strip_prefix("listening on port ").unwrap_or_else(|| panic!("{first:?}"));

    let element = |id: &str, name: &str, value: Value| json!({"contextElement": {"entityId": {"id": id, "type": "Room"}, "attributes": [{"name": name, "type": "float", "value": value}]}});
    let notification = json!({"subscriptionId": "s", "contextResponses": [
        element("Room.1", "temp", json!(100.0)), element("Room.2", "other", json!(1)), element("Room.3", "temp", json!(0.0))]});
    let answer = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/notifyContext"))
        .timeout(Duration::from_secs(10))
        .json(&notification)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let published: Vec<(String, Value)> = updates.lock().unwrap().clone();
    let expected = |source: &str, value: f64| {
        let attributes =
            json!([{"name": "source", "type": "string", "value": source}, {"name": "fahrenheit", "type": "float", "value": value}]);
        json!({"id": "Fahrenheit.1", "type": "Fahrenheit", "attributes": attributes})
    };
    let told: Vec<Value> = published
        .iter()
        .map(|(correlator, body)| {
            assert_eq!((correlator.as_str(), body["updateAction"].as_str()), ("Task.1", Some("UPDATE")));
            let element = &body["contextElements"][0];
            let mut attributes = element["attributes"].as_array().unwrap().clone();
            attributes.sort_by_key(|attribute| attribute["name"] != "source");
            json!({"id": element["entityId"]["id"], "type": element["entityId"]["type"], "attributes": attributes})
        })
        .collect();
    assert_eq!(told, [expected("Room.1", 212.0), expected("Room.3", 32.0)]);

    Command::new("kill").args(["-TERM", &task.id().to_string()]).status().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), tokio::task::spawn_blocking(move || task.wait().unwrap())).await;
    assert_eq!(ended.expect("an end within 10 s").unwrap().code(), Some(0));
}
