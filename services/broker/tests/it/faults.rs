//! Faults of the ancestor that no other test of the broker would notice; `docs/faults.md` lists them all.

use serde_json::{Value, json};

use crate::discovery::Discovery;
use crate::harness::{Broker, element, holds, of_type, until, update};
use crate::sink::Sink;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn two() -> (Discovery, Broker, Broker) {
    let discovery = Discovery::start().await;
    let (a, b) = (Broker::beside(&discovery, "001").await, Broker::beside(&discovery, "002").await);
    (discovery, a, b)
}

/// F 8: an entity written through v2 with a place of type `point`, and a subscriber of NGSI-LD: the broker ended.
#[tokio::test]
async fn f8_a_subscriber_of_ngsi_ld_is_told_of_a_place_written_through_v2() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let interest = json!({"type": "Subscription", "entities": [{"type": "Room"}],
        "notification": {"endpoint": {"uri": sink.url(), "accept": "application/json"}}});
    assert_eq!(broker.send("POST", "/ngsi-ld/v1/subscriptions", &[JSON], interest.to_string()).await.status, 201);
    for place in
        [json!({"type": "point", "value": {"latitude": 49.4, "longitude": 8.6}}), json!({"type": "geo:point", "value": "49.4, 8.6"})]
    {
        sink.forget();
        let room = json!({"id": "r1", "type": "Room", "location": place});
        assert_eq!(broker.send("POST", "/v2/entities?options=upsert", &[JSON], room.to_string()).await.status / 100, 2, "{room}");
        let told = until("a notification", || sink.received().first().cloned().ok_or_else(|| "none".to_owned())).await;
        assert_eq!(
            told.body["data"][0]["location"],
            json!({"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8.6, 49.4]}})
        );
    }
}

/// F 13: writes of v2 and NGSI-LD, and deletions of every face, acted on the broker that was asked and stole the entity.
#[tokio::test]
async fn f13_writes_and_deletions_of_every_face_go_to_the_owner() {
    let (discovery, owner, asked) = two().await;
    let id = "urn:ngsi-ld:T:1";
    for (delete, status) in
        [(format!("/ngsi10/entity/{id}"), 200), (format!("/v2/entities/{id}"), 204), (format!("/ngsi-ld/v1/entities/{id}"), 204)]
    {
        owner.set(id, "T", "a", 1).await;
        discovery.registered(id, |found| found.broker == owner.running.id).await;
        let v2 = asked.send("PATCH", &format!("/v2/entities/{id}/attrs"), &[JSON], json!({"a": {"value": 2}}).to_string()).await;
        assert_eq!(v2.status, 204, "{}", v2.text);
        assert_eq!(owner.get(&format!("/ngsi10/entity/{id}/a")).await.json["value"], 2);
        let ld = asked.send("PATCH", &format!("/ngsi-ld/v1/entities/{id}/attrs/a"), &[JSON], json!({"value": 3}).to_string()).await;
        assert_eq!(ld.status, 204, "{}", ld.text);
        assert_eq!(owner.get(&format!("/ngsi10/entity/{id}/a")).await.json["value"], 3);
        discovery.registered(id, |found| found.broker == owner.running.id).await;
        assert_eq!(asked.send("DELETE", &delete, &[], "").await.status, status, "{delete}");
        assert_eq!(owner.get(&format!("/ngsi10/entity/{id}")).await.status, 404, "{delete}");
        discovery.gone(id).await;
    }
}

/// F 24: an attribute that was once there stayed for ever, and so did its name at discovery.
#[tokio::test]
async fn f24_an_attribute_can_be_removed_and_is_no_longer_registered() {
    let discovery = Discovery::start().await;
    let broker = Broker::beside(&discovery, "001").await;
    broker.set("e1", "T", "a", 1).await;
    broker.set("e1", "T", "b", 2).await;
    let names = |wanted: &'static [&'static str]| {
        move |found: &crate::discovery::Registered| {
            let names = found.registration["attributes"].as_array().into_iter().flatten().map(|one| &one["name"]);
            names.eq(wanted.iter().copied())
        }
    };
    discovery.registered("e1", names(&["a", "b"])).await;
    assert_eq!(broker.send("DELETE", "/v2/entities/e1/attrs/b", &[], "").await.status, 204);
    discovery.registered("e1", names(&["a"])).await;
    assert_eq!(broker.get("/ngsi10/entity/e1/b").await.status, 404);
}

/// F 28: whatever the subscriber answered counted as delivered. (A v1 task that answers at all has taken the notification:
/// upstream's agents answer 404 to what they have processed.)
#[tokio::test]
async fn f28_an_error_of_the_subscriber_is_no_delivery_and_the_newest_state_follows() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    sink.answer(500);
    let interest = json!({"subject": {"entities": [{"idPattern": ".*", "type": "T"}]},
        "notification": {"http": {"url": sink.url()}, "attrsFormat": "keyValues"}});
    assert_eq!(broker.send("POST", "/v2/subscriptions", &[JSON], interest.to_string()).await.status, 201);
    broker.set("e1", "T", "a", 1).await;
    until("a refused notification", || holds(!sink.received().is_empty(), "none")).await;
    broker.set("e1", "T", "a", 2).await;
    sink.forget();
    sink.answer(200);
    let values = || sink.received().iter().map(|one| one.body["data"][0]["a"].clone()).collect::<Vec<_>>();
    until("the newest state", || holds(values().last() == Some(&json!(2)), format!("{:?}", values()))).await;
}

/// F 31: the tenant's suffix was cut off as a set of characters, which took the end of the id with it, and a command
/// reached the agent twice.
#[tokio::test]
async fn f31_a_device_whose_id_ends_like_its_tenant_gets_its_command_once_under_its_whole_id() {
    let (broker, agent) = (Broker::alone().await, Sink::start().await);
    let tenant = [("fiware-service", "openiot"), ("fiware-servicepath", "/")];
    let id = "Robot.toitnepo.openiot";
    let registration = json!({"contextRegistrations": [{"entities": [{"type": "Robot", "isPattern": "false", "id": id}],
        "attributes": [{"name": "go", "type": "command"}], "contextMetadata": [], "providingApplication": agent.url()}], "duration": "P1Y"});
    assert_eq!(broker.post_with("/NGSI9/registerContext", &tenant, &registration).await.status, 200);
    let command = |id: &str| {
        json!({"contextElements": [{"entityId": {"id": id, "type": "Robot"},
        "attributes": [{"name": "go", "type": "command", "value": ""}]}], "updateAction": "UPDATE"})
    };
    let reply = broker.post_with("/ngsi10/updateContext", &tenant, &command(id)).await;
    assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", reply.text);
    // The reply comes after the agent's: what it has by now is all that it gets.
    let sent: Vec<Value> = agent.received().iter().map(|one| one.body["contextElements"][0]["id"].clone()).collect();
    assert_eq!(sent, [id]);
    let other = broker.post_with("/ngsi10/updateContext", &tenant, &command("Robot")).await;
    assert_eq!(other.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", other.text);
    assert_eq!(agent.received().len(), 1, "an entity that is no device is data");
}

/// F 34: what is not there was answered with 200, and NGSI-LD operations that did nothing claimed success.
#[tokio::test]
async fn f34_what_is_not_there_is_404_in_every_face() {
    let broker = Broker::alone().await;
    let attribute = json!({"type": "Property", "value": 1}).to_string();
    for (method, path, body) in [
        ("GET", "/ngsi10/entity/none", ""),
        ("GET", "/v2/entities/none", ""),
        ("GET", "/v2/entities/none/attrs", ""),
        ("GET", "/v2/subscriptions/none", ""),
        ("DELETE", "/v2/entities/none", ""),
        ("GET", "/ngsi-ld/v1/entities/urn:x:none", ""),
        ("DELETE", "/ngsi-ld/v1/entities/urn:x:none", ""),
        ("PATCH", "/ngsi-ld/v1/entities/urn:x:none/attrs/a", attribute.as_str()),
        ("GET", "/ngsi-ld/v1/subscriptions/urn:x:none", ""),
        ("DELETE", "/ngsi-ld/v1/subscriptions/urn:x:none", ""),
    ] {
        let reply = broker.send(method, path, &[JSON], body.to_owned()).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text);
    }
}

/// F 39: requests became part of SQL. Here every text is data, on its way in, in queries, and as a key; that the engines hold
/// such keys is for the store's own suite.
#[tokio::test]
async fn f39_sql_in_ids_values_and_queries_is_plain_text() {
    let broker = Broker::alone().await;
    let evil = "x'; DROP TABLE documents; --";
    broker.set(evil, "T", "a", 1).await;
    broker.set("innocent", "T", "a", 1).await;
    let ask = async |entities: Value| {
        let reply = broker.post("/ngsi10/queryContext", &json!({"entities": [entities]})).await;
        let found = reply.json["contextResponses"].as_array().cloned().unwrap_or_default();
        found.iter().map(|one| one["contextElement"]["entityId"]["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ask(json!({"id": evil})).await, [evil]);
    assert_eq!(ask(json!({"id": "nobody' OR '1'='1"})).await, [] as [Value; 0]);
    assert_eq!(ask(json!({"type": "T' OR 'a'='a", "isPattern": true})).await, [] as [Value; 0]);
    let query = broker.get("/v2/entities?q=a=='1'%20OR%20'1'=='1'").await;
    assert!(query.status == 400 || query.json == json!([]), "{} {}", query.status, query.text);
    assert_eq!(broker.get("/ngsi10/entity/innocent").await.status, 200);
}

/// F 40: ending a subscription by DELETE left its parts at discovery and at other brokers, and a missing one was a panic.
#[tokio::test]
async fn f40_a_deletion_ends_the_parts_elsewhere_as_unsubscribing_does() {
    let (discovery, owner, asked) = two().await;
    let sink = Sink::start().await;
    owner.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |_| true).await;
    let id = asked.subscribe(&of_type("T", &sink.url())).await;
    until("the present state", || holds(sink.values().len() == 1, format!("{:?}", sink.values()))).await;
    let path = format!("/ngsi10/subscription/{id}");
    assert_eq!(asked.send("DELETE", &path, &[], "").await.status, 200);
    until("the end at discovery", || holds(discovery.subscriptions().is_empty(), format!("{:?}", discovery.subscriptions()))).await;
    assert_eq!(asked.send("DELETE", &path, &[], "").await.status, 200);
    sink.forget();
    let batch = json!({"contextElements": [element("e1", "T", "a", 2), element("e2", "T", "a", 2)], "updateAction": "UPDATE"});
    assert_eq!(asked.post("/ngsi10/updateContext", &batch).await.status, 200);
    let other = asked.subscribe(&of_type("T", &sink.url())).await;
    asked.post("/ngsi10/updateContext", &update("e2", "T", "a", 3)).await;
    until("a notification for the second", || {
        // The present state of e1 comes from another broker, so it may come last.
        holds(sink.values().contains(&("e2".to_owned(), json!(3))), format!("{:?}", sink.values()))
    })
    .await;
    assert!(sink.received().iter().all(|one| one.body["subscriptionId"] == other.as_str()), "{:?}", sink.received());
}
