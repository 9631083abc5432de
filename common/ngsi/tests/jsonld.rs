//! Our compiled contexts beside a complete JSON-LD processor (`oxjsonld`, which passes W3C's suite), within what they support.
//!
//! The processor gets the part of the core context that matters here before and after the context of a client: ours stands
//! there as well.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fogflow_ngsi::context::Context;
use oxjsonld::JsonLdParser;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RDF_TYPE: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type";

/// What the processor makes of names, as attributes and as types. Names that mean nothing are not there.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    attributes: BTreeMap<usize, String>,
    types: BTreeMap<usize, String>,
}

/// `None` if the processor refuses the context. Each name is an attribute whose value is its number, and the type of an entity
/// whose id ends with its number.
fn oracle(context: &Value, names: &[String]) -> Option<Meaning> {
    let core = json!({"id": "@id", "type": "@type", "@vocab": "https://uri.etsi.org/ngsi-ld/default-context/",
        "ngsi-ld": "https://uri.etsi.org/ngsi-ld/"});
    let mut attributes = Map::from_iter([("id".to_owned(), json!("urn:x:attributes"))]);
    attributes.extend(names.iter().enumerate().map(|(number, name)| (name.clone(), json!({"@value": number.to_string()}))));
    let typed = names.iter().enumerate().map(|(number, name)| json!({"id": format!("urn:x:{number}"), "type": name}));
    let graph: Vec<Value> = std::iter::once(Value::Object(attributes)).chain(typed).collect();
    let document = json!({"@context": [core, explicit(context), core], "@graph": graph}).to_string();
    let mut meaning = Meaning::default();
    for quad in JsonLdParser::new().for_slice(document.as_bytes()) {
        let quad = quad.ok()?;
        let text = |term: String| term.trim_matches(['<', '>', '"']).to_owned();
        let (subject, predicate, object) = (text(quad.subject.to_string()), quad.predicate.as_str(), text(quad.object.to_string()));
        if predicate == RDF_TYPE {
            let number = subject.strip_prefix("urn:x:").and_then(|number| number.parse().ok()).expect("one of the entities");
            meaning.types.insert(number, object);
        } else {
            meaning.attributes.insert(object.parse().expect("a number"), predicate.to_owned());
        }
    }
    Some(meaning)
}

/// The context with what the recommendation says of a detailed definition without `@prefix` (4.2.2, step 14.2.5), which the
/// processor takes for a simple one.
fn explicit(context: &Value) -> Value {
    match context {
        Value::Array(parts) => parts.iter().map(explicit).collect(),
        Value::Object(definitions) => {
            let mut definitions = definitions.clone();
            for (term, definition) in &mut definitions {
                if let (false, Some(details)) = (term.contains([':', '/']), definition.as_object_mut()) {
                    details.entry("@prefix").or_insert(json!(false));
                }
            }
            Value::Object(definitions)
        }
        other => other.clone(),
    }
}

/// A context of a client: terms, prefixes and types of values, as NGSI-LD contexts have them.
fn context() -> impl Strategy<Value = Value> {
    let target = || {
        prop_oneof![
            3 => "https://x\\.example/[a-d]{0,2}[/#]?",
            2 => "[a-d]:[a-d]{0,2}",
            1 => "[a-d]{1,2}",
            1 => "ngsi-ld:[a-d]{1,2}",
            1 => "urn:[a-d]{2}:[a-d]",
        ]
    };
    let coercion = || proptest::option::of("@id|@vocab|https://uri\\.etsi\\.org/ngsi-ld/DateTime");
    let detailed =
        (proptest::option::weighted(0.8, target()), coercion(), proptest::option::of(any::<bool>())).prop_map(|(id, coercion, prefix)| {
            let members = [
                id.map(|id| ("@id".to_owned(), json!(id))),
                coercion.map(|coercion| ("@type".to_owned(), json!(coercion))),
                prefix.map(|prefix| ("@prefix".to_owned(), json!(prefix))),
            ];
            Value::Object(members.into_iter().flatten().collect())
        });
    let definition = prop_oneof![4 => target().prop_map(Value::from), 3 => detailed];
    let term = prop_oneof![8 => "[a-d]{1,2}", 1 => "[a-d]:[a-d]", 1 => "[a-d]/[a-d]"];
    let vocabulary = proptest::option::of("https://v\\.example/[a-d]{0,1}/|[a-d]:[a-d]|[a-d]{0,1}");
    let object = (proptest::collection::btree_map(term, definition, 0..6), vocabulary).prop_map(|(terms, vocabulary)| {
        let vocabulary = vocabulary.map(|vocabulary| ("@vocab".to_owned(), json!(vocabulary)));
        Value::Object(vocabulary.into_iter().chain(terms).collect())
    });
    prop_oneof![3 => object.clone(), 1 => proptest::collection::vec(object, 1..4).prop_map(Value::from)]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-d]{1,2}", 3 => "[a-d]:[a-d]{0,2}", 1 => "https://x\\.example/[a-d]{1,2}", 1 => "ngsi-ld:[a-d]{1,2}"]
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
    #[test]
    fn names_expand_as_a_complete_processor_expands_them_and_what_they_compact_to_as_well(
        source in context(),
        names in proptest::collection::btree_set(name(), 1..8),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let theirs = oracle(&source, &names);
        prop_assume!(theirs.is_some(), "the context is refused");
        let theirs = theirs.unwrap_or_default();
        let context = Context::compile(&source, &|_| None)
            .map_err(|error| TestCaseError::fail(format!("only ours refuses {source}: {error}")))?;
        for (number, iri) in theirs.attributes.iter().chain(&theirs.types) {
            let ours = context.expand(&names[*number]);
            prop_assert_eq!(ours.iri(), iri.as_str(), "`{}` in {}", names[*number], source);
        }
        let shown: Vec<String> = names.iter().map(|name| context.compact(&context.expand(name)).into_owned()).collect();
        let back = oracle(&source, &shown).unwrap_or_default();
        for (number, iri) in &theirs.types {
            prop_assert_eq!(back.types.get(number), Some(iri), "`{}`, shown as `{}`, in {}", names[*number], shown[*number], source);
        }
    }
}

/// Cases of the recommendation ("Create Term Definition" and "IRI Expansion"): context, name, what it stands for.
#[test]
fn prefixes_are_what_the_recommendation_says() {
    let base = "https://x.example/";
    for (context, name, iri) in [
        // A simple definition makes a prefix if its IRI ends with a delimiter, a detailed one if it says so.
        (json!({"a": base}), "a:n", "https://x.example/n"),
        (json!({"a": base, "b": "a:n"}), "b", "https://x.example/n"),
        (json!({"a": "https://x.example/v", "b": "a:n"}), "b", "a:n"),
        (json!({"a": {"@id": base}, "b": "a:n"}), "b", "a:n"),
        (json!({"a": {"@id": "https://x.example/v", "@prefix": true}, "b": "a:n"}), "b", "https://x.example/vn"),
        (json!({"a": {"@id": base, "@prefix": false}}), "a:n", "a:n"),
        // A term that is a compact IRI itself needs no declared prefix.
        (json!({"a": {"@id": base}, "a:n": {"@type": "@id"}}), "a:n", "https://x.example/n"),
        // Two slashes make an IRI of it.
        (json!({"a": base, "b": "a://n"}), "b", "a://n"),
        // The vocabulary of a context may use what came before.
        (json!([{"a": base}, {"@vocab": "a:v/", "b": {"@type": "@id"}}]), "b", "https://x.example/v/b"),
        (json!([{"@vocab": base}, {"@vocab": "v/", "b": {"@type": "@id"}}]), "b", "https://x.example/v/b"),
        // The core's prefixes cannot be redefined.
        (json!({"ngsi-ld": base, "b": "ngsi-ld:n"}), "b", "https://uri.etsi.org/ngsi-ld/n"),
    ] {
        let compiled = Context::compile(&context, &|_| None).expect("a context");
        assert_eq!(compiled.expand(name).iri(), iri, "{context}");
    }
    for refused in [
        json!({"a:b": "https://x.example/c"}),
        json!({"a/b": "https://x.example/c"}),
        json!({"a:b": {"@id": "a:b", "@prefix": true}}),
        json!({"a": {"@id": base, "@prefix": "yes"}}),
        json!({"a": "a:n"}),
    ] {
        assert!(Context::compile(&refused, &|_| None).is_err(), "{refused}");
    }
}
