//! Before a request is handled, this replica has seen what any replica had acknowledged when it came
//! (`broker.consistency: strong`).
//!
//! A plain update needs no look at the head: it is checked by the store when it is committed.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Line;
use crate::face;

/// How long a request may wait for this replica to catch up.
const PATIENCE: Duration = Duration::from_secs(2);
/// What does not depend on the state.
const ALWAYS: [&str; 7] = ["/health", "/healthz", "/ready", "/readyz", "/metrics", "/version", "/openapi.json"];
/// Updates that overwrite whatever they find.
const UPDATES: [&str; 4] = ["/ngsi10/updateContext", "/v1/updateContext", "/ngsi10/notifyContext", "/ngsi10/internal/notify"];

/// What [`before`] needs.
#[derive(Clone)]
pub struct Freshness {
    /// The way to the head; `None` when reads show what this replica has (`consistency: eventual`).
    pub line: Option<Line>,
}

/// See the module. Any 503 says when to come again.
pub async fn before(State(freshness): State<Freshness>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let exempt = ALWAYS.contains(&path) || request.method() == Method::POST && UPDATES.contains(&path);
    let mut response = match &freshness.line {
        Some(line) if !exempt => match line.barrier(PATIENCE).await {
            Ok(()) => next.run(request).await,
            Err(error) => refuse(path, &format!("what other replicas wrote cannot be read at present: {error}")),
        },
        _ => next.run(request).await,
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    response
}

/// In the form of the face.
fn refuse(path: &str, message: &str) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    if path.starts_with("/v2") {
        face::v2::error(status, message)
    } else if path.starts_with("/ngsi-ld") {
        face::ld::error(status, message)
    } else {
        face::v1::error(status, message)
    }
}
