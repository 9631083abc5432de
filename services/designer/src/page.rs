//! The dashboard: the built page, embedded in the program, or a plain one when it was not built.
//!
//! A page may load from its own origin only. Mantine puts `<style>` elements into the document at run time; they are let in by a nonce
//! that is new in each answer, so `index.html` is never cached. Everything else has a hash in its name or an ETag.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use rust_embed::RustEmbed;
use serde_json::json;

use crate::app::Shared;
use crate::error::{ApiError, ApiResult};

#[derive(RustEmbed)]
#[folder = "dashboard/dist/"]
#[allow_missing = true]
struct Built;

const PLAIN: &str = include_str!("plain/index.html");
const PLAIN_SCRIPT: &str = include_str!("plain/plain.js");
const PLAIN_STYLE: &str = include_str!("plain/plain.css");

/// Where the built page wants its nonce.
const NONCE: &str = "__CSP_NONCE__";

/// `GET /`
pub(crate) async fn root() -> Redirect {
    Redirect::temporary("/index.html")
}

/// `GET /index.html`
pub(crate) async fn index() -> Response {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let html = match Built::get("index.html") {
        Some(file) => String::from_utf8_lossy(&file.data).replace(NONCE, &nonce),
        None => PLAIN.to_owned(),
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `GET /assets/{*path}`: files of the built page; their names change with their content. The build puts a compressed one beside each.
pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> ApiResult<Response> {
    let plain = Built::get(&format!("assets/{path}")).ok_or_else(|| ApiError::missing("file", &path))?;
    let media_type = plain.metadata.mimetype().to_owned();
    let takes_gzip = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|list| list.contains("gzip"));
    let compressed = if takes_gzip { Built::get(&format!("assets/{path}.gz")) } else { None };
    let is_compressed = compressed.is_some();
    let file = compressed.unwrap_or(plain);
    let etag = format!("\"{}\"", file.metadata.sha256_hash().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut response = cached(&headers, &etag, &media_type, "public, max-age=31536000, immutable", Body::from(file.data));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// `GET /plain.js`
pub(crate) async fn plain_script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], PLAIN_SCRIPT).into_response()
}

/// `GET /plain.css`
pub(crate) async fn plain_style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], PLAIN_STYLE).into_response()
}

fn cached(asked: &HeaderMap, etag: &str, media_type: &str, cache: &'static str, body: Body) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*"));
    let mut response = Response::new(if is_known { Body::empty() } else { body });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [(header::ETAG, etag), (header::CONTENT_TYPE, media_type)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// `GET /config.js`: what upstream's pages read.
pub(crate) async fn config_script(State(app): State<Shared>) -> Response {
    let designer = &app.config.designer;
    let agent = if designer.host_ip.is_empty() { &app.config.my_hostip } else { &designer.host_ip };
    let config = json!({
        "webSrvPort": designer.web_srv_port,
        "agentIP": agent,
        "agentPort": designer.agent_port,
        "ldAgentPort": designer.ld_agent_port,
        "discoveryURL": "./ngsi9",
        "brokerURL": "./ngsi10",
        "LdbrokerURL": "./ngsi-ld",
    });
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], format!("var config = {config};")).into_response()
}
