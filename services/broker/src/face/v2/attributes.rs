//! Attributes of an entity.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::{Attribute, Entity, JsonWriter, Name, Timestamp, v2};

use super::call::{Call, text};
use super::entities::find;
use super::reply::{self, Fault};
use super::selection::Shape;
use crate::command::{Action, AttributeSelector, Refusal};
use crate::engine::Engine;

fn fragment(call: &Call, id: &str, body: &[u8]) -> Result<Entity, Fault> {
    call.check_json()?;
    let mut entity = v2::decode_entity(text(body)?, call.rules(true), Timestamp::now())?;
    if !entity.id.is_empty() || !entity.types.is_empty() {
        return Err(Fault::bad("entity id and type are in the path and not in the body"));
    }
    entity.id = id.into();
    Ok(entity)
}

/// Attributes alone, without id and type.
pub(super) async fn list(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let entity = find(&engine, &call, &id).await?;
    let shape = Shape::of(&call.params);
    let mut out = Vec::with_capacity(512);
    v2::write_entity(&mut JsonWriter::new(&mut out), &entity, &shape.view());
    // The writer is for whole entities; here the two members in front are taken off.
    let Ok(serde_json::Value::Object(mut members)) = serde_json::from_slice(&out) else { return Ok(reply::raw(StatusCode::OK, out)) };
    members.shift_remove("id");
    members.shift_remove("type");
    Ok(reply::json(StatusCode::OK, &members))
}

pub(super) async fn append(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let patch = fragment(&call, &id, &body)?;
    let overwrite = !call.params.option("append");
    let done = call.must(&engine, &id, Action::Append { patch, overwrite }).await?;
    if done.skipped.is_empty() { Ok(reply::done()) } else { Err(not_written("exist already", &done.skipped)) }
}

pub(super) async fn update(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let patch = fragment(&call, &id, &body)?;
    let names: Vec<Name> = patch.attributes.iter().map(|attribute| attribute.name.clone()).collect();
    match call.write(&engine, &id, Action::Update { patch, partial: false }).await {
        Ok(done) if done.skipped.is_empty() => Ok(reply::done()),
        Ok(done) => Err(not_written("do not exist", &done.skipped)),
        Err(Refusal::NoSuchAttribute) => Err(not_written("do not exist", &names)),
        Err(refusal) => Err(Fault::from(&refusal)),
    }
}

fn not_written(why: &str, names: &[Name]) -> Fault {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    Fault::unprocessable(format!("one or more of the attributes in the request {why}: [ {} ]", names.join(", ")))
}

pub(super) async fn replace_all(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let entity = fragment(&call, &id, &body)?;
    call.must(&engine, &id, Action::Replace { entity, create: false }).await?;
    Ok(reply::done())
}

async fn attribute(engine: &Engine, call: &Call, id: &str, name: &str) -> Result<Attribute, Fault> {
    let entity = find(engine, call, id).await?;
    let name = Name::new(name);
    let found = entity.attributes.iter().filter(|attribute| attribute.name == name).find(|attribute| entity.is_main_instance(attribute));
    found.cloned().ok_or_else(|| Fault::not_found("The entity does not have such an attribute"))
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path((id, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let attribute = attribute(&engine, &call, &id, &name).await?;
    let metadata: Vec<_> = call.params.list("metadata").into_iter().map(Into::into).collect();
    let mut out = Vec::with_capacity(128);
    v2::encode_attribute(&mut out, &attribute, &metadata);
    Ok(reply::raw(StatusCode::OK, out))
}

pub(super) async fn replace(
    State(engine): State<Engine>,
    call: Call,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Fault> {
    call.check_json()?;
    let patch = v2::decode_attribute(&name, text(&body)?, call.rules(true), Timestamp::now())?;
    call.must(&engine, &id, Action::ReplaceAttributes(patch)).await?;
    Ok(reply::done())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path((id, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let selector = AttributeSelector { name: Name::new(&name), dataset_id: None, all: true };
    call.must(&engine, &id, Action::DeleteAttributes(vec![selector])).await?;
    Ok(reply::done())
}

/// Objects and arrays as JSON, other values as text.
pub(super) async fn value(State(engine): State<Engine>, call: Call, Path((id, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let attribute = attribute(&engine, &call, &id, &name).await?;
    let mut out = Vec::with_capacity(128);
    v2::encode_attribute_value(&mut out, &attribute);
    if matches!(out.first(), Some(b'{' | b'[')) {
        return Ok(reply::raw(StatusCode::OK, out));
    }
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "text/plain")], out).into_response())
}

/// The type and metadata stay as they are.
pub(super) async fn set_value(
    State(engine): State<Engine>,
    call: Call,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Fault> {
    let plain = match call.content_type.as_str() {
        "text/plain" => true,
        "application/json" => false,
        other => return Err(Fault::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("not supported content type: {other}"))),
    };
    let rules = call.rules(true);
    let value = v2::decode_value(&body, plain, rules)?;
    let old = attribute(&engine, &call, &id, &name).await?;
    // Through the decoder, so that a place stays a place.
    let text = serde_json::json!({"type": old.value_type.as_deref().unwrap_or_default(), "value": value.to_value()}).to_string();
    let decoded = v2::decode_attribute(&name, &text, v2::Rules { key_values: false, lenient: true, ..rules }, Timestamp::now())?;
    let mut patch = Entity::new(&id, None, Timestamp::now());
    for attribute in decoded.attributes {
        patch.attributes.push(Attribute { detail: old.detail.clone(), value_type: old.value_type.clone(), ..attribute });
    }
    call.must(&engine, &id, Action::ReplaceAttributes(patch)).await?;
    Ok(reply::done())
}
