//! NGSIv2 through the real router.

use fogflow_config::Compatibility;
use serde_json::{Value, json};

use crate::harness::{Broker, Options, holds, until};
use crate::sink::Sink;

const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");

fn room(id: &str, temperature: impl Into<Value>) -> Value {
    json!({
        "id": id, "type": "Room",
        "temperature": {"type": "Number", "value": temperature.into(), "metadata": {}},
        "location": {"type": "geo:point", "value": "49.4, 8.6", "metadata": {}},
    })
}

async fn send(broker: &Broker, method: &str, path: &str, body: &Value) -> u16 {
    broker.send(method, path, &[JSON], body.to_string()).await.status
}

#[tokio::test]
async fn an_entity_is_created_read_changed_and_deleted() {
    let broker = Broker::alone().await;
    assert_eq!(send(&broker, "POST", "/v2/entities", &room("r1", 20)).await, 201);
    assert_eq!(send(&broker, "POST", "/v2/entities", &room("r1", 20)).await, 422);
    assert_eq!(send(&broker, "POST", "/v2/entities?options=upsert", &room("r1", 21)).await, 204);
    assert_eq!(broker.get("/v2/entities/r1").await.json, room("r1", 21));
    assert_eq!(
        broker.get("/v2/entities/r1?options=keyValues&attrs=temperature").await.json,
        json!({"id": "r1", "type": "Room", "temperature": 21})
    );
    assert_eq!(send(&broker, "PATCH", "/v2/entities/r1/attrs", &json!({"temperature": {"value": 22}})).await, 204);
    assert_eq!(send(&broker, "PATCH", "/v2/entities/r1/attrs", &json!({"nothing": {"value": 22}})).await, 422);
    assert_eq!(send(&broker, "POST", "/v2/entities/r1/attrs", &json!({"humidity": {"value": 60}})).await, 204);
    assert_eq!(send(&broker, "POST", "/v2/entities/r1/attrs?options=append", &json!({"humidity": {"value": 61}})).await, 422);
    assert_eq!(broker.get("/v2/entities/r1/attrs/humidity/value").await.text, "60");
    assert_eq!(broker.send("PUT", "/v2/entities/r1/attrs/humidity/value", &[TEXT], "62").await.status, 204);
    assert_eq!(broker.get("/v2/entities/r1/attrs/humidity").await.json, json!({"type": "Number", "value": 62, "metadata": {}}));
    assert_eq!(send(&broker, "PUT", "/v2/entities/r1/attrs/humidity", &json!({"value": "wet"})).await, 204);
    assert_eq!(broker.get("/v2/entities/r1/attrs/humidity/value").await.text, "\"wet\"");
    assert_eq!(broker.send("DELETE", "/v2/entities/r1/attrs/humidity", &[], "").await.status, 204);
    assert_eq!(broker.get("/v2/entities/r1/attrs/humidity").await.status, 404);
    assert_eq!(send(&broker, "PUT", "/v2/entities/r1/attrs", &json!({"only": {"value": 1}})).await, 204);
    assert_eq!(broker.get("/v2/entities/r1/attrs").await.json, json!({"only": {"type": "Number", "value": 1, "metadata": {}}}));
    assert_eq!(broker.send("DELETE", "/v2/entities/r1", &[], "").await.status, 204);
    let gone = broker.get("/v2/entities/r1").await;
    assert_eq!((gone.status, gone.json["error"].as_str()), (404, Some("NotFound")));
}

#[tokio::test]
async fn f8_a_place_written_through_v2_is_one_in_every_face() {
    let broker = Broker::alone().await;
    assert_eq!(send(&broker, "POST", "/v2/entities", &room("r1", 20)).await, 201);
    let v1 = broker.get("/ngsi10/entity/r1").await.json;
    assert_eq!(v1["domainMetadata"], json!([{"name": "location", "type": "point", "value": {"latitude": 49.4, "longitude": 8.6}}]));
    let ld = broker.get("/ngsi-ld/v1/entities/r1").await.json;
    assert_eq!(ld["location"], json!({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8.6, 49.4]}}));
    let near = broker.get("/v2/entities?georel=near;maxDistance:100&geometry=point&coords=49.4,8.6").await;
    assert_eq!(near.json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn f34_queries_find_by_type_pattern_and_value() {
    let broker = Broker::alone().await;
    for (id, temperature) in [("r1", 18), ("r2", 20), ("r3", 22)] {
        assert_eq!(send(&broker, "POST", "/v2/entities", &room(id, temperature)).await, 201);
    }
    for (query, count) in [
        ("", 3),
        ("?type=Room", 3),
        ("?type=Ro", 0),
        ("?typePattern=^Ro", 3),
        ("?id=r1,r3", 2),
        ("?idPattern=r[12]", 2),
        ("?q=temperature>19", 2),
        ("?q=temperature==18..20", 2),
        ("?q=temperature>19;temperature<21", 1),
        ("?attrs=temperature", 3),
        ("?attrs=none", 0),
        ("?limit=2", 2),
        ("?offset=2", 1),
    ] {
        let reply = broker.get(&format!("/v2/entities{query}")).await;
        assert_eq!((reply.status, reply.json.as_array().map(Vec::len)), (200, Some(count)), "{query}: {}", reply.text);
    }
    for query in ["?id=a&idPattern=b", "?limit=0", "?q=", "?q=a==", "?idPattern=(", "?georel=near&geometry=point"] {
        let reply = broker.get(&format!("/v2/entities{query}")).await;
        assert_eq!((reply.status, reply.json["error"].as_str()), (400, Some("BadRequest")), "{query}");
    }
    let body = json!({"entities": [{"idPattern": ".*", "type": "Room"}], "attrs": ["temperature"], "expression": {"q": "temperature>21"}});
    let reply = broker.send("POST", "/v2/op/query?options=keyValues", &[JSON], body.to_string()).await;
    assert_eq!(reply.json, json!([{"id": "r3", "type": "Room", "temperature": 22}]));
    let types = broker.get("/v2/types?options=values").await;
    assert_eq!(types.json, json!(["Room"]));
    assert_eq!(broker.get("/v2/types/Room").await.json["count"], 3);
    assert_eq!(broker.get("/v2/types/None").await.status, 404);
}

#[tokio::test]
async fn batch_updates_do_what_their_action_says() {
    let broker = Broker::alone().await;
    let update = |action: &str, entity: Value| json!({"actionType": action, "entities": [entity]});
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("append", room("r1", 1))).await, 204);
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("appendStrict", room("r2", 1))).await, 204);
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("appendStrict", room("r2", 2))).await, 422);
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("update", room("r3", 1))).await, 404);
    let deletion = update("delete", json!({"id": "r1", "type": "Room", "temperature": {}}));
    assert_eq!(send(&broker, "POST", "/v2/op/update", &deletion).await, 204);
    assert_eq!(broker.get("/v2/entities/r1/attrs/temperature").await.status, 404);
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("delete", json!({"id": "r1", "type": "Room"}))).await, 204);
    assert_eq!(broker.get("/v2/entities/r1").await.status, 404);
    assert_eq!(send(&broker, "POST", "/v2/op/update", &update("odd", room("r1", 1))).await, 400);
    let notification = json!({"subscriptionId": "s", "data": [room("r9", 7)]});
    assert_eq!(send(&broker, "POST", "/v2/notify", &notification).await, 200);
    assert_eq!(broker.get("/v2/entities/r9").await.status, 200);
}

#[tokio::test]
async fn wrong_bodies_name_the_member_and_change_nothing() {
    let broker = Broker::alone().await;
    for (body, word) in [
        (json!({"type": "T"}), "id"),
        (json!({"id": "a", "p": 5}), "p"),
        (json!({"id": "a", "p": {"value": "<script>"}}), "p.value"),
        (json!({"id": "a b"}), "id"),
    ] {
        let reply = broker.send("POST", "/v2/entities", &[JSON], body.to_string()).await;
        assert_eq!((reply.status, reply.json["error"].as_str()), (400, Some("BadRequest")));
        assert!(reply.json["description"].as_str().unwrap().starts_with(word), "{}", reply.text);
    }
    let reply = broker.send("POST", "/v2/entities", &[JSON], "{").await;
    assert_eq!((reply.status, reply.json["error"].as_str()), (400, Some("ParseError")));
    assert_eq!(broker.send("POST", "/v2/entities", &[("content-type", "text/html")], "{}").await.status, 415);
    assert_eq!(broker.get("/v2/entities").await.json, json!([]));
}

fn interest(sink: &Sink) -> Value {
    json!({
        "description": "d",
        "subject": {"entities": [{"idPattern": ".*", "type": "Room"}], "condition": {"attrs": ["temperature"], "expression": {"q": "temperature>20"}}},
        "notification": {"http": {"url": sink.url()}, "attrs": ["temperature"], "attrsFormat": "keyValues"},
    })
}

#[tokio::test]
async fn a_subscription_is_told_what_it_asked_for() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let reply = broker.send("POST", "/v2/subscriptions", &[JSON], interest(&sink).to_string()).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let id = reply.json["subscribeResponse"]["subscriptionId"].as_str().unwrap().to_owned();
    for temperature in [19, 25, 25, 26] {
        assert_eq!(send(&broker, "POST", "/v2/entities?options=upsert", &room("r1", temperature)).await / 100, 2);
    }
    let told = || sink.received().iter().flat_map(|one| one.body["data"].as_array().cloned().unwrap_or_default()).collect::<Vec<_>>();
    until("the last change", || holds(told().last().is_some_and(|last| last["temperature"] == 26), json!(told()))).await;
    assert_eq!(told().iter().map(|one| one["temperature"].clone()).collect::<Vec<_>>(), [json!(25), json!(26)]);
    assert_eq!(told()[0], json!({"id": "r1", "type": "Room", "temperature": 25}));
    assert_eq!(sink.received()[0].body["subscriptionId"], json!(id));
    let shown = broker.get(&format!("/v2/subscriptions/{id}")).await.json;
    assert_eq!((shown["status"].as_str(), shown["subject"].clone()), (Some("active"), interest(&sink)["subject"].clone()));
    let path = format!("/v2/subscriptions/{id}");
    assert_eq!(send(&broker, "PATCH", &path, &json!({"status": "inactive"})).await, 204);
    assert_eq!(broker.get(&path).await.json["status"], "inactive");
    assert_eq!(send(&broker, "PATCH", &path, &json!({"status": "odd"})).await, 400);
    assert_eq!(broker.get("/v2/subscriptions").await.json.as_array().unwrap().len(), 1);
    assert_eq!(broker.send("DELETE", &path, &[], "").await.status, 204);
    assert_eq!(broker.send("DELETE", &path, &[], "").await.status, 404);
    assert_eq!(broker.send("DELETE", &format!("/v2/subscription/{id}"), &[], "").await.status, 200);
    assert_eq!(broker.get(&format!("/v2/subscription/{id}")).await.status, 404);
}

#[tokio::test]
async fn upstreams_tests_of_v2_pass_in_compatibility_mode() {
    let broker = Broker::with(Options { compatibility: Compatibility::Fogflow3, ..Options::default() }).await;
    let sink = Sink::start().await;
    assert_eq!(send(&broker, "POST", "/v2/subscriptions", &interest(&sink)).await, 201);
    let mut odd = interest(&sink);
    odd["subject"]["entities"][0]["isPattern"] = json!("false");
    assert_eq!(send(&broker, "POST", "/v2/subscriptions", &odd).await, 500);
    let v1 = json!({"contextElements": [], "updateAction": "UPDATE"});
    assert_eq!(send(&broker, "POST", "/v2/subscriptions", &v1).await, 201);
    assert!(broker.get("/v2/subscriptions").await.json.is_object());
    assert_eq!(broker.get("/v2/subscription/nil").await.status, 404);
    assert_eq!(broker.send("DELETE", "/v2/subscription/nil", &[], "").await.status, 200);
    assert_eq!(broker.get("/v2/entities/nil").await.json["error"], "NotFound");
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let broker = Broker::alone().await;
    let tenant = ("fiware-service", "a");
    assert_eq!(broker.send("POST", "/v2/entities", &[JSON, tenant], room("r1", 1).to_string()).await.status, 201);
    assert_eq!(broker.get("/v2/entities/r1").await.status, 404);
    assert_eq!(broker.send("GET", "/v2/entities/r1", &[tenant], "").await.status, 200);
}
