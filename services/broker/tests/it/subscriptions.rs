//! The life of subscriptions.

use serde_json::json;

use crate::harness::{Broker, of_type};
use crate::sink::Sink;

#[tokio::test]
async fn a_subscription_is_shown_as_it_was_sent_and_brokers_ones_are_not_listed() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let body = json!({"entities": [{"type": "T", "isPattern": true}], "attributes": ["a"], "reference": sink.url()});
    let headers = [("fiware-correlator", "Task.7"), ("require-reliability", "true"), ("destination", "NGSIv2")];
    let id = broker.subscribe_with(&headers[..2], &body).await;
    let shown = broker.get(&format!("/ngsi10/subscription/{id}")).await.json;
    assert_eq!(shown["entities"], json!([{"type": "T", "isPattern": true, "id": ""}]));
    assert_eq!(shown["attributes"], json!(["a"]));
    assert_eq!(shown["Subscriber"]["Correlator"], "Task.7");
    assert_eq!(shown["Subscriber"]["RequireReliability"], true);
    assert_eq!(shown["Subscriber"]["BrokerURL"], broker.running.url.as_str());
    let internal = broker.subscribe_with(&[("user-agent", "lightweight-iot-broker")], &body).await;
    let list = broker.get("/ngsi10/subscription").await.json;
    assert!(list[&id].is_object() && list[&internal].is_null(), "{list}");
    assert_eq!(broker.get(&format!("/ngsi10/subscription/{internal}")).await.status, 200);
}

#[tokio::test]
async fn unsubscribing_tells_whether_there_was_one_and_a_second_delete_does_no_harm_f40() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let id = broker.subscribe(&of_type("T", &sink.url())).await;
    let reply = broker.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await;
    assert_eq!(reply.json, json!({"subscriptionId": id, "statusCode": {"code": 200, "reasonPhrase": "OK"}}));
    let again = broker.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await;
    assert_eq!((again.status, &again.json["statusCode"]["code"]), (200, &json!(404)));
    let id = broker.subscribe(&of_type("T", &sink.url())).await;
    for _ in 0..2 {
        assert_eq!(broker.send("DELETE", &format!("/ngsi10/subscription/{id}"), &[], "").await.status, 200);
    }
    assert_eq!(broker.get(&format!("/ngsi10/subscription/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_subscription_is_durable_before_it_is_answered_and_a_tenants_own() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let id = broker.subscribe_with(&[("fiware-service", "a")], &of_type("T", &sink.url())).await;
    assert_eq!(broker.get(&format!("/ngsi10/subscription/{id}")).await.status, 404);
    assert_eq!(broker.send("GET", &format!("/ngsi10/subscription/{id}"), &[("fiware-service", "a")], "").await.status, 200);
    let foreign = broker.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await;
    assert_eq!(foreign.json["statusCode"]["code"], 404);
}
