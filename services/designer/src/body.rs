//! Request bodies: JSON whatever the content type says (old clients say anything), one object or a list of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// What a body held.
#[derive(Clone, Debug)]
pub(crate) struct Items<T> {
    /// The elements with the JSON that they came as.
    pub items: Vec<(T, Value)>,
    /// Whether the body was one object, not a list.
    pub single: bool,
}

/// How [`one_or_many`] is described in the OpenAPI document.
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) struct OneOrMany<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// Reads a JSON body.
///
/// # Errors
/// 400 with the place of the fault.
pub(crate) fn json(bytes: &[u8]) -> ApiResult<Value> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad("the body is empty; JSON is expected"));
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad(format!("the body is not JSON: {error}")))
}

/// Reads one object.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn one<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    typed(json(bytes)?, "")
}

/// Reads one object or a list of them.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn one_or_many<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<Items<T>> {
    match json(bytes)? {
        Value::Array(values) => {
            let read = |(index, value): (usize, Value)| Ok((typed(value.clone(), &format!("[{index}]."))?, value));
            Ok(Items { items: values.into_iter().enumerate().map(read).collect::<ApiResult<_>>()?, single: false })
        }
        value => Ok(Items { items: vec![(typed(value.clone(), "")?, value)], single: true }),
    }
}

/// A JSON value as `T`. Members that are `null` count as left out, as old pages write them.
///
/// # Errors
/// 400 with the field that is wrong; `at` is put before its path.
pub(crate) fn typed<T: DeserializeOwned>(mut value: Value, at: &str) -> ApiResult<T> {
    if !value.is_object() {
        return Err(ApiError::bad(format!("{}a JSON object is expected", if at.is_empty() { String::new() } else { format!("{at}: ") })));
    }
    drop_nulls(&mut value);
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        ApiError::bad(format!("{at}{path}: {}", error.inner()).trim_start_matches(": ").to_owned())
    })
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            // What users put there is theirs.
            let ours = |name: &str| !["designboard", "value", "scopeValue"].contains(&name);
            members.iter_mut().filter(|(name, _)| ours(name)).for_each(|(_, member)| drop_nulls(member));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use fogflow_orchestration::Operator;

    use super::*;

    #[test]
    fn one_object_and_a_list_are_both_read() {
        let single = one_or_many::<Operator>(br#"{"name":"a"}"#).unwrap();
        let many = one_or_many::<Operator>(br#"[{"name":"a"},{"name":"b","parameters":null}]"#).unwrap();
        assert!(single.single && single.items.len() == 1);
        assert!(!many.single && many.items.len() == 2);
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path() {
        let error = one_or_many::<Operator>(br#"[{"name":"a"},{"name":"b","dockerimages":[{"name":7}]}]"#).unwrap_err();
        assert!(error.description.starts_with("[1].dockerimages[0].name: "), "{}", error.description);
    }

    #[test]
    fn an_empty_body_and_no_json_are_refused() {
        for wrong in [&b""[..], b"  ", b"{", b"\"text\"", b"7", b"[1]"] {
            assert_eq!(one_or_many::<Operator>(wrong).unwrap_err().status, axum::http::StatusCode::BAD_REQUEST);
        }
    }
}
