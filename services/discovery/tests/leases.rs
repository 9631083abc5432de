//! Brokers that come, go and come back, and a discovery that restarts.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use reqwest::Method;
use serde_json::json;
use support::{Node, Sink, URL, beat, cars, eventually, from_broker, registration};

async fn register_all(node: &Node, generation: u64, ids: &[&str]) {
    node.post("/ngsi9/registerContext", &from_broker(generation, Some("begin"), &[])).await;
    node.post("/ngsi9/registerContext", &from_broker(generation, Some("part"), ids)).await;
    let reply = node.post("/ngsi9/registerContext", &from_broker(generation, Some("end"), &[])).await;
    assert_eq!(reply.get("registrationsWanted"), None, "{reply}");
}

#[tokio::test]
async fn fault_14_a_lost_broker_takes_its_entities_along_until_it_registers_them_again() {
    let (node, sink) = (Node::start_with_short_leases().await, Sink::start().await);
    node.subscribe(&sink, &json!({})).await;
    assert!(beat(&node, 1).await);
    register_all(&node, 1, &["Car.1", "Car.2"]).await;
    assert!(!beat(&node, 1).await);
    eventually(|| async { sink.heard().len() }, |count| *count == 2).await;
    // The broker falls silent.
    eventually(|| node.request(Method::GET, "/ngsi9/broker", None), |(_, list)| *list == json!({})).await;
    assert!(node.discover(&cars()).await.is_empty());
    assert_eq!(node.get("/ngsi9/registration/Car.1").await["Alive"], false);
    let gone = |heard: &Vec<(i64, String)>| heard.iter().filter(|(code, _)| *code == 410).count() == 2;
    eventually(|| async { sink.heard() }, gone).await;
    // It was started anew, without one of the entities.
    assert!(beat(&node, 2).await);
    assert!(node.discover(&cars()).await.is_empty());
    register_all(&node, 2, &["Car.1"]).await;
    assert_eq!(node.discover(&cars()).await, ["Car.1"]);
    assert_eq!(node.get("/ngsi9/registration/Car.2").await, json!(null));
    eventually(|| async { sink.heard().last().cloned() }, |last| *last == Some((301, "Car.1".to_owned()))).await;
    node.stop().await;
}

#[tokio::test]
async fn a_broker_that_restarts_within_its_lease_causes_no_notification() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    register_all(&node, 1, &["Car.1", "Car.2"]).await;
    node.subscribe(&sink, &json!({})).await;
    eventually(|| async { sink.heard().len() }, |count| *count == 2).await;
    assert!(beat(&node, 2).await);
    register_all(&node, 2, &["Car.1"]).await;
    eventually(|| async { sink.heard().last().cloned() }, |last| *last == Some((410, "Car.2".to_owned()))).await;
    assert_eq!(sink.heard().len(), 3);
    node.stop().await;
}

#[tokio::test]
async fn a_returning_broker_does_not_take_back_what_another_has_taken_over() {
    let node = Node::start().await;
    register_all(&node, 1, &["Car.1"]).await;
    let other = json!({"contextRegistrations": [registration("http://edge/ngsi10", json!({"id": "Car.1", "type": "Car"}))],
        "brokerId": "Broker.002", "generation": 9});
    node.post("/ngsi9/registerContext", &other).await;
    let reply = node.post("/ngsi9/registerContext", &from_broker(1, Some("begin"), &["Car.1"])).await;
    assert_eq!(reply["ownedElsewhere"], json!([{"id": "Car.1"}]));
    assert_eq!(node.get("/ngsi9/registration/Car.1").await["BrokerId"], "Broker.002");
    // Nor may it deregister it.
    let mut removal = from_broker(1, None, &[]);
    removal["removed"] = json!([{"id": "Car.1"}]);
    node.post("/ngsi9/registerContext", &removal).await;
    assert_eq!(node.get("/ngsi9/registration/Car.1").await["BrokerId"], "Broker.002");
    node.stop().await;
}

#[tokio::test]
async fn a_broker_that_says_good_bye_is_gone_at_once_with_its_entities() {
    let node = Node::start().await;
    node.post("/ngsi9/broker", &json!({"BID": "Broker.007", "MyURL": "http://old/ngsi10"})).await;
    node.register("http://old/ngsi10", json!({"id": "Broker.007", "type": "IoTBroker"})).await;
    node.register("http://old/ngsi10", json!({"id": "Car.1", "type": "Car"})).await;
    let list = node.get("/ngsi9/broker").await;
    assert_eq!(list["Broker.007"]["myURL"], "http://old/ngsi10");
    assert!(list["Broker.007"]["Last_Heartbeat_Update"].is_string());
    node.request(Method::DELETE, "/ngsi9/registration/Broker.007", None).await;
    assert_eq!(node.get("/ngsi9/broker").await, json!({}));
    assert!(node.discover(&cars()).await.is_empty());
    // Upstream's brokers keep their generation to themselves: they are shown again as soon as they beat.
    node.post("/ngsi9/broker/heartbeat", &json!({"id": "Broker.007", "myURL": "http://old/ngsi10"})).await;
    assert_eq!(node.discover(&cars()).await, ["Car.1"]);
    node.stop().await;
}

/// F 29: nothing outlived a restart.
#[tokio::test]
async fn registrations_subscriptions_and_brokers_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Sink::start().await;
    let node = Node::start_in(dir.path()).await;
    let epoch = node.post("/ngsi9/broker/heartbeat", &json!({"id": "Broker.001", "myURL": URL, "generation": 1})).await["epoch"].clone();
    register_all(&node, 1, &["Car.1", "Car.2"]).await;
    node.register("http://upstream/ngsi10", json!({"id": "Car.3", "type": "Car", "attributes": ["speed"], "location": [1, 2]})).await;
    let id = node.subscribe(&sink, &json!({"attributes": ["speed"]})).await;
    sink.hears(&[(201, "Car.3")]).await;
    let before = node.get("/ngsi9/registration/Car.3").await;
    node.stop().await;

    let node = Node::start_in(dir.path()).await;
    assert_eq!(node.get("/ngsi9/registration/Car.3").await, before);
    assert_eq!(node.discover(&cars()).await.len(), 3);
    assert_eq!(node.get(&format!("/ngsi9/subscription/{id}")).await["attributes"], json!(["speed"]));
    sink.hears(&[(201, "Car.3"), (201, "Car.3")]).await;
    let beat = node.post("/ngsi9/broker/heartbeat", &json!({"id": "Broker.001", "myURL": URL, "generation": 1})).await;
    assert_eq!((&beat["epoch"], beat["registrationsWanted"].as_bool()), (&epoch, Some(false)));
    node.register("http://upstream/ngsi10", json!({"id": "Car.4", "type": "Car", "attributes": ["speed"]})).await;
    sink.hears(&[(201, "Car.3"), (201, "Car.3"), (301, "Car.4")]).await;
    node.stop().await;
}
