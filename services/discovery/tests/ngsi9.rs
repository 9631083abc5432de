//! The routes of NGSI-9 over HTTP: what upstream's clients send, and what took upstream down.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use reqwest::Method;
use serde_json::json;
use support::{Node, Sink, cars, eventually, registration};

const BROKER: &str = "http://10.0.0.5:8070/ngsi10";

#[tokio::test]
async fn a_registration_is_found_as_soon_as_it_was_answered() {
    let node = Node::start().await;
    let request = json!({"contextRegistrations": [registration(BROKER, json!({"id": "Car.1", "type": "Car", "attributes": ["speed"]}))],
        "duration": "PT10M", "registrationId": "r1"});
    let reply = node.post("/ngsi9/registerContext", &request).await;
    assert_eq!(reply, json!({"duration": "PT10M", "registrationId": "r1", "errorCode": {"code": 200, "reasonPhrase": "OK"}}));
    let found = node.post("/ngsi9/discoverContextAvailability", &cars()).await;
    let expected = json!({"entities": [{"type": "Car", "id": "Car.1"}], "providingApplication": BROKER});
    assert_eq!(found["contextRegistrationResponses"][0]["contextRegistration"], expected);
    let shown = node.get("/ngsi9/registration/Car.1").await;
    assert_eq!(shown["ID"], "Car.1");
    assert_eq!(shown["ProvidingApplication"], BROKER);
    assert_eq!(shown["AttributesList"]["speed"], json!({"name": "speed", "type": "float", "isDomain": false}));
    assert_eq!(node.get("/etype").await, json!(["Car"]));
    assert_eq!(node.get("/ngsi9/registration/Car.2").await, json!(null));
    assert_eq!(node.request(Method::DELETE, "/ngsi9/registration/Car.1", None).await, (200, json!("")));
    assert!(node.discover(&cars()).await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn fault_1_a_single_subscription_can_be_read() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let id = node.subscribe(&sink, &json!({"attributes": ["speed"]})).await;
    let shown = node.get(&format!("/ngsi9/subscription/{id}")).await;
    assert_eq!((shown["subscriptionId"].as_str(), shown["attributes"][0].as_str()), (Some(id.as_str()), Some("speed")));
    assert_eq!(node.get("/ngsi9/subscription").await[&id], shown);
    assert_eq!(node.request(Method::GET, "/ngsi9/subscription/none", None).await.0, 404);
    let reply = node.post("/ngsi9/unsubscribeContextAvailability", &json!({"subscriptionId": id})).await;
    assert_eq!(reply, json!({"subscriptionId": id, "statusCode": {"code": 200, "details": "OK"}}));
    assert_eq!(node.get("/ngsi9/subscription").await, json!({}));
    node.stop().await;
}

#[tokio::test]
async fn faults_2_and_3_wrong_scopes_are_refused_and_discovery_lives_on() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let scopes = [
        json!({"scopeType": "stringQuery", "scopeValue": "city"}),
        json!({"scopeType": "stringQuery", "scopeValue": ""}),
        json!({"scopeType": "polygon", "scopeValue": {"vertices": []}}),
        json!({"scopeType": "Circle", "scopeValue": {"radius": 5}}),
        json!({"scopeType": "circle", "scopeValue": "here"}),
        json!({"scopeType": "nearby", "scopeValue": {"latitude": 1, "longitude": 1, "limit": -1}}),
    ];
    for scope in scopes {
        for path in ["/ngsi9/discoverContextAvailability", "/ngsi9/subscribeContextAvailability"] {
            let body = json!({"entities": [{"type": "Car", "isPattern": true}], "reference": sink.url, "restriction": {"scopes": [scope]}});
            let (status, reply) = node.request(Method::POST, path, Some(&body)).await;
            assert!(status == 400 && reply["Error"].is_string(), "{path} {scope}: {status} {reply}");
        }
    }
    for body in [json!({"entities": [{"id": "(", "isPattern": true}]}), json!({"entities": "all"}), json!([])] {
        let (status, reply) = node.request(Method::POST, "/ngsi9/discoverContextAvailability", Some(&body)).await;
        assert!(status == 400 && reply["Error"].is_string(), "{body}: {status} {reply}");
    }
    let id = node.subscribe(&sink, &circle("Circle", 1000.0)).await;
    node.register(BROKER, json!({"id": "Car.1", "type": "Car", "location": [49.4, 8.6]})).await;
    sink.hears(&[(301, "Car.1")]).await;
    assert_eq!(sink.notifications()[0]["subscribeId"], json!(id));
    node.stop().await;
}

fn circle(spelling: &str, radius: f64) -> serde_json::Value {
    let value = json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": radius});
    json!({"restriction": {"scopes": [{"scopeType": spelling, "scopeValue": value}]}})
}

#[tokio::test]
async fn fault_4_an_ld_polygon_in_a_subscription_takes_entities_at_points() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let polygon = json!([[[8, 49], [9, 49], [9, 50], [8, 50], [8, 49]]]);
    let restriction = json!({"geometry": "Polygon", "cordinates": polygon, "geoRel": "within", "restrictionType": "ld"});
    node.subscribe(&sink, &json!({"restriction": restriction})).await;
    node.register(BROKER, json!({"id": "outside", "type": "Car", "location": [52.5, 13.4]})).await;
    node.register(BROKER, json!({"id": "inside", "type": "Car", "location": [49.4, 8.6]})).await;
    sink.hears(&[(301, "inside")]).await;
    node.stop().await;
}

#[tokio::test]
async fn fault_18_reading_an_ld_registration_leaves_the_stored_id_alone() {
    let node = Node::start().await;
    node.register(BROKER, json!({"id": "urn:ngsi-ld:Car:A1@openiot", "type": "Car"})).await;
    let client = reqwest::Client::new();
    let url = format!("{}/ngsi9/ngsi-ld/registration/urn:ngsi-ld:Car:A1", node.base);
    let shown: serde_json::Value = client.get(url).header("fiware-service", "openiot").send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["ID"], "urn:ngsi-ld:Car:A1");
    assert_eq!(node.discover(&cars()).await, ["urn:ngsi-ld:Car:A1@openiot"]);
    assert_eq!(node.get("/ngsi9/ngsi-ld/registration/urn:ngsi-ld:Car:B2").await, json!(null));
    node.stop().await;
}

#[tokio::test]
async fn faults_19_and_36_nearby_is_ranked_limited_to_one_and_leaves_out_what_has_no_place() {
    let node = Node::start().await;
    for (id, latitude) in [("far", 50.0), ("near", 49.41), ("middle", 49.6)] {
        node.register(&format!("http://{id}/ngsi10"), json!({"id": id, "type": "IoTBroker", "location": [latitude, 8.6]})).await;
    }
    node.register(BROKER, json!({"id": "nowhere", "type": "IoTBroker"})).await;
    let nearby = |limit: Option<u32>| {
        let mut value = json!({"latitude": 49.4, "longitude": 8.6});
        if let Some(limit) = limit {
            value["limit"] = json!(limit);
        }
        json!({"entities": [{"type": "IoTBroker", "isPattern": true}], "restriction": {"scopes": [{"scopeType": "nearby", "scopeValue": value}]}})
    };
    assert_eq!(node.discover(&nearby(None)).await, ["near"]);
    assert_eq!(node.discover(&nearby(Some(0))).await, ["near"]);
    assert_eq!(node.discover(&nearby(Some(10))).await, ["near", "middle", "far"]);
    let reply = node.post("/ngsi9/discoverContextAvailability", &nearby(Some(2))).await;
    let first = &reply["contextRegistrationResponses"][0]["contextRegistration"];
    assert_eq!(first["providingApplication"], "http://near/ngsi10");
    assert_eq!(first["contextMetadata"][0]["name"], "distance");
    assert!((1000.0..1200.0).contains(&first["contextMetadata"][0]["value"].as_f64().unwrap()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fault_23_one_entity_is_registered_read_and_removed_by_many_at_once() {
    let node = std::sync::Arc::new(Node::start().await);
    let workers = (0..8).map(|worker| {
        let node = std::sync::Arc::clone(&node);
        tokio::spawn(async move {
            for round in 0..40 {
                let location = [f64::from(worker), f64::from(round)];
                node.register(BROKER, json!({"id": "Car.1", "type": "Car", "location": location, "attributes": [format!("a{worker}")]}))
                    .await;
                node.get("/ngsi9/registration/Car.1").await;
                node.discover(&cars()).await;
                if round % 10 == worker {
                    node.request(Method::DELETE, "/ngsi9/registration/Car.1", None).await;
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    std::sync::Arc::into_inner(node).unwrap().stop().await;
}

#[tokio::test]
async fn string_queries_compare_numbers_and_booleans_by_value() {
    let node = Node::start().await;
    let metadata = json!([{"name": "floor", "type": "integer", "value": 2}, {"name": "open", "type": "boolean", "value": true},
        {"name": "city", "type": "string", "value": "Heidelberg"}]);
    node.register(BROKER, json!({"id": "Car.1", "type": "Car", "metadata": metadata})).await;
    let query = |text: &str| json!({"entities": [{"type": "Car", "isPattern": true}], "restriction": {"scopes": [{"scopeType": "stringQuery", "scopeValue": text}]}});
    assert_eq!(node.discover(&query("floor=2;open=true;city=Heidelberg")).await, ["Car.1"]);
    for text in ["floor=3", "open=false", "city=Bonn", "street=Main"] {
        assert!(node.discover(&query(text)).await.is_empty(), "{text}");
    }
    node.stop().await;
}

#[tokio::test]
async fn upstream_registrations_merge_metadata_and_replace_attributes() {
    let node = Node::start().await;
    node.register(BROKER, json!({"id": "Car.1", "type": "Car", "attributes": ["speed"], "location": [1, 2]})).await;
    let city = json!([{"name": "city", "type": "string", "value": "Bonn"}]);
    node.register(BROKER, json!({"id": "Car.1", "attributes": ["fuel"], "metadata": city})).await;
    let shown = node.get("/ngsi9/registration/Car.1").await;
    assert_eq!(shown["Type"], "Car");
    assert_eq!(shown["AttributesList"].as_object().unwrap().keys().collect::<Vec<_>>(), ["fuel"]);
    assert_eq!(shown["MetadataList"].as_object().unwrap().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let node = Node::start().await;
    let mut of_openiot = registration(BROKER, json!({"id": "Car.1", "type": "Car"}));
    of_openiot["Tenant"] = json!("openiot");
    node.post("/ngsi9/registerContext", &json!({"contextRegistrations": [of_openiot]})).await;
    node.register(BROKER, json!({"id": "Car.2", "type": "Car"})).await;
    assert_eq!(node.discover(&cars()).await, ["Car.2"]);
    let mut query = cars();
    query["Tenant"] = json!("openiot");
    assert_eq!(node.discover(&query).await, ["Car.1"]);
    assert_eq!(node.get("/ngsi9/registration/Car.1").await, json!(null));
    assert_eq!(node.get("/ngsi9/registration/Car.1?tenant=openiot").await["ID"], "Car.1");
    node.stop().await;
}

#[tokio::test]
async fn fault_37_subscriptions_and_registrations_end_with_their_duration() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let id = node.subscribe(&sink, &json!({"duration": "PT0.3S"})).await;
    let request =
        json!({"contextRegistrations": [registration("http://nobody/ngsi10", json!({"id": "Car.1", "type": "Car"}))], "duration": "PT1S"});
    node.post("/ngsi9/registerContext", &request).await;
    assert_eq!(node.discover(&cars()).await, ["Car.1"]);
    eventually(|| node.request(Method::GET, "/ngsi9/subscription", None), |(_, all)| all.get(&id).is_none()).await;
    eventually(|| async { node.discover(&cars()).await }, Vec::is_empty).await;
    let bad = json!({"entities": [{"type": "Car", "isPattern": true}], "reference": sink.url, "duration": "soon"});
    assert_eq!(node.request(Method::POST, "/ngsi9/subscribeContextAvailability", Some(&bad)).await.0, 400);
    node.stop().await;
}

#[tokio::test]
async fn unknown_routes_and_methods_are_answered_in_the_form_of_v1() {
    let node = Node::start().await;
    assert_eq!(node.get("/ngsi9/status").await, json!("ok"));
    for (method, path, status) in [(Method::GET, "/ngsi9/nothing", 404), (Method::PUT, "/ngsi9/status", 405)] {
        let (found, body) = node.request(method, path, None).await;
        assert!(found == status && body["Error"].is_string(), "{path}: {found} {body}");
    }
    let (status, body) =
        node.request(Method::POST, "/ngsi9/registerContext", Some(&json!({"contextRegistrations": [{"entities": [{"id": ""}]}]}))).await;
    assert!(status == 400 && body["Error"].is_string());
    node.stop().await;
}

#[tokio::test]
async fn fault_25_no_subscription_makes_discovery_call_a_metadata_service() {
    let node = Node::start().await;
    for reference in ["http://169.254.169.254/latest", "http://[fe80::1]:8080/x", "http://metadata.google.internal/", "nowhere"] {
        let bad = json!({"entities": [{"type": "Car", "isPattern": true}], "reference": reference});
        assert_eq!(node.request(Method::POST, "/ngsi9/subscribeContextAvailability", Some(&bad)).await.0, 400, "{reference}");
    }
    node.stop().await;
}

#[tokio::test]
async fn an_id_is_registered_once_on_each_service_path_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_in(dir.path()).await;
    let on = |path: &str, url: &str| {
        let mut registration = registration(url, json!({"id": "Car.1", "type": "Car"}));
        registration["ServicePath"] = json!(path);
        json!({"contextRegistrations": [registration]})
    };
    for (path, url) in [("", "http://top/ngsi10"), ("/north", "http://north/ngsi10"), ("/north", "http://north2/ngsi10")] {
        node.post("/ngsi9/registerContext", &on(path, url)).await;
    }
    assert_eq!(node.request(Method::POST, "/ngsi9/registerContext", Some(&on("north", "http://x/ngsi10"))).await.0, 400);
    node.stop().await;
    let node = Node::start_in(dir.path()).await;
    assert_eq!(node.discover(&cars()).await, ["Car.1", "Car.1"]);
    let mut one = cars();
    one["ServicePath"] = json!("/north");
    let found = node.post("/ngsi9/discoverContextAvailability", &one).await;
    let registration = &found["contextRegistrationResponses"][0]["contextRegistration"];
    assert_eq!((&registration["ServicePath"], &registration["providingApplication"]), (&json!("/north"), &json!("http://north2/ngsi10")));
    assert_eq!(node.get("/ngsi9/registration/Car.1?servicePath=/north").await["ProvidingApplication"], "http://north2/ngsi10");
    let removed = json!({"contextRegistrations": [], "removed": [{"id": "Car.1", "ServicePath": "/north"}]});
    node.post("/ngsi9/registerContext", &removed).await;
    assert_eq!(node.get("/ngsi9/registration/Car.1").await["ProvidingApplication"], "http://top/ngsi10");
    node.stop().await;
}

#[tokio::test]
async fn an_entity_of_several_types_is_found_and_watched_by_each() {
    let (node, sink) = (Node::start().await, Sink::start().await);
    let mut both = registration("http://a/ngsi10", json!({"id": "e1", "type": "Vehicle"}));
    both["otherTypes"] = json!(["Car"]);
    node.subscribe(&sink, &json!({})).await;
    node.post("/ngsi9/registerContext", &json!({"contextRegistrations": [both]})).await;
    sink.hears(&[(301, "e1")]).await;
    assert_eq!(node.discover(&cars()).await, ["e1"]);
    assert_eq!(node.discover(&json!({"entities": [{"type": "Vehicle", "isPattern": true}]})).await, ["e1"]);
    assert_eq!(node.get("/etype").await, json!(["Car", "Vehicle"]));
    node.request(Method::DELETE, "/ngsi9/registration/e1", None).await;
    assert!(node.discover(&cars()).await.is_empty());
    node.stop().await;
}
