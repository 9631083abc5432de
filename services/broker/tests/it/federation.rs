//! Several brokers and discovery.

use std::time::Duration;

use serde_json::{Value, json};

use crate::discovery::Discovery;
use crate::harness::{Broker, Options, element, holds, of_type, until, update};
use crate::sink::Sink;

async fn two() -> (Discovery, Broker, Broker) {
    let discovery = Discovery::start().await;
    let (a, b) = (Broker::beside(&discovery, "001").await, Broker::beside(&discovery, "002").await);
    (discovery, a, b)
}

async fn values(sink: &Sink, expected: &[(&str, Value)]) {
    let expected: Vec<(String, Value)> = expected.iter().map(|(id, value)| ((*id).to_owned(), value.clone())).collect();
    until("the expected notifications", || holds(sink.values() == expected, format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn registration_carries_all_attributes_and_metadata_and_follows_each_change_f11() {
    let discovery = Discovery::start().await;
    let broker = Broker::beside(&discovery, "001").await;
    broker.set("e1", "T", "a", 1).await;
    let body = json!({"contextElements": [{"entityId": {"id": "e1", "type": "T"}, "attributes": [{"name": "b", "type": "string", "value": "x"}],
        "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 1, "longitude": 2}}]}], "updateAction": "UPDATE"});
    broker.post("/ngsi10/updateContext", &body).await;
    let full = |found: &crate::discovery::Registered| {
        let names: Vec<_> = found.registration["attributes"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        names == ["a", "b"] && found.registration["contextMetadata"][0]["name"] == "location"
    };
    let found = discovery.registered("e1", full).await;
    assert_eq!((found.broker.as_str(), found.url.as_str()), ("Broker.001", broker.running.url.as_str()));
    let count = discovery.requests("register").len();
    for value in 0..20 {
        broker.set("e1", "T", "a", value).await;
    }
    broker.set("e2", "T", "a", 1).await;
    discovery.registered("e2", |_| true).await;
    assert!(discovery.requests("register").len() <= count + 2, "values alone are not registered");
    broker.send("DELETE", "/ngsi10/entity/e1", &[], "").await;
    discovery.gone("e1").await;
    let own = discovery.registered("Broker.001", |_| true).await;
    assert_eq!(own.registration["entities"][0]["type"], "IoTBroker");
    broker.stop().await;
    discovery.gone("Broker.001").await;
}

#[tokio::test]
async fn registrations_that_fail_are_sent_when_discovery_is_back_and_all_of_them_when_it_forgot_f12() {
    let discovery = Discovery::start().await;
    let broker = Broker::beside(&discovery, "001").await;
    discovery.refuse(true);
    broker.set("e1", "T", "a", 1).await;
    discovery.refuse(false);
    discovery.registered("e1", |_| true).await;
    discovery.forget();
    discovery.registered("e1", |_| true).await;
    discovery.registered("Broker.001", |_| true).await;
}

#[tokio::test]
async fn an_update_of_another_brokers_entity_goes_to_its_owner_whatever_the_action_is_called_f10_f13() {
    let (discovery, a, b) = two().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    for (action, value) in [("UPDATE", 2), ("APPEND", 3), ("update", 4)] {
        let mut body = update("e1", "T", "a", value);
        body["updateAction"] = json!(action);
        let reply = b.post("/ngsi10/updateContext", &body).await;
        assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", reply.text);
        assert_eq!(a.get("/ngsi10/entity/e1/a").await.json["value"], value);
    }
    assert_eq!(b.get("/ngsi10/entity/e1").await.status, 404, "reads of a broker are local");
    assert_eq!(b.send("DELETE", "/ngsi10/entity/e1", &[], "").await.status, 200);
    assert_eq!(a.get("/ngsi10/entity/e1").await.status, 404);
}

#[tokio::test]
async fn one_request_reaches_the_owners_of_all_its_elements() {
    let (discovery, a, b) = two().await;
    a.set("at-a", "T", "a", 0).await;
    b.set("at-b", "T", "a", 0).await;
    discovery.registered("at-a", |_| true).await;
    let elements: Vec<_> = ["at-a", "at-b", "new"].iter().map(|id| element(id, "T", "a", 5)).collect();
    let reply = b.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    let codes: Vec<_> = reply.json["contextResponses"].as_array().unwrap().iter().map(|one| one["statusCode"]["code"].clone()).collect();
    assert_eq!(codes, [200, 200, 200]);
    assert_eq!(a.get("/ngsi10/entity/at-a/a").await.json["value"], 5);
    assert_eq!(b.get("/ngsi10/entity/at-b/a").await.json["value"], 5);
    assert_eq!(b.get("/ngsi10/entity/new/a").await.json["value"], 5);
}

#[tokio::test]
async fn an_owner_that_is_not_reached_is_told_per_element_and_its_lease_decides_f9() {
    let (discovery, a, b) = two().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    let (url, id) = (a.running.url.clone(), a.running.id.clone());
    a.kill().await;
    let reply = b.post("/ngsi10/updateContext", &update("e1", "T", "a", 2)).await;
    assert_eq!((reply.status, &reply.json["contextResponses"][0]["statusCode"]["code"]), (200, &json!(504)), "{url}: {}", reply.text);
    discovery.set_dead(&id, true);
    b.set("e1", "T", "a", 3).await;
    assert_eq!(b.get("/ngsi10/entity/e1/a").await.json["value"], 3);
    let found = discovery.registered("e1", |found| found.broker == "Broker.002").await;
    assert_eq!(found.url, b.running.url);
}

#[tokio::test]
async fn an_owner_that_returns_hands_over_what_was_taken_without_loss() {
    let discovery = Discovery::start().await;
    let store = std::sync::Arc::new(fogflow_store::memory::MemoryStore::new());
    let options = || Options { discovery: Some(discovery.port()), store: store.clone(), ..Options::default() };
    let a = Broker::with(options()).await;
    let b = Broker::beside(&discovery, "002").await;
    a.set("e1", "T", "old", 1).await;
    a.set("e1", "T", "both", 1).await;
    a.set("mine", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    discovery.registered("mine", |_| true).await;
    a.kill().await;
    discovery.set_dead("Broker.001", true);
    b.set("e1", "T", "both", 2).await;
    discovery.registered("e1", |found| found.broker == "Broker.002").await;
    let a = Broker::with(options()).await;
    let merged = async || b.get("/ngsi10/entity/e1").await.json["attributes"].clone();
    for _ in 0..400 {
        if a.get("/ngsi10/entity/e1").await.status == 404 && merged().await.as_array().is_some_and(|list| list.len() == 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(a.get("/ngsi10/entity/e1").await.status, 404, "the giver has dropped its copy");
    let attributes = merged().await;
    let value = |name: &str| attributes.as_array().unwrap().iter().find(|one| one["name"] == name).map(|one| one["value"].clone());
    assert_eq!((value("old"), value("both")), (Some(json!(1)), Some(json!(2))), "{attributes}");
    assert_eq!(a.get("/ngsi10/entity/mine").await.status, 200);
    discovery.registered("mine", |found| found.broker == "Broker.001").await;
    a.set("e1", "T", "both", 3).await;
    assert_eq!(b.get("/ngsi10/entity/e1/both").await.json["value"], 3, "updates at the old owner reach the new one");
}

#[tokio::test]
async fn a_query_finds_entities_everywhere_and_says_who_did_not_answer() {
    let (discovery, a, b) = two().await;
    a.set("e1", "T", "a", 1).await;
    b.set("e2", "T", "a", 2).await;
    discovery.registered("e1", |_| true).await;
    discovery.registered("e2", |_| true).await;
    let query = json!({"entities": [{"type": "T", "isPattern": true}], "attributes": ["a"]});
    let reply = b.post("/ngsi10/queryContext", &query).await;
    assert_eq!(reply.json["contextResponses"].as_array().unwrap().len(), 2, "{}", reply.text);
    let internal = b
        .post_with("/ngsi10/queryContext", &[("user-agent", "lightweight-iot-broker")], &json!({"entities": [{"id": "e1"}, {"id": "e2"}]}))
        .await;
    assert_eq!(internal.json["contextResponses"].as_array().unwrap().len(), 1, "a broker's query is answered locally");
    a.kill().await;
    let reply = b.post("/ngsi10/queryContext", &query).await;
    assert_eq!(reply.json["contextResponses"].as_array().unwrap().len(), 1);
    assert!(!reply.json["errorCode"]["details"].as_str().unwrap_or_default().is_empty(), "{}", reply.text);
    let asked = discovery.requests("discover").len();
    b.post("/ngsi10/queryContext", &json!({"entities": [{"id": "e2"}]})).await;
    assert_eq!(discovery.requests("discover").len(), asked, "what is here is not asked for");
}

#[tokio::test]
async fn a_subscription_follows_entities_at_other_brokers_once_each_f7() {
    let (discovery, a, b) = two().await;
    let sink = Sink::start().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    b.subscribe(&of_type("T", &sink.url())).await;
    values(&sink, &[("e1", json!(1))]).await;
    a.set("e1", "T", "a", 2).await;
    a.set("e2", "T", "a", 3).await;
    a.set("e1", "T", "b", 4).await; // a new attribute: registered again
    b.set("e3", "T", "a", 5).await;
    a.send("DELETE", "/ngsi10/entity/e2", &[], "").await;
    a.set("e1", "T", "a", 6).await;
    until("six from a and one from b", || holds(sink.elements().len() == 7, format!("{:#?}", sink.elements()))).await;
    let of_e1: Vec<_> = sink.values().into_iter().filter(|(id, _)| id == "e1").map(|(_, value)| value).collect();
    assert_eq!(of_e1, [json!(1), json!(2), json!(2), json!(6)]);
    let gone = sink.elements().into_iter().filter(|element| element["attributes"].is_null()).collect::<Vec<_>>();
    assert_eq!(gone, [json!({"entityId": {"type": "T", "id": "e2"}})]);
}

#[tokio::test]
async fn the_last_entity_of_another_broker_may_go_and_come_back() {
    let (discovery, a, b) = two().await;
    let sink = Sink::start().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    let id = b.subscribe(&of_type("T", &sink.url())).await;
    values(&sink, &[("e1", json!(1))]).await;
    a.send("DELETE", "/ngsi10/entity/e1", &[], "").await;
    values(&sink, &[("e1", json!(1)), ("e1", Value::Null)]).await;
    a.set("e1", "T", "a", 2).await;
    values(&sink, &[("e1", json!(1)), ("e1", Value::Null), ("e1", json!(2))]).await;
    a.send("DELETE", "/ngsi10/entity/e1", &[], "").await;
    let remote = format!("/ngsi10/subscription/{id}@Broker.002");
    for _ in 0..400 {
        if a.get(&remote).await.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(a.get(&remote).await.status, 404, "nothing needs it any more");
    a.set("e1", "T", "a", 3).await;
    until("the entity again", || holds(sink.values().last().is_some_and(|(_, value)| *value == 3), format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn the_correlator_travels_to_the_other_broker_and_back() {
    let (discovery, a, b) = two().await;
    let (task, other) = (Sink::start().await, Sink::start().await);
    a.set("e1", "T", "a", 0).await;
    discovery.registered("e1", |_| true).await;
    b.subscribe_with(&[("fiware-correlator", "Task.1")], &of_type("T", &task.url())).await;
    b.subscribe(&of_type("T", &other.url())).await;
    values(&task, &[("e1", json!(0))]).await;
    values(&other, &[("e1", json!(0))]).await;
    b.post_with("/ngsi10/updateContext", &[("fiware-correlator", "Task.1")], &update("e1", "T", "a", 1)).await;
    a.set("e1", "T", "a", 2).await;
    values(&other, &[("e1", json!(0)), ("e1", json!(1)), ("e1", json!(2))]).await;
    values(&task, &[("e1", json!(0)), ("e1", json!(2))]).await;
}

#[tokio::test]
async fn remote_parts_end_with_the_subscription_and_nothing_stays_f16_f17() {
    let (discovery, a, b) = two().await;
    let sink = Sink::start().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    let id = b.subscribe(&of_type("T", &sink.url())).await;
    values(&sink, &[("e1", json!(1))]).await;
    let remote = format!("/ngsi10/subscription/{id}@Broker.002");
    assert_eq!(a.get(&remote).await.status, 200);
    assert_eq!(a.get("/ngsi10/subscription").await.json, json!({}));
    b.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await;
    until("the end at discovery", || holds(discovery.subscriptions().is_empty(), format!("{:?}", discovery.subscriptions()))).await;
    for _ in 0..400 {
        if a.get(&remote).await.status == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(a.get(&remote).await.status, 404);
}

#[tokio::test]
async fn a_subscription_made_while_discovery_is_away_works_when_it_is_back_and_after_it_forgot_f12() {
    let (discovery, a, b) = two().await;
    let sink = Sink::start().await;
    a.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    discovery.refuse(true);
    let id = b.subscribe(&of_type("T", &sink.url())).await;
    discovery.refuse(false);
    values(&sink, &[("e1", json!(1))]).await;
    discovery.forget();
    until("the availability subscription again", || holds(discovery.subscriptions().contains_key(&id), "not there")).await;
    discovery.registered("e1", |_| true).await;
    a.set("e1", "T", "a", 2).await;
    until("the change", || holds(sink.values().last().is_some_and(|(_, value)| *value == 2), format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn an_upstream_broker_is_spoken_to_in_ngsi10_and_its_notifications_are_taken() {
    let discovery = Discovery::start().await;
    let b = Broker::beside(&discovery, "002").await;
    let (upstream, sink) = (Sink::start().await, Sink::start().await);
    let url = format!("{}/ngsi10", upstream.url());
    discovery.put("u1", "U", &url);
    let reply = b.post("/ngsi10/updateContext", &update("u1", "U", "a", 1)).await;
    assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "an empty reply is success: {}", reply.text);
    let forwarded = upstream.received().remove(0);
    assert_eq!(forwarded.path, "/ngsi10/updateContext");
    assert_eq!(forwarded.headers["user-agent"], "lightweight-iot-broker");
    assert_eq!(forwarded.body["contextElements"][0]["entityId"]["id"], "u1");
    let id = b.subscribe(&of_type("U", &sink.url())).await;
    let asked = until("the subscription at upstream's broker", || {
        upstream.received().into_iter().find(|one| one.path == "/ngsi10/subscribeContext").ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(asked.body["entities"], json!([{"id": "u1"}]));
    assert_eq!(asked.body["reference"], b.running.url.as_str());
    let foreign = b
        .post(
            "/ngsi10/notifyContext",
            &json!({"subscriptionId": "guess", "contextResponses": [
        {"contextElement": element("u1", "U", "a", 9), "statusCode": {"code": 200}}]}),
        )
        .await;
    assert_eq!((foreign.status, &foreign.json["responseCode"]["code"]), (200, &json!(404)), "{id}");
    assert!(sink.values().is_empty());
}

#[tokio::test]
async fn availability_for_an_unknown_subscription_is_acknowledged_and_ended_at_discovery() {
    let discovery = Discovery::start().await;
    let b = Broker::beside(&discovery, "002").await;
    let body = json!({"subscribeId": "stray", "errorCode": {"code": 301}, "contextRegistrationResponses": []});
    let reply = b.post("/ngsi10/notifyContextAvailability", &body).await;
    assert_eq!((reply.status, &reply.json["responseCode"]["code"]), (200, &json!(200)));
    until("the end of the stray", || {
        let ended = discovery.requests("unsubscribe");
        holds(ended.iter().any(|one| one["subscriptionId"] == "stray"), format!("{ended:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_broker_never_forwards_to_itself_f9() {
    let discovery = Discovery::start().await;
    let b = Broker::beside(&discovery, "002").await;
    discovery.put("ghost", "T", &b.running.url);
    b.set("ghost", "T", "a", 1).await;
    assert_eq!(b.get("/ngsi10/entity/ghost").await.status, 200);
}

#[tokio::test]
async fn an_id_on_two_service_paths_has_an_owner_on_each() {
    let (discovery, a, b) = two().await;
    let (north, south) = ([("fiware-servicepath", "/north")], [("fiware-servicepath", "/south")]);
    a.post_with("/ngsi10/updateContext", &north, &update("e1", "T", "v", 1)).await;
    discovery.registered("/north e1", |found| found.broker == "Broker.001").await;
    b.post_with("/ngsi10/updateContext", &south, &update("e1", "T", "v", 2)).await;
    discovery.registered("/south e1", |found| found.broker == "Broker.002").await;
    b.post_with("/ngsi10/updateContext", &north, &update("e1", "T", "v", 3)).await;
    assert_eq!(a.send("GET", "/ngsi10/entity/e1/v/", &north, "").await.json["value"], 3, "also with a slash at the end");
    assert_eq!(b.send("GET", "/ngsi10/entity/e1/v", &south, "").await.json["value"], 2);
    assert_eq!(b.send("GET", "/ngsi10/entity/e1", &north, "").await.status, 404, "it stays with its owner");
    let all = json!({"entities": [{"type": "T", "isPattern": true}]});
    assert_eq!(list_len(&a.post("/ngsi10/queryContext", &all).await.json["contextResponses"]), 2);
    b.send("DELETE", "/ngsi10/entity/e1", &south, "").await;
    discovery.gone("/south e1").await;
    discovery.registered("/north e1", |_| true).await;
}

fn list_len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}
