//! Generators that the property tests of several modules share.

use proptest::prelude::*;

use crate::{Attribute, Detail, Entity, Json, Kind, Name, Timestamp};

/// Any JSON value of small size.
pub(crate) fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        (-1e9..1e9_f64).prop_map(serde_json::Value::from),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
    ];
    let tree = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("[a-z@]{1,6}", inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    tree.prop_map(|value| Json::from(&value))
}

/// A name: short, or an IRI that no context maps.
pub(crate) fn name() -> impl Strategy<Value = Name> {
    let text = prop_oneof!["[a-z]{1,12}", "[a-zA-Z_]{1,8}", "http://example\\.org/[a-z]{1,6}"];
    // `id`, `type` and core terms as `value` are no attribute names in NGSI-LD.
    text.prop_filter("a core term", |text| !matches!(text.as_str(), "id" | "type") && crate::context::core::iri_of(text).is_none())
        .prop_map(|text| Name::new(&text))
}

/// A point in time of this century, with microseconds.
pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000_i64).prop_map(Timestamp)
}

/// A GeoJSON geometry.
pub(crate) fn geometry() -> impl Strategy<Value = Json> {
    let position = || (-180.0..180.0_f64, -90.0..90.0_f64).prop_map(|(x, y)| format!("[{x:?},{y:?}]"));
    prop_oneof![
        position().prop_map(|p| format!(r#"{{"type":"Point","coordinates":{p}}}"#)),
        proptest::collection::vec(position(), 2..5).prop_map(|ps| format!(r#"{{"type":"LineString","coordinates":[{}]}}"#, ps.join(","))),
        proptest::collection::vec(position(), 3..6)
            .prop_map(|ps| { format!(r#"{{"type":"Polygon","coordinates":[[{},{}]]}}"#, ps.join(","), ps[0]) }),
    ]
    .prop_map(|text| Json::parse(&text).unwrap())
}

/// A kind with a value of its form.
pub(crate) fn kind_and_value() -> impl Strategy<Value = (Kind, Json)> {
    let uri = || "urn:[a-z]{1,8}".prop_map(|text: String| serde_json::Value::from(text));
    let uris = || proptest::collection::vec(uri(), 0..3).prop_map(serde_json::Value::from);
    let property = json().prop_filter("not null", |value| !value.is_null());
    prop_oneof![
        property.prop_map(|value| (Kind::Property, value)),
        geometry().prop_map(|value| (Kind::GeoProperty, value)),
        prop_oneof![uri(), uris()].prop_map(|value| (Kind::Relationship, Json::from(&value))),
        proptest::collection::btree_map("[a-z]{2}", "\\PC{0,6}", 0..3)
            .prop_map(|map| (Kind::LanguageProperty, Json::from(&serde_json::to_value(map).unwrap()))),
        json().prop_map(|value| (Kind::JsonProperty, value)),
        name().prop_map(|term| (Kind::VocabProperty, Json::string(&term.iri()))),
        proptest::collection::vec(json(), 0..3).prop_map(|list| (
            Kind::ListProperty,
            Json::parse(&format!("[{}]", list.iter().map(Json::as_text).collect::<Vec<_>>().join(","))).unwrap()
        )),
        uris().prop_map(|value| (Kind::ListRelationship, Json::from(&value))),
    ]
}

/// An attribute as NGSI-LD may write it, with attributes of its own when `depth` is above 0.
pub(crate) fn attribute(depth: u32) -> BoxedStrategy<Attribute> {
    let detail = (
        proptest::option::of("urn:[a-z]{1,6}"),
        proptest::option::of(time()),
        proptest::option::of("[A-Z]{1,3}"),
        proptest::option::of(name()),
        if depth > 0 { proptest::collection::vec(attribute(depth - 1), 0..2).boxed() } else { Just(Vec::new()).boxed() },
    )
        .prop_map(|(dataset_id, observed_at, unit_code, object_type, attributes)| Detail {
            dataset_id: dataset_id.map(Into::into),
            observed_at,
            unit_code: unit_code.map(Into::into),
            object_type,
            attributes,
        });
    (name(), kind_and_value(), proptest::option::of("[a-z]{0,6}"), time(), time(), proptest::option::of(detail))
        .prop_map(|(name, (kind, value), value_type, created_at, modified_at, detail)| Attribute {
            name,
            kind,
            domain: false,
            value,
            value_type: value_type.map(Into::into),
            created_at,
            modified_at,
            detail: detail.map(Box::new),
        })
        .boxed()
}

/// Any entity that the model allows.
pub(crate) fn entity() -> impl Strategy<Value = Entity> {
    let head = ("\\PC{0,12}", proptest::collection::vec(name(), 0..3), proptest::collection::vec("/[a-z]{1,4}", 0..2));
    (head, proptest::collection::vec(attribute(1), 0..4), time(), time()).prop_map(
        |((id, types, scopes), attributes, created_at, modified_at)| Entity {
            id: id.into(),
            types: types.into_iter().collect(),
            attributes,
            scopes: scopes.into_iter().map(Into::into).collect(),
            created_at,
            modified_at,
        },
    )
}
