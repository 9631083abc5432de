//! A node and its command line as a user works with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::Node;

const MANIFEST: &str = "\
kind: Operator
name: copy
code: {language: python, file: copy.py}
---
kind: FogFunction
name: copy
tasks:
  - name: main
    operator: copy
    input_streams: [{selected_type: Thing, groupby: EntityID}]
    output_streams: [{entity_type: Copy}]
---
kind: Device
id: Thing.1
type: Thing
attributes: {value: {type: integer, value: 7}}
metadata: {location: {type: point, value: {latitude: 47.6, longitude: -122.3}}}
";
const COPY: &str = "def handleEntity(entity, publish):\n    print('seen', flush=True)\n    publish({'attributes': {'value': entity['attributes']['value']}})\n";

fn count(node: &Node, what: &str) -> usize {
    node.json(&["get", what]).as_array().map_or(0, Vec::len)
}

/// D 17: the command line did not fit the services, and did not use the name it was given.
#[test]
fn apply_get_logs_delete_backup_and_restore_work_on_a_real_node() {
    let mut node = Node::new();
    std::fs::write(node.path().join("copy.py"), COPY).unwrap();
    std::fs::write(node.path().join("all.yaml"), MANIFEST).unwrap();
    node.up(&["--no-demo"]);
    assert_eq!((count(&node, "operators"), count(&node, "functions")), (0, 0), "--no-demo");

    let told = node.ok(&["apply", "-f", "all.yaml"]);
    assert_eq!(told, "operator copy applied\nfunction copy applied\ndevice Thing.1 applied\n");
    node.wait("a running task", || node.cli(&["get", "tasks"]), |output| String::from_utf8_lossy(&output.stdout).contains("running"));
    node.wait(
        "its result",
        || node.cli(&["get", "entities"]),
        |output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line.contains("Copy") && line.contains("value=7")),
    );
    node.wait("its log", || node.cli(&["logs", "copy"]), |output| String::from_utf8_lossy(&output.stdout).contains("seen"));
    assert!(node.ok(&["get", "workers"]).contains("Worker.001"));
    assert!(node.ok(&["get", "brokers", "-o", "yaml"]).contains("id: Broker.001"));
    assert!(node.ok(&["get", "functions"]).contains("enabled"));

    let missing = node.cli(&["get", "operators", "nothing"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&missing.stderr), "fogflow: there is no nothing\n");
    node.ok(&["backup", "node.backup"]);
    let busy = node.cli(&["restore", "node.backup"]);
    assert_eq!(busy.status.code(), Some(2), "{busy:?}");
    assert!(String::from_utf8_lossy(&busy.stderr).contains("stop the node first"));

    let (status, took) = node.terminate();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(20), "{took:?}");
    std::fs::rename(node.path().join("data"), node.path().join("lost")).unwrap();
    node.ok(&["restore", "node.backup"]);
    node.up(&["--no-demo"]);
    assert_eq!((count(&node, "operators"), count(&node, "functions"), count(&node, "devices")), (1, 1, 1));
    node.wait("the task again", || node.cli(&["get", "tasks"]), |output| String::from_utf8_lossy(&output.stdout).contains("running"));

    assert_eq!(node.ok(&["delete", "function", "copy"]), "copy deleted\n");
    node.wait("no task", || node.cli(&["get", "tasks", "-o", "json"]), |output| output.stdout == b"[]\n");
    node.ok(&["delete", "operator", "copy"]);
    node.ok(&["delete", "device", "Thing.1"]);
    assert_eq!(node.cli(&["delete", "operator", "copy"]).status.code(), Some(1));
}

#[test]
fn upstreams_database_is_imported_and_what_is_wrong_in_it_is_named() {
    let mut node = Node::new();
    let database = json!({
        "operators": {"dummy": {"name": "dummy", "description": "", "parameters": [],
            "dockerimages": [{"name": "fogflow/dummy", "tag": "latest", "hwType": "X86", "osType": "Linux", "operatorName": "dummy", "prefetched": false}]}},
        "topologies": {}, "services": {}, "serviceintents": {}, "fogfunctions": {}, "devices": {}, "subscriptions": {},
    });
    std::fs::write(node.path().join("db.json"), database.to_string()).unwrap();
    node.up(&["--no-demo"]);
    assert!(node.ok(&["apply", "-f", "db.json"]).contains("operators: 1 imported"));
    assert!(node.ok(&["get", "operators"]).contains("fogflow/dummy:latest"));
}

/// FAULT 31: the templates for functions started in test mode.
#[test]
fn a_function_that_was_just_made_runs() {
    let mut node = Node::new();
    node.up(&["--demo-speed", "50"]);
    node.ok(&["new", "function", "--lang", "python", "hello"]);
    node.ok(&["run", "hello", "--detach"]);
    node.wait(
        "a result of the function",
        || node.cli(&["get", "entities"]),
        |output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line.starts_with("Hello.") && line.contains("source=WeatherStation.seattle"))
        },
    );
}

/// Calls `path` of each service with these headers; a path parameter becomes `x`.
async fn call(http: &reqwest::Client, base: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    let path: String = path
        .split('{')
        .enumerate()
        .map(|(i, part)| if i == 0 { part.to_owned() } else { format!("x{}", part.split_once('}').map_or("", |p| p.1)) })
        .collect();
    let mut request =
        http.request(method.to_uppercase().parse::<Method>().unwrap(), format!("{base}{path}")).timeout(Duration::from_secs(10));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status()
}

/// F 25: no access control, any URL was called, TLS was not verified, any page could write.
#[tokio::test]
async fn each_route_of_each_service_declares_its_access_and_refuses_whom_it_must() {
    let mut node = Node::new();
    node.up(&["--no-demo"]);
    let http = fogflow_chassis::http_client(&fogflow_config::Config::default()).unwrap();
    let mut guarded = 0;
    for port in node.ports {
        let base = format!("http://127.0.0.1:{port}");
        let document: Value = http.get(format!("{base}/openapi.json")).send().await.unwrap().json().await.unwrap();
        assert_eq!(document["openapi"], "3.1.0", "{base}");
        for standing in ["/health", "/ready", "/metrics", "/version", "/healthz", "/readyz"] {
            assert!(document["paths"].get(standing).is_some(), "{base}{standing}");
            assert_eq!(call(&http, &base, "get", standing, &[]).await, StatusCode::OK, "{base}{standing}");
        }
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let access = operation["x-access"].as_str().unwrap_or_else(|| panic!("{method} {path} declares no access"));
                assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method} {path}");
                let refused: &[(&str, &str)] = match access {
                    "anyone" | "component" | "viewer" => continue,
                    "local-or-admin" => &[("X-Forwarded-For", "203.0.113.9")],
                    "admin" => &[],
                    "operator" if method == "get" => continue,
                    "operator" => &[("Origin", "http://evil.example")],
                    other => panic!("unknown access {other}"),
                };
                assert_eq!(call(&http, &base, method, path, refused).await, StatusCode::FORBIDDEN, "{method} {base}{path}");
                guarded += 1;
            }
        }
    }
    assert!(guarded > 10, "only {guarded} guarded routes");
}
