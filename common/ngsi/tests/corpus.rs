//! Every decoder answers every input with a value or an error: see `corpus/README.md`.

use std::fs;
use std::path::Path;

use fogflow_ngsi::context::Context;
use fogflow_ngsi::query::{Dialect, GeoQuery, Query, ScopeQuery, StringQuery, TypeQuery, pattern};
use fogflow_ngsi::v1::availability::{
    DiscoverContextAvailabilityRequest, EntityRegistration, Heartbeat, NotifyContextAvailabilityRequest, RegisterContextRequest,
    SubscribeContextAvailabilityRequest,
};
use fogflow_ngsi::{Entity, Json, Name, Timestamp, geometry, ld, v1, v2};

/// Hands one input to every decoder.
fn feed(bytes: &[u8], context: &Context) {
    let now = Timestamp(0);
    let _ = Entity::from_store(bytes);
    let _ = v1::UpdateContextRequest::decode(bytes, now);
    let _ = v1::QueryContextRequest::decode(bytes);
    let _ = v1::SubscribeContextRequest::decode(bytes);
    let _ = v1::UnsubscribeContextRequest::decode(bytes);
    let _ = v1::NotifyContextRequest::decode(bytes, now);
    let _ = v1::QueryContextResponse::decode(bytes, now);
    let _ = RegisterContextRequest::decode(bytes);
    let _ = DiscoverContextAvailabilityRequest::decode(bytes);
    let _ = SubscribeContextAvailabilityRequest::decode(bytes);
    let _ = NotifyContextAvailabilityRequest::decode(bytes);
    let _ = EntityRegistration::decode(bytes);
    let _ = Heartbeat::decode(bytes);
    let _ = v2::BatchUpdate::decode(bytes, v2::Rules::default(), now);
    let _ = v2::BatchQuery::decode(bytes);
    let _ = v2::Notify::decode(bytes, v2::Rules::default(), now);
    let _ = v2::decode_value(bytes, true, v2::Rules::default());
    let _ = ld::context_member(bytes);
    let _ = ld::decode_list(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = v2::decode_entity(text, v2::Rules::default(), now);
    let _ = v2::decode_entity(text, v2::Rules { key_values: true, fragment: true, lenient: true }, now);
    for mode in [ld::Mode::Entity, ld::Mode::Fragment, ld::Mode::MergePatch] {
        let _ = ld::decode_entity(text, context, mode, now);
        let _ = ld::decode_attribute_fragment("a", text, context, mode, now);
    }
    let _ = geometry::parse(text);
    let short = |term: &str| Name::new(term);
    for dialect in [Dialect::Ld, Dialect::V2, Dialect::V2Metadata] {
        let _ = Query::parse(text, dialect, &short);
    }
    let _ = ScopeQuery::parse(text);
    let _ = StringQuery::parse(text);
    let _ = TypeQuery::parse(text, &short);
    let _ = GeoQuery::parse(text, text, text, Name::new("location"));
    let _ = GeoQuery::parse_v2(text, text, text);
    let _ = pattern(text);
    if let Ok(json) = Json::parse(text) {
        let _ = v2::Subscription::read(&json, true);
        let value = json.to_value();
        let _ = Context::compile(&value, &|_| None);
        if let serde_json::Value::Object(document) = value {
            for form in [ld::subscription::Form::Whole, ld::subscription::Form::Lenient, ld::subscription::Form::Patch] {
                if let Ok(document) = ld::subscription::expand(document.clone(), context, form) {
                    let _ = ld::subscription::Subscription::read(&document);
                    let _ = ld::subscription::compact(&document, context);
                }
            }
        }
    }
}

#[test]
fn every_decoder_answers_every_seed_and_its_variants() {
    let context = Context::core();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut seeds = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        seeds += 1;
        feed(&seed, &context);
        for at in 0..seed.len() {
            let mut variant = seed.clone();
            match at % 4 {
                0 => variant.truncate(at),
                1 => drop(variant.remove(at)),
                2 => variant[at] ^= 1 << (at % 8),
                _ => variant[at] = b"\"{}[]:,-0e\\"[at % 11],
            }
            feed(&variant, &context);
        }
    }
    assert!(seeds > 10);
}
