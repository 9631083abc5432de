//! The yardstick: a bare axum server that parses the request's JSON to `serde_json::Value` and answers a body of the size
//! that the path names. It matches nothing and stores nothing, unless it is given a database: then it puts each entity there
//! before it answers.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;

use crate::upsert::Upserts;

/// The largest answer.
const LARGEST: usize = 64 * 1024;
static ZEROS: [u8; LARGEST] = [b'0'; LARGEST];

/// Serves until the process ends.
///
/// # Errors
/// If the address cannot be bound, or the database cannot be reached.
pub async fn serve(address: SocketAddr, postgres: Option<&str>) -> anyhow::Result<()> {
    let upserts = match postgres {
        Some(url) => Some(Upserts::connect(url).await?),
        None => None,
    };
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let router = Router::new().route("/answer/{size}", any(answer)).route("/ready", any(|| async { StatusCode::OK })).with_state(upserts);
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await.context("serving")
}

async fn answer(State(upserts): State<Option<Upserts>>, Path(size): Path<usize>, body: Bytes) -> Response {
    if !body.is_empty() {
        match serde_json::from_slice::<Value>(&body) {
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            Ok(value) => match &upserts {
                None => drop(std::hint::black_box(value)),
                Some(upserts) if !upserts.store(&value).await => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
                Some(_) => {}
            },
        }
    }
    let body = Bytes::from_static(&ZEROS).slice(..size.min(LARGEST));
    if body.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}
