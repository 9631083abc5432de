//! Any replica answers as any other: before a request is handled, this one has seen what was committed before it came.
//!
//! While the store is away, users still get what is known; components, which act on what they read, get 503.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Shared;
use crate::error::ApiError;

/// A store that takes longer counts as away.
const PATIENCE: Duration = Duration::from_secs(1);
/// What never depends on the store's state, or asks the store itself.
const EXEMPT: [&str; 8] = ["/health", "/healthz", "/ready", "/readyz", "/metrics", "/version", "/openapi.json", "/internal/lease/"];

/// See the module.
pub(crate) async fn before(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_exempt = EXEMPT.iter().any(|exempt| path == *exempt || (exempt.ends_with('/') && path.starts_with(exempt)));
    if app.live.is_shared() && !is_exempt {
        let seen = tokio::time::timeout(PATIENCE, app.registry.fresh()).await;
        if !matches!(seen, Ok(Ok(()))) && path.starts_with("/internal/") {
            let mut refusal = ApiError::unavailable("the store does not answer; what this replica knows may be old").into_response();
            refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return refusal;
        }
    }
    next.run(request).await
}
