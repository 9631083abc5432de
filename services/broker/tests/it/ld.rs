//! NGSI-LD through the real router.

use fogflow_config::Compatibility;
use serde_json::{Value, json};

use crate::harness::{Broker, Options, Reply, holds, until};
use crate::sink::Sink;

const JSON: (&str, &str) = ("content-type", "application/json");
const LD: (&str, &str) = ("content-type", "application/ld+json");
const WANT_LD: (&str, &str) = ("accept", "application/ld+json");

fn vehicle(id: &str, speed: impl Into<Value>) -> Value {
    json!({
        "id": format!("urn:ngsi-ld:Vehicle:{id}"), "type": "Vehicle",
        "speed": {"type": "Property", "value": speed.into(), "unitCode": "KMH"},
        "isParked": {"type": "Relationship", "object": "urn:ngsi-ld:Parking:1"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8.6, 49.4]}},
    })
}

fn path(id: &str) -> String {
    format!("/ngsi-ld/v1/entities/urn:ngsi-ld:Vehicle:{id}")
}

async fn send(broker: &Broker, method: &str, path: &str, body: &Value) -> Reply {
    broker.send(method, path, &[JSON], body.to_string()).await
}

async fn create(broker: &Broker, entity: &Value) {
    let reply = send(broker, "POST", "/ngsi-ld/v1/entities", entity).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
}

fn problem(reply: &Reply) -> &str {
    reply.json["type"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default()
}

/// F 32: NGSI-LD: ids with a suffix, attribute routes that found nothing, one watched attribute kept, miles and swapped coordinates.
#[tokio::test]
async fn an_entity_lives_through_all_of_its_operations() {
    let broker = Broker::alone().await;
    create(&broker, &vehicle("1", 50)).await;
    let again = send(&broker, "POST", "/ngsi-ld/v1/entities/", &vehicle("1", 50)).await;
    assert_eq!((again.status, problem(&again)), (409, "AlreadyExists"));
    assert_eq!(broker.get(&path("1")).await.json, vehicle("1", 50));
    let simplified = broker.get(&format!("{}?options=keyValues&attrs=speed", path("1"))).await.json;
    assert_eq!(simplified, json!({"id": "urn:ngsi-ld:Vehicle:1", "type": "Vehicle", "speed": 50}));

    let attrs = format!("{}/attrs", path("1"));
    let brand = json!({"brand": {"type": "Property", "value": "A"}});
    assert_eq!(send(&broker, "POST", &attrs, &brand).await.status, 204);
    let kept = send(&broker, "POST", &format!("{attrs}?options=noOverwrite"), &brand).await;
    assert_eq!((kept.status, kept.json["notUpdated"][0]["attributeName"].as_str().unwrap().ends_with("/brand")), (207, true));
    assert_eq!(send(&broker, "PATCH", &attrs, &json!({"brand": "B"})).await.status, 204);
    assert_eq!(send(&broker, "PATCH", &format!("{attrs}/speed"), &json!({"value": 60})).await.status, 204);
    let speed = broker.get(&path("1")).await.json["speed"].clone();
    assert_eq!(speed, json!({"type": "Property", "value": 60, "unitCode": "KMH"}));
    assert_eq!(send(&broker, "PATCH", &format!("{attrs}/none"), &json!({"value": 60})).await.status, 404);
    assert_eq!(send(&broker, "PUT", &format!("{attrs}/speed"), &json!({"type": "Property", "value": 70})).await.status, 204);
    assert_eq!(broker.get(&path("1")).await.json["speed"], json!({"type": "Property", "value": 70}));
    assert_eq!(broker.send("DELETE", &format!("{attrs}/brand"), &[], "").await.status, 204);
    assert_eq!(broker.send("DELETE", &format!("{attrs}/brand"), &[], "").await.status, 404);

    let patch = json!({"speed": {"value": 80}, "isParked": "urn:ngsi-ld:null"});
    assert_eq!(send(&broker, "PATCH", &path("1"), &patch).await.status, 204);
    let merged = broker.get(&path("1")).await.json;
    assert_eq!((merged["speed"]["value"].clone(), merged.get("isParked")), (json!(80), None));
    assert_eq!(send(&broker, "PUT", &path("1"), &json!({"type": "Vehicle", "a": 1})).await.status, 204);
    assert_eq!(broker.get(&path("1")).await.json["a"]["value"], 1);
    assert_eq!(broker.send("DELETE", &path("1"), &[], "").await.status, 204);
    let gone = broker.get(&path("1")).await;
    assert_eq!((gone.status, problem(&gone)), (404, "ResourceNotFound"));
}

#[tokio::test]
async fn contexts_expand_what_comes_in_and_compact_what_goes_out() {
    let broker = Broker::alone().await;
    let context = json!([{"speed": "https://example.org/speed"}, "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"]);
    let mut entity = vehicle("1", 50);
    entity["@context"] = context.clone();
    assert_eq!(broker.send("POST", "/ngsi-ld/v1/entities", &[LD], entity.to_string()).await.status, 201);
    assert_eq!(broker.get(&path("1")).await.json["https://example.org/speed"]["value"], 50);

    let hosted = broker.send("POST", "/ngsi-ld/v1/jsonldContexts", &[JSON], json!({ "@context": context }).to_string()).await;
    assert_eq!(hosted.status, 201, "{}", hosted.text);
    let list = broker.get("/ngsi-ld/v1/jsonldContexts").await.json;
    let url = list[0].as_str().unwrap();
    let link = format!("<{url}>; rel=\"http://www.w3.org/ns/json-ld#context\"; type=\"application/ld+json\"");
    let shown = broker.send("GET", &path("1"), &[("link", &link), WANT_LD], "").await.json;
    assert_eq!((shown["speed"]["value"].clone(), shown["@context"].as_str()), (json!(50), Some(url)));
    let found = broker.send("GET", "/ngsi-ld/v1/entities?q=speed==50", &[("link", &link)], "").await.json;
    assert_eq!(found.as_array().unwrap().len(), 1);

    let missing = broker.send("POST", "/ngsi-ld/v1/entities", &[LD], vehicle("2", 1).to_string()).await;
    assert_eq!((missing.status, problem(&missing)), (400, "BadRequestData"));
    let nowhere = "<http://127.0.0.1:9/c>; rel=\"http://www.w3.org/ns/json-ld#context\"";
    let lost = broker.send("POST", "/ngsi-ld/v1/entities", &[JSON, ("link", nowhere)], vehicle("2", 1).to_string()).await;
    assert_eq!((lost.status, problem(&lost)), (503, "LdContextNotAvailable"));
}

#[tokio::test]
async fn queries_select_page_count_and_order() {
    let broker = Broker::alone().await;
    for (id, speed) in [("1", 30), ("2", 10), ("3", 20)] {
        create(&broker, &vehicle(id, speed)).await;
    }
    let entities = "/ngsi-ld/v1/entities?";
    let near = "georel=near;maxDistance==100&geometry=Point&coordinates=[8.6,49.4]";
    for (query, expected) in [
        ("type=Vehicle", "123"),
        ("type=Vehicle,Bus", "123"),
        ("type=Bus", ""),
        ("attrs=speed", "123"),
        ("type=Vehicle&id=urn:ngsi-ld:Vehicle:2", "2"),
        ("type=Vehicle&idPattern=.*[12]$", "12"),
        ("q=speed>15", "13"),
        ("q=isParked==urn:ngsi-ld:Parking:1;speed<15", "2"),
        (near, "123"),
        ("type=Vehicle&limit=2", "12"),
        ("type=Vehicle&limit=2&offset=2", "3"),
        ("type=Vehicle&orderBy=speed", "231"),
        ("type=Vehicle&orderBy=speed;desc&limit=1", "1"),
        ("local=true", "123"),
    ] {
        let reply = broker.get(&format!("{entities}{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text);
        let ids: String =
            reply.json.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    for query in ["", "limit=0&type=Vehicle", "q=speed==", "type=", "idPattern=(&type=T", "georel=near&type=T", "pick=id&attrs=a&type=T"] {
        let reply = broker.get(&format!("{entities}{query}")).await;
        assert_eq!((reply.status, problem(&reply)), (400, "BadRequestData"), "{query}: {}", reply.text);
    }
    let unknown = broker.get(&format!("{entities}type=T&tipe=x")).await;
    assert_eq!((unknown.status, problem(&unknown)), (400, "InvalidRequest"));
    let counted = broker.http.get(broker.url(&format!("{entities}type=Vehicle&limit=1&count=true"))).send().await.unwrap();
    assert_eq!(counted.headers()["ngsild-results-count"], "3");
    let links: Vec<_> = counted.headers().get_all("link").iter().map(|link| link.to_str().unwrap().to_owned()).collect();
    assert!(links.iter().any(|link| link.contains("offset=1") && link.contains("rel=\"next\"")), "{links:?}");
    let body = json!({"type": "Query", "entities": [{"type": "Vehicle"}], "q": "speed>15", "attrs": ["speed"]});
    let posted = send(&broker, "POST", "/ngsi-ld/v1/entityOperations/query", &body).await;
    assert_eq!((posted.status, posted.json.as_array().unwrap().len()), (200, 2), "{}", posted.text);
    assert!(posted.json[0].get("location").is_none());
    let purged = broker.send("DELETE", &format!("{entities}q=speed>15"), &[], "").await;
    assert_eq!(purged.status, 204);
    assert_eq!(broker.get(&format!("{entities}type=Vehicle")).await.json.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn f4_a_polygon_query_against_points_is_answered() {
    let broker = Broker::alone().await;
    create(&broker, &vehicle("1", 1)).await;
    let square = "[[[8,49],[9,49],[9,50],[8,50],[8,49]]]";
    for (georel, count) in [("within", 1), ("disjoint", 0), ("intersects", 1), ("overlaps", 0), ("equals", 0), ("contains", 0)] {
        let query = format!("/ngsi-ld/v1/entities?type=Vehicle&georel={georel}&geometry=Polygon&coordinates={square}");
        assert_eq!(broker.get(&query).await.json.as_array().map(Vec::len), Some(count), "{georel}");
    }
}

#[tokio::test]
async fn batches_say_what_became_of_each_entity() {
    let broker = Broker::alone().await;
    let batch = |operation: &str| format!("/ngsi-ld/v1/entityOperations/{operation}");
    let made = send(&broker, "POST", &batch("create"), &json!([vehicle("1", 1), vehicle("2", 2)])).await;
    assert_eq!((made.status, made.json.as_array().unwrap().len()), (201, 2));
    let mixed = send(&broker, "POST", &batch("create"), &json!([vehicle("2", 1), vehicle("3", 2), {"id": "urn:x"}])).await;
    assert_eq!((mixed.status, mixed.json["success"].clone()), (207, json!(["urn:ngsi-ld:Vehicle:3"])));
    assert_eq!(mixed.json["errors"].as_array().unwrap().len(), 2);
    let upserted = send(&broker, "POST", &batch("upsert"), &json!([vehicle("1", 5), vehicle("4", 5)])).await;
    assert_eq!((upserted.status, upserted.json), (201, json!(["urn:ngsi-ld:Vehicle:4"])));
    assert_eq!(send(&broker, "POST", &batch("upsert"), &json!([vehicle("1", 5)])).await.status, 204);
    assert_eq!(send(&broker, "POST", &batch("update"), &json!([{"id": "urn:ngsi-ld:Vehicle:1", "new": 1}])).await.status, 204);
    assert_eq!(
        send(&broker, "POST", &batch("merge"), &json!([{"id": "urn:ngsi-ld:Vehicle:1", "new": "urn:ngsi-ld:null"}])).await.status,
        204
    );
    assert!(broker.get(&path("1")).await.json.get("new").is_none());
    let deleted = send(&broker, "POST", &batch("delete"), &json!(["urn:ngsi-ld:Vehicle:1", "urn:ngsi-ld:Vehicle:9"])).await;
    assert_eq!((deleted.status, deleted.json["success"].clone()), (207, json!(["urn:ngsi-ld:Vehicle:1"])));
    assert_eq!(send(&broker, "POST", &batch("create"), &json!({})).await.status, 400);
    assert_eq!(broker.send("POST", &batch("create"), &[("content-type", "text/plain")], "[]").await.status, 415);
}

fn interest(sink: &Sink) -> Value {
    json!({
        "id": "urn:ngsi-ld:Subscription:1", "type": "Subscription", "entities": [{"type": "Vehicle"}], "watchedAttributes": ["speed"],
        "q": "speed>40",
        "notification": {"attributes": ["speed"], "format": "keyValues",
            "endpoint": {"uri": format!("{}/n", sink.url()), "accept": "application/json", "receiverInfo": [{"key": "X-Key", "value": "v"}]}},
    })
}

/// F 32: NGSI-LD: ids with a suffix, attribute routes that found nothing, one watched attribute kept, miles and swapped coordinates.
#[tokio::test]
async fn a_subscription_is_told_shown_changed_and_ended() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let made = send(&broker, "POST", "/ngsi-ld/v1/subscriptions", &interest(&sink)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(send(&broker, "POST", "/ngsi-ld/v1/subscriptions", &interest(&sink)).await.status, 409);
    create(&broker, &vehicle("1", 30)).await;
    assert_eq!(send(&broker, "PATCH", &format!("{}/attrs/speed", path("1")), &json!({"value": 50})).await.status, 204);
    until("a notification", || holds(!sink.received().is_empty(), "none")).await;
    let told = sink.received().remove(0);
    assert_eq!((told.path.as_str(), told.headers["x-key"].to_str().unwrap()), ("/n", "v"));
    assert!(told.headers["link"].to_str().unwrap().contains("json-ld#context"));
    assert_eq!(told.body["type"], "Notification");
    assert_eq!(told.body["subscriptionId"], "urn:ngsi-ld:Subscription:1");
    assert_eq!(told.body["data"], json!([{"id": "urn:ngsi-ld:Vehicle:1", "type": "Vehicle", "speed": 50}]));

    let one = "/ngsi-ld/v1/subscriptions/urn:ngsi-ld:Subscription:1";
    let shown = broker.get(one).await.json;
    assert_eq!((shown["q"].clone(), shown["status"].as_str()), (json!("speed>40"), Some("active")));
    assert_eq!(send(&broker, "PATCH", one, &json!({"isActive": false})).await.status, 204);
    assert_eq!(broker.get(one).await.json["status"], "paused");
    assert_eq!(send(&broker, "PATCH", one, &json!({"q": "=="})).await.status, 400);
    assert_eq!(broker.get("/ngsi-ld/v1/subscriptions").await.json.as_array().unwrap().len(), 1);
    assert_eq!(broker.send("DELETE", one, &[], "").await.status, 204);
    assert_eq!(broker.send("DELETE", one, &[], "").await.status, 404);
}

#[tokio::test]
async fn destination_ngsi_ld_of_v1_sends_upserts_with_uris() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    let body = json!({"entities": [{"type": "Temperature", "isPattern": true}], "reference": sink.url()});
    broker.subscribe_with(&[("destination", "NGSI-LD")], &body).await;
    broker.set("Device.1", "Temperature", "temp", 22.5).await;
    until("the upsert", || holds(!sink.received().is_empty(), "none")).await;
    let told = sink.received().remove(0);
    assert_eq!(told.path, "/ngsi-ld/v1/entityOperations/upsert");
    let expected = json!([{"id": "urn:ngsi-ld:Temperature:Device.1", "type": "Temperature", "temp": {"type": "Property", "value": 22.5}}]);
    assert_eq!(told.body, expected);
    let by_uri = broker.get("/ngsi-ld/v1/entities/urn:ngsi-ld:Temperature:Device.1").await;
    assert_eq!((by_uri.status, by_uri.json["id"].as_str()), (200, Some("Device.1")));
}

#[tokio::test]
async fn types_and_attributes_are_listed() {
    let broker = Broker::alone().await;
    create(&broker, &vehicle("1", 1)).await;
    assert_eq!(broker.get("/ngsi-ld/v1/types").await.json["typeList"], json!(["Vehicle"]));
    let info = broker.get("/ngsi-ld/v1/types/Vehicle").await.json;
    assert_eq!((info["entityCount"].clone(), info["attributeDetails"].as_array().unwrap().len()), (json!(1), 3));
    assert_eq!(broker.get("/ngsi-ld/v1/types/None").await.status, 404);
    assert_eq!(broker.get("/ngsi-ld/v1/attributes").await.json["attributeList"], json!(["isParked", "location", "speed"]));
    assert_eq!(broker.get("/ngsi-ld/v1/attributes/speed").await.json["attributeTypes"], json!(["Property"]));
}

#[tokio::test]
async fn media_types_are_negotiated() {
    let broker = Broker::alone().await;
    create(&broker, &vehicle("1", 1)).await;
    let as_geo = broker.send("GET", &path("1"), &[("accept", "application/geo+json")], "").await.json;
    assert_eq!((as_geo["type"].as_str(), as_geo["geometry"]["type"].as_str()), (Some("Feature"), Some("Point")));
    assert_eq!(broker.send("GET", &path("1"), &[("accept", "text/html")], "").await.status, 406);
    assert_eq!(broker.send("POST", "/ngsi-ld/v1/entities", &[("content-type", "text/html")], "{}").await.status, 415);
    let bad = send(&broker, "POST", "/ngsi-ld/v1/entities", &json!({"id": "urn:a", "type": "T", "p": {"type": "XYZ", "value": 1}})).await;
    assert!(bad.json["detail"].as_str().unwrap().starts_with("p.type"), "{}", bad.text);
    let tenant = broker.send("GET", &path("1"), &[("ngsild-tenant", "nobody")], "").await;
    assert_eq!((tenant.status, problem(&tenant)), (404, "NonexistentTenant"));
}

/// Section 15.3 of the reference: the codes that upstream's tests ask for.
#[tokio::test]
async fn upstreams_codes_are_given_in_compatibility_mode() {
    let broker = Broker::with(Options { compatibility: Compatibility::Fogflow3, ..Options::default() }).await;
    let entities = "/ngsi-ld/v1/entities/";
    assert_eq!(send(&broker, "POST", entities, &vehicle("A100", 1)).await.status, 201);
    assert_eq!(send(&broker, "POST", entities, &vehicle("A100", 2)).await.status, 201);
    assert_eq!(send(&broker, "POST", entities, &json!({"id": "Vehicle:A800", "type": "Vehicle"})).await.status, 400);
    assert_eq!(broker.send("POST", entities, &[], vehicle("A1", 1).to_string()).await.status, 400);
    assert_eq!(send(&broker, "POST", entities, &json!({})).await.status, 400);
    let upsert = "/ngsi-ld/v1/entityOperations/upsert";
    assert_eq!(send(&broker, "POST", upsert, &json!([vehicle("A1", 1)])).await.status, 204);
    assert_eq!(send(&broker, "POST", upsert, &json!([{}])).await.status, 404);
    assert_eq!(send(&broker, "POST", upsert, &json!([vehicle("A1", 1), {}])).await.status, 207);
    assert_eq!(send(&broker, "POST", upsert, &vehicle("A1", 1)).await.status, 500);
    assert_eq!(broker.get("/ngsi-ld/v1/entities?type=None").await.status, 404);
    let subscription = json!({"id": "urn:s", "type": "Subscription", "entities": [{"idPattern": ".*", "type": "Vehicle"}],
        "geoQ": {"geometry": " ", "georel": "within", "coordinates": [], "geoproperty": " "}});
    let subscriptions = "/ngsi-ld/v1/subscriptions/";
    assert_eq!(send(&broker, "POST", subscriptions, &subscription).await.status, 201);
    assert_eq!(send(&broker, "POST", subscriptions, &subscription).await.status, 201);
    assert_eq!(send(&broker, "POST", subscriptions, &json!({"type": "SubscriptionXY"})).await.status, 500);
    assert_eq!(send(&broker, "POST", subscriptions, &json!({})).await.status, 400);
    assert_eq!(broker.get("/ngsi-ld/v1/subscriptions/urn:s").await.status, 200);
    assert_eq!(broker.send("DELETE", "/ngsi-ld/v1/subscriptions/urn:none", &[], "").await.status, 204);
}

/// Upstream's cases 50 and 73 subscribe with `application/ld+json` and no `@context`, and expect to be told although its broker
/// ends such a request with 500: without a context nothing of the document is left.
#[tokio::test]
async fn a_subscription_without_its_context_is_refused_and_with_another_media_type_told() {
    let broker = Broker::with(Options { compatibility: Compatibility::Fogflow3, ..Options::default() }).await;
    let sink = Sink::start().await;
    let (upsert, subscriptions) = ("/ngsi-ld/v1/entityOperations/upsert", "/ngsi-ld/v1/subscriptions/");
    let car =
        |brand: &str| json!([{"id": "urn:ngsi-ld:Vehicle:A4000", "type": "Vehicle", "brandName": {"type": "Property", "value": brand}}]);
    assert_eq!(send(&broker, "POST", upsert, &car("Mercedes")).await.status, 204);
    let subscription = json!({
        "id": "urn:ngsi-ld:Subscription:020", "type": "Subscription", "entities": [{"idPattern": ".*", "type": "Vehicle"}],
        "watchedAttributes": ["brandName", "speed"],
        "notification": {"attributes": ["brandName", "speed"], "format": "keyValues",
            "endpoint": {"uri": format!("{}/ld-notify", sink.url()), "accept": "application/json"}},
    });
    // As upstream's suite has it, with its placeholder.
    let link = ("link", "<{{link}}>; rel=\"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld\"; type=\"application/ld+json\"");
    let refused = broker.send("POST", subscriptions, &[LD, link], subscription.to_string()).await;
    assert_eq!((refused.status, problem(&refused)), (400, "BadRequestData"));
    assert_eq!(broker.send("POST", subscriptions, &[JSON, link], subscription.to_string()).await.status, 201);
    let told = async |count: usize| {
        until("a notification", || holds(sink.received().len() >= count, sink.received().len())).await;
        let body = sink.received()[count - 1].body.clone();
        (body["subscriptionId"].clone(), body["data"][0]["brandName"].clone())
    };
    assert_eq!(told(1).await, (json!("urn:ngsi-ld:Subscription:020"), json!("Mercedes")));
    assert_eq!(send(&broker, "POST", upsert, &car("MarutiBenz")).await.status, 204);
    assert_eq!(told(2).await, (json!("urn:ngsi-ld:Subscription:020"), json!("MarutiBenz")));
}

#[tokio::test]
async fn linked_entities_are_shown_inside_or_beside() {
    let broker = Broker::alone().await;
    let mut parking = json!({"id": "urn:ngsi-ld:Parking:1", "type": "Parking", "name": {"type": "Property", "value": "P"}});
    parking["in"] = json!({"type": "Relationship", "object": "urn:ngsi-ld:Vehicle:1"});
    create(&broker, &vehicle("1", 1)).await;
    create(&broker, &parking).await;
    let inline = broker.get(&format!("{}?join=inline&pick=id,isParked{{name}}", path("1"))).await.json;
    let expected =
        json!({"type": "Relationship", "object": "urn:ngsi-ld:Parking:1", "entity": {"name": {"type": "Property", "value": "P"}}});
    assert_eq!(inline, json!({"id": "urn:ngsi-ld:Vehicle:1", "isParked": expected}));
    // Links that lead back to where they began end there.
    let flat = broker.get(&format!("{}?join=flat&joinLevel=5", path("1"))).await.json;
    assert_eq!(flat.as_array().unwrap().len(), 2);
    let found = broker.get("/ngsi-ld/v1/entities?type=Vehicle&join=inline&joinLevel=5&options=keyValues").await.json;
    assert_eq!(found[0]["isParked"]["in"], "urn:ngsi-ld:Vehicle:1");
}

#[tokio::test]
async fn deleted_attributes_and_previous_values_are_told_to_those_who_ask() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    create(&broker, &vehicle("1", 50)).await;
    let subscription = json!({
        "type": "Subscription", "entities": [{"type": "Vehicle"}],
        "notificationTrigger": ["attributeUpdated", "attributeDeleted", "entityDeleted"],
        "notification": {"attributes": ["speed"], "showChanges": true, "endpoint": {"uri": sink.url()}},
    });
    assert_eq!(send(&broker, "POST", "/ngsi-ld/v1/subscriptions", &subscription).await.status, 201);
    let told = async |count: usize| {
        until("a notification", || holds(sink.received().len() >= count, sink.received().len())).await;
        sink.received()[count - 1].body["data"][0].clone()
    };
    assert_eq!(send(&broker, "PATCH", &format!("{}/attrs/speed", path("1")), &json!({"value": 60})).await.status, 204);
    let speed = told(1).await["speed"].clone();
    assert_eq!((speed["value"].clone(), speed["previousValue"].clone()), (json!(60), json!(50)));
    assert_eq!(broker.send("DELETE", &format!("{}/attrs/speed", path("1")), &[], "").await.status, 204);
    let speed = told(2).await["speed"].clone();
    assert_eq!((speed["value"].clone(), speed["previousValue"].clone()), (json!("urn:ngsi-ld:null"), json!(60)));
    assert_eq!(broker.send("DELETE", &path("1"), &[], "").await.status, 204);
    assert!(told(3).await.get("deletedAt").is_some());
}
