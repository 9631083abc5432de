//! Availability notifications: what subscribers are told, in which order, and what happens when they do not answer.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Node, Sink, eventually};

const BROKER: &str = "http://10.0.0.5:8070/ngsi10";

fn car(number: u32) -> Value {
    json!({"id": format!("Car.{number}"), "type": "Car", "attributes": ["speed"], "location": [49.4, 8.6]})
}

#[tokio::test]
async fn a_subscriber_is_told_what_is_there_what_comes_what_changes_and_what_goes() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    node.register(BROKER, car(1)).await;
    let id = node.subscribe(&sink, &json!({})).await;
    sink.hears(&[(201, "Car.1")]).await;
    node.register(BROKER, car(2)).await;
    sink.hears(&[(201, "Car.1"), (301, "Car.2")]).await;
    node.request(Method::DELETE, "/ngsi9/registration/Car.1", None).await;
    sink.hears(&[(201, "Car.1"), (301, "Car.2"), (410, "Car.1")]).await;
    let second = &sink.notifications()[1];
    assert_eq!(second["subscribeId"], json!(id));
    let registration = &second["contextRegistrationResponses"][0]["contextRegistration"];
    assert_eq!(registration["attributes"], json!([{"name": "speed", "type": "float", "isDomain": false}]));
    assert_eq!(
        registration["contextMetadata"],
        json!([{"name": "location", "type": "point", "value": {"latitude": 49.4, "longitude": 8.6}}])
    );
    assert_eq!(registration["providingApplication"], BROKER);
    let sequences: Vec<u64> = sink.notifications().iter().map(|one| one["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    node.stop().await;
}

#[tokio::test]
async fn fault_12_a_notification_is_repeated_until_the_subscriber_takes_it() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    sink.answer(500);
    node.subscribe(&sink, &json!({})).await;
    for number in 1..=3 {
        node.register(BROKER, car(number)).await;
    }
    node.request(Method::DELETE, "/ngsi9/registration/Car.2", None).await;
    sink.answer(200);
    // Car.2 may have been told of before the refusal: then its end is told as well.
    let heard = eventually(
        || async {
            let mut heard = sink.heard();
            heard.sort();
            heard
        },
        |heard| heard.contains(&(301, "Car.1".to_owned())) && heard.contains(&(301, "Car.3".to_owned())),
    )
    .await;
    assert!(!heard.contains(&(301, "Car.2".to_owned())), "{heard:?}");
    node.stop().await;
}

#[tokio::test]
async fn fault_15_a_subscriber_that_hangs_delays_no_other_and_is_told_the_newest_state() {
    let (node, slow, quick) = (Node::start().await, Sink::start().await, Sink::start().await);
    slow.hang(true);
    node.subscribe(&slow, &json!({})).await;
    node.subscribe(&quick, &json!({})).await;
    node.register(BROKER, car(1)).await;
    quick.hears(&[(301, "Car.1")]).await;
    for latitude in 0..50 {
        node.register(BROKER, json!({"id": "Car.2", "type": "Car", "location": [latitude, 8.6]})).await;
    }
    slow.hang(false);
    slow.hears(&[(301, "Car.1"), (301, "Car.2")]).await;
    let last = slow.notifications().pop().unwrap();
    let metadata = &last["contextRegistrationResponses"][0]["contextRegistration"]["contextMetadata"];
    assert_eq!(metadata[0]["value"]["latitude"], 49);
    node.stop().await;
}

#[tokio::test]
async fn fault_20_an_entity_that_leaves_the_area_is_gone() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let value = json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 1000});
    node.subscribe(&sink, &json!({"restriction": {"scopes": [{"scopeType": "circle", "scopeValue": value}]}})).await;
    node.register(BROKER, car(1)).await;
    sink.hears(&[(301, "Car.1")]).await;
    node.register(BROKER, json!({"id": "Car.1", "type": "Car", "location": [50.4, 8.6]})).await;
    sink.hears(&[(301, "Car.1"), (410, "Car.1")]).await;
    node.stop().await;
}

#[tokio::test]
async fn many_entities_share_notifications() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    node.subscribe(&sink, &json!({})).await;
    let registrations: Vec<Value> = (0..2000).map(|number| support::registration(BROKER, car(number))).collect();
    node.post("/ngsi9/registerContext", &json!({"contextRegistrations": registrations})).await;
    eventually(|| async { sink.heard().len() }, |count| *count == 2000).await;
    assert!(sink.notifications().len() <= 5, "{} requests", sink.notifications().len());
    node.stop().await;
}

#[tokio::test]
async fn subscribing_again_under_the_same_id_sends_the_whole_list_again_also_when_it_is_empty() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let mine = json!({"subscriptionId": "flow-1"});
    assert_eq!(node.subscribe(&sink, &mine).await, "flow-1");
    eventually(|| async { sink.notifications() }, |all| all.len() == 1 && all[0]["snapshot"] == "whole").await;
    node.register(BROKER, car(1)).await;
    sink.hears(&[(301, "Car.1")]).await;
    node.subscribe(&sink, &mine).await;
    sink.hears(&[(301, "Car.1"), (201, "Car.1")]).await;
    assert_eq!(node.get("/ngsi9/subscription").await.as_object().unwrap().len(), 1);
    // Upstream's way of saying the same.
    let body = json!({"entities": [{"type": "Bus", "isPattern": true}], "reference": sink.url});
    assert_eq!(node.post("/ngsi9/UpdateLDContextAvailability/flow-1", &body).await["subscribeId"], "flow-1");
    eventually(|| async { sink.notifications() }, |all| all.len() == 4).await;
    node.register(BROKER, json!({"id": "Bus.1", "type": "Bus"})).await;
    sink.hears(&[(301, "Car.1"), (201, "Car.1"), (301, "Bus.1")]).await;
    node.stop().await;
}

#[tokio::test]
async fn an_unchanged_registration_of_our_broker_tells_nobody_and_one_of_upstreams_does() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    node.subscribe(&sink, &json!({})).await;
    let ours = json!({"contextRegistrations": [support::registration(BROKER, car(1))], "brokerId": "Broker.001", "generation": 1});
    node.post("/ngsi9/registerContext", &ours).await;
    sink.hears(&[(301, "Car.1")]).await;
    node.post("/ngsi9/registerContext", &ours).await;
    node.register("http://upstream/ngsi10", car(2)).await;
    sink.hears(&[(301, "Car.1"), (301, "Car.2")]).await;
    node.register("http://upstream/ngsi10", car(2)).await;
    sink.hears(&[(301, "Car.1"), (301, "Car.2"), (301, "Car.2")]).await;
    node.stop().await;
}
