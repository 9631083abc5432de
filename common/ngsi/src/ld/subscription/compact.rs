//! Showing a document in the names of whoever asks.

use serde_json::{Map, Value};

use crate::Name;
use crate::context::Context;
use crate::query::{Dialect, Query};

/// The document with compacted names, as a client sees it.
#[must_use]
pub fn compact(document: &Map<String, Value>, context: &Context) -> Map<String, Value> {
    let names = |value: &Value| map_names(value, &|iri| context.compact(&Name::new(iri)).into_owned());
    let mut out = document.clone();
    for (key, value) in &mut out {
        match key.as_str() {
            "watchedAttributes" => *value = names(value),
            "entities" => {
                for selector in value.as_array_mut().into_iter().flatten() {
                    if let Some(types) = selector.get_mut("type") {
                        *types = compact_types(types, context);
                    }
                }
            }
            "notification" => {
                for list in ["attributes", "pick", "omit"] {
                    if let Some(value) = value.get_mut(list) {
                        *value = names(value);
                    }
                }
            }
            "q" => {
                let text = value.as_str().unwrap_or_default();
                if let Ok(query) = Query::parse(text, Dialect::Ld, &|term| Name::new(term)) {
                    *value = query.text(&|name| context.compact(name).into_owned()).into();
                }
            }
            "geoQ" => {
                if let Some(property) = value.get_mut("geoproperty") {
                    *property = names(property);
                }
            }
            _ => {}
        }
    }
    out
}

fn map_names(value: &Value, map: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(map(text)),
        Value::Array(items) => Value::Array(items.iter().map(|item| map_names(item, map)).collect()),
        other => other.clone(),
    }
}

/// Maps the names in a type selection, which may be an expression.
pub(super) fn map_types(value: &Value, map: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let end = rest.find([';', ',', '|', '(', ')']).unwrap_or(rest.len());
                if end > 0 {
                    out.push_str(&if &rest[..end] == "*" { "*".to_owned() } else { map(&rest[..end]) });
                }
                let next = rest[end..].chars().next().map_or(end, |c| end + c.len_utf8());
                out.push_str(&rest[end..next]);
                rest = &rest[next..];
            }
            Value::String(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| map_types(item, map)).collect()),
        other => other.clone(),
    }
}

fn compact_types(value: &Value, context: &Context) -> Value {
    map_types(value, &|iri| context.compact(&Name::new(iri)).into_owned())
}
