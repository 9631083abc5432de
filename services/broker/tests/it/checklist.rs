//! Upstream's own tests of NGSI-10, case by case, with assertions on what subscribers get.

use fogflow_config::Compatibility;
use serde_json::{Value, json};

use crate::harness::{Broker, Options, Reply, holds, until};
use crate::sink::Sink;

const PEER: (&str, &str) = ("user-agent", "lightweight-iot-broker");
const RELIABLE: (&str, &str) = ("require-reliability", "true");
const ORION: (&str, &str) = ("destination", "orion-broker");

/// What of the example entity is there.
#[derive(Clone, Copy)]
struct Shape {
    temperature: bool,
    pressure: bool,
    location: bool,
    with_type: bool,
}

const FULL: Shape = Shape { temperature: true, pressure: true, location: true, with_type: true };

fn result(id: &str, shape: Shape, temperature: i32, pressure: i32) -> Value {
    let mut element = json!({"entityId": {"id": id, "isPattern": false}});
    if shape.with_type {
        element["entityId"]["type"] = json!("Result");
    }
    let mut attributes = Vec::new();
    if shape.temperature {
        attributes.push(json!({"name": "temperature", "type": "float", "value": temperature}));
    }
    if shape.pressure {
        attributes.push(json!({"name": "pressure", "type": "float", "value": pressure}));
    }
    element["attributes"] = json!(attributes);
    if shape.location {
        element["domainMetadata"] = json!([{"name": "location", "type": "point", "value": {"latitude": 35.7, "longitude": 138.0}}]);
    }
    json!({"contextElements": [element], "updateAction": "UPDATE"})
}

fn interest(id: &str, sink: &Sink) -> Value {
    json!({"entities": [{"id": id, "type": "Result"}], "reference": format!("{}/v2", sink.url())})
}

async fn create(broker: &Broker, headers: &[(&str, &str)], body: &Value) -> Reply {
    let reply = broker.post_with("/ngsi10/updateContext", headers, body).await;
    assert_eq!((reply.status, reply.json.is_object()), (200, true), "{}", reply.text);
    reply
}

/// Creates, subscribes, shows the subscription, and returns what the subscriber got first.
async fn subscribed(id: &str, shape: Shape) -> Value {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    create(&broker, &[], &result(id, shape, 30, 55)).await;
    let mut interest = interest(id, &sink);
    if !shape.with_type {
        interest["entities"][0].as_object_mut().unwrap().remove("type");
    }
    let subscription = broker.subscribe(&interest).await;
    let shown = broker.get(&format!("/ngsi10/subscription/{subscription}")).await;
    assert_eq!((shown.status, &shown.json["entities"][0]["id"]), (200, &json!(id)));
    until("the first notification", || sink.elements().first().cloned().ok_or_else(|| "none".to_owned())).await
}

#[tokio::test]
async fn subscription_1_to_something_that_is_not_there() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    broker.subscribe(&interest("Result0", &sink)).await;
    broker.set("Other", "Result", "a", 1).await;
    create(&broker, &[], &result("Result0", FULL, 1, 2)).await;
    until("only Result0", || {
        holds(sink.elements().len() == 1 && sink.elements()[0]["entityId"]["id"] == "Result0", format!("{:?}", sink.elements()))
    })
    .await;
}

#[tokio::test]
async fn subscription_2_to_8_with_every_shape_of_entity() {
    for (id, shape) in [
        ("Result1", FULL),
        ("Result2", Shape { temperature: false, ..FULL }),
        ("Result3", Shape { pressure: false, ..FULL }),
        ("Result4", Shape { location: false, ..FULL }),
        ("Result5", Shape { temperature: false, pressure: false, ..FULL }),
        ("Result6", Shape { temperature: false, pressure: false, location: false, ..FULL }),
        ("Result7", Shape { with_type: false, ..FULL }),
    ] {
        let element = subscribed(id, shape).await;
        assert_eq!(element["entityId"]["id"], id);
        assert_eq!(
            element["attributes"].as_array().map_or(0, Vec::len),
            usize::from(shape.temperature) + usize::from(shape.pressure),
            "{element}"
        );
        assert_eq!(element["domainMetadata"].is_array(), shape.location, "{element}");
        assert_eq!(element["entityId"]["type"].is_string(), shape.with_type, "{element}");
    }
}

#[tokio::test]
async fn subscription_9_deleted_and_asked_for_by_a_wrong_path() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let id = broker.subscribe(&interest("Result8", &sink)).await;
    assert_eq!(broker.send("DELETE", &format!("/ngsi10/subscription/{id}"), &[], "").await.status, 200);
    assert_eq!(broker.get(&format!("/ngsi10/subscription{id}")).await.status, 404);
    create(&broker, &[], &result("Result8", FULL, 1, 2)).await;
    let second = broker.subscribe(&interest("Result8", &sink)).await;
    until("only the second", || holds(!sink.received().is_empty(), "none")).await;
    assert!(sink.received().iter().all(|one| one.body["subscriptionId"] == second.as_str()));
}

#[tokio::test]
async fn subscription_10_11_update_of_both_values_is_told() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    create(&broker, &[], &result("Result10", FULL, 30, 55)).await;
    broker.subscribe(&interest("Result10", &sink)).await;
    create(&broker, &[], &result("Result10", FULL, 44, 60)).await;
    until("both states", || holds(sink.elements().len() == 2, format!("{:?}", sink.elements()))).await;
    let values = |element: &Value| (element["attributes"][0]["value"].clone(), element["attributes"][1]["value"].clone());
    assert_eq!(values(&sink.elements()[0]), (json!(30), json!(55)));
    assert_eq!(values(&sink.elements()[1]), (json!(44), json!(60)));
    assert_eq!(sink.received()[0].path, "/v2/notifyContext");
}

#[tokio::test]
async fn subscription_18_to_23_with_every_combination_of_headers() {
    for (number, headers) in [
        (18, vec![PEER]),
        (19, vec![RELIABLE]),
        (20, vec![ORION, PEER]),
        (21, vec![PEER, RELIABLE]),
        (22, vec![ORION, RELIABLE]),
        (23, vec![ORION, PEER, RELIABLE]),
    ] {
        let (broker, sink) = (Broker::alone().await, Sink::start().await);
        let id = format!("Result{number}");
        create(&broker, &headers, &result(&id, FULL, 30, 55)).await;
        let reply = broker.post_with("/ngsi10/subscribeContext", &headers, &interest(&id, &sink)).await;
        assert_eq!((reply.status, reply.json["subscribeResponse"]["subscriptionId"].is_string()), (200, true), "{}", reply.text);
        create(&broker, &headers, &result(&id, FULL, 44, 60)).await;
        until("two notifications", || {
            let count: usize = sink
                .received()
                .iter()
                .map(|one| one.body["contextResponses"].as_array().or(one.body["data"].as_array()).map_or(0, Vec::len))
                .sum();
            holds(count == 2, format!("{:?}", sink.received()))
        })
        .await;
        if headers.contains(&ORION) {
            let first = &sink.received()[0];
            assert_eq!((first.path.as_str(), &first.body["data"][0]["temperature"]["value"]), ("/v2", &json!(30)), "{:?}", first.body);
        }
    }
}

#[tokio::test]
async fn listings_24_and_all_entities() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let id = broker.subscribe(&interest("Result0", &sink)).await;
    create(&broker, &[], &result("Result9", FULL, 1, 2)).await;
    assert!(broker.get("/ngsi10/subscription").await.json[&id].is_object());
    assert_eq!(broker.get("/ngsi10/entity").await.json[0]["entityId"]["id"], "Result9");
}

#[tokio::test]
async fn queries_1_to_4() {
    let broker = Broker::alone().await;
    create(&broker, &[], &result("Result17", FULL, 30, 55)).await;
    let found = broker.post("/ngsi10/queryContext", &json!({"entities": [{"id": "Result17"}]})).await;
    assert_eq!(found.json["contextResponses"][0]["contextElement"]["entityId"]["id"], "Result17");
    let wild = broker.post("/ngsi10/queryContext", &json!({"entities": [{"type": "Result*"}]})).await;
    assert_eq!((wild.status, &wild.json["contextResponses"]), (200, &json!([])));
    let vertices: Vec<Value> = [(34.0, 137.0), (34.0, 139.0), (37.0, 139.0), (37.0, 137.0), (34.0, 137.0)]
        .iter()
        .map(|(latitude, longitude)| json!({"latitude": latitude, "longitude": longitude}))
        .collect();
    let polygon = json!({"entities": [{"id": "Result*", "isPattern": true}], "restriction": {"scopes": [
        {"scopeType": "polygon", "scopeValue": {"vertices": vertices}}]}});
    assert_eq!(broker.post("/ngsi10/queryContext", &polygon).await.json["contextResponses"].as_array().unwrap().len(), 1);
    let both = json!({"entities": [{"id": "Result*", "isPattern": true}], "restriction": {"scopes": [
        {"scopeType": "circle", "scopeValue": {"centerLatitude": 35.7, "centerLongitude": 138.0, "radius": 1000}},
        {"scopeType": "stringQuery", "scopeValue": "city=Heidelberg"}]}});
    assert_eq!(broker.post("/ngsi10/queryContext", &both).await.json["contextResponses"], json!([]));
}

#[tokio::test]
async fn cases_25_to_29_unusual_requests() {
    let broker = Broker::alone().await;
    let mut without_action = result("Result46", FULL, 1, 2);
    without_action.as_object_mut().unwrap().remove("updateAction");
    create(&broker, &[], &without_action).await;
    create(&broker, &[PEER], &result("Result047", FULL, 1, 2)).await;
    let mut delete = result("Result047", FULL, 1, 2);
    delete["updateAction"] = json!("DELETE");
    create(&broker, &[PEER], &delete).await;
    assert_eq!(broker.get("/ngsi10/entity/Result047").await.status, 404);
    create(&broker, &[], &json!({})).await;
    for headers in [&[][..], &[PEER]] {
        let id = broker.subscribe_with(headers, &json!({})).await;
        assert_eq!(broker.get(&format!("/ngsi10/subscription/{id}")).await.status, 200);
    }
}

#[tokio::test]
async fn case_30_a_command_from_a_broker_is_refused_where_upstreams_panics() {
    let broker = Broker::with(Options { compatibility: Compatibility::Fogflow3, ..Options::default() }).await;
    let body = json!({"contextElements": [{"entityId": {"id": "Lamp.1", "type": "Lamp"},
        "attributes": [{"name": "on", "type": "command", "value": ""}]}], "updateAction": "UPDATE"});
    let reply = broker.post_with("/ngsi10/updateContext", &[PEER], &body).await;
    assert_eq!((reply.status, reply.json["Error"].is_string()), (500, true));
    assert_eq!(broker.post("/ngsi10/updateContext", &body).await.status, 200);
}

#[tokio::test]
async fn cases_31_32_a_command_reaches_the_agent_of_the_device_f31() {
    let (broker, agent) = (Broker::alone().await, Sink::start().await);
    let tenant = [("fiware-service", "openiot"), ("fiware-servicepath", "/")];
    let registration = json!({"contextRegistrations": [{"entities": [{"type": "Lamp", "isPattern": "false", "id": "Lamp.001"}],
        "attributes": [{"name": "on", "type": "command"}, {"name": "off", "type": "command"}],
        "contextMetadata": [], "providingApplication": agent.url()}], "duration": "P1Y"});
    let reply = broker.post_with("/NGSI9/registerContext", &tenant, &registration).await;
    assert_eq!((reply.status, reply.json.is_string()), (200, true), "{}", reply.text);
    assert_eq!(broker.post_with("/NGSI9/registerContext", &tenant, &registration).await.status, 409);
    assert_eq!(broker.post("/NGSI9/registerContext", &registration).await.status, 400, "without the headers");
    let body = json!({"contextElements": [{"entityId": {"id": "Lamp.001", "type": "Lamp", "isPattern": false},
        "attributes": [{"name": "on", "type": "command", "value": ""}],
        "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 1, "longitude": 1}}]}], "updateAction": "UPDATE"});
    create(&broker, &tenant, &body).await;
    let sent = until("the command at the agent", || agent.received().first().cloned().ok_or_else(|| "none".to_owned())).await;
    assert_eq!(sent.path, "/ngsi10/updateContext");
    assert_eq!((sent.headers["fiware-service"].to_str().unwrap(), sent.headers["fiware-servicepath"].to_str().unwrap()), ("openiot", "/"));
    assert_eq!(
        sent.body,
        json!({"contextElements": [{"id": "Lamp.001", "type": "Lamp", "isPattern": "false",
        "attributes": [{"name": "on", "type": "command", "value": ""}]}], "updateAction": "UPDATE"})
    );
    assert_eq!(broker.send("GET", "/ngsi10/entity/Lamp.001", &tenant, "").await.status, 404, "a command is not stored");
    let shown = broker.send("GET", "/NGSI9/registration/Lamp.001.openiot.~", &tenant, "").await;
    assert_eq!((shown.status, shown.json.is_object()), (200, true));
    assert_eq!(broker.send("DELETE", "/NGSI9/registration/Lamp.001.openiot.~", &tenant, "").await.status, 200);
    assert_eq!(broker.send("GET", "/NGSI9/registration/Lamp.001.openiot.~", &tenant, "").await.status, 404);
    // An update payload where a registration is expected names no entity: nothing is registered, nothing breaks.
    assert_eq!(broker.post_with("/NGSI9/registerContext", &tenant, &result("Lamp.2", FULL, 1, 2)).await.status, 200);
}

#[tokio::test]
async fn cases_33_to_38() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let tenant = [("fiware-service", "openiot"), ("fiware-servicepath", "/test")];
    create(&broker, &tenant, &result("Result053", FULL, 1, 2)).await;
    let mut delete = result("Result053", FULL, 1, 2);
    delete["updateAction"] = json!("DELETE");
    let gone = create(&broker, &tenant, &delete).await;
    assert_eq!(gone.json["contextResponses"][0]["statusCode"]["code"], 200);
    assert_eq!(broker.get("/ngsi10/entity/Result053").await.status, 404);
    assert_eq!(broker.post("/ngsi10/notifyContext", &json!({"subscriptionId": "x", "originator": "localhost"})).await.status, 200);
    let id = broker.subscribe(&interest("Result54", &sink)).await;
    assert_eq!(broker.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await.status, 200);
    assert_eq!(broker.post("/v1/updateContext", &result("Result56", FULL, 1, 2)).await.status, 200);
    assert_eq!(broker.get("/ngsi10/entity/Result56").await.status, 200);
    create(&broker, &[], &result("Result14", FULL, 30, 55)).await;
    assert_eq!(broker.get("/ngsi10/entity/Result14").await.status, 200);
    assert_eq!(broker.get("/ngsi10/entity/Result14/pressure").await.json, json!({"name": "pressure", "type": "float", "value": 55}));
    assert_eq!(broker.get("/ngsi10/entity/Result14/nothing").await.status, 404);
}
