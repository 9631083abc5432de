//! What subscribers are told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Broker, element, holds, of_type, until, update};
use crate::sink::Sink;

async fn values(sink: &Sink, expected: &[(&str, Value)]) {
    let expected: Vec<(String, Value)> = expected.iter().map(|(id, value)| ((*id).to_owned(), value.clone())).collect();
    until("the expected notifications", || holds(sink.values() == expected, format!("{:?}", sink.values()))).await;
}

/// F 28: an error answer counted as delivered; notifications overtook each other.
#[tokio::test]
async fn the_present_state_comes_first_then_every_change_in_order_exactly_once() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.set("e1", "T", "a", 0).await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    for value in 1..=50 {
        broker.set("e1", "T", "a", value).await;
    }
    let expected: Vec<(&str, Value)> = (0..=50).map(|value| ("e1", json!(value))).collect();
    values(&sink, &expected).await;
    let first = &sink.received()[0];
    assert_eq!(first.path, "/notifyContext");
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.body["originator"], "");
    assert_eq!(first.body["contextResponses"][0]["statusCode"], json!({"code": 200, "reasonPhrase": "OK"}));
}

#[tokio::test]
async fn each_element_of_an_update_reaches_its_own_subscriber_f5() {
    let (broker, one, all) = (Broker::alone().await, Sink::start().await, Sink::start().await);
    broker.subscribe(&json!({"entities": [{"id": "e1", "type": "T"}], "reference": one.url()})).await;
    broker.subscribe(&of_type("T", &all.url())).await;
    let elements: Vec<Value> = (0..3).map(|number| element(&format!("e{number}"), "T", "a", number)).collect();
    broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    values(&all, &[("e0", json!(0)), ("e1", json!(1)), ("e2", json!(2))]).await;
    values(&one, &[("e1", json!(1))]).await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_told_too() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.subscribe(&of_type("T", &sink.url())).await;
    broker.set("e1", "T", "a", 1).await;
    broker.set("e1", "T", "a", 1).await;
    values(&sink, &[("e1", json!(1)), ("e1", json!(1))]).await;
}

#[tokio::test]
async fn selected_attributes_are_sent_with_all_domain_metadata_and_must_all_be_there() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.subscribe(&json!({"entities": [{"type": "T", "isPattern": true}], "attributes": ["b"], "reference": sink.url()})).await;
    broker.set("e1", "T", "a", 1).await;
    let body = json!({"contextElements": [{"entityId": {"id": "e1", "type": "T"}, "attributes": [{"name": "b", "type": "float", "value": 2}],
        "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 1.5, "longitude": 2.5}}]}], "updateAction": "UPDATE"});
    broker.post("/ngsi10/updateContext", &body).await;
    let elements = until("a notification", || holds(!sink.elements().is_empty(), "none").map(|()| sink.elements())).await;
    assert_eq!(
        elements,
        [json!({"entityId": {"type": "T", "id": "e1"}, "attributes": [{"name": "b", "type": "float", "value": 2}],
        "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 1.5, "longitude": 2.5}}]})]
    );
}

#[tokio::test]
async fn a_deletion_is_told_once_with_id_and_type() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.set("e1", "T", "a", 1).await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    values(&sink, &[("e1", json!(1))]).await;
    assert_eq!(broker.send("DELETE", "/ngsi10/entity/e1", &[], "").await.status, 200);
    broker.set("e2", "T", "a", 2).await;
    values(&sink, &[("e1", json!(1)), ("e1", Value::Null), ("e2", json!(2))]).await;
    assert_eq!(sink.elements()[1], json!({"entityId": {"type": "T", "id": "e1"}}));
    assert_eq!(broker.send("DELETE", "/ngsi10/entity/e1", &[], "").await.status, 404);
}

#[tokio::test]
async fn on_change_tells_only_writes_of_the_listed_attributes_f37() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let mut subscription = of_type("T", &sink.url());
    subscription["notifyConditions"] = json!([{"type": "ONCHANGE", "condValueList": ["a"]}]);
    broker.subscribe(&subscription).await;
    broker.set("e1", "T", "b", 1).await;
    broker.set("e1", "T", "a", 2).await;
    broker.set("e1", "T", "b", 3).await;
    broker.set("e2", "T", "a", 4).await;
    until("two notifications", || holds(sink.elements().len() == 2, format!("{:?}", sink.elements()))).await;
    let ids: Vec<_> = sink.elements().iter().map(|element| element["entityId"]["id"].clone()).collect();
    assert_eq!(ids, ["e1", "e2"]);
}

#[tokio::test]
async fn throttling_keeps_the_newest_state_for_the_end_of_the_interval_f37() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let mut subscription = of_type("T", &sink.url());
    subscription["throttling"] = json!("PT0.5S");
    broker.subscribe(&subscription).await;
    for value in 0..20 {
        broker.set("e1", "T", "a", value).await;
    }
    until("the last state", || holds(sink.values().last().is_some_and(|(_, value)| *value == 19), format!("{:?}", sink.values()))).await;
    assert!(sink.received().len() <= 3, "{} requests", sink.received().len());
}

#[tokio::test]
async fn a_subscription_with_a_duration_ends_f37() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let mut subscription = of_type("T", &sink.url());
    subscription["duration"] = json!("PT0.3S");
    let id = broker.subscribe(&subscription).await;
    broker.set("e1", "T", "a", 1).await;
    values(&sink, &[("e1", json!(1))]).await;
    let listed = async || broker.get(&format!("/ngsi10/subscription/{id}")).await.status;
    for _ in 0..200 {
        if listed().await == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(listed().await, 404, "it is removed");
    broker.set("e1", "T", "a", 2).await;
    assert_eq!(sink.values().len(), 1);
    let bad =
        broker.post("/ngsi10/subscribeContext", &json!({"entities": [{"id": "x"}], "duration": "soon", "reference": sink.url()})).await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn a_task_is_not_told_of_its_own_writes() {
    let (broker, task, other) = (Broker::alone().await, Sink::start().await, Sink::start().await);
    broker.subscribe_with(&[("fiware-correlator", "Task.1")], &of_type("T", &task.url())).await;
    broker.subscribe(&of_type("T", &other.url())).await;
    broker.post_with("/ngsi10/updateContext", &[("fiware-correlator", "Task.1")], &update("e1", "T", "a", 1)).await;
    let mut in_body = update("e1", "T", "a", 2);
    in_body["Correlator"] = json!("Task.1");
    broker.post("/ngsi10/updateContext", &in_body).await;
    broker.set("e1", "T", "a", 3).await;
    values(&other, &[("e1", json!(1)), ("e1", json!(2)), ("e1", json!(3))]).await;
    values(&task, &[("e1", json!(3))]).await;
}

#[tokio::test]
async fn the_trace_of_an_update_goes_on_to_the_subscriber() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.subscribe(&of_type("T", &sink.url())).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    broker.post_with("/ngsi10/updateContext", &[("traceparent", trace)], &update("e1", "T", "a", 1)).await;
    let got = until("a notification", || sink.received().first().cloned().ok_or_else(|| "none".to_owned())).await;
    assert_eq!(got.headers["traceparent"], trace);
}

#[tokio::test]
async fn subscriptions_see_only_their_tenant() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.subscribe_with(&[("fiware-service", "a")], &of_type("T", &sink.url())).await;
    broker.set("e1", "T", "a", 1).await;
    broker.post_with("/ngsi10/updateContext", &[("ngsild-tenant", "a")], &update("e1", "T", "a", 2)).await;
    values(&sink, &[("e1", json!(2))]).await;
}

#[tokio::test]
async fn updates_race_with_deletes_and_unsubscribes_without_harm_f21_f22() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let id = broker.subscribe(&of_type("T", &sink.url())).await;
    let keep = broker.subscribe(&of_type("T", &sink.url())).await;
    let writes = async {
        for value in 0..200 {
            broker.set("e1", "T", "a", value).await;
        }
    };
    let deletes = async {
        for _ in 0..100 {
            broker.send("DELETE", "/ngsi10/entity/e1", &[], "").await;
        }
    };
    let ends = async {
        broker.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await;
    };
    tokio::join!(writes, deletes, ends);
    broker.set("e1", "T", "a", 1000).await;
    until("the last write", || {
        let last = sink.received().iter().rev().find(|one| one.body["subscriptionId"] == keep.as_str()).cloned();
        holds(sink.values().last().is_some_and(|(_, value)| *value == 1000), format!("{last:?}"))
    })
    .await;
    assert_eq!(broker.get("/health").await.status, 200);
}
