//! Reads JSON as Go's `encoding/json` does, because upstream's components are written in Go: object keys match field
//! names in any case (an exact match wins), and `null` leaves a field at its zero value.
//!
//! The field names come from the types themselves (serde hands them to [`Deserializer::deserialize_struct`]), so no type
//! needs a list of spellings. Writing is always in upstream's exact spelling.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::{Error, Map, Value};

/// Reads a value.
///
/// # Errors
/// If a required field is missing or a field has the wrong type; the message names it.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(GoValue(value))
}

/// Reads a JSON text.
///
/// # Errors
/// As [`from_value`], and if the text is not JSON.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(text)?)
}

struct GoValue(Value);

/// The object with its keys in the spelling of `fields`, without nulls. Of two keys that differ in case only, the exact one
/// stays; Go would let the last one win, which no writer relies on.
fn with_field_spelling(object: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    let mut spelled = Map::with_capacity(object.len());
    let mut others = Vec::new();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        if fields.contains(&key.as_str()) {
            spelled.insert(key, value);
        } else {
            others.push((key, value));
        }
    }
    for (key, value) in others {
        let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) else { continue };
        if !spelled.contains_key(*field) {
            spelled.insert((*field).to_owned(), value);
        }
    }
    // A field may have aliases; the first in declaration order wins, since serde refuses a field that comes twice. Aliases
    // that differ by more than case (`type` and `Type` do not) are never sent together.
    let mut seen: Vec<String> = Vec::with_capacity(spelled.len());
    spelled.retain(|key, _| {
        let lower = key.to_ascii_lowercase();
        let first = !seen.contains(&lower);
        if first {
            seen.push(lower);
        }
        first
    });
    spelled
}

impl<'de> Deserializer<'de> for GoValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            Value::Object(object) => visitor.visit_map(Fields { entries: object.into_iter(), value: Value::Null }),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => {
                visitor.visit_map(Fields { entries: with_field_spelling(object, fields).into_iter(), value: Value::Null })
            }
            other => GoValue(other).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(GoValue(item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fields {
    entries: serde_json::map::IntoIter,
    value: Value,
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = value;
        let key: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(GoValue(std::mem::take(&mut self.value)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Envelope, ScheduledTaskInstance, ServiceIntent, WorkerProfile};

    #[test]
    fn keys_in_any_case_are_read_at_every_depth() {
        let task: ScheduledTaskInstance = from_value(
            json!({"id": "Task.a.b.1", "workerid": "Worker.001", "INPUTS": [{"type": "T", "id": "D.1", "attributelist": ["a"]}]}),
        )
        .expect("it reads");
        assert_eq!((task.id.as_str(), task.worker_id.as_str()), ("Task.a.b.1", "Worker.001"));
        assert_eq!(task.inputs[0].attribute_list, ["a"]);
    }

    #[test]
    fn an_input_has_the_service_path_that_ours_tell_and_upstreams_removal_means_it_on_any() {
        let input = |value| from_value::<crate::InputStream>(value).expect("it reads");
        let north = input(json!({"Type": "T", "ID": "D.1", "AttributeList": [], "ServicePath": "/north"}));
        assert_eq!(north.service_path, "/north");
        let south = crate::InputStream { service_path: "/south".to_owned(), ..north.clone() };
        assert!(north.names(&north) && !north.names(&south));
        let upstreams = input(json!({"ID": "D.1"}));
        assert!(upstreams.names(&north) && upstreams.names(&south));
        assert!(!serde_json::to_string(&upstreams).expect("it writes").contains("ServicePath"), "upstream's form");
    }

    #[test]
    fn null_is_the_zero_value() {
        let task: ScheduledTaskInstance =
            from_value(json!({"ID": "t", "Inputs": null, "Outputs": null, "Parameters": null, "Epoch": null})).expect("it reads");
        assert!(task.inputs.is_empty() && task.outputs.is_empty() && task.epoch.is_none());
        let intent: ServiceIntent = from_value(json!({"id": "i", "geoscope": null, "priority": null})).expect("it reads");
        assert_eq!(intent.geoscope.scope_type, "global");
    }

    #[test]
    fn envelopes_with_other_spellings_are_read() {
        for key in ["PayLoad", "payload", "Payload", "PAYLOAD"] {
            let envelope: Envelope =
                from_value(json!({"type": "WORKER_JOIN", "routingkey": "heartbeat.", "FROM": "w", key: {"id": "w"}})).expect("it reads");
            let profile: WorkerProfile = from_value(envelope.payload).expect("it reads");
            assert_eq!(profile.id, "w");
        }
    }

    #[test]
    fn an_exact_key_wins_over_another_case() {
        let profile: WorkerProfile = from_value(json!({"ID": "other", "id": "exact"})).expect("it reads");
        assert_eq!(profile.id, "exact");
    }

    #[test]
    fn free_values_keep_their_keys_and_nulls() {
        let intent: ServiceIntent =
            from_value(json!({"id": "i", "geoscope": {"scopetype": "circle", "scopeValue": {"CenterLatitude": 1, "x": null}}}))
                .expect("it reads");
        assert_eq!(intent.geoscope.scope_value, json!({"CenterLatitude": 1, "x": null}));
    }

    #[test]
    fn a_wrong_type_is_an_error_that_is_no_panic() {
        assert!(from_value::<WorkerProfile>(json!({"id": 7})).is_err());
        assert!(from_value::<WorkerProfile>(json!([1, 2])).is_err());
        assert!(from_slice::<WorkerProfile>(b"{").is_err());
    }
}
