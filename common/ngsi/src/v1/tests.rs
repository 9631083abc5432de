//! What the codec must keep to; each fault of upstream by its number.

use proptest::prelude::*;

use super::availability::*;
use super::*;
use crate::{Attribute, Detail, Entity, Json, Kind, Name, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn update(text: &str) -> UpdateContextRequest {
    UpdateContextRequest::decode(text.as_bytes(), NOW).unwrap()
}

fn encoded(entity: &Entity) -> String {
    let mut out = Vec::new();
    encode_element(&mut out, entity, &[]);
    String::from_utf8(out).unwrap()
}

const DEVICE: &str = r#"{"entityId":{"type":"Temperature","id":"Device.temp001"},"attributes":[{"name":"temp","type":"float","value":22.50,"metadata":[{"name":"unit","type":"string","value":"C"}]}],"domainMetadata":[{"name":"location","type":"point","value":{"latitude":49.4,"longitude":8.6}}]}"#;

#[test]
fn an_element_is_written_as_it_was_sent() {
    let request = update(&format!(r#"{{"contextElements":[{DEVICE}],"updateAction":"update"}}"#));
    assert_eq!(request.action, UpdateAction::Update);
    assert_eq!(encoded(&request.elements[0].entity), DEVICE);
    assert_eq!(request.elements[0].entity.attributes[0].modified_at, NOW);
}

#[test]
fn f35_orion_flat_elements_have_their_id() {
    let request = update(
        r#"{"contextElements":[{"id":"Lamp1","type":"Lamp","isPattern":"false","attributes":[{"name":"on","type":"command","value":"x"}]}]}"#,
    );
    let element = &request.elements[0];
    assert_eq!(element.entity.id, "Lamp1");
    assert_eq!(element.entity.types[0].as_str(), "Lamp");
    assert!(!element.is_pattern);
    assert_eq!(request.action, UpdateAction::Other("".into()));
}

#[test]
fn spelling_variants_and_nulls_are_understood() {
    let text =
        r#"{"ENTITIES":[{"TYPE":"T","ispattern":"true","id":".*"},{"id":"a","isPattern":false}],"attributes":null,"restriction":null}"#;
    let query = QueryContextRequest::decode(text.as_bytes()).unwrap();
    assert!(query.entities[0].is_pattern && !query.entities[1].is_pattern);
    assert!(query.attributes.is_empty() && query.restriction.is_empty());
    assert_eq!(update("{}"), UpdateContextRequest::default());
    let request = update(r#"{"contextElements":[{"entityId":{"id":"a"},"attributes":null,"domainMetadata":null}],"updateAction":null}"#);
    assert!(request.elements[0].entity.attributes.is_empty());
}

#[test]
fn f33_a_circle_keeps_its_centre() {
    let text = r#"{"entityId":{"id":"a"},"domainMetadata":[{"name":"area","type":"circle","value":{"centerLatitude":49.1,"centerLongitude":8.2,"radius":100}}]}"#;
    let entity = &update(&format!(r#"{{"contextElements":[{text}]}}"#)).elements[0].entity;
    assert_eq!(encoded(entity), text);
    assert_eq!(entity.attributes[0].value.as_text(), r#"{"type":"Point","coordinates":[8.2,49.1],"radius":100}"#);
}

#[test]
fn f33_a_value_is_kept_when_it_is_not_of_its_declared_type() {
    let text = r#"{"entityId":{"id":"a"},"attributes":[{"name":"n","type":"integer","value":"5"},{"name":"o","type":"object","value":null}],"domainMetadata":[{"name":"location","type":"point","value":"here"}]}"#;
    let request = update(&format!(r#"{{"contextElements":[{text}]}}"#));
    let element = &request.elements[0];
    assert_eq!(encoded(&element.entity), text);
    assert_eq!(element.mismatches.len(), 3, "{:?}", element.mismatches);
    assert_eq!(element.entity.attributes[2].kind, Kind::Property);
}

#[test]
fn polygons_and_bridge_coordinates_become_geojson() {
    let items = decode_domain_metadata(
        r#"[{"name":"a","type":"Polygon","value":{"vertices":[{"latitude":1,"longitude":2},{"latitude":3,"longitude":4},{"latitude":5,"longitude":0}]}},
            {"name":"location","type":"Point","coordinates":[8.6,49.4]}]"#,
    )
    .unwrap();
    assert_eq!(items[0].value.as_text(), r#"{"type":"Polygon","coordinates":[[[2,1],[4,3],[0,5],[2,1]]]}"#);
    assert_eq!(items[1].value.as_text(), r#"{"type":"Point","coordinates":[8.6,49.4]}"#);
    assert!(items.iter().all(|item| item.kind == Kind::GeoProperty && item.domain));
}

#[test]
fn an_attribute_written_through_ngsi_ld_gets_a_v1_type() {
    let mut entity = Entity::new("urn:ngsi-ld:Room:1", Some("Room"), NOW);
    entity.attributes.push(Attribute::property("n", Json::from(1.5), NOW));
    let mut relationship = Attribute::property("in", Json::string("urn:x"), NOW);
    relationship.kind = Kind::Relationship;
    relationship.detail = Some(Box::new(Detail { observed_at: Some(NOW), unit_code: Some("CEL".into()), ..Detail::default() }));
    entity.attributes.push(relationship);
    let text = encoded(&entity);
    assert!(text.contains(r#"{"name":"n","type":"float","value":1.5}"#), "{text}");
    let back = update(&format!(r#"{{"contextElements":[{text}]}}"#)).elements[0].entity.clone();
    assert_eq!(back.attributes[1].kind, Kind::Relationship);
    assert_eq!(back.attributes[1].detail, entity.attributes[1].detail);
}

#[test]
fn selection_applies_to_attributes_and_not_to_domain_metadata() {
    let entity = &update(&format!(r#"{{"contextElements":[{DEVICE}]}}"#)).elements[0].entity;
    let mut out = Vec::new();
    encode_element(&mut out, entity, &[Name::new("other")]);
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains("\"attributes\"") && text.contains("domainMetadata"), "{text}");
}

#[test]
fn errors_name_the_member() {
    let bad = |text: &str| UpdateContextRequest::decode(text.as_bytes(), NOW).unwrap_err();
    assert_eq!(bad(r#"{"contextElements":[{"entityId":{"id":5}}]}"#).field, "contextElements[0].entityId.id");
    assert_eq!(bad(r#"{"contextElements":{}}"#).field, "contextElements");
    assert_eq!(bad("").message, "the body is empty");
    assert_eq!(bad("{").kind, crate::DecodeErrorKind::Syntax);
    assert_eq!(bad("\u{1}").kind, crate::DecodeErrorKind::Syntax);
    assert_eq!(UpdateContextRequest::decode(b"\xff", NOW).unwrap_err().kind, crate::DecodeErrorKind::Syntax);
}

fn scope(text: &str) -> Result<Scope, crate::DecodeError> {
    let body = format!(r#"{{"restriction":{{"scopes":[{text}]}}}}"#);
    QueryContextRequest::decode(body.as_bytes()).map(|query| query.restriction.scopes[0].clone())
}

#[test]
fn f3_scope_types_are_read_in_any_case() {
    let circle = scope(r#"{"scopeType":"Circle","scopeValue":{"centerLatitude":49.4,"centerLongitude":8.6,"radius":1000.0}}"#).unwrap();
    assert_eq!(circle, Scope::Circle { latitude: 49.4, longitude: 8.6, radius: 1000.0 });
    assert!(matches!(scope(r#"{"scopeType":"stringquery","scopeValue":"a=b"}"#).unwrap(), Scope::StringQuery(_)));
    let nearby = scope(r#"{"scopeType":"nearby","scopeValue":{"latitude":1,"longitude":2}}"#).unwrap();
    assert_eq!(nearby, Scope::Nearby { latitude: 1.0, longitude: 2.0, limit: 1 });
    let area = scope(r#"{"scopeType":"simplegeolocation","scopeValue":{"nw_Corner":"2,1","seCorner":"1, 2"}}"#).unwrap();
    assert_eq!(area, Scope::SimpleGeolocation { north_west: (2.0, 1.0), south_east: (1.0, 2.0) });
    assert!(matches!(scope(r#"{"scopeType":"global","scopeValue":"global"}"#).unwrap(), Scope::Other { .. }));
}

#[test]
fn f2_f3_wrong_scopes_are_errors_that_name_the_member() {
    for (text, word) in [
        (r#"{"scopeType":"polygon","scopeValue":{"vertices":[]}}"#, "vertices"),
        (r#"{"scopeType":"circle","scopeValue":{"centerLatitude":1,"radius":1}}"#, "centerLongitude"),
        (r#"{"scopeType":"circle","scopeValue":{"centerLatitude":1,"centerLongitude":1,"radius":-1}}"#, "radius"),
        (r#"{"scopeType":"nearby","scopeValue":{"latitude":1,"longitude":1,"limit":-1}}"#, "limit"),
        (r#"{"scopeType":"nearby","scopeValue":{"latitude":100,"longitude":1}}"#, "globe"),
        (r#"{"scopeType":"simplegeolocation","scopeValue":{"nw_Corner":"2","se_Corner":"1,2"}}"#, "nw_Corner"),
        (r#"{"scopeType":"stringQuery","scopeValue":"city"}"#, "name=value"),
        (r#"{"scopeType":"stringQuery","scopeValue":5}"#, "string"),
    ] {
        let error = scope(text).unwrap_err();
        assert!(error.message.contains(word), "{text}: {error}");
        assert_eq!(error.field, "restriction.scopes[0]");
    }
}

#[test]
fn registrations_carry_places_and_our_optional_members() {
    let text = r#"{"contextRegistrations":[{"entities":[{"type":"T","id":"a"}],"attributes":[{"name":"temp","type":"float","isDomain":false}],"contextMetadata":[{"name":"location","type":"point","value":{"latitude":49.4,"longitude":8.6}}],"providingApplication":"http://b/ngsi10","Tenant":"t"}],"duration":"PT10M","brokerId":"Broker.001","generation":7,"snapshot":"begin","removed":[{"id":"x"}]}"#;
    let request = RegisterContextRequest::decode(text.as_bytes()).unwrap();
    assert_eq!(request.registrations[0].metadata.0[0].kind, Kind::GeoProperty);
    assert_eq!(request.snapshot, Some(Snapshot::Begin));
    assert_eq!(serde_json::to_string(&request).unwrap(), text);
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::from_value::<RegisterContextRequest>(value).unwrap(), request);
}

#[test]
fn an_entity_registration_has_upstreams_shape() {
    let text = r#"{"ID":"Device.temp001","Type":"Temperature","AttributesList":{"temp":{"name":"temp","type":"float","isDomain":false}},"MetadataList":{"location":{"name":"location","type":"point","value":{"latitude":49.4,"longitude":8.6}}},"ProvidingApplication":"http://10.0.0.5:8070/ngsi10"}"#;
    let registration = EntityRegistration::decode(text.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&registration).unwrap(), text);
    assert_eq!(Heartbeat::decode(br#"{"BID":"B","MyURL":"u"}"#).unwrap(), Heartbeat { id: "B".into(), my_url: "u".into(), generation: 0 });
}

#[test]
fn subscriptions_read_back() {
    let text = r#"{"entities":[{"type":"Temperature","isPattern":true,"id":""}],"attributes":["temp"],"reference":"http://10.0.0.9:8066","restriction":{},"throttling":5,"Subscriber":{"IsInternal":false,"RequireReliability":true,"BrokerURL":"u","NotifyCache":null,"DestinationType":"","Tenant":"","Correlator":""}}"#;
    let request = SubscribeContextRequest::decode(text.as_bytes()).unwrap();
    assert_eq!(request.throttling, "5");
    assert!(request.subscriber.as_ref().unwrap().require_reliability);
    let again = serde_json::to_vec(&request).unwrap();
    assert_eq!(SubscribeContextRequest::decode(&again).unwrap(), request);
    let created = serde_json::to_string(&SubscribeContextResponse::created("s1")).unwrap();
    assert_eq!(created, r#"{"subscribeResponse":{"subscriptionId":"s1"},"subscribeError":{"subscriptionId":"s1","errorCode":{"code":0}}}"#);
}

/// F 30: empty bodies, code 0 and missing lists in answers.
#[test]
fn a_query_response_always_has_its_list() {
    let mut out = Vec::new();
    encode_query_response(&mut out, &[], [], &StatusCode::ok());
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"contextResponses":[],"errorCode":{"code":200,"reasonPhrase":"OK"}}"#);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,12}", "\\PC{1,8}"].prop_filter("a name", |name: &String| !name.is_empty())
}

fn json() -> impl Strategy<Value = Json> {
    crate::testing::json()
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let item = (name(), prop_oneof![Just(String::new()), "[a-zA-Z:]{1,10}"], json())
        .prop_map(|(name, value_type, value)| {
            let mut attribute = Attribute::property(Name::new(&name), value, NOW);
            attribute.kind = super::attribute::kind_of(&value_type, &attribute.value);
            attribute.value_type = Some(value_type.into());
            attribute
        })
        .boxed();
    let metadata = proptest::collection::vec(item.clone(), 0..3);
    (item, metadata).prop_map(|(mut attribute, metadata)| {
        let metadata: Vec<_> = metadata
            .into_iter()
            .map(|mut m| {
                m.kind = Kind::Property;
                m
            })
            .collect();
        if !metadata.is_empty() {
            attribute.detail = Some(Box::new(Detail { attributes: metadata, ..Detail::default() }));
        }
        attribute
    })
}

fn domain_item() -> impl Strategy<Value = Attribute> {
    let place = (-180.0..180.0_f64, -90.0..90.0_f64, proptest::option::of(0.0..1e6_f64)).prop_map(|(lon, lat, radius)| {
        let extra = radius.map(|radius| format!(",\"radius\":{radius:?}")).unwrap_or_default();
        let json = Json::parse(&format!(r#"{{"type":"Point","coordinates":[{lon:?},{lat:?}]{extra}}}"#)).unwrap();
        (json, if radius.is_some() { "circle" } else { "point" }, Kind::GeoProperty)
    });
    let other = json().prop_map(|value| (value, "string", Kind::Property));
    (name(), prop_oneof![place, other]).prop_map(|(name, (value, value_type, kind))| {
        let mut attribute = Attribute::property(Name::new(&name), value, NOW);
        attribute.kind = kind;
        attribute.domain = true;
        attribute.value_type = Some(value_type.into());
        attribute
    })
}

fn entity() -> impl Strategy<Value = Entity> {
    let attributes = proptest::collection::vec(attribute(), 0..4);
    let domain = proptest::collection::vec(domain_item(), 0..3);
    ("\\PC*", proptest::option::of(name()), attributes, domain).prop_map(|(id, entity_type, attributes, domain)| {
        let mut entity = Entity::new(&id, entity_type.as_deref(), NOW);
        entity.attributes = attributes;
        entity.attributes.extend(domain);
        entity
    })
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same_entity(entity in entity()) {
        let mut body = Vec::new();
        encode_update_request(&mut body, &UpdateAction::Append, "", [&entity]);
        let back = UpdateContextRequest::decode(&body, NOW).unwrap();
        prop_assert_eq!(&back.elements[0].entity, &entity);
        let mut body = Vec::new();
        encode_notification(&mut body, "s", "", &[], [&entity]);
        let back = NotifyContextRequest::decode(&body, NOW).unwrap();
        prop_assert_eq!(&back.responses[0].element.entity, &entity);
    }
}
