//! Replies in NGSIv2's form.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::{DecodeError, DecodeErrorKind};
use serde::Serialize;

use crate::command::Refusal;
use crate::engine::Refused;

/// `{"error", "description"}`
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Fault { status, error, description: description.into() }
    }

    pub(super) fn bad(description: impl Into<String>) -> Self {
        Fault::new(StatusCode::BAD_REQUEST, "BadRequest", description)
    }

    pub(super) fn not_found(description: impl Into<String>) -> Self {
        Fault::new(StatusCode::NOT_FOUND, "NotFound", description)
    }

    pub(super) fn unprocessable(description: impl Into<String>) -> Self {
        Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable", description)
    }

    pub(super) fn with_status(status: StatusCode, description: impl Into<String>) -> Self {
        let error = match status.as_u16() {
            400 => "BadRequest",
            404 => "NotFound",
            405 => "MethodNotAlowed", // The specification's own spelling.
            411 => "ContentLengthRequired",
            413 => "RequestEntityTooLarge",
            415 => "UnsupportedMediaType",
            422 => "Unprocessable",
            507 => "NoResourcesAvailable",
            503 | 504 => "ServiceUnavailable",
            _ => "InternalServerError",
        };
        Fault::new(status, error, description)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        match error.kind {
            DecodeErrorKind::Syntax => Fault::new(StatusCode::BAD_REQUEST, "ParseError", error.to_string()),
            _ => Fault::bad(error.to_string()),
        }
    }
}

impl From<&Refusal> for Fault {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Fault::not_found("The requested entity has not been found. Check type and id"),
            Refusal::NoSuchAttribute => Fault::not_found("The entity does not have such an attribute"),
            Refusal::AlreadyExists => Fault::unprocessable("Already Exists"),
            other => {
                Fault::with_status(StatusCode::from_u16(other.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), other.to_string())
            }
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Fault::with_status(status, refused.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        json(self.status, &serde_json::json!({"error": self.error, "description": self.description}))
    }
}

/// The form of errors that arise outside of handlers.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    Fault::with_status(status, message).into_response()
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    raw(status, serde_json::to_vec(value).unwrap_or_default())
}

/// JSON that is already written.
pub(super) fn raw(status: StatusCode, text: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// 204
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
