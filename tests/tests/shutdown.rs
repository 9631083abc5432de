//! SIGTERM ends every process in time with exit code 0, and wrong starts end with exit code 2 and one clear line.

use std::time::Duration;

use fogflow_tests::sink::Manner;
use fogflow_tests::tasks::{ECHO, in_state, processes_of, register_function, tasks_when};
use fogflow_tests::{Http, Sink, Site, http};
use serde_json::json;

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn sigterm_ends_the_node_with_a_task_running_and_a_subscriber_hanging() {
    let site = Site::new("001");
    let mut node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let broker = site.url("broker");
    let sink = Sink::start().await;
    sink.behave(Manner { status: 200, delay: Duration::from_secs(3600) });
    register_function(&site, "echo", "Thing", ECHO, json!({})).await;
    let subscription = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ""}], "reference": sink.url()});
    http.post(&format!("{broker}/ngsi10/subscribeContext"), &subscription).await.unwrap();
    http.post(&format!("{broker}/ngsi10/updateContext"), &http::update("Thing.1", "Thing", &[("value", json!(1))])).await.unwrap();
    let rows = tasks_when(&site, "a running task", Duration::from_secs(30), |rows| in_state(rows, "running") == 1).await;
    let task = rows[0]["TaskID"].as_str().expect("an id").to_owned();
    // An idle keep-alive connection must not hold the end back either.
    let _idle = tokio::net::TcpStream::connect(broker.trim_start_matches("http://")).await.unwrap();

    let status = node.terminate(GRACE).await;
    assert_eq!(status.code(), Some(0), "{}", node.log());
    assert!(processes_of(&task).is_empty(), "the process task outlived its worker");
}

#[tokio::test]
async fn a_taken_port_ends_the_start_with_exit_code_2_and_one_line() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let mut second = site.start("fogflow-broker", &[]);
    let status = second.ended(GRACE).await;
    assert_eq!(status.code(), Some(2), "{}", second.log());
    assert!(!second.log().contains("panicked"), "{}", second.log());
}

#[tokio::test]
async fn a_wrong_configuration_ends_the_start_with_exit_code_2_and_the_name_of_the_key() {
    let site = Site::new("001").with(|config| config["broker"]["http_port"] = json!("eight"));
    let mut node = site.start("fogflow", &["--no-demo"]);
    let status = node.ended(GRACE).await;
    assert_eq!(status.code(), Some(2), "{}", node.log());
    assert!(node.log().contains("broker.http_port"), "{}", node.log());
}
