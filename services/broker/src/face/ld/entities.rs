//! Single entities (ETSI GS CIM 009, clauses 6.4 and 6.5).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::{self, Mode};
use fogflow_ngsi::{Entity, JsonWriter, Timestamp};

use super::call::{Call, Media};
use super::reply::{self, Fault};
use super::selection::Shape;
use crate::command::{Action, Command, Done, Refusal};
use crate::engine::Engine;
use crate::face::linked::Links;
use crate::face::params::percent_encoded;
use crate::identity::Identity;
use crate::state::SharedEntity;

/// Carries out one command.
pub(super) async fn write(engine: &Engine, identity: &Identity, id: &str, action: Action) -> Result<Done, Refusal> {
    let command = Command { key: identity.key(own_id(engine, identity, id)), action };
    engine.write(identity, vec![command]).await.pop().unwrap_or(Err(Refusal::Unavailable("no answer".to_owned())))
}

/// The id under which an entity is stored. One whose id is no URI is known to other NGSI-LD brokers as
/// `urn:ngsi-ld:<type>:<id>`, and is found by that as well.
pub(super) fn own_id<'a>(engine: &Engine, identity: &Identity, id: &'a str) -> &'a str {
    if let Some((entity_type, rest)) = id.strip_prefix("urn:ngsi-ld:").and_then(|rest| rest.split_once(':'))
        && ld::check_uri(rest).is_err()
        && !engine.has(identity, id)
        && engine.get(identity, rest).is_some_and(|entity| entity.types.first().is_none_or(|name| name.as_str() == entity_type))
    {
        return rest;
    }
    id
}

pub(super) fn text(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body).map_err(|_| Fault::new(ld::ProblemType::InvalidRequest, "the body is not valid UTF-8"))
}

/// Where an entity is.
pub(super) fn location(id: &str) -> String {
    format!("/ngsi-ld/v1/entities/{}", percent_encoded(id))
}

/// Upstream wants URNs of its own kind.
pub(super) fn check_upstream_id(call: &Call, entity: &Entity) -> Result<(), Fault> {
    if call.lenient && !entity.id.starts_with("urn:ngsi-ld:") {
        return Err(Fault::bad("id: Entity id must contain uri!"));
    }
    Ok(())
}

/// A path from which the id was left out.
pub(super) async fn missing_id() -> Fault {
    Fault::bad("id: is missing in the path")
}

pub(super) async fn create(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let entity = ld::decode_entity(text(&body)?, &context, call.rules(Mode::Entity), Timestamp::now())?;
    check_upstream_id(&call, &entity)?;
    let id = entity.id.clone();
    let action = if call.lenient { Action::Upsert { patch: entity, merge_metadata: false } } else { Action::Create(entity) };
    write(&engine, &call.identity, &id, action).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::created(&location(&id)))
}

async fn find(engine: &Engine, call: &Call, id: &str) -> Result<SharedEntity, Fault> {
    if let Some(entity) = engine.get(&call.identity, id) {
        return Ok(entity);
    }
    // What follows is rare and large: boxed, it is no part of the future that every request moves.
    call.check_tenant(engine)?;
    call.check_id(engine, id)?;
    let id = own_id(engine, &call.identity, id);
    let found =
        if call.params.flag("local") { Ok(engine.get(&call.identity, id)) } else { Box::pin(engine.find(&call.identity, id)).await };
    match found {
        Ok(Some(entity)) => Ok(entity),
        Ok(None) => Err(Fault::not_found(format!("there is no entity {id}"))),
        // It is not here, and who could know of it elsewhere does not answer.
        Err(missing) => Err(Fault::not_found(format!("there is no entity {id} at this broker; {}", missing.join("; ")))),
    }
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let media = call.media()?;
    let context = call.context(&engine).await?;
    let shape = Shape::of(&call, &context)?;
    let entity = find(&engine, &call, &id).await?;
    if !shape.shows_something(&entity) {
        return Err(Fault::not_found(format!("entity {id} has none of these attributes")));
    }
    let mut out = Vec::with_capacity(1024);
    let find = |id: &str| engine.get(&call.identity, id);
    write_one(&mut JsonWriter::new(&mut out), &entity, &shape, &context, media, &shape.links(&find));
    Ok(reply::body(StatusCode::OK, media, &context, out))
}

fn write_one(w: &mut JsonWriter<'_>, entity: &Entity, shape: &Shape, context: &Context, media: Media, links: &Links<'_>) {
    let datasets = shape.datasets();
    let view = shape.view(context, &datasets);
    match media {
        Media::GeoJson => ld::write_feature(w, entity, &view, &shape.geometry, true),
        media if links.is_empty() => ld::write_entity(w, entity, &view, media == Media::JsonLd),
        media if shape.is_flat() && links.reach(entity, &view) => {
            w.begin_array();
            links.write(w, entity, &view, media == Media::JsonLd, &|name| shape.projection.linked(name));
            w.end_array();
        }
        media => links.write(w, entity, &view, media == Media::JsonLd, &|name| shape.projection.linked(name)),
    }
}

pub(super) async fn replace(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    call.check_id(&engine, &id)?;
    let entity = fragment(&call, &id, &body, &context, Mode::Fragment)?;
    let action = Action::Replace { entity, create: false };
    write(&engine, &call.identity, &id, action).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

pub(super) async fn merge(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    call.check_id(&engine, &id)?;
    let patch = fragment(&call, &id, &body, &context, Mode::MergePatch)?;
    write(&engine, &call.identity, &id, Action::Merge(patch)).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

/// A fragment of the entity of the path; an id inside of it must be the same.
pub(super) fn fragment(call: &Call, id: &str, body: &[u8], context: &Context, mode: Mode) -> Result<Entity, Fault> {
    let mut entity = ld::decode_entity(text(body)?, context, call.rules(mode), Timestamp::now())?;
    if !entity.id.is_empty() && entity.id != id {
        return Err(Fault::bad(format!("id: `{}` is not the entity of the path", entity.id)));
    }
    entity.id = id.into();
    Ok(entity)
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    if !engine.has(&call.identity, own_id(&engine, &call.identity, &id)) {
        call.check_id(&engine, &id)?;
        call.check_tenant(&engine)?;
    }
    write(&engine, &call.identity, &id, Action::Delete).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}
