//! What happens around every handler: access, body limit, errors in the face's form, panics, metrics, traces.
//!
//! It wraps the handler itself rather than the service, so that a request passes no further box and no further layer.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::handler::Handler;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::access::{Access, Security};
use crate::body::{LimitedBody, MOST_READ_AWAY, ReturnedBody};
use crate::cors;
use crate::errors::ErrorForm;
use crate::http_metrics::RouteMetrics;
use crate::telemetry;

const LONGEST_READ_AWAY: Duration = Duration::from_secs(4);

/// A body of at most this size has arrived with its head, so hyper reads it away by itself.
const ARRIVES_AT_ONCE: usize = 4 * 1024;

/// The limit of axum's extractors (`DefaultBodyLimit`).
const LIMIT_OF_AXUM: usize = 2 * 1024 * 1024 - 1;

/// Everything about a route that its requests need. Made once, when the router is built.
pub(crate) struct RouteContext {
    /// The process that it belongs to, in traces.
    pub(crate) service: String,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) body_limit: usize,
    pub(crate) errors: ErrorForm,
    pub(crate) security: Security,
    pub(crate) metrics: RouteMetrics,
}

/// A handler behind its route's rules.
#[derive(Clone)]
pub(crate) struct Guarded<H> {
    pub(crate) handler: H,
    pub(crate) route: Arc<RouteContext>,
}

impl<H, T, S> Handler<T, S> for Guarded<H>
where
    H: Handler<T, S>,
    S: Send + 'static,
    T: 'static,
{
    type Future = std::pin::Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, mut request: Request, state: S) -> Self::Future {
        let Guarded { handler, route } = self;
        let began = Instant::now();
        let is_page = request.headers().contains_key(header::ORIGIN);
        let refused = route.refuse(&request);
        let span = telemetry::request_span(&request, &route.path, &route.service);
        // The limit is enforced here; axum's own would cut the connection.
        if content_length(request.headers()).unwrap_or(usize::MAX) > LIMIT_OF_AXUM && !request.body().is_end_stream() {
            DefaultBodyLimit::disable().apply(&mut request);
        }
        let exceeded = limit_unannounced(&mut request, route.body_limit);
        Box::pin(async move {
            let mut response = match refused {
                Some(response) => {
                    read_away(request.into_body()).await;
                    response
                }
                None => {
                    let unread = take_back(&mut request);
                    let call = AssertUnwindSafe(async move { handler.call(request, state).await }).catch_unwind();
                    let outcome = match span {
                        Some(span) => call.instrument(span).await,
                        None => call.await,
                    };
                    if let Some(Ok(body)) = unread.map(|mut unread| unread.try_recv()) {
                        read_away(body).await;
                    }
                    match outcome {
                        Ok(_) if exceeded.is_some_and(|flag| flag.load(Ordering::Relaxed)) => {
                            (route.errors)(StatusCode::PAYLOAD_TOO_LARGE, &route.too_large())
                        }
                        Ok(response) => route.own_form(response).await,
                        Err(_) => {
                            tracing::error!(route = %route.path, "a handler panicked");
                            (route.errors)(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
                        }
                    }
                }
            };
            if is_page {
                cors::allow(response.headers_mut());
            }
            route.metrics.observe(response.status().as_u16(), began.elapsed());
            response
        })
    }
}

impl RouteContext {
    fn refuse(&self, request: &Request) -> Option<Response> {
        if let Err(refusal) = self.security.check(self.access, request.method(), request.headers(), request.extensions()) {
            let mut response = (self.errors)(refusal.status, refusal.reason);
            if refusal.status == StatusCode::UNAUTHORIZED {
                // RFC 9110, 11.6.1. `Basic` makes a browser ask its user.
                for scheme in ["Bearer realm=\"FogFlow\"", "Basic realm=\"FogFlow\", charset=\"UTF-8\""] {
                    response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
                }
            }
            return Some(response);
        }
        if content_length(request.headers()).is_some_and(|length| length > self.body_limit) {
            return Some((self.errors)(StatusCode::PAYLOAD_TOO_LARGE, &self.too_large()));
        }
        None
    }

    fn too_large(&self) -> String {
        format!("the request body is larger than {} bytes", self.body_limit)
    }

    /// axum's extractors refuse in plain text; the faces of NGSI do not.
    async fn own_form(&self, response: Response) -> Response {
        let status = response.status();
        if !status.is_client_error() || !is_extractor_text(response.headers()) {
            return response;
        }
        let (parts, body) = response.into_parts();
        match axum::body::to_bytes(body, 64 * 1024).await {
            Ok(text) => (self.errors)(status, &String::from_utf8_lossy(&text)),
            Err(_) => Response::from_parts(parts, Body::empty()),
        }
    }
}

/// A body whose length is not announced is counted as it comes. The flag says afterwards whether it was too long.
fn limit_unannounced(request: &mut Request, limit: usize) -> Option<Arc<AtomicBool>> {
    if request.headers().contains_key(header::CONTENT_LENGTH) || request.body().is_end_stream() {
        return None;
    }
    let exceeded = Arc::new(AtomicBool::new(false));
    let body = std::mem::take(request.body_mut());
    *request.body_mut() = Body::new(LimitedBody::new(body, limit, Arc::clone(&exceeded)));
    Some(exceeded)
}

/// Lets what the handler leaves of a large body come back to us.
fn take_back(request: &mut Request) -> Option<oneshot::Receiver<Body>> {
    if content_length(request.headers()).is_none_or(|length| length <= ARRIVES_AT_ONCE) {
        return None;
    }
    let (body, unread) = ReturnedBody::new(std::mem::take(request.body_mut()));
    *request.body_mut() = Body::new(body);
    Some(unread)
}

/// Reads the rest of a refused request: a client that is still sending when the connection closes never sees the answer. What is
/// larger or slower is cut.
async fn read_away(mut body: Body) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, |data| data.len());
            if bytes > MOST_READ_AWAY {
                return;
            }
        }
    };
    // Out of time is as good as done.
    let _ = tokio::time::timeout(LONGEST_READ_AWAY, reading).await;
}

fn is_extractor_text(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"text/plain; charset=utf-8")
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
