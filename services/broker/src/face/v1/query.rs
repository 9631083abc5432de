//! `queryContext`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode as Http;
use axum::response::Response;
use fogflow_ngsi::Name;
use fogflow_ngsi::v1::{QueryContextRequest, StatusCode, encode_query_response};

use super::filter::filter;
use super::reply::{self, Malformed};
use crate::engine::{Engine, Query};
use crate::identity::Identity;

pub(super) async fn query(State(engine): State<Engine>, identity: Identity, body: Bytes) -> Result<Response, Malformed> {
    let request = QueryContextRequest::decode(&body)?;
    let attributes: Vec<Name> = request.attributes.iter().map(|name| Name::new(name)).collect();
    // A broker asks for entities that it knows by id; whether they match is its business.
    let demanded: &[Name] = if identity.origin.internal { &[] } else { &attributes };
    let filter = filter(&request.entities, demanded, &request.restriction)?;
    let query = Query { restriction: request.restriction, ..Query::all(filter) };
    let found = engine.query(&identity, query).await;
    let mut outcome = StatusCode::ok();
    outcome.details = found.missing.join("; ");
    let mut out = Vec::with_capacity(128 + 512 * found.entities.len());
    encode_query_response(&mut out, &attributes, found.entities.iter().map(AsRef::as_ref), &outcome);
    Ok(reply::raw(Http::OK, out))
}
