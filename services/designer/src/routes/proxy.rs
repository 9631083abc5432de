//! `/ngsi10`, `/ngsi-ld`, `/v2` to the cloud broker and `/ngsi9` to discovery, so that a page needs one origin only.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;

use crate::app::Shared;
use crate::error::{ApiError, ApiResult, cause};

/// Largest body that is passed on, in bytes.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;

/// Headers of one connection, which are not passed on (RFC 9110, 7.6.1), and those that the client library sets.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    // The designer has judged the caller; to the others it shows its own token.
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
];

/// Passes a request to the cloud broker.
pub(super) async fn to_broker(State(app): State<Shared>, request: Request) -> ApiResult<Response> {
    let base = app.config.broker_url();
    pass(&app, base.trim_end_matches("/ngsi10"), "the broker", request).await
}

/// Passes a request to discovery.
pub(super) async fn to_discovery(State(app): State<Shared>, request: Request) -> ApiResult<Response> {
    let base = app.config.discovery_url();
    pass(&app, base.trim_end_matches("/ngsi9"), "discovery", request).await
}

async fn pass(app: &Shared, base: &str, whom: &str, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let bytes = axum::body::to_bytes(body, LARGEST)
        .await
        .map_err(|_| ApiError::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {LARGEST} bytes")))?;
    let answer = app
        .http
        .request(parts.method, format!("{base}{path}"))
        .headers(passed_on(&parts.headers))
        .body(bytes)
        .send()
        .await
        .map_err(|error| ApiError::unavailable(format!("{whom} does not answer: {}", cause(&error))))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = passed_on(answer.headers());
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OF_THE_CONNECTION.iter().chain(&named) {
        kept.remove(name);
    }
    kept
}

/// `POST /internal/updateContext`, as older pages and clients call it.
pub(super) async fn update_context(State(app): State<Shared>, mut request: Request) -> ApiResult<Response> {
    *request.uri_mut() = axum::http::Uri::from_static("/ngsi10/updateContext");
    to_broker(State(app), request).await
}
