//! OpenTelemetry: one trace from an update to the task that it starts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use fogflow_tests::otlp::Collector;
use fogflow_tests::servers::RabbitMq;
use fogflow_tests::tasks::{ECHO, in_state, register_function, tasks_when};
use fogflow_tests::{Http, Site, http, wait_for};
use reqwest::Method;
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The way of an update, each step with the service that takes it.
const WAY: [(&str, &str); 10] = [
    ("broker", "POST /ngsi10/updateContext"),
    ("broker", "register entities"),
    ("discovery", "POST /ngsi9/registerContext"),
    ("discovery", "notify availability"),
    ("master", "POST /notifyContextAvailability"),
    ("master", "give orders"),
    ("worker", "obey order"),
    ("worker", "start task"),
    ("broker", "POST /ngsi10/subscribeContext"),
    ("broker", "notify"),
];

#[tokio::test]
async fn one_trace_follows_an_update_from_the_broker_to_the_task_it_starts() {
    let collector = Collector::start().await;
    let site = traced("001", &collector);
    let _node = site.up(&["--no-demo"]).await;
    follow_an_update(&site, &collector).await;
}

#[tokio::test]
async fn one_trace_follows_an_update_over_five_processes_and_rabbitmq() {
    let Some(rabbit) = RabbitMq::start("one_trace_follows_an_update_over_five_processes_and_rabbitmq").await else { return };
    let collector = Collector::start().await;
    let site = traced("001", &collector).on_rabbitmq(&rabbit);
    let services = ["discovery", "broker", "designer", "master", "worker"];
    let _programs = services.map(|service| site.start(&format!("fogflow-{service}"), &[]));
    site.ready(&services).await;
    follow_an_update(&site, &collector).await;
}

fn traced(site_id: &str, collector: &Collector) -> Site {
    Site::new(site_id).with(|config| config["telemetry"] = json!({"otlp_endpoint": collector.url}))
}

/// Writes an entity as part of a trace, and looks for every step of its way in it.
async fn follow_an_update(site: &Site, collector: &Collector) {
    let http = Http::new();
    register_function(site, "echo", "Thing", ECHO, json!({})).await;
    // The first task shows that the worker is known and that the master hears of the type: from now on it is an update that
    // starts a task, and not somebody's coming or the first answer to a subscription.
    let url = format!("{}/ngsi10/updateContext", site.url("broker"));
    let update = |id: &str| http::update(id, "Thing", &[("value", json!(7))]).to_string().into_bytes();
    let (_, answer) = http.send(Method::POST, &url, &[], Some(update("Thing.0"))).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
    tasks_when(site, "a first running task", Duration::from_secs(30), |rows| in_state(rows, "running") == 1).await;

    let caller = format!("00-{TRACE}-{CALLER}-01");
    let (_, answer) = http.send(Method::POST, &url, &[("traceparent", &caller)], Some(update("Thing.1"))).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
    tasks_when(site, "two running tasks", Duration::from_secs(30), |rows| in_state(rows, "running") == 2).await;

    // Each service exports on its own, so a span may arrive before the one that caused it.
    wait_for("spans of every step of the way, each with a known cause", Duration::from_secs(30), async || {
        let spans = collector.of_trace(TRACE);
        let missing: Vec<_> =
            WAY.iter().filter(|(service, name)| !spans.iter().any(|span| span.service == *service && span.name == *name)).collect();
        let known: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).chain([CALLER]).collect();
        let orphans: Vec<_> = spans.iter().filter(|span| !known.contains(span.parent.as_str())).collect();
        if missing.is_empty() && orphans.is_empty() {
            Ok(())
        } else {
            Err(format!("without {missing:?}, without a cause {orphans:?}: {spans:#?}"))
        }
    })
    .await;
}
