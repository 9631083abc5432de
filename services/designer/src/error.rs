//! The designer's error form: `{"error": "<word>", "description": "<sentence>"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fogflow_store::StoreError;
use serde_json::json;

/// Why a request was refused or failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{description}")]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// One sentence that names the field, or what to do.
    pub description: String,
}

/// What a handler returns.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with this status.
    pub(crate) fn new(status: StatusCode, description: impl Into<String>) -> Self {
        ApiError { status, description: description.into() }
    }

    /// 400: the request itself is wrong.
    pub(crate) fn bad(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, description)
    }

    /// 404: there is no such thing.
    #[must_use]
    pub(crate) fn missing(kind: &str, id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {kind} {id:?}"))
    }

    /// 409: it would contradict what is there.
    pub(crate) fn conflict(description: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, description)
    }

    /// 503: something that we need cannot be reached.
    pub(crate) fn unavailable(description: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, description)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Invalid(_) => StatusCode::BAD_REQUEST,
            StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::Unavailable(_) | StoreError::InUse(_) => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

/// The designer's form for an error that a layer below the handlers made (404, 405, 413, 403).
pub(crate) fn error_response(status: StatusCode, description: &str) -> Response {
    let word = status.canonical_reason().unwrap_or("Error").replace(' ', "");
    (status, Json(json!({"error": word, "description": description}))).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        error_response(self.status, &self.description)
    }
}

/// The innermost cause of a failed call: the outer ones repeat the address, which the caller names anyway.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
