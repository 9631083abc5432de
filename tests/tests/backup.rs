//! A backup of a running node becomes the state of another, in whatever store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogflow_tests::servers::Postgres;
use fogflow_tests::tasks::{ECHO, in_state, register_function, tasks_when};
use fogflow_tests::{Http, Sink, Site, http, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

/// Entities that were there before, so that an export has several pages.
const MANY: usize = 1500;

async fn put(http: &Http, site: &Site, id: &str, kind: &str, value: u64) {
    let url = format!("{}/ngsi10/updateContext", site.url("broker"));
    let (_, answer) = http.post(&url, &http::update(id, kind, &[("value", json!(value))])).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
}

async fn value(http: &Http, site: &Site, id: &str) -> u64 {
    let attribute = http.ok(&format!("{}/ngsi10/entity/{id}/value", site.url("broker"))).await.unwrap();
    attribute["value"].as_f64().unwrap() as u64
}

/// Fills a node, backs it up while two entities are written one after the other, and returns how far they were before.
async fn backed_up(site: &Site, file: &Path) -> u64 {
    let mut node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    register_function(site, "echo", "Thing", ECHO, json!({})).await;
    let many: Vec<Value> = (0..MANY).map(|n| http::update(&format!("Filler.{n}"), "Filler", &[("value", json!(n))])).collect();
    let elements: Vec<Value> = many.into_iter().map(|mut one| one["contextElements"][0].take()).collect();
    let body = json!({"contextElements": elements, "updateAction": "UPDATE"});
    let (_, answer) = http.post(&format!("{}/ngsi10/updateContext", site.url("broker")), &body).await.unwrap();
    assert!(http::acknowledged(&answer));
    put(&http, site, "Thing.1", "Thing", 7).await;
    tasks_when(site, "one running task", Duration::from_secs(40), |rows| in_state(rows, "running") == 1).await;
    let picture = b"--b\r\nContent-Disposition: form-data; name=\"a.png\"; filename=\"a.png\"\r\n\r\n\x89PNG picture\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let (status, body) =
        http.send(Method::POST, &format!("{}/photo", site.url("designer")), &headers, Some(picture.to_vec())).await.unwrap();
    assert!(status.is_success(), "{body}");
    for id in ["First.1", "Second.1"] {
        put(&http, site, id, "Pair", 0).await;
    }

    let round = Arc::new(AtomicU64::new(0));
    let writing = async {
        loop {
            let next = round.load(Ordering::Relaxed) + 1;
            put(&http, site, "First.1", "Pair", next).await;
            put(&http, site, "Second.1", "Pair", next).await;
            round.store(next, Ordering::Relaxed);
        }
    };
    let taking = async {
        wait_for("writes to flow", Duration::from_secs(10), async || {
            let rounds = round.load(Ordering::Relaxed);
            if rounds > 5 { Ok(()) } else { Err(rounds.to_string()) }
        })
        .await;
        let before = round.load(Ordering::Relaxed);
        let (done, text) = site.command(&["backup", file.to_str().unwrap()]).await;
        assert!(done, "{text}");
        before
    };
    let before = tokio::select! {
        before = taking => before,
        () = writing => unreachable!("writes go on"),
    };
    assert!(round.load(Ordering::Relaxed) > before, "writes went on meanwhile");

    // Into a node that runs nothing is restored.
    let (done, text) = site.command(&["restore", file.to_str().unwrap(), "--force"]).await;
    assert!(!done && text.contains("stop the node first"), "{text}");
    assert_eq!(node.terminate(Duration::from_secs(20)).await.code(), Some(0), "{}", node.log());
    before
}

/// Restores into a site that was never started, starts it, and looks for everything.
async fn restored(site: &Site, file: &Path, before: u64) {
    let file = file.to_str().unwrap();
    let (done, text) = site.command(&["restore", file]).await;
    assert!(done, "{text}");
    let (done, text) = site.command(&["restore", file]).await;
    assert!(!done && text.contains("is not empty") && text.contains("--force"), "{text}");
    let (done, text) = site.command(&["restore", file, "--force"]).await;
    assert!(done, "{text}");

    let _node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let (first, second) = (value(&http, site, "First.1").await, value(&http, site, "Second.1").await);
    assert!(first == second || first == second + 1, "not one moment: {first} and {second}");
    assert!(second >= before, "{second} is less than what was acknowledged before the backup, {before}");
    assert_eq!(value(&http, site, &format!("Filler.{}", MANY - 1)).await, MANY as u64 - 1);
    // The function runs again, and what it is given from now on reaches it.
    tasks_when(site, "one running task", Duration::from_secs(40), |rows| in_state(rows, "running") == 1).await;
    put(&http, site, "Thing.1", "Thing", 8).await;
    wait_for("the function's result", Duration::from_secs(30), async || {
        let attribute = http.ok(&format!("{}/ngsi10/entity/Echo.Thing.1/value", site.url("broker"))).await?;
        if attribute["value"] == 8 { Ok(()) } else { Err(attribute.to_string()) }
    })
    .await;
    let picture = http.ok(&format!("{}/photo/a.png", site.url("designer"))).await.unwrap();
    assert!(picture.as_str().is_some_and(|bytes| bytes.ends_with("PNG picture")), "{picture}");
}

#[tokio::test]
async fn a_backup_of_a_running_node_is_one_moment_of_it_and_restores_into_files() {
    let (site, other) = (Site::new("001"), Site::new("001"));
    let file = site.directory().join("node.backup");
    let before = backed_up(&site, &file).await;
    restored(&other, &file, before).await;
}

#[tokio::test]
async fn a_backup_out_of_files_restores_into_postgresql() {
    let Some(server) = Postgres::start("a_backup_out_of_files_restores_into_postgresql").await else { return };
    let site = Site::new("001");
    let other = Site::new("001").with(|config| config["store"] = json!({"engine": "postgres", "url": server.url()}));
    let file = site.directory().join("node.backup");
    let before = backed_up(&site, &file).await;
    restored(&other, &file, before).await;
    // Out of PostgreSQL, too; and the server has no lock that would keep a restore out while the node runs.
    let _node = other.up(&["--no-demo"]).await;
    let (done, text) = other.command(&["backup", "again.backup"]).await;
    assert!(done && text.contains("broker"), "{text}");
    let (done, text) = other.command(&["restore", "again.backup", "--force"]).await;
    assert!(!done && text.contains("stop the node first"), "{text}");
}

#[tokio::test]
async fn subscribers_are_told_the_present_state_after_a_restore() {
    let (site, other) = (Site::new("001"), Site::new("001"));
    let (http, sink) = (Http::new(), Sink::start().await);
    let mut node = site.up(&["--no-demo"]).await;
    put(&http, &site, "Thing.1", "Thing", 1).await;
    let subscription = json!({"entities": [{"id": "Thing.1"}], "attributes": [], "reference": sink.url()});
    let (_, answer) = http.post(&format!("{}/ngsi10/subscribeContext", site.url("broker")), &subscription).await.unwrap();
    assert!(answer["subscribeResponse"]["subscriptionId"].is_string(), "{answer}");
    // Many commits, so that the cursor of the old store is beyond the head of the new one.
    for value in 2..200 {
        put(&http, &site, "Thing.1", "Thing", value).await;
    }
    let (done, text) = site.command(&["backup", "node.backup"]).await;
    assert!(done, "{text}");
    node.kill();
    let (done, text) = other.command(&["restore", site.directory().join("node.backup").to_str().unwrap()]).await;
    assert!(done, "{text}");
    let _node = other.up(&["--no-demo"]).await;
    put(&http, &other, "Thing.1", "Thing", 1000).await;
    wait_for("the change after the restore", Duration::from_secs(20), async || {
        let seen = sink.bodies().last().cloned().unwrap_or_default().to_string();
        if seen.contains("1000") { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn half_a_backup_and_another_file_are_refused_and_nothing_is_written() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let (done, text) = site.command(&["backup", "node.backup"]).await;
    assert!(done, "{text}");
    let whole = std::fs::read(site.directory().join("node.backup")).unwrap();
    let other = Site::new("002");
    for (content, reason) in [(&whole[..whole.len() / 2], "cut off"), (b"{}".as_slice(), "no backup of a node")] {
        std::fs::write(other.directory().join("wrong"), content).unwrap();
        let (done, text) = other.command(&["restore", "wrong"]).await;
        assert!(!done && text.contains(reason) && text.lines().count() == 1, "{text}");
        assert!(!other.directory().join("data").exists());
    }
    let (done, text) = other.command(&["backup", "nothing"]).await;
    assert!(!done && text.contains("cannot be backed up"), "{text}");
    assert!(!other.directory().join("nothing").exists());
}
