//! What the codec must keep to.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::subscription::{self, Form, Subscription};
use super::*;
use crate::context::Context;
use crate::writer::JsonWriter;
use crate::{Detail, Entity, Kind, Name, Timestamp, testing};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn context() -> Context {
    Context::compile(&json!({"Vehicle": "https://example.org/Vehicle", "brand": "https://example.org/brand"}), &|_| None).unwrap()
}

fn decoded(value: &Value) -> Entity {
    decode_entity(&value.to_string(), &context(), Mode::Entity, NOW).unwrap()
}

fn written(entity: &Entity, view: &View<'_>) -> Value {
    let mut out = Vec::new();
    write_entity(&mut JsonWriter::new(&mut out), entity, view, false);
    serde_json::from_slice(&out).unwrap()
}

fn vehicle() -> Value {
    json!({
        "id": "urn:ngsi-ld:Vehicle:A100", "type": "Vehicle", "scope": "/Madrid/Centro",
        "brand": {"type": "Property", "value": "Mercedes"},
        "speed": [
            {"type": "Property", "value": 55, "unitCode": "KMH", "observedAt": "2022-01-01T00:00:00Z", "source": {"type": "Property", "value": "GPS"}},
            {"type": "Property", "value": 54.5, "datasetId": "urn:ngsi-ld:Dataset:2"}
        ],
        "isParked": {"type": "Relationship", "object": "urn:ngsi-ld:Parking:1", "objectType": "Parking",
                     "providedBy": {"type": "Relationship", "object": "urn:ngsi-ld:Person:Bob"}},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [-8.5, 41.2]}},
        "name": {"type": "LanguageProperty", "languageMap": {"en": "car", "de": "Auto"}},
        "raw": {"type": "JsonProperty", "json": {"a": null}},
        "category": {"type": "VocabProperty", "vocab": ["brand", "other"]},
        "route": {"type": "ListProperty", "valueList": [1, [2]]},
        "owners": {"type": "ListRelationship", "objectList": ["urn:a", "urn:b"]},
    })
}

#[test]
fn all_kinds_read_back_normalized() {
    let entity = decoded(&vehicle());
    assert_eq!(entity.types[0].iri(), "https://example.org/Vehicle");
    assert_eq!(entity.instances(&Name::new("speed")).count(), 2);
    assert_eq!(written(&entity, &View::new(&context(), Format::Normalized)), vehicle());
}

#[test]
fn concise_and_simplified_forms_are_as_short_as_the_standard_says() {
    let entity = decoded(&vehicle());
    let concise = written(&entity, &View::new(&context(), Format::Concise));
    assert_eq!(concise["brand"], "Mercedes");
    assert_eq!(concise["location"], json!({"type": "Point", "coordinates": [-8.5, 41.2]}));
    assert_eq!(concise["name"], json!({"languageMap": {"en": "car", "de": "Auto"}}));
    let simplified = written(&entity, &View::new(&context(), Format::Simplified));
    assert_eq!(simplified["brand"], "Mercedes");
    assert_eq!(simplified["isParked"], "urn:ngsi-ld:Parking:1");
    assert_eq!(simplified["speed"], json!({"dataset": {"@none": 55, "urn:ngsi-ld:Dataset:2": 54.5}}));
    assert_eq!(simplified["category"], json!({"vocab": ["brand", "other"]}));
    let lang = written(&entity, &View { lang: "de", ..View::new(&context(), Format::Simplified) });
    assert_eq!(lang["name"], "Auto");
    let lang = written(&entity, &View { lang: "fr,de;q=0.5", ..View::new(&context(), Format::Normalized) });
    assert_eq!(lang["name"], json!({"type": "Property", "value": "Auto", "lang": "de"}));
}

#[test]
fn simplified_input_is_understood() {
    let entity = decoded(&json!({"id": "urn:a", "type": "T", "speed": 5, "address": {"city": "Berlin"}, "list": [1, {"a": 2}],
        "location": {"type": "Point", "coordinates": [1, 2]}}));
    let kinds: Vec<Kind> = entity.attributes.iter().map(|attribute| attribute.kind).collect();
    assert_eq!(kinds, [Kind::Property, Kind::Property, Kind::Property, Kind::GeoProperty]);
}

#[test]
fn an_expanded_document_is_understood() {
    let entity = decoded(&json!({
        "@id": "urn:a", "@type": ["https://uri.etsi.org/ngsi-ld/default-context/T"],
        "https://uri.etsi.org/ngsi-ld/default-context/speed": [{
            "@type": ["https://uri.etsi.org/ngsi-ld/Property"],
            "https://uri.etsi.org/ngsi-ld/hasValue": [{"@value": 5}],
            "https://uri.etsi.org/ngsi-ld/observedAt": [{"@type": "https://uri.etsi.org/ngsi-ld/DateTime", "@value": "2022-01-01T00:00:00Z"}],
        }],
        "https://uri.etsi.org/ngsi-ld/default-context/in": [{
            "@type": ["https://uri.etsi.org/ngsi-ld/Relationship"],
            "https://uri.etsi.org/ngsi-ld/hasObject": [{"@id": "urn:b"}],
        }],
    }));
    assert_eq!(entity.types[0], Name::new("T"));
    assert_eq!(entity.attributes[0].value.as_text(), "5");
    assert_eq!(entity.attributes[1].value.as_text(), "\"urn:b\"");
}

#[test]
fn errors_name_the_member() {
    for (body, field) in [
        (json!({"type": "T"}), "id"),
        (json!({"id": "urn:a"}), "type"),
        (json!({"id": "nouri", "type": "T"}), "id"),
        (json!({"id": "urn:a", "type": ""}), "type"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "Property"}}), "p.value"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "XYZ", "value": 1}}), "p.type"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": 5, "value": 1}}), "p.type"),
        (json!({"id": "urn:a", "type": "T", "p": {}}), "p"),
        (json!({"id": "urn:a", "type": "T", "p": null}), "p"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "Property", "value": null}}), "p.value"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "Property", "value": "urn:ngsi-ld:null"}}), "p.value"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "Property", "value": 1, "observedAt": "yesterday"}}), "p.observedAt"),
        (json!({"id": "urn:a", "type": "T", "r": {"type": "Relationship", "object": "no uri"}}), "r.object"),
        (json!({"id": "urn:a", "type": "T", "r": {"type": "Relationship", "value": "urn:x"}}), "r.value"),
        (json!({"id": "urn:a", "type": "T", "g": {"type": "GeoProperty", "value": {"type": "Point"}}}), "g.value.coordinates"),
        (json!({"id": "urn:a", "type": "T", "l": {"type": "LanguageProperty", "languageMap": {"en": 5}}}), "l.languageMap.en"),
        (json!({"id": "urn:a", "type": "T", "p": [{"type": "Property", "value": 1}, {"type": "Property", "value": 2}]}), "p[1].datasetId"),
        (json!({"id": "urn:a", "type": "T", "p q": 1}), "p q"),
        (json!({"id": "urn:a", "type": "T", "p": {"type": "Property", "value": 1, "q": {"type": "Property"}}}), "p.q.value"),
    ] {
        let error = decode_entity(&body.to_string(), &context(), Mode::Entity, NOW).unwrap_err();
        assert_eq!(error.field, field, "{body}: {error}");
        assert!(Problem::from(&error).problem_type.ends_with("/BadRequestData"));
    }
    let error = decode_entity("{", &context(), Mode::Entity, NOW).unwrap_err();
    assert!(Problem::from(&error).problem_type.ends_with("/InvalidRequest"));
}

#[test]
fn a_merge_patch_may_delete_and_leave_values_out() {
    let text = json!({"speed": "urn:ngsi-ld:null", "brand": {"type": "Property", "unitCode": "X"}, "n": {"value": "urn:ngsi-ld:null"}})
        .to_string();
    let patch = decode_entity(&text, &context(), Mode::MergePatch, NOW).unwrap();
    assert_eq!(patch.attributes[0].value.as_text(), "\"urn:ngsi-ld:null\"");
    assert!(patch.attributes[1].value.is_null());
    assert_eq!(patch.attributes[2].value.as_text(), "\"urn:ngsi-ld:null\"");
    assert!(decode_entity(&text, &context(), Mode::Fragment, NOW).is_err());
}

#[test]
fn deeply_nested_attributes_are_refused() {
    let mut attribute = json!({"type": "Property", "value": 1});
    for _ in 0..40 {
        attribute = json!({"type": "Property", "value": 1, "p": attribute});
    }
    let body = json!({"id": "urn:a", "type": "T", "p": attribute}).to_string();
    assert!(decode_entity(&body, &context(), Mode::Entity, NOW).unwrap_err().message.contains("too deep"));
}

#[test]
fn a_feature_has_its_geometry_and_the_rest_as_properties() {
    let mut out = Vec::new();
    let context = context();
    let view = View::new(&context, Format::Simplified);
    write_feature_collection(&mut JsonWriter::new(&mut out), [&decoded(&vehicle())], &view, &Name::new("location"), false);
    let collection: Value = serde_json::from_slice(&out).unwrap();
    let feature = &collection["features"][0];
    assert_eq!(feature["geometry"]["type"], "Point");
    assert_eq!(feature["properties"]["brand"], "Mercedes");
    assert_eq!(feature["properties"]["type"], "Vehicle");
}

fn subscription() -> Value {
    json!({
        "id": "urn:ngsi-ld:Subscription:7", "type": "Subscription", "subscriptionName": "s",
        "entities": [{"type": "Vehicle", "idPattern": "A.*"}, {"type": "(brand|other);x", "id": "urn:a"}],
        "watchedAttributes": ["brand"], "q": "brand==\"x\"",
        "geoQ": {"georel": "near;maxDistance==2000", "geometry": "Point", "coordinates": [8.6, 49.4]},
        "notificationTrigger": ["entityCreated", "attributeUpdated"], "throttling": 5,
        "notification": {"attributes": ["brand", "speed"], "format": "keyValues",
            "endpoint": {"uri": "http://localhost:8888/n", "accept": "application/json", "receiverInfo": [{"key": "A", "value": "b"}]}},
    })
}

fn expanded(value: Value, form: Form) -> Result<serde_json::Map<String, Value>, crate::DecodeError> {
    let Value::Object(document) = value else { unreachable!() };
    subscription::expand(document, &context(), form)
}

#[test]
fn a_subscription_is_expanded_read_and_compacted() {
    let document = expanded(subscription(), Form::Whole).unwrap();
    assert_eq!(Value::Object(subscription::compact(&document, &context())), subscription());
    let read = Subscription::read(&document).unwrap();
    assert_eq!(read.watched, [Name::new("https://example.org/brand")]);
    assert!(read.entities[0].types.as_ref().unwrap().matches(&[Name::new("https://example.org/Vehicle")]));
    assert_eq!(read.format, Format::Simplified);
    assert_eq!(read.receiver_info, [(SmolStr::new("A"), SmolStr::new("b"))]);
    assert!(read.geo.is_some() && read.q.is_some());
    assert_eq!(read.triggers.len(), 2);
}

#[test]
fn wrong_subscriptions_are_refused_by_member() {
    for (change, field) in [
        (json!({"type": "Other"}), "type"),
        (json!({"entities": []}), "entities"),
        (json!({"entities": [{"id": "urn:a"}]}), "entities[0].type"),
        (json!({"entities": [{"type": "T", "idPattern": "("}]}), "entities[0].idPattern"),
        (json!({"watchedAttributes": []}), "watchedAttributes"),
        (json!({"q": "a==;"}), "q"),
        (json!({"geoQ": {"georel": "near", "geometry": "Point", "coordinates": [0, 0]}}), "geoQ.georel"),
        (json!({"throttling": -1}), "throttling"),
        (json!({"expiresAt": "2001-01-01T00:00:00Z"}), "expiresAt"),
        (json!({"notificationTrigger": ["never"]}), "notificationTrigger"),
        (json!({"notification": {}}), "notification.endpoint"),
        (json!({"notification": {"endpoint": {"uri": "here"}}}), "notification.endpoint.uri"),
        (json!({"notification": {"format": "odd", "endpoint": {"uri": "http://a"}}}), "notification.format"),
        (json!({"timeInterval": 5}), "timeInterval"),
    ] {
        let mut document = subscription();
        document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(expanded(document, Form::Whole).unwrap_err().field, field);
    }
}

#[test]
fn a_patch_of_a_subscription_changes_what_it_names() {
    let document = expanded(subscription(), Form::Whole).unwrap();
    let patch = expanded(json!({"q": null, "notification": {"format": "normalized"}, "isActive": false}), Form::Patch).unwrap();
    let read = Subscription::read(&subscription::apply(&document, patch, Form::Whole).unwrap()).unwrap();
    assert!(read.q.is_none() && read.paused);
    assert_eq!(read.format, Format::Normalized);
    assert_eq!(read.uri, "http://localhost:8888/n");
    let bad = expanded(json!({"entities": null, "watchedAttributes": null}), Form::Patch).unwrap();
    assert!(subscription::apply(&document, bad, Form::Whole).is_err());
}

#[test]
fn a_notification_has_the_standards_members() {
    let mut out = Vec::new();
    let core: Arc<Context> = Context::core();
    let head = Notification { id: "urn:n", subscription_id: "urn:s", notified_at: NOW, geometry: None, context: true };
    head.encode(&mut out, [&decoded(&vehicle())], &View::new(&core, Format::Simplified));
    let body: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(body["type"], "Notification");
    assert_eq!(body["notifiedAt"], "2023-11-14T22:13:20Z");
    assert_eq!(body["data"][0]["https://example.org/brand"], "Mercedes");
}

fn expressible() -> impl Strategy<Value = Entity> {
    testing::entity().prop_map(|mut entity| {
        entity.id = "urn:ngsi-ld:T:1".into();
        if entity.types.is_empty() {
            entity.types.push(Name::new("T"));
        }
        entity.types = entity.types.iter().fold(smallvec::SmallVec::new(), |mut types, name| {
            if !types.contains(name) {
                types.push(name.clone());
            }
            types
        });
        plain(&mut entity.attributes);
        entity.stamp(NOW);
        entity
    })
}

/// Leaves out what NGSI-LD does not carry, and puts instances of one name together, as they are written.
fn plain(attributes: &mut Vec<crate::Attribute>) {
    let mut out: Vec<crate::Attribute> = Vec::new();
    for mut attribute in std::mem::take(attributes) {
        attribute.value_type = None;
        if let Some(detail) = &mut attribute.detail {
            plain(&mut detail.attributes);
            if **detail == Detail::default() {
                attribute.detail = None;
            }
        }
        if !out.iter().any(|other| other.same_instance(&attribute)) {
            let at = out.iter().rposition(|other| other.name == attribute.name).map_or(out.len(), |at| at + 1);
            out.insert(at, attribute);
        }
    }
    *attributes = out;
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same_entity(entity in expressible()) {
        let context = context();
        for format in [Format::Normalized, Format::Concise] {
            for sys_attrs in [false, true] {
                let mut out = Vec::new();
                let view = View { sys_attrs, ..View::new(&context, format) };
                write_entity(&mut JsonWriter::new(&mut out), &entity, &view, true);
                let back = decode_entity(std::str::from_utf8(&out).unwrap(), &context, Mode::Entity, NOW);
                prop_assert_eq!(back.as_ref(), Ok(&entity), "{}", String::from_utf8_lossy(&out));
            }
        }
    }

    #[test]
    fn any_json_decodes_or_fails_without_panic(value in testing::json(), name in "\\PC{0,6}") {
        let body = json!({"id": "urn:a", "type": "T", name.clone(): value.to_value()}).to_string();
        for mode in [Mode::Entity, Mode::Fragment, Mode::MergePatch] {
            let _ = decode_entity(&body, &context(), mode, NOW);
            let _ = decode_attribute_fragment(&name, value.as_text(), &context(), mode, NOW);
        }
        let _ = expanded(json!({name: value.to_value()}), Form::Whole);
    }
}

#[test]
fn a_context_is_never_overlooked_and_plain_bodies_are_spared_the_search() {
    for with in
        [r#"{"@context":"c"}"#, r#" {"a":{"@context":1},"@context":[]}"#, r#"{"\u0040context":"c"}"#, r#"{"a":"\"","@conte\u0078t":{}}"#]
    {
        assert!(context_member(with.as_bytes()).unwrap().is_some(), "{with}");
        assert!(may_have_context(with.as_bytes()), "{with}");
    }
    for without in [r#"{"a":{"value":5}}"#, r#" {"context":1}"#] {
        assert!(context_member(without.as_bytes()).unwrap().is_none(), "{without}");
        assert!(!may_have_context(without.as_bytes()), "{without}");
    }
}
