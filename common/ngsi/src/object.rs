//! Helpers for hand-written object decoders.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use smol_str::{SmolStr, format_smolstr};

use crate::error::{DecodeError, DecodeErrorKind};

/// Decodes a body. The path of an erroneous member is found in a second pass, so that good input does not pay for it.
pub(crate) fn decode<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::syntax(format!("not valid UTF-8: {error}")))?;
    decode_str(text)
}

/// As [`decode`], from text.
pub(crate) fn decode_str<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| explain::<T>(text, &error))
}

#[cold]
fn explain<'de, T: Deserialize<'de>>(text: &'de str, error: &serde_json::Error) -> DecodeError {
    if text.trim_start().is_empty() {
        return DecodeError::syntax("the body is empty");
    }
    if !error.is_data() {
        return DecodeError::syntax(format!("not valid JSON: {error}"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(located) => {
            let path = located.path().to_string();
            let field = if path == "." { String::new() } else { path };
            DecodeError { kind: DecodeErrorKind::Data, field, message: located.into_inner().to_string() }
        }
        Ok(_) => DecodeError { kind: DecodeErrorKind::Data, field: String::new(), message: error.to_string() },
    }
}

/// A member name, borrowed from the input unless it has escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl Key<'_> {
    /// Whether this is the name, in any letter case: upstream decodes without regard to case, and clients rely on it.
    #[inline]
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// A boolean, also as the strings `"true"` and `"false"` that Orion's first version uses.
#[derive(Default)]
pub(crate) struct FlexBool(pub(crate) bool);

impl<'de> Deserialize<'de> for FlexBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoolVisitor;
        impl Visitor<'_> for BoolVisitor {
            type Value = FlexBool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, or the string \"true\" or \"false\"")
            }
            fn visit_bool<E>(self, value: bool) -> Result<FlexBool, E> {
                Ok(FlexBool(value))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<FlexBool, E> {
                if text.eq_ignore_ascii_case("true") {
                    Ok(FlexBool(true))
                } else if text.is_empty() || text.eq_ignore_ascii_case("false") {
                    Ok(FlexBool(false))
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(BoolVisitor)
    }
}

/// A text, also from a number: `"throttling": 5` means `"5"`.
#[derive(Default)]
pub(crate) struct FlexText(pub(crate) SmolStr);

impl<'de> Deserialize<'de> for FlexText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = FlexText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }
            fn visit_str<E>(self, text: &str) -> Result<FlexText, E> {
                Ok(FlexText(SmolStr::new(text)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<FlexText, E> {
                Ok(FlexText(format_smolstr!("{number}")))
            }
            fn visit_u64<E>(self, number: u64) -> Result<FlexText, E> {
                Ok(FlexText(format_smolstr!("{number}")))
            }
            fn visit_f64<E>(self, number: f64) -> Result<FlexText, E> {
                Ok(FlexText(format_smolstr!("{number}")))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// The members of an object in their order, each value as its text.
pub(crate) struct Members<'de>(pub(crate) Vec<(Cow<'de, str>, &'de RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Implements `Deserialize` for a struct with `Default`: member names in any letter case, `null` the same as absent,
/// unknown members skipped. `"name" | "other name" => field as Wrapper` decodes through a one-field wrapper.
macro_rules! decode_object {
    ($name:ident { $($key:literal $(| $alias:literal)* => $field:ident $(as $wrap:ident)?),* $(,)? }) => {
        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor;
                impl<'de> ::serde::de::Visitor<'de> for ObjectVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }
                    #[allow(unused_parens)]
                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut out = <$name>::default();
                        while let Some(key) = map.next_key::<$crate::object::Key<'de>>()? {
                            $(if key.is($key) $(|| key.is($alias))* {
                                if let Some($($wrap)? (value)) = map.next_value()? {
                                    out.$field = value;
                                }
                                continue;
                            })*
                            map.next_value::<::serde::de::IgnoredAny>()?;
                        }
                        Ok(out)
                    }
                }
                deserializer.deserialize_map(ObjectVisitor)
            }
        }
    };
}
pub(crate) use decode_object;
