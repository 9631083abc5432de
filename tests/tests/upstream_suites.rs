//! Upstream's own pytest suites against our broker and discovery in compatibility mode.
//!
//! They are no part of this project: `FOGFLOW_UPSTREAM_SUITES` names the folder `test/UnitTest` of a checkout of
//! `smartfog/fogflow`. They run in a copy in which only addresses are changed. Upstream's accumulator, which takes the
//! notifications, is replaced by one that also judges: upstream's answers 200 whether or not a notification came.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::{Router, routing::any};
use fogflow_tests::{Site, skip};
use serde_json::{Value, json};

/// The suites, the number of their cases, and the cases that fail for a good reason.
const SUITES: [(&str, usize, &[&str]); 3] = [
    ("v1", 37, &[]),
    ("v2", 15, &[]),
    (
        "NGSI-LD",
        156,
        &[
            // A client's `instanceId` is expected back, which is the broker's to give (ETSI GS CIM 009, clause 5.2.5).
            "test_case51",
            // Bytes are compared with a text, which never holds.
            "test_case87",
            "test_case88",
            // A bare text as attribute is expected to be refused; it is the concise form of a Property (clause 4.5.3).
            "test_case154",
        ],
    ),
];

/// Subscriptions whose cases (50 and 73) pass although nothing comes, as upstream's accumulator accepts everything. They are
/// sent as `application/ld+json` without `@context`, which we refuse with 400 (clause 6.3.5); upstream's broker, which then
/// expands the document to nothing, ends the request with 500.
const SILENT: [&str; 2] = ["urn:ngsi-ld:Subscription:020", "urn:ngsi-ld:Subscription:Upsert"];

/// Our brokers tell discovery of an entity within 10 ms after the answer, upstream's before it; cases that ask discovery
/// at once are given that time.
const CONFTEST: &str = r#"
import time
import requests

plain_get = requests.get

def get(url, **options):
    end = time.monotonic() + 1
    while True:
        reply = plain_get(url, **options)
        if "/ngsi9/" not in url or reply.content != b"null" or time.monotonic() > end:
            return reply
        time.sleep(0.01)

requests.get = get
"#;

/// What the accumulator has seen.
#[derive(Default)]
struct Seen {
    /// Ids of subscriptions that were notified, and of entities that came in notifications.
    ids: BTreeSet<String>,
    /// Subscriptions that a case asked for and that nothing came for.
    missing: Vec<String>,
}

type Shared = Arc<Mutex<Seen>>;

async fn accumulate(State(seen): State<Shared>, uri: Uri, body: Bytes) -> String {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id_in = |value: &Value, member: &str| value[member].as_str().map(str::to_owned);
    match uri.path() {
        "/validateNotification" => {
            let wanted = id_in(&body, "subscriptionId").unwrap_or_default();
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(3) {
                if seen.lock().unwrap().ids.contains(&wanted) {
                    return "Validated".to_owned();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            seen.lock().unwrap().missing.push(wanted);
            "Not validated".to_owned()
        }
        _ => {
            let entities = body.as_array().into_iter().flatten().filter_map(|entity| id_in(entity, "id"));
            seen.lock().unwrap().ids.extend(entities.chain(id_in(&body, "subscriptionId")));
            "Done".to_owned()
        }
    }
}

/// Copies the Python files of a folder, with each address replaced.
fn copy(from: &Path, to: &Path, addresses: &[(u16, u16)]) {
    std::fs::create_dir_all(to).unwrap();
    for path in std::fs::read_dir(from).unwrap().flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|ending| ending != "py") {
            continue;
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        for (old, new) in addresses {
            for host in ["localhost", "127.0.0.1", "0.0.0.0"] {
                text = text.replace(&format!("{host}:{old}"), &format!("127.0.0.1:{new}"));
            }
        }
        std::fs::write(to.join(path.file_name().unwrap()), text).unwrap();
    }
}

/// Runs pytest in a folder; the names of the cases that passed and that did not, and the whole output.
fn pytest(folder: &Path) -> (BTreeSet<String>, BTreeSet<String>, String) {
    let output = Command::new("timeout")
        .args(["300", "python3", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rA", "--tb=short"])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let named = |word: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word)?.split("::").nth(1)?.split_whitespace().next());
        lines.map(str::to_owned).collect()
    };
    (named("PASSED "), &named("FAILED ") | &named("ERROR "), text)
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{url} has no port"))
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_suites_pass_in_compatibility_mode() {
    const TEST: &str = "upstreams_suites_pass_in_compatibility_mode";
    let Some(suites) = std::env::var_os("FOGFLOW_UPSTREAM_SUITES").map(PathBuf::from) else {
        return skip(TEST, "FOGFLOW_UPSTREAM_SUITES does not name the folder test/UnitTest of a checkout of upstream");
    };
    if !Command::new("python3").args(["-c", "import pytest, requests"]).output().is_ok_and(|output| output.status.success()) {
        return skip(TEST, "python3 has no pytest or no requests");
    }
    let site = Site::new("001").with(|config| config["broker"]["compatibility"] = json!("fogflow-3"));
    let _discovery = site.start("fogflow-discovery", &[]);
    site.ready(&["discovery"]).await;
    let _broker = site.start("fogflow-broker", &[]);
    site.ready(&["broker"]).await;
    let seen = Shared::default();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let accumulator = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(any(accumulate)).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let addresses = [(8070, port(&site.url("broker"))), (8090, port(&site.url("discovery"))), (8888, accumulator)];
    for (suite, cases, excused) in SUITES {
        let folder = site.directory().join("suites").join(suite);
        copy(&suites.join(suite), &folder, &addresses);
        std::fs::write(folder.join("conftest.py"), CONFTEST).unwrap();
        let (passed, failed, output) = tokio::task::spawn_blocking(move || pytest(&folder)).await.unwrap();
        let excused: BTreeSet<String> = excused.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!((passed.len() + failed.len(), &failed), (cases, &excused), "{suite}:\n{output}");
    }
    let mut missing = std::mem::take(&mut seen.lock().unwrap().missing);
    missing.retain(|id| !SILENT.contains(&id.as_str()));
    assert!(missing.is_empty(), "nothing came for the subscriptions {missing:?}");
}
