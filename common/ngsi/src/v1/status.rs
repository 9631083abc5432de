//! The status code that v1 carries inside its bodies.

use serde::Serialize;
use smol_str::SmolStr;

use crate::object::decode_object;

/// `statusCode`, `errorCode` and `responseCode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusCode {
    /// An HTTP-like code. In availability notifications the action: 201 initial, 301 changed, 410 gone.
    pub code: i32,
    /// A fixed short text for the code.
    #[serde(rename = "reasonPhrase", skip_serializing_if = "SmolStr::is_empty")]
    pub reason_phrase: SmolStr,
    /// What in particular happened.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

decode_object!(StatusCode { "code" => code, "reasonPhrase" => reason_phrase, "details" => details });

impl StatusCode {
    /// 200 `OK`
    #[must_use]
    pub fn ok() -> Self {
        StatusCode { code: 200, reason_phrase: SmolStr::new_static("OK"), details: String::new() }
    }

    /// A code with its text and an explanation.
    #[must_use]
    pub fn new(code: i32, details: impl Into<String>) -> Self {
        let reason = match code {
            200 | 201 | 301 | 410 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            409 => "Conflict",
            413 => "Too Large",
            472 => "Invalid Parameter",
            500 => "Internal Error",
            502 => "Bad Gateway",
            503 => "Unavailable",
            _ => "",
        };
        StatusCode { code, reason_phrase: SmolStr::new_static(reason), details: details.into() }
    }
}
