//! Two designers over one store: replicas behind one address.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use fogflow_store::memory::MemoryStore;
use serde_json::json;
use support::bus::MortalBus;
use support::{Designer, alone, counter, topology, until};

#[tokio::test]
async fn what_one_replica_stored_the_other_shows_and_no_change_is_lost_between_them() {
    let (_a, config_a) = alone();
    let (_b, config_b) = alone();
    let store = Arc::new(MemoryStore::new());
    let bus = MortalBus::new(true);
    let mut master = bus.master().await;
    let first = Designer::start_over(&config_a, Arc::new(bus.clone()), store.clone()).await;
    let second = Designer::start_over(&config_b, Arc::new(bus.clone()), store).await;

    first.put("/operator", counter()).await;
    until("the operator being seen by the other", || async {
        let answer = second.get("/operator/counter").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;

    // Both change the same operator at once: each adds its images to what stands there.
    let add = |designer: &Designer, who: &str, n: u32| {
        designer.http.post(designer.url("/dockerimage/counter")).json(&json!({"name": format!("image-{who}-{n}")})).send()
    };
    let posts = (0..20).flat_map(|n| [add(&first, "a", n), add(&second, "b", n)]);
    for answer in futures::future::join_all(posts).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    until("all images being seen by both", || async {
        let count = |body: serde_json::Value| body.as_array().map_or(0, Vec::len);
        let seen = (count(first.get("/dockerimage/counter").await.body), count(second.get("/dockerimage/counter").await.body));
        if seen == (41, 41) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;

    // Whoever publishes: every announcement of both arrives.
    second.put("/service", json!({"topology": topology("one")})).await;
    until("the topology being seen by the other", || async {
        let answer = first.get("/topology/one").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    for n in 0..5 {
        first.put("/intent", json!({"id": format!("ServiceIntent.a{n}"), "topology": "one"})).await;
        second.put("/intent", json!({"id": format!("ServiceIntent.b{n}"), "topology": "one"})).await;
    }
    let mut heard = BTreeSet::new();
    while heard.len() < 10 {
        heard.insert(master.intent().await.1);
    }
    let lease = |designer: &Designer, holder: &str| {
        designer.http.post(designer.url("/internal/lease/master")).json(&json!({"holder": holder, "ttlMs": 60000})).send()
    };
    assert!(lease(&first, "m1").await.unwrap().text().await.unwrap().contains("\"granted\":true"));
    assert!(lease(&second, "m2").await.unwrap().text().await.unwrap().contains("\"granted\":false"));
    tokio::join!(first.stop(), second.stop());
}
