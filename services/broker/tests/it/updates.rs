//! Updates, reads and errors of v1.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::faulty::Faulty;
use crate::harness::{Broker, Options, element, update};

#[tokio::test]
async fn an_update_answers_a_status_for_each_element_and_partial_failure_is_told() {
    let broker = Broker::alone().await;
    let body = json!({"contextElements": [element("e1", "T", "a", 1), element("", "T", "a", 2), element("e3", "T", "a", 3)],
        "updateAction": "APPEND"});
    let reply = broker.post("/ngsi10/updateContext", &body).await;
    assert_eq!(reply.status, 200);
    let codes: Vec<_> = reply.json["contextResponses"].as_array().unwrap().iter().map(|one| one["statusCode"]["code"].clone()).collect();
    assert_eq!(codes, [200, 400, 200]);
    assert_eq!(reply.json["errorCode"]["code"], 400);
    assert_eq!(broker.get("/ngsi10/entity/e1").await.json["attributes"][0]["value"], 1);
    assert_eq!(broker.get("/ngsi10/entity/e3").await.status, 200);
}

#[tokio::test]
async fn internal_updates_answer_json_and_append_is_not_dropped_f10_f30() {
    let broker = Broker::alone().await;
    let body = json!({"contextElements": [element("e1", "T", "a", 1)], "updateAction": "append"});
    let reply = broker.post_with("/ngsi10/updateContext", &[("user-agent", "lightweight-iot-broker")], &body).await;
    assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", reply.text);
    assert_eq!(broker.get("/ngsi10/entity/e1").await.status, 200);
}

#[tokio::test]
async fn types_of_entity_attribute_and_metadata_can_change_f24() {
    let broker = Broker::alone().await;
    broker.set("e1", "Old", "a", 1).await;
    let body = json!({"contextElements": [{"entityId": {"id": "e1", "type": "New"}, "attributes": [
        {"name": "a", "type": "string", "value": "x", "metadata": [{"name": "m", "type": "float", "value": 1}]}]}], "updateAction": "UPDATE"});
    broker.post("/ngsi10/updateContext", &body).await;
    let again = body.to_string().replace(r#""type":"float","value":1"#, r#""type":"string","value":"one""#);
    broker.send("POST", "/ngsi10/updateContext", &[], again).await;
    let entity = broker.get("/ngsi10/entity/e1").await.json;
    assert_eq!(entity["entityId"]["type"], "New");
    assert_eq!(
        entity["attributes"],
        json!([{"name": "a", "type": "string", "value": "x",
        "metadata": [{"name": "m", "type": "string", "value": "one"}]}])
    );
}

#[tokio::test]
async fn an_orion_flat_element_is_stored_under_its_own_id_f35() {
    let broker = Broker::alone().await;
    let body = json!({"contextElements": [{"id": "Lamp.1", "type": "Lamp", "isPattern": "false",
        "attributes": [{"name": "state", "type": "string", "value": "on"}]}], "updateAction": "UPDATE"});
    assert_eq!(broker.post("/v1/updateContext", &body).await.status, 200);
    assert_eq!(broker.get("/ngsi10/entity/Lamp.1/state").await.json, json!({"name": "state", "type": "string", "value": "on"}));
}

#[tokio::test]
async fn bad_input_is_answered_with_400_in_v1s_form_and_nothing_is_written() {
    let broker = Broker::alone().await;
    for path in ["updateContext", "queryContext", "subscribeContext", "unsubscribeContext", "notifyContext", "notifyContextAvailability"] {
        for body in [
            "",
            "{",
            "[]",
            "7",
            "\"x\"",
            "\u{0}",
            "{\"contextElements\":7,\"entities\":7,\"subscriptionId\":7,\"subscribeId\":[],\"contextResponses\":7,\"contextRegistrationResponses\":1}",
        ] {
            let reply = broker.send("POST", &format!("/ngsi10/{path}"), &[], body.to_owned()).await;
            assert_eq!(reply.status, 400, "{path} {body:?}: {}", reply.text);
            assert!(reply.json["Error"].is_string(), "{path} {body:?}: {}", reply.text);
        }
    }
    assert_eq!(broker.get("/ngsi10/entity").await.json, json!([]));
    let unknown = broker.get("/ngsi10/nothing").await;
    assert_eq!((unknown.status, unknown.json["Error"].is_string()), (404, true));
    let method = broker.send("PUT", "/ngsi10/updateContext", &[], "").await;
    assert_eq!((method.status, method.json["Error"].is_string()), (405, true));
    let tenant = broker.post_with("/ngsi10/updateContext", &[("fiware-service", "a/b")], &update("e", "T", "a", 1)).await;
    assert_eq!((tenant.status, tenant.json["Error"].is_string()), (400, true), "{}", tenant.text);
}

#[tokio::test]
async fn an_update_without_a_known_action_does_not_claim_success() {
    let broker = Broker::alone().await;
    let reply = broker.post("/ngsi10/updateContext", &json!({"contextElements": [element("e1", "T", "a", 1)]})).await;
    assert_eq!((reply.status, &reply.json["contextResponses"][0]["statusCode"]["code"]), (200, &json!(400)));
    assert_eq!(broker.get("/ngsi10/entity/e1").await.status, 404);
}

#[tokio::test]
async fn a_full_store_refuses_writes_with_507_and_goes_on_reading_and_recovers() {
    let store = Faulty::new();
    let broker = Broker::with(Options { store: store.clone(), ..Options::default() }).await;
    broker.set("e1", "T", "a", 1).await;
    store.full.store(true, Ordering::SeqCst);
    let reply = broker.post("/ngsi10/updateContext", &update("e1", "T", "a", 2)).await;
    assert_eq!((reply.status, &reply.json["errorCode"]["code"]), (507, &json!(507)), "{}", reply.text);
    assert_eq!(broker.get("/ngsi10/entity/e1/a").await.json["value"], 1, "a refused value is not shown");
    let subscription =
        broker.post("/ngsi10/subscribeContext", &json!({"entities": [{"id": "e1"}], "reference": "http://127.0.0.1:9"})).await;
    assert_eq!(subscription.status, 507);
    store.full.store(false, Ordering::SeqCst);
    store.away.store(true, Ordering::SeqCst);
    assert_eq!(broker.post("/ngsi10/updateContext", &update("e1", "T", "a", 3)).await.status, 503);
    store.away.store(false, Ordering::SeqCst);
    broker.set("e1", "T", "a", 4).await;
    assert_eq!(broker.get("/ngsi10/entity/e1/a").await.json["value"], 4);
}

#[tokio::test]
async fn writes_that_come_together_share_commits_and_each_is_applied() {
    let store = Faulty::new();
    let broker = Broker::with(Options { store: store.clone(), ..Options::default() }).await;
    let elements: Vec<Value> = (0..100).map(|number| element(&format!("e{}", number % 10), "T", "a", number)).collect();
    let reply = broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    assert!(reply.json["contextResponses"].as_array().unwrap().iter().all(|one| one["statusCode"]["code"] == 200), "{}", reply.text);
    assert!(store.commits.load(Ordering::SeqCst) <= 3, "100 writes took {} commits", store.commits.load(Ordering::SeqCst));
    for number in 0..10 {
        assert_eq!(broker.get(&format!("/ngsi10/entity/e{number}/a")).await.json["value"], 90 + number);
    }
}

#[tokio::test]
async fn a_write_that_loses_against_another_replica_is_merged_on_the_newer_state() {
    use fogflow_store::{Batch, Expect, Key, Store as _, Write};
    let store = Faulty::new();
    let broker = Broker::with(Options { store: store.clone(), ..Options::default() }).await;
    broker.set("e1", "T", "a", 1).await;
    let key = Key::new("entity", "", "/ e1");
    let document = store.inner.get(&key).await.unwrap().unwrap();
    let theirs = String::from_utf8(document.value.unwrap().to_vec()).unwrap().replace("\"T\"", "\"Theirs\"");
    store.inner.commit(Batch::one(Write { key, expect: Expect::Any, value: Some(theirs.into()) })).await.unwrap();
    broker
        .post(
            "/ngsi10/updateContext",
            &json!({"contextElements": [{"entityId": {"id": "e1"},
        "attributes": [{"name": "b", "type": "float", "value": 2}]}], "updateAction": "UPDATE"}),
        )
        .await;
    let entity = broker.get("/ngsi10/entity/e1").await.json;
    assert_eq!(entity["entityId"]["type"], "Theirs", "{entity}");
    assert_eq!(entity["attributes"].as_array().unwrap().len(), 2, "{entity}");
}

#[tokio::test]
async fn tenants_and_service_paths_do_not_see_each_other() {
    let broker = Broker::alone().await;
    let in_a = [("fiware-service", "a"), ("fiware-servicepath", "/x")];
    broker.post_with("/ngsi10/updateContext", &in_a, &update("e1", "T", "a", 1)).await;
    broker.post_with("/ngsi10/updateContext", &[("ngsild-tenant", "b")], &update("e1", "T", "a", 2)).await;
    assert_eq!(broker.get("/ngsi10/entity/e1").await.status, 404);
    assert_eq!(broker.send("GET", "/ngsi10/entity/e1/a", &in_a, "").await.json["value"], 1);
    assert_eq!(broker.send("GET", "/ngsi10/entity/e1/a", &[("ngsild-tenant", "b")], "").await.json["value"], 2);
    assert_eq!(broker.send("GET", "/ngsi10/entity/e1", &[("fiware-service", "a"), ("fiware-servicepath", "/y")], "").await.status, 404);
    let query = json!({"entities": [{"type": "T", "isPattern": true}]});
    let found = broker.post_with("/ngsi10/queryContext", &[("fiware-service", "a"), ("fiware-servicepath", "/#")], &query).await;
    assert_eq!(found.json["contextResponses"].as_array().unwrap().len(), 1);
    assert_eq!(broker.post("/ngsi10/queryContext", &query).await.json["contextResponses"], json!([]));
}

/// F 19: entities without a place were inside every area.
#[tokio::test]
async fn queries_filter_by_type_pattern_attributes_and_place() {
    let broker = Broker::alone().await;
    let at = |id: &str, kind: &str, latitude: f64, city: &str| {
        json!({"entityId": {"id": id, "type": kind}, "attributes": [{"name": "a", "type": "float", "value": 1}], "domainMetadata": [
            {"name": "location", "type": "point", "value": {"latitude": latitude, "longitude": 8.6}},
            {"name": "city", "type": "string", "value": city}]})
    };
    let elements = json!([at("Car.1", "Car", 49.4, "Heidelberg"), at("Car.2", "Car", 50.4, "Giessen"), at("Carriage.1", "Carriage", 49.4, "Heidelberg"),
        {"entityId": {"id": "Car.3", "type": "Car"}, "attributes": [{"name": "b", "type": "float", "value": 1}]}]);
    broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    let ask = async |query: Value| -> Vec<String> {
        let reply = broker.post("/ngsi10/queryContext", &query).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let list = reply.json["contextResponses"].as_array().unwrap_or_else(|| panic!("{}", reply.text)).clone();
        let mut ids: Vec<_> = list.iter().map(|one| one["contextElement"]["entityId"]["id"].as_str().unwrap().to_owned()).collect();
        if !query.to_string().contains("nearby") {
            ids.sort();
        }
        ids
    };
    assert_eq!(ask(json!({"entities": [{"type": "Car", "isPattern": true}]})).await, ["Car.1", "Car.2", "Car.3"], "a type is exact");
    assert_eq!(ask(json!({"entities": [{"type": "Car"}]})).await, ["Car.1", "Car.2", "Car.3"], "also without isPattern");
    assert_eq!(ask(json!({"entities": [{"id": "Car.*1", "isPattern": true}]})).await, ["Car.1", "Carriage.1"]);
    assert_eq!(ask(json!({"entities": [{"type": "Car"}], "attributes": ["a"]})).await, ["Car.1", "Car.2"]);
    let circle =
        json!({"scopes": [{"scopeType": "circle", "scopeValue": {"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 1000}}]});
    assert_eq!(ask(json!({"entities": [{"type": "Car"}], "restriction": circle})).await, ["Car.1"], "without a place no match (F 19)");
    let city = json!({"scopes": [{"scopeType": "stringQuery", "scopeValue": "city=Giessen"}]});
    assert_eq!(ask(json!({"entities": [{"type": "Car"}], "restriction": city})).await, ["Car.2"]);
    let nearby = json!({"scopes": [{"scopeType": "nearby", "scopeValue": {"latitude": 50.5, "longitude": 8.6, "limit": 2}}]});
    assert_eq!(ask(json!({"entities": [{"type": "Car"}], "restriction": nearby})).await, ["Car.2", "Car.1"], "nearest first (F 36)");
    assert_eq!(ask(json!({"entities": [{"type": "Nothing"}]})).await, Vec::<String>::new(), "the list is there when nothing is found");
    assert_eq!(ask(json!({"entities": [{}]})).await, Vec::<String>::new());
    let bad = broker.post("/ngsi10/queryContext", &json!({"entities": [{"id": "(", "isPattern": true}]})).await;
    assert_eq!(bad.status, 400, "{}", bad.text);
    for scope in
        [json!({"scopeType": "stringQuery", "scopeValue": "city"}), json!({"scopeType": "polygon", "scopeValue": {"vertices": []}})]
    {
        let bad = broker.post("/ngsi10/queryContext", &json!({"entities": [{"type": "Car"}], "restriction": {"scopes": [scope]}})).await;
        assert_eq!(bad.status, 400, "F 2, F 3: {}", bad.text);
    }
}

#[tokio::test]
async fn the_listing_of_many_entities_is_one_valid_array() {
    let broker = Broker::alone().await;
    let elements: Vec<Value> = (0..1500).map(|number| element(&format!("e{number:04}"), "T", "a", number)).collect();
    broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    let list = broker.get("/ngsi10/entity").await;
    assert_eq!(list.json.as_array().map(Vec::len), Some(1500));
    assert_eq!(broker.send("GET", "/ngsi10/entity", &[("fiware-service", "none")], "").await.json, json!([]));
}

#[tokio::test]
async fn an_id_with_slash_space_and_umlaut_is_one_entity() {
    let broker = Broker::alone().await;
    broker.set("a/b c?ä", "T", "a", 1).await;
    let reply = broker.get("/ngsi10/entity/a%2Fb%20c%3F%C3%A4").await;
    assert_eq!((reply.status, &reply.json["entityId"]["id"]), (200, &json!("a/b c?ä")));
}
