//! How answers look.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::DecodeError;
use serde::Serialize;

use crate::registry::Refusal;

/// 200 with a JSON body.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response(),
        Err(problem) => error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// v1's error form.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let body = serde_json::json!({ "Error": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

/// Why a handler ends early.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(Refusal),
    Undecodable(DecodeError),
    NotFound(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault::Undecodable(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Fault::Undecodable(problem) => error(StatusCode::BAD_REQUEST, &problem.to_string()),
            Fault::Refused(refusal @ Refusal::Invalid(_)) => error(StatusCode::BAD_REQUEST, &refusal.to_string()),
            Fault::Refused(refusal @ Refusal::Unstored(_)) => error(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
            Fault::NotFound(what) => error(StatusCode::NOT_FOUND, &what),
        }
    }
}
