//! One trace goes through a service: continued from the request's header, handed on, and sent to the collector.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use axum::body::Bytes;
use axum::http::HeaderMap;
use fogflow_chassis::{Access, Process, Routes, Security, continued, current_traceparent, init_logs, inject_traceparent};
use fogflow_config::Config;
use support::{SOON, request, served};
use tokio::sync::mpsc;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_continues_the_trace_of_its_caller_and_the_collector_gets_it() {
    let process = Process::new("test");
    let security = Security::with_token("t");
    let (sender, mut received) = mpsc::channel::<Bytes>(16);
    let collect = move |body: Bytes| {
        let sender = sender.clone();
        async move { sender.try_send(body).map_err(|_| axum::http::StatusCode::TOO_MANY_REQUESTS) }
    };
    let collector = Routes::new("c").post("/v1/traces", Access::Anyone, "Takes traces", collect).build((), &process, &security);
    let collector = served(&process, collector).await;
    let caller = format!("00-{TRACE}-00f067aa0ba902b7-01");
    assert_eq!(current_traceparent(), None, "nothing is traced without a collector");
    assert!(continued("step", "test", Some(&caller)).is_none(), "nothing is traced without a collector");

    let mut config = Config::default();
    config.telemetry.otlp_endpoint = format!("http://{collector}");
    let guard = init_logs(&config, "fogflow-test");

    let show = || async {
        let mut headers = HeaderMap::new();
        inject_traceparent(&mut headers);
        headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let router = Routes::new("t").get("/show", Access::Anyone, "Shows the trace", show).build((), &process, &security);
    let addr = served(&process, router).await;
    let answer = request(addr, "GET", "/show", &[("traceparent", &caller)], "").await;
    assert!(answer.body.starts_with(&format!("00-{TRACE}-")) && answer.body != caller, "{answer:?}");
    let malformed = request(addr, "GET", "/show", &[("traceparent", "00-zz-1")], "").await;
    assert!(!malformed.body.contains(TRACE) && malformed.body.len() == caller.len(), "{malformed:?}");

    let later = continued("a later step", "test", Some(&caller)).in_scope(current_traceparent);
    assert!(later.is_some_and(|text| text.starts_with(&format!("00-{TRACE}-")) && text != caller));
    assert!(continued("a step of nothing", "test", None).is_none() && continued("a step of nothing", "test", Some("")).is_none());

    // Dropping the guard sends what waits; it blocks, as at the end of a process.
    tokio::task::spawn_blocking(move || drop(guard)).await.unwrap();
    let body = tokio::time::timeout(SOON, received.recv()).await.expect("traces in time").unwrap();
    let trace: Vec<u8> = (0..16).map(|index| u8::from_str_radix(&TRACE[index * 2..index * 2 + 2], 16).unwrap()).collect();
    for part in [trace.as_slice(), b"fogflow-test", b"GET /show", b"a later step"] {
        assert!(contains(&body, part), "{} is missing", String::from_utf8_lossy(part));
    }
}
