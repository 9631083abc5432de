//! Convenience routes for entities. Reads show what this broker has; a deletion goes to the owner (F 13).

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode as Http, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::Name;
use fogflow_ngsi::v1::{encode_attribute, encode_element};
use futures::stream;

use super::reply;
use crate::command::{Action, Command, Refusal};
use crate::engine::Engine;
use crate::filter::PathScope;
use crate::identity::Identity;
use crate::state::Reach;

/// Entities per piece of a listing.
const PAGE: usize = 512;

fn unknown(id: &str) -> Response {
    reply::error(Http::NOT_FOUND, &format!("there is no entity {id}"))
}

/// Written in pieces, so that a listing of a million entities is never in memory as a whole.
pub(super) async fn list(State(engine): State<Engine>, identity: Identity) -> Response {
    let scope = identity.scope();
    let pieces = stream::unfold(Some((0, true)), move |position| {
        let piece = position.map(|(from, first)| piece(&engine, &identity, &scope, from, first));
        async move { piece.map(|(text, next)| (Ok::<_, std::convert::Infallible>(Bytes::from(text)), next)) }
    });
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

/// One piece of the listing and where the next one begins.
fn piece(engine: &Engine, identity: &Identity, scope: &PathScope, from: u32, mut first: bool) -> (Vec<u8>, Option<(u32, bool)>) {
    let mut out = Vec::with_capacity(PAGE * 256);
    if from == 0 && first {
        out.push(b'[');
    }
    let page = engine.state().with_space(&identity.tenant, |space| space.page(&Reach::All, from, PAGE));
    let (records, next) = page.unwrap_or_default();
    for record in records.iter().filter(|record| scope.contains(&record.path)) {
        if !first {
            out.push(b',');
        }
        first = false;
        encode_element(&mut out, &record.entity, &[]);
    }
    match next {
        Some(next) => (out, Some((next, first))),
        None => {
            out.push(b']');
            (out, None)
        }
    }
}

pub(super) async fn show(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    let Some(entity) = engine.get(&identity, &id) else { return unknown(&id) };
    let mut out = Vec::with_capacity(512);
    encode_element(&mut out, &entity, &[]);
    reply::raw(Http::OK, out)
}

pub(super) async fn attribute(State(engine): State<Engine>, identity: Identity, Path((id, attribute)): Path<(String, String)>) -> Response {
    let Some(entity) = engine.get(&identity, &id) else { return unknown(&id) };
    let Some(attribute) = entity.instances(&Name::new(&attribute)).next().cloned() else {
        return reply::error(Http::NOT_FOUND, &format!("entity {id} has no attribute {attribute}"));
    };
    let mut out = Vec::with_capacity(128);
    encode_attribute(&mut out, &attribute);
    reply::raw(Http::OK, out)
}

pub(super) async fn delete(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    let command = Command { key: identity.key(&id), action: Action::Delete };
    match engine.write(&identity, vec![command]).await.pop() {
        Some(Ok(_)) => Http::OK.into_response(),
        Some(Err(Refusal::NotFound)) => unknown(&id),
        Some(Err(refusal)) => reply::error_code(refusal.status(), &refusal.to_string()),
        None => reply::error(Http::SERVICE_UNAVAILABLE, "no answer"),
    }
}
