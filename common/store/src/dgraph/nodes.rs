//! How documents, changes and leases look as nodes: predicates, queries, JSON.
//!
//! Each service has predicates of its own, `fogflow.<service>.…`, so several share a server. A document's key is one
//! string whose order is the order of [`Key`]: the parts are separated by `01 01`, and a `01` in a part is `01 02`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use smol_str::SmolStr;

use crate::model::{Document, Key, Sequence, StoreError};

/// Predicates and their types. `@upsert` makes transactions that create the same key conflict.
const PREDICATES: [(&str, &str); 15] = [
    ("key", "string @index(exact) @upsert"),
    ("version", "int"),
    ("sequence", "int"),
    ("live", "bool @index(bool)"),
    ("value", "string"),
    ("change", "int @index(int) @upsert"),
    ("changed", "string"),
    ("state", "string @index(exact) @upsert"),
    ("head", "int"),
    ("log_from", "int"),
    ("writer", "string"),
    ("lease", "string @index(exact) @upsert"),
    ("holder", "string"),
    ("epoch", "int"),
    ("until", "int"),
];
const END: &str = "\u{1}\u{1}";

/// The names of one service.
#[derive(Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(service: &str) -> Self {
        let clean: String = service.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        Names { prefix: format!("fogflow.{clean}") }
    }

    /// A predicate.
    pub(super) fn of(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// All predicates.
    pub(super) fn predicates(&self) -> Vec<String> {
        PREDICATES.iter().map(|(name, _)| self.of(name)).collect()
    }

    /// The schema, as `/alter` takes it.
    pub(super) fn schema(&self) -> String {
        PREDICATES.iter().map(|(name, kind)| format!("{}: {kind} .\n", self.of(name))).collect()
    }

    /// The fields of a document node.
    pub(super) fn document_fields(&self) -> String {
        let field = |name| format!("{name}: {}", self.of(name));
        format!("uid {}", ["key", "version", "sequence", "live", "value"].map(field).join(" "))
    }

    /// The node that a document becomes.
    pub(super) fn document(&self, uid: &str, document: &Document) -> Value {
        json!({
            "uid": uid,
            self.of("key"): encode(&document.key),
            self.of("version"): document.version,
            self.of("sequence"): document.sequence,
            self.of("live"): document.value.is_some(),
            self.of("value"): document.value.as_deref().map(text).unwrap_or_default(),
        })
    }

    /// The node that a change becomes.
    pub(super) fn change(&self, change: &Document, writer: &str) -> Value {
        json!({
            "uid": format!("_:change{}", change.sequence),
            self.of("change"): change.sequence,
            self.of("changed"): encode(&change.key),
            self.of("version"): change.version,
            self.of("live"): change.value.is_some(),
            self.of("value"): change.value.as_deref().map(text).unwrap_or_default(),
            self.of("writer"): writer,
        })
    }
}

/// A key as one string.
pub(super) fn encode(key: &Key) -> String {
    let part = |text: &str| text.replace('\u{1}', "\u{1}\u{2}");
    format!("{}{END}{}{END}{}", part(&key.collection), part(&key.tenant), part(&key.id))
}

/// What all keys of a collection, or of a tenant in it, begin with, and the first string behind them.
pub(super) fn range(collection: &str, tenant: Option<&str>) -> (String, String) {
    let part = |text: &str| text.replace('\u{1}', "\u{1}\u{2}");
    let begin = match tenant {
        Some(tenant) => format!("{}{END}{}", part(collection), part(tenant)),
        None => part(collection),
    };
    // `01 02` belongs to a longer name; it comes right behind `01 01`.
    (format!("{begin}{END}"), format!("{begin}\u{1}\u{2}"))
}

/// The document in a node whose fields have short names.
pub(super) fn read(node: &Value) -> Result<Document, StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("a node of Dgraph has no {what}"));
    let number = |name: &str| node[name].as_u64().ok_or_else(|| damaged(name));
    let key = decode(node["key"].as_str().ok_or_else(|| damaged("key"))?)?;
    let value = match node["live"].as_bool() {
        Some(true) => Some(bytes(node["value"].as_str().unwrap_or_default())?),
        _ => None,
    };
    Ok(Document { key, version: number("version")?, sequence: number("sequence")?, value })
}

/// A number that a block's first node has, or 0.
pub(super) fn first_number(block: Option<&Value>, name: &str) -> Sequence {
    block.and_then(|nodes| nodes[0][name].as_u64()).unwrap_or_default()
}

fn decode(text: &str) -> Result<Key, StoreError> {
    let mut parts = text.splitn(3, END).map(|part| SmolStr::from(part.replace("\u{1}\u{2}", "\u{1}")));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(collection), Some(tenant), Some(id)) => Ok(Key { collection, tenant, id }),
        _ => Err(StoreError::Damaged("a key in Dgraph cannot be decoded".to_owned())),
    }
}

/// JSON and other text stand there as they are, behind a `t`; anything else as base64, behind a `b`.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains('\0') => format!("t{text}"),
        _ => format!("b{}", STANDARD.encode(value)),
    }
}

fn bytes(text: &str) -> Result<Bytes, StoreError> {
    let damaged = || StoreError::Damaged("a value in Dgraph cannot be decoded".to_owned());
    match text.split_at_checked(1) {
        Some(("t", text)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(("b", text)) => STANDARD.decode(text).map(Bytes::from).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Key> {
        let part = "[ab\u{1}\u{2}é]{0,4}";
        (part, part, part).prop_map(|(collection, tenant, id)| Key::new(collection, tenant, id))
    }

    proptest! {
        #[test]
        fn a_key_survives_and_its_range_holds_exactly_its_collection_and_tenant(a in keys(), b in keys()) {
            prop_assert_eq!(&decode(&encode(&a)).unwrap(), &a);
            let inside = |(from, to): (String, String)| encode(&a) >= from && encode(&a) < to;
            prop_assert_eq!(inside(range(&b.collection, None)), a.collection == b.collection);
            let same = a.collection == b.collection && a.tenant == b.tenant;
            prop_assert_eq!(inside(range(&b.collection, Some(&b.tenant))), same);
        }

        #[test]
        fn a_value_survives(value in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(&bytes(&text(&value)).unwrap()[..], &value[..]);
        }
    }
}
