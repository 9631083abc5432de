//! Any replica answers as any other: before a request is handled, this one has seen what was committed before it came.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use fogflow_store::follow::Follower;

use super::reply;

/// A store that takes longer counts as away.
const PATIENCE: Duration = Duration::from_secs(2);
/// A heartbeat is worth taking in any case.
const HEARTBEATS: [&str; 2] = ["/ngsi9/broker/heartbeat", "/ngsi9/broker"];

/// See the module. While the store is away, answers 503.
pub async fn before(State(follower): State<Arc<Follower<()>>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let asks = path.starts_with("/ngsi9/") || path == "/etype";
    if asks
        && let Err(error) = follower.barrier(PATIENCE).await
        && !HEARTBEATS.contains(&path)
    {
        let mut refusal = reply::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return refusal;
    }
    next.run(request).await
}
