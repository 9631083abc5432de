//! One fuzz target for each decoder: whatever comes, it answers with a value or an error.
//!
//! As tests, the targets take every seed of `corpus/` with many small changes, and then a fixed number of random mixtures
//! of changes. `cargo bolero test` runs the same targets with a coverage-guided engine; see `CONTRIBUTING.md`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::LazyLock;

use fogflow_ngsi::context::Context;
use fogflow_ngsi::query::{Dialect, GeoQuery, Query, ScopeQuery, StringQuery, TypeQuery, pattern};
use fogflow_ngsi::v1::availability::{
    DiscoverContextAvailabilityRequest, EntityRegistration, Heartbeat, NotifyContextAvailabilityRequest, RegisterContextRequest,
    SubscribeContextAvailabilityRequest,
};
use fogflow_ngsi::{Entity, Json, Name, Timestamp, geometry, ld, v1, v2};

/// Random mixtures that each target takes in a test run.
const MIXTURES: usize = 2000;
const NOW: Timestamp = Timestamp(0);

/// The seeds, in the order of their names.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("a seed").path()).collect();
    files.retain(|file| file.extension().is_none_or(|ending| ending != "md"));
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a seed")).collect()
});

/// An input: a seed, of which some bytes are replaced, removed or put in, or which ends early.
type Mixture = (u8, Vec<(u8, u16, u8)>);

fn mix((seed, changes): &Mixture) -> Vec<u8> {
    let mut bytes = SEEDS[usize::from(*seed) % SEEDS.len()].clone();
    for (kind, place, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let place = usize::from(*place) % bytes.len();
        let byte = if kind & 4 == 0 { b"\"{}[]:,-0e\\."[usize::from(*byte) % 12] } else { *byte };
        match kind % 4 {
            0 => bytes[place] = byte,
            1 => bytes.insert(place, byte),
            2 => drop(bytes.remove(place)),
            _ if *kind > 250 => bytes.truncate(place),
            _ => bytes[place] ^= 1 << (byte % 8),
        }
    }
    bytes
}

macro_rules! targets {
    ($($name:ident: |$bytes:ident| $body:block)*) => {
        $(
            #[test]
            fn $name() {
                fn target($bytes: &[u8]) $body
                for seed in SEEDS.iter() {
                    target(seed);
                    for end in 0..seed.len() {
                        target(&seed[..end]);
                    }
                }
                bolero::check!().with_iterations(MIXTURES).with_type::<Mixture>().for_each(|mixture: &Mixture| target(&mix(mixture)));
            }
        )*
    };
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn short(term: &str) -> Name {
    Name::new(term)
}

targets! {
    v1_updates: |bytes| { let _ = v1::UpdateContextRequest::decode(bytes, NOW); }
    v1_queries: |bytes| { let _ = v1::QueryContextRequest::decode(bytes); }
    v1_query_responses: |bytes| { let _ = v1::QueryContextResponse::decode(bytes, NOW); }
    v1_subscriptions: |bytes| {
        let _ = v1::SubscribeContextRequest::decode(bytes);
        let _ = v1::UnsubscribeContextRequest::decode(bytes);
    }
    v1_notifications: |bytes| { let _ = v1::NotifyContextRequest::decode(bytes, NOW); }
    ngsi9_registrations: |bytes| {
        let _ = RegisterContextRequest::decode(bytes);
        let _ = EntityRegistration::decode(bytes);
    }
    ngsi9_discovery: |bytes| { let _ = DiscoverContextAvailabilityRequest::decode(bytes); }
    ngsi9_subscriptions: |bytes| { let _ = SubscribeContextAvailabilityRequest::decode(bytes); }
    ngsi9_notifications: |bytes| { let _ = NotifyContextAvailabilityRequest::decode(bytes); }
    ngsi9_heartbeats: |bytes| { let _ = Heartbeat::decode(bytes); }
    v2_entities: |bytes| {
        let _ = v2::decode_entity(text(bytes), v2::Rules::default(), NOW);
        let _ = v2::decode_entity(text(bytes), v2::Rules { key_values: true, fragment: true, lenient: true }, NOW);
    }
    v2_values: |bytes| { let _ = v2::decode_value(bytes, true, v2::Rules::default()); }
    v2_operations: |bytes| {
        let _ = v2::BatchUpdate::decode(bytes, v2::Rules::default(), NOW);
        let _ = v2::BatchQuery::decode(bytes);
        let _ = v2::Notify::decode(bytes, v2::Rules::default(), NOW);
    }
    v2_subscriptions: |bytes| {
        if let Ok(json) = Json::parse(text(bytes)) {
            let _ = v2::Subscription::read(&json, true);
            let _ = v2::Subscription::read(&json, false);
        }
    }
    ld_entities: |bytes| {
        for mode in [ld::Mode::Entity, ld::Mode::Fragment, ld::Mode::Update, ld::Mode::MergePatch] {
            for lenient in [false, true] {
                let _ = ld::decode_entity(text(bytes), &Context::core(), ld::Rules { mode, lenient }, NOW);
            }
        }
    }
    ld_attributes: |bytes| {
        for mode in [ld::Mode::Fragment, ld::Mode::MergePatch] {
            let _ = ld::decode_attribute_fragment("a", text(bytes), &Context::core(), mode, NOW);
        }
    }
    ld_bodies: |bytes| {
        let _ = ld::context_member(bytes);
        let _ = ld::decode_list(bytes);
    }
    ld_subscriptions: |bytes| {
        let Ok(serde_json::Value::Object(document)) = serde_json::from_slice(bytes) else { return };
        for form in [ld::subscription::Form::Whole, ld::subscription::Form::Lenient, ld::subscription::Form::Patch] {
            if let Ok(document) = ld::subscription::expand(document.clone(), &Context::core(), form) {
                let _ = ld::subscription::Subscription::read(&document);
                let _ = ld::subscription::compact(&document, &Context::core());
            }
        }
    }
    ld_contexts: |bytes| {
        if let Ok(value) = serde_json::from_slice(bytes) {
            let _ = Context::compile(&value, &|_| None);
        }
    }
    queries: |bytes| {
        for dialect in [Dialect::Ld, Dialect::V2, Dialect::V2Metadata] {
            let _ = Query::parse(text(bytes), dialect, &short);
        }
    }
    scope_type_and_string_queries: |bytes| {
        let _ = ScopeQuery::parse(text(bytes));
        let _ = StringQuery::parse(text(bytes));
        let _ = TypeQuery::parse(text(bytes), &short);
        let _ = pattern(text(bytes));
    }
    geo_queries: |bytes| {
        let text = text(bytes);
        let _ = geometry::parse(text);
        let _ = GeoQuery::parse(text, text, text, Name::new("location"));
        let _ = GeoQuery::parse_v2(text, text, text);
        // The coordinates are the part that has a form of its own.
        let _ = GeoQuery::parse("near;maxDistance==10", "Point", text, Name::new("location"));
        let _ = GeoQuery::parse("within", "Polygon", text, Name::new("location"));
    }
    stored_entities: |bytes| { let _ = Entity::from_store(bytes); }
}

#[test]
fn the_corpus_has_seeds_for_every_face() {
    assert!(SEEDS.len() > 10, "{}", SEEDS.len());
}
