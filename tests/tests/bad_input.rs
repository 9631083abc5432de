//! Bad input on every route: a clear client error within five seconds, never a 5xx, never a closed connection.

use std::time::{Duration, Instant};

use fogflow_tests::{Http, Site};
use reqwest::Method;
use serde_json::Value;

/// Bodies that no route should die of.
fn bad_bodies() -> Vec<Vec<u8>> {
    let deep = [b"[".repeat(20_000), b"]".repeat(20_000)].concat();
    let mut bodies: Vec<Vec<u8>> = [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "true",
        "17",
        "\"text\"",
        "[null]",
        "[{}]",
        "[[[]]]",
        "{\"id\":null}",
        "{\"id\":17,\"type\":[]}",
        "{\"entities\":17}",
        "{\"contextElements\":{}}",
        "{\"contextElements\":[null]}",
        "{\"contextElements\":[{\"entityId\":{\"id\":7}}],\"updateAction\":\"UPDATE\"}",
        "{\"entities\":[{\"id\":\"(((\",\"isPattern\":true}]}",
        "{\"entities\":[{\"id\":\"x\",\"isPattern\":\"perhaps\"}]}",
        "{\"entities\":[{\"id\":\"a\"}],\"restriction\":{\"scopes\":[{\"scopeType\":\"polygon\",\"scopeValue\":{\"vertices\":[]}}]}}",
        "{\"entities\":[{\"id\":\"a\"}],\"restriction\":{\"scopes\":[{\"scopeType\":\"Circle\",\"scopeValue\":\"here\"}]}}",
        "{\"entities\":[{\"id\":\"a\"}],\"restriction\":{\"scopes\":[{\"scopeType\":\"stringQuery\",\"scopeValue\":\"=;=\"}]}}",
        "{\"id\":\"\\u0000\",\"type\":\"\\ud800\"}",
        "{\"name\":\"../../etc/passwd\"}",
        "[{\"name\":\"<script>\",\"topology\":7}]",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bodies.push(deep);
    bodies.push(vec![0xff, 0xfe, 0x00, 0x01]);
    bodies.push(format!("{{\"id\":\"{}\"}}", "x".repeat(100_000)).into_bytes());
    bodies
}

#[tokio::test]
async fn every_route_of_every_service_answers_bad_bodies_with_a_client_error() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let mut tried = 0;
    for section in ["broker", "discovery", "designer", "master", "worker"] {
        let base = site.url(section);
        let document = http.ok(&format!("{base}/openapi.json")).await.unwrap();
        let paths = document["paths"].as_object().expect("an OpenAPI document");
        assert!(paths.len() > 3, "{section} declares its routes");
        for (path, operations) in paths {
            for method in operations.as_object().into_iter().flatten().map(|(method, _)| method) {
                let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
                if method == Method::GET && (path.contains("/events") || path.ends_with("/logs")) {
                    continue; // streams that do not end
                }
                let url = format!("{base}{}", fill(path));
                let bodies = if method == Method::GET || method == Method::DELETE { vec![Vec::new()] } else { bad_bodies() };
                for body in bodies {
                    let start = Instant::now();
                    let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
                    let (status, answer) = http
                        .send(method.clone(), &url, &[], Some(body))
                        .await
                        .unwrap_or_else(|error| panic!("{method} {url} with {shown}: {error}"));
                    tried += 1;
                    assert!(start.elapsed() < Duration::from_secs(5), "{method} {url} took {:?}", start.elapsed());
                    // 501 and 503 say what is missing; anything else above 499 is a fault of ours.
                    assert!(
                        status.as_u16() < 500 || matches!(status.as_u16(), 501 | 503),
                        "{method} {url} with {shown}: {status} {answer}"
                    );
                    if status.is_client_error() {
                        assert!(says_why(&answer), "{method} {url} with {shown}: {status} says nothing: {answer}");
                    }
                }
            }
        }
    }
    assert!(tried > 500, "only {tried} requests were made");
    // Nobody died of it.
    site.ready(&["broker", "discovery", "designer", "master", "worker"]).await;
}

/// The path with every parameter filled with something that does not exist.
fn fill(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "nothing%2F..%00" } else { part }).collect::<Vec<_>>().join("/")
}

/// Whether an error body tells a person anything.
fn says_why(answer: &Value) -> bool {
    match answer {
        Value::String(text) => !text.is_empty(),
        Value::Object(fields) => fields.values().any(|value| value.as_str().is_some_and(|text| !text.is_empty()) || value.is_object()),
        _ => false,
    }
}
