//! What the codec must keep to.

use proptest::prelude::*;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::*;
use crate::writer::JsonWriter;
use crate::{Entity, Json, Kind, Name, Timestamp, testing};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn decoded(value: &Value) -> Entity {
    decode_entity(&value.to_string(), Rules::default(), NOW).unwrap()
}

fn written(entity: &Entity, view: &View<'_>) -> Value {
    let mut out = Vec::new();
    write_entity(&mut JsonWriter::new(&mut out), entity, view);
    serde_json::from_slice(&out).unwrap()
}

fn device() -> Value {
    json!({
        "id": "Device.temp001", "type": "Temperature",
        "temp": {"type": "float", "value": 22.5, "metadata": {"accuracy": {"type": "Number", "value": 0.1},
                 "observedAt": {"type": "DateTime", "value": "2022-01-01T00:00:00Z"}, "unitCode": {"type": "Text", "value": "CEL"}}},
        "location": {"type": "geo:point", "value": "49.4, 8.6", "metadata": {}},
        "area": {"type": "geo:json", "value": {"type": "Point", "coordinates": [8.6, 49.4]}, "metadata": {}},
        "in": {"type": "Relationship", "value": "urn:x", "metadata": {}},
    })
}

#[test]
fn an_entity_is_written_as_it_was_sent() {
    let mut entity = decoded(&device());
    // The order of metadata is observedAt, unitCode, others.
    let shown = written(&entity, &View::default());
    assert_eq!(shown, device());
    assert_eq!(entity.attributes[1].kind, Kind::GeoProperty);
    assert_eq!(entity.attributes[1].value.to_value(), json!({"type": "Point", "coordinates": [8.6, 49.4]}));
    assert_eq!(entity.attributes.pop().unwrap().kind, Kind::Relationship);
}

#[test]
fn simplified_forms() {
    let entity = decoded(&device());
    let names = [Name::new("temp"), Name::new("location"), Name::new("dateModified")];
    let view = View { format: Format::KeyValues, attributes: &names, ..View::default() };
    let expected = json!({"id": "Device.temp001", "type": "Temperature", "temp": 22.5, "location": "49.4, 8.6", "dateModified": "2023-11-14T22:13:20Z"});
    assert_eq!(written(&entity, &view), expected);
    assert_eq!(written(&entity, &View { format: Format::Values, attributes: &names[..2], ..View::default() }), json!([22.5, "49.4, 8.6"]));
    let same = decoded(&json!({"id": "a", "x": {"value": 1}, "y": {"value": 1.0}, "z": {"value": 2}}));
    assert_eq!(written(&same, &View { format: Format::Unique, ..View::default() }), json!([1, 2]));
    assert_eq!(written(&same, &View { except: &names, ..View::default() })["type"], "Thing");
    let metadata = [SmolStr::new("accuracy")];
    let shown = written(&entity, &View { metadata: &metadata, ..View::default() });
    assert_eq!(shown["temp"]["metadata"], json!({"accuracy": {"type": "Number", "value": 0.1}}));
}

#[test]
fn f8_a_location_of_type_point_is_a_place_in_every_face() {
    let value = json!({"type": "point", "value": {"latitude": 49.4, "longitude": 8.6}, "metadata": {}});
    let entity = decoded(&json!({"id": "a", "type": "T", "location": value}));
    assert_eq!(entity.attributes[0].kind, Kind::GeoProperty);
    assert_eq!(written(&entity, &View::default())["location"], value);
}

#[test]
fn lines_boxes_and_polygons_read_back() {
    for value in [
        json!({"type": "geo:line", "value": ["1, 2", "3, 4"], "metadata": {}}),
        json!({"type": "geo:box", "value": ["1, 2", "3, 4"], "metadata": {}}),
        json!({"type": "geo:polygon", "value": ["0, 0", "0, 1", "1, 1", "0, 0"], "metadata": {}}),
    ] {
        let entity = decoded(&json!({"id": "a", "type": "T", "p": value}));
        assert_eq!(entity.attributes[0].kind, Kind::GeoProperty, "{value}");
        assert_eq!(written(&entity, &View::default())["p"], value);
    }
}

#[test]
fn errors_name_the_member() {
    for (body, field) in [
        (json!({"type": "T"}), "id"),
        (json!({"id": "a b"}), "id"),
        (json!({"id": "a", "type": 5}), "type"),
        (json!({"id": "a", "p": 5}), "p"),
        (json!({"id": "a", "p": null}), "p"),
        (json!({"id": "a", "p": {"value": "<script>"}}), "p.value"),
        (json!({"id": "a", "p": {"value": {"x": ["a=b"]}}}), "p.value"),
        (json!({"id": "a", "p": {"value": 5, "metadata": {"m": 7}}}), "p.metadata.m"),
        (json!({"id": "a", "p": {"value": "here", "type": "geo:point"}}), "p.value"),
        (json!({"id": "a", "p": {"value": 5, "odd": 1}}), "p.odd"),
        (json!({"id": "a", "p?": {"value": 5}}), "p?"),
    ] {
        assert_eq!(decode_entity(&body.to_string(), Rules::default(), NOW).unwrap_err().field, field, "{body}");
    }
    let free = json!({"id": "a", "p": {"value": "<b>", "type": "TextUnrestricted"}});
    assert!(decode_entity(&free.to_string(), Rules::default(), NOW).is_ok());
}

#[test]
fn batch_bodies() {
    let body = json!({"actionType": "APPEND", "entities": [device()]}).to_string();
    let update = BatchUpdate::decode(body.as_bytes(), Rules::default(), NOW).unwrap();
    assert_eq!((update.action, update.entities.len()), (ActionType::Append, 1));
    let body = json!({"actionType": "append", "entities": [{"id": "a", "p": 1}]}).to_string();
    assert_eq!(BatchUpdate::decode(body.as_bytes(), Rules::default(), NOW).unwrap_err().field, "entities[0].p");
    let body = json!({"subscriptionId": "s", "data": [device()]}).to_string();
    assert_eq!(Notify::decode(body.as_bytes(), Rules::default(), NOW).unwrap().entities.len(), 1);
    assert_eq!(Notify::decode(b"{}", Rules::default(), NOW).unwrap_err().field, "data");
    let body = json!({"entities": [{"idPattern": "(", "type": "T"}]}).to_string();
    assert_eq!(BatchQuery::decode(body.as_bytes()).unwrap_err().field, "entities[0].idPattern");
    let body = json!({"entities": [{"idPattern": ".*", "type": "T"}], "expression": {"q": "a>5", "georel": "near;maxDistance:5", "geometry": "point", "coords": "1,2"}});
    let query = BatchQuery::decode(body.to_string().as_bytes()).unwrap();
    assert_eq!(query.expression.queries().unwrap().len(), 1);
    assert!(query.expression.geo().unwrap().is_some());
}

#[test]
fn a_subscription_is_read_and_wrong_members_are_named() {
    let document = json!({
        "description": "d", "subject": {"entities": [{"idPattern": ".*", "type": "Room"}], "condition": {"attrs": ["t"], "expression": {"q": "t>40"}}},
        "notification": {"httpCustom": {"url": "http://localhost:1", "headers": {"A": "b"}}, "attrs": ["t"], "attrsFormat": "keyValues"},
        "throttling": 5, "expires": "2040-01-01T14:00:00.00Z", "status": "inactive",
    });
    let read = Subscription::read(&Json::from(&document), false).unwrap();
    assert_eq!(read.format, AttributesFormat::KeyValues);
    assert_eq!(read.headers, [(SmolStr::new("A"), SmolStr::new("b"))]);
    assert!(read.paused && read.expires.is_some());
    for (patch, field) in [
        (json!({"subject": {"entities": []}}), "subject.entities"),
        (json!({"subject": {"entities": [{}]}}), "subject.entities[0]"),
        (json!({"subject": {"entities": [{"id": 5}]}}), "subject.entities[0].id"),
        (json!({"subject": {"entities": [{"id": "a"}], "condition": {"expression": {"q": "=="}}}}), "subject.condition.expression.q"),
        (json!({"notification": {}}), "notification.http.url"),
        (json!({"notification": {"http": {"url": "http://a"}, "attrsFormat": "x"}}), "notification.attrsFormat"),
        (json!({"throttling": -1}), "throttling"),
        (json!({"status": "odd"}), "status"),
    ] {
        let Value::Object(patch) = patch else { unreachable!() };
        let changed = Value::Object(apply_patch(document.as_object().unwrap(), patch));
        assert_eq!(Subscription::read(&Json::from(&changed), false).unwrap_err().field, field);
    }
    assert!(Subscription::read(&Json::from(&json!({})), true).is_ok());
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same_entity(entity in testing::entity()) {
        // Through NGSIv2 once, the entity has what NGSIv2 can say; then nothing more may change.
        let rules = Rules { lenient: true, ..Rules::default() };
        let encode = |entity: &Entity| {
            let mut out = Vec::new();
            write_entity(&mut JsonWriter::new(&mut out), entity, &View::default());
            String::from_utf8(out).unwrap()
        };
        prop_assume!(!entity.id.is_empty());
        let once = decode_entity(&encode(&entity), rules, NOW).unwrap();
        prop_assert_eq!(&once.id, &entity.id);
        let mut names: Vec<&Name> = entity.attributes.iter().map(|attribute| &attribute.name).collect();
        names.sort();
        names.dedup();
        prop_assert!(names.iter().all(|name| once.instances(name).next().is_some()));
        prop_assert_eq!(decode_entity(&encode(&once), rules, NOW).unwrap(), once);
    }

    #[test]
    fn any_json_decodes_or_fails_without_panic(value in testing::json(), name in "\\PC{0,6}", kind in "(geo:(point|line|box|polygon|json)|point|circle|polygon)") {
        for rules in [Rules::default(), Rules { key_values: true, ..Rules::default() }] {
            let body = json!({"id": "a", name.clone(): value.to_value(), "p": {"type": kind, "value": value.to_value()}}).to_string();
            let _ = decode_entity(&body, rules, NOW);
        }
        let _ = Subscription::read(&value, true);
        let _ = BatchQuery::decode(value.as_text().as_bytes());
    }
}
