//! Errors that end a process with a word to its user, and the default form of HTTP errors.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How errors that arise before a handler look: status and message to the face's own body.
pub type ErrorForm = fn(StatusCode, &str) -> Response;

/// The user can mend it: a wrong option or value, a port that is taken. [`crate::main`] prints the line and ends with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// `{"error": "<reason phrase>", "description": "<message>"}`, the form of NGSI v2 and of our own interfaces.
pub(crate) fn default_form(status: StatusCode, message: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error").replace(' ', "");
    let body = serde_json::json!({ "error": reason, "description": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
