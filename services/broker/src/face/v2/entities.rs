//! Entities.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::{JsonWriter, Name, Timestamp, v2};

use super::call::{Call, text};
use super::reply::{self, Fault};
use super::selection::{self, Page, Shape};
use crate::command::{Action, Effect};
use crate::engine::{Engine, Found};
use crate::face::params::percent_encoded;
use crate::state::SharedEntity;

/// Upstream's words, which clients show.
const UNKNOWN: &str = "The requested entity has not been found. Check type and id";

pub(super) async fn create(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_json()?;
    let entity = v2::decode_entity(text(&body)?, call.rules(false), Timestamp::now())?;
    let id = entity.id.clone();
    let location = format!("/v2/entities/{}?type={}", percent_encoded(&id), percent_encoded(entity.types.first().map_or("", Name::as_str)));
    let upsert = call.params.option("upsert") || call.lenient;
    let action = if upsert { Action::Upsert { patch: entity, merge_metadata: false } } else { Action::Create(entity) };
    let done = call.must(&engine, &id, action).await?;
    if call.lenient {
        return Ok(StatusCode::OK.into_response());
    }
    let status = if done.effect == Effect::Created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok((status, [(header::LOCATION, location)]).into_response())
}

pub(super) async fn list(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let page = Page::of(&call.params, engine.config().max_page_size)?;
    let shape = Shape::of(&call.params);
    let attributes = call.params.list("attrs").into_iter().map(Name::new).collect();
    let query = selection::query(&call, selection::selectors(&call.params)?, &selection::expression(&call.params), attributes, &page)?;
    Ok(answer(&engine.query(&call.identity, query).await, &shape))
}

/// An array of entities.
pub(super) fn answer(found: &Found, shape: &Shape) -> Response {
    let mut out = Vec::with_capacity(64 + 512 * found.entities.len());
    let mut w = JsonWriter::new(&mut out);
    w.begin_array();
    for entity in &found.entities {
        v2::write_entity(&mut w, entity, &shape.view());
    }
    w.end_array();
    let mut response = reply::raw(StatusCode::OK, out);
    if let Some(total) = found.total {
        response.headers_mut().insert("fiware-total-count", HeaderValue::from(total));
    }
    response
}

/// The entity of a path, of the type that a parameter names.
pub(super) async fn find(engine: &Engine, call: &Call, id: &str) -> Result<SharedEntity, Fault> {
    let types: Vec<Name> = call.params.list("type").into_iter().map(Name::new).collect();
    let fits = |entity: &SharedEntity| types.is_empty() || entity.types.iter().any(|name| types.contains(name));
    match engine.find(&call.identity, id).await {
        Ok(found) => found.filter(fits).ok_or_else(|| Fault::not_found(UNKNOWN)),
        // It is not here, and who could know of it elsewhere does not answer.
        Err(missing) => Err(Fault::not_found(format!("{UNKNOWN}. Not asked: {}", missing.join("; ")))),
    }
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let entity = match find(&engine, &call, &id).await {
        Err(_) if call.lenient => {
            return Ok(reply::json(StatusCode::OK, &serde_json::json!({"error": "NotFound", "description": UNKNOWN})));
        }
        found => found?,
    };
    let shape = Shape::of(&call.params);
    if !shape.concerns(&entity) {
        return Err(Fault::not_found("The entity does not have such an attribute"));
    }
    let mut out = Vec::with_capacity(512);
    v2::write_entity(&mut JsonWriter::new(&mut out), &entity, &shape.view());
    Ok(reply::raw(StatusCode::OK, out))
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    if call.params.get("type").is_some() {
        find(&engine, &call, &id).await?;
    }
    call.must(&engine, &id, Action::Delete).await?;
    Ok(reply::done())
}
