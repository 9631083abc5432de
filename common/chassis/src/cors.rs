//! Cross-origin rules: any page may call with any FIWARE header, never with credentials.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const ANY: HeaderValue = HeaderValue::from_static("*");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Origin, X-Requested-With, Content-Type, Accept, Authorization, X-Auth-Token, Link, Fiware-Service, Fiware-ServicePath, \
     Fiware-Correlator, NGSILD-Tenant, NGSILD-Path, Require-Reliability, Destination, If-Match, If-None-Match, Prefer, traceparent",
);
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("Location, Link, ETag, Fiware-Correlator, Fiware-Total-Count, NGSILD-Results-Count, NGSILD-Tenant");
const ONE_DAY: HeaderValue = HeaderValue::from_static("86400");

/// Marks a response to a page as readable by it.
pub(crate) fn allow(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
}

/// The answer to a browser's question before the request; to others the methods of the route.
pub(crate) fn preflight(methods: &HeaderValue) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, methods.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, ONE_DAY);
    response
}
