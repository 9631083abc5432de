//! Replies in v1's form.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::DecodeError;
use fogflow_ngsi::v1;
use serde::Serialize;

const JSON: &str = "application/json; charset=utf-8";

/// `{"Error": "<message>"}`
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &serde_json::json!({ "Error": message }))
}

/// An error with a status code as a number.
pub(super) fn error_code(status: u16, message: &str) -> Response {
    error(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message)
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => raw(status, text),
        Err(failed) => (StatusCode::INTERNAL_SERVER_ERROR, failed.to_string()).into_response(),
    }
}

/// JSON that is already written.
pub(super) fn raw(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(JSON));
    response
}

/// A request body that cannot be understood.
pub(super) struct Malformed(pub(super) String);

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Self {
        Malformed(error.to_string())
    }
}

impl IntoResponse for Malformed {
    fn into_response(self) -> Response {
        error(StatusCode::BAD_REQUEST, &self.0)
    }
}

/// The status of an element.
pub(super) fn status(code: u16, details: impl Into<String>) -> v1::StatusCode {
    v1::StatusCode::new(i32::from(code), details)
}
