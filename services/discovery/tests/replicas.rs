//! Two discoveries over one store: replicas behind one address.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;

use fogflow_store::SharedStore;
use fogflow_store::memory::MemoryStore;
use serde_json::{Value, json};
use support::{Node, Sink, URL, beat, cars, eventually, from_broker};

async fn two() -> (Node, Node, SharedStore) {
    let store = Arc::new(MemoryStore::new()) as SharedStore;
    (Node::start_replica(&store, 10).await, Node::start_replica(&store, 10).await, store)
}

fn car(n: usize) -> Value {
    json!({"id": format!("Car.{n}"), "type": "Car"})
}

#[tokio::test]
async fn what_one_replica_acknowledged_the_next_request_to_the_other_sees() {
    let (first, second, _store) = two().await;
    for n in 0..20 {
        let (writes, reads) = if n % 2 == 0 { (&first, &second) } else { (&second, &first) };
        writes.register(URL, car(n)).await;
        assert_eq!(reads.discover(&json!({"entities": [{"id": format!("Car.{n}")}]})).await, [format!("Car.{n}")]);
    }
    first.request(reqwest::Method::DELETE, "/ngsi9/registration/Car.7", None).await;
    assert_eq!(second.get("/ngsi9/registration/Car.7").await, Value::Null);
    assert_eq!(second.discover(&cars()).await.len(), 19);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn each_change_is_told_once_whichever_replica_has_the_subscription_or_hears_of_the_change() {
    let (first, second, _store) = two().await;
    let sinks = [Sink::start().await, Sink::start().await];
    first.subscribe(&sinks[0], &json!({"subscriptionId": "one"})).await;
    second.subscribe(&sinks[1], &json!({"subscriptionId": "two"})).await;
    for (sink, id) in sinks.iter().zip(["one", "two"]) {
        eventually(|| async { sink.notifications().len() }, |count| *count >= 1).await;
        let shown = second.get(&format!("/ngsi9/subscription/{id}")).await;
        assert_eq!(shown["reference"], json!(sink.url), "{shown}");
    }
    let empty: Vec<usize> = sinks.iter().map(|sink| sink.notifications().len()).collect();
    for n in 0..10 {
        [&first, &second][n % 2].register(URL, car(n)).await;
    }
    for (sink, before) in sinks.iter().zip(empty) {
        let all = eventually(|| async { sink.heard() }, |heard| heard.len() >= 10).await;
        let mut ids: Vec<String> = all.into_iter().map(|(_, id)| id).collect();
        ids.sort();
        let mut expected: Vec<String> = (0..10).map(|n| format!("Car.{n}")).collect();
        expected.sort();
        assert_eq!(ids, expected, "each entity is told once");
        assert!(sink.notifications().len() > before);
    }
    // A subscription that is ended at one replica is ended at the other, which may be the one that sends.
    for node in [&first, &second] {
        node.post("/ngsi9/unsubscribeContextAvailability", &json!({"subscriptionId": "one"})).await;
    }
    first.register(URL, car(10)).await;
    second.register(URL, car(11)).await;
    eventually(|| async { sinks[1].heard().len() }, |count| *count == 12).await;
    assert_eq!(sinks[0].heard().len(), 10);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn when_the_replica_that_notifies_ends_the_other_brings_every_subscriber_up_to_date() {
    let (first, second, _store) = two().await;
    let sink = Sink::start().await;
    second.subscribe(&sink, &json!({"subscriptionId": "one"})).await;
    first.register(URL, car(1)).await;
    eventually(|| async { sink.heard() }, |heard| heard.iter().any(|(_, id)| id == "Car.1")).await;
    first.stop().await;
    second.register(URL, car(2)).await;
    eventually(|| async { sink.heard() }, |heard| heard.iter().any(|(_, id)| id == "Car.2")).await;
    second.stop().await;
}

#[tokio::test]
async fn a_broker_may_beat_and_register_in_full_at_any_replica() {
    let (first, second, _store) = two().await;
    let nodes = [&first, &second];
    let ids: Vec<String> = (0..6).map(|n| format!("Car.{n}")).collect();
    for (generation, kept) in [(1, 6), (2, 4), (2, 4)] {
        assert_eq!(beat(nodes[0], generation).await, beat(nodes[1], generation).await);
        let mut requests = vec![from_broker(generation, Some("begin"), &[])];
        requests.extend(ids[..kept].iter().map(|id| from_broker(generation, Some("part"), &[id.as_str()])));
        requests.push(from_broker(generation, Some("end"), &[]));
        for (n, request) in requests.iter().enumerate() {
            nodes[(n + usize::try_from(generation).unwrap()) % 2].post("/ngsi9/registerContext", request).await;
        }
        for node in nodes {
            assert_eq!(node.discover(&cars()).await.len(), kept, "generation {generation}");
            assert!(!beat(node, generation).await, "everything is registered");
        }
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_broker_that_beats_at_one_replica_is_alive_at_both_and_its_lease_ends_at_both() {
    let (store, all) = (Arc::new(MemoryStore::new()) as SharedStore, cars());
    let (first, second) = (Node::start_replica(&store, 0).await, Node::start_replica(&store, 0).await);
    let id = ["Car.1"];
    beat(&first, 1).await;
    for (snapshot, ids) in [("begin", &[][..]), ("part", &id[..]), ("end", &[][..])] {
        first.post("/ngsi9/registerContext", &from_broker(1, Some(snapshot), ids)).await;
    }
    // Leases last one second here: three of them, beaten at the one replica that need not be the one that ends leases.
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(3);
    while tokio::time::Instant::now() < end {
        beat(&second, 1).await;
        assert_eq!(first.discover(&cars()).await, ["Car.1"]);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    for node in [&first, &second] {
        eventually(|| node.discover(&all), Vec::is_empty).await;
    }
    first.stop().await;
    second.stop().await;
}
