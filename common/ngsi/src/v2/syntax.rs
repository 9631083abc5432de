//! Which texts may be identifiers, and which characters no text may have (NGSIv2, "Field syntax restrictions" and
//! "General syntax restrictions").

use serde_json::Value;

use crate::{DecodeError, Json};

const FORBIDDEN: [char; 7] = ['<', '>', '"', '\'', '=', ';', '('];

fn is_forbidden(c: char) -> bool {
    FORBIDDEN.contains(&c) || c == ')'
}

/// Checks an id, a type or a name: 1 to 256 characters, no white space, control characters or `&`, `?`, `/`, `#`, and no
/// forbidden characters. Names that are URIs, as other faces make them, may have slashes.
///
/// # Errors
/// If it is not allowed; the error names `field`.
pub fn check_name(field: &str, text: &str) -> Result<(), DecodeError> {
    let fault = |message: &str| Err(DecodeError::data(field, message));
    if text.is_empty() {
        return fault("must not be empty");
    }
    if text.chars().count() > 256 {
        return fault("is longer than 256 characters");
    }
    let is_uri = text.contains(':');
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '&' || c == '?' || !is_uri && (c == '/' || c == '#') || is_forbidden(c);
    match text.chars().find(|c| bad(*c)) {
        Some(c) => fault(&format!("has the character `{}`, which is not allowed", c.escape_default())),
        None => Ok(()),
    }
}

/// Checks that no text inside a value has a forbidden character.
pub(super) fn check_value(field: &str, value: &Json) -> Result<(), DecodeError> {
    // Without a string there is nothing to check.
    if !value.as_text().contains(['"']) {
        return Ok(());
    }
    let clean = match value.as_str() {
        Some(text) => !text.contains(is_forbidden),
        None => tree_is_clean(&value.to_value()),
    };
    if clean { Ok(()) } else { Err(DecodeError::data(field, "has a character that is not allowed in a value: < > \" ' = ; ( )")) }
}

fn tree_is_clean(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains(is_forbidden),
        Value::Array(items) => items.iter().all(tree_is_clean),
        Value::Object(members) => members.iter().all(|(key, member)| !key.contains(is_forbidden) && tree_is_clean(member)),
        _ => true,
    }
}
