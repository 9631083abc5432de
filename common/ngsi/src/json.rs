//! JSON values that are stored and forwarded far more often than they are looked into.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use crate::Timestamp;

/// A JSON value kept as its text, as the client sent it.
///
/// Numbers, booleans and short strings need no allocation; writing the value out is a copy; a number keeps the digits
/// that were sent (`22.50` stays `22.50`). The text is always one complete JSON value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(SmolStr);

impl Json {
    /// `null`
    pub const NULL: Json = Json(SmolStr::new_static("null"));

    /// Takes the text of a value that the JSON parser has already checked.
    #[must_use]
    pub fn from_raw(raw: &RawValue) -> Self {
        Json(SmolStr::new(raw.get()))
    }

    /// Parses and checks a text.
    ///
    /// # Errors
    /// If `text` is not exactly one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(Self::from_raw)
    }

    /// The JSON string with this content.
    #[must_use]
    pub fn string(content: &str) -> Self {
        Self::from(&Value::String(content.to_owned()))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// Whether the value is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether the value is an array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.0.starts_with('[')
    }

    /// The number, if the value is one.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        let first = *self.0.as_bytes().first()?;
        (first == b'-' || first.is_ascii_digit()).then(|| self.0.parse().ok())?
    }

    /// The boolean, if the value is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.0.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The content of the string, if the value is one; borrowed when it has no escapes.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'_, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') { serde_json::from_str(&self.0).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
    }

    /// The point in time, if the value is a string that says one.
    #[must_use]
    pub fn as_timestamp(&self) -> Option<Timestamp> {
        self.as_str()?.parse().ok()
    }

    /// The value as a tree.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Whether both mean the same value: `1` and `1.0`, or objects with other white space, do.
    #[must_use]
    pub fn means(&self, other: &Json) -> bool {
        self.0 == other.0
            || match (self.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => a == b,
                (None, None) => self.to_value() == other.to_value(),
                _ => false,
            }
    }
}

impl Default for Json {
    /// `null`
    fn default() -> Self {
        Json::NULL
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Json(SmolStr::from(value.to_string()))
    }
}

impl From<f64> for Json {
    /// A number that JSON cannot express (infinite, NaN) becomes `null`.
    fn from(number: f64) -> Self {
        Self::from(&Value::from(number))
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json(SmolStr::new_static(if value { "true" } else { "false" }))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self::from_raw(&raw))
    }
}
