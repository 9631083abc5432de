//! Attributes of an entity (ETSI GS CIM 009, clauses 6.6 and 6.7).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::{self, Mode};
use fogflow_ngsi::{Attribute, Entity, Name, Timestamp};

use super::call::{Call, Media};
use super::entities::{fragment, own_id, text, write};
use super::reply::{self, Fault};
use crate::command::{Action, AttributeSelector, Command, Done, LD_NULL, Refusal};
use crate::engine::Engine;

pub(super) async fn append(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    call.check_id(&engine, &id)?;
    let patch = fragment(&call, &id, &body, &context, Mode::Fragment)?;
    let names = names(&patch);
    let overwrite = !call.params.option("noOverwrite");
    let answer = write(&engine, &call.identity, &id, Action::Append { patch, overwrite }).await;
    answered(answer, &names, &context, "the attribute exists already")
}

pub(super) async fn update(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    call.check_id(&engine, &id)?;
    let mut patch = fragment(&call, &id, &body, &context, Mode::Update)?;
    let names = names(&patch);
    let (gone, kept) = std::mem::take(&mut patch.attributes).into_iter().partition(|attribute| attribute.value.as_text() == LD_NULL);
    patch.attributes = kept;
    let mut skipped = Vec::new();
    let key = call.identity.key(own_id(&engine, &call.identity, &id));
    let removed = removals(gone);
    let mut commands = Vec::new();
    if !removed.is_empty() {
        commands.push(Command { key: key.clone(), action: Action::DeleteAttributes(removed.clone()) });
    }
    if commands.is_empty() || !patch.attributes.is_empty() || !patch.scopes.is_empty() || !patch.types.is_empty() {
        commands.push(Command { key, action: Action::Append { patch, overwrite: true } });
    }
    for answer in engine.write(&call.identity, commands).await {
        match answer {
            Ok(done) => skipped.extend(done.skipped),
            // None of those that were to be deleted is there.
            Err(Refusal::NoSuchAttribute) => skipped.extend(removed.iter().map(|selector| selector.name.clone())),
            Err(refusal) => return Err(Fault::from(&refusal)),
        }
    }
    if skipped.is_empty() {
        return Ok(reply::done());
    }
    let updated: Vec<Name> = names.iter().filter(|name| !skipped.contains(name)).cloned().collect();
    Ok(partly(&updated, &skipped, &context, "the entity has no such attribute"))
}

/// Selectors of the instances that a null stands for.
fn removals(gone: Vec<Attribute>) -> Vec<AttributeSelector> {
    let selector = |attribute: Attribute| {
        let dataset_id = attribute.dataset_id().map(Into::into);
        AttributeSelector { name: attribute.name, dataset_id, all: false }
    };
    gone.into_iter().map(selector).collect()
}

fn names(patch: &Entity) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for attribute in &patch.attributes {
        if !names.contains(&attribute.name) {
            names.push(attribute.name.clone());
        }
    }
    names
}

fn answered(answer: Result<Done, Refusal>, names: &[Name], context: &Context, reason: &str) -> Result<Response, Fault> {
    let done = answer.map_err(|refusal| Fault::from(&refusal))?;
    if done.skipped.is_empty() {
        return Ok(reply::done());
    }
    let updated: Vec<Name> = names.iter().filter(|name| !done.skipped.contains(name)).cloned().collect();
    Ok(partly(&updated, &done.skipped, context, reason))
}

/// 207 with an `UpdateResult` (clause 5.2.18).
fn partly(updated: &[Name], skipped: &[Name], context: &Context, reason: &str) -> Response {
    // Names are expanded here, as the data type demands.
    let short = |name: &Name| name.iri().into_owned();
    let left: Vec<_> = skipped.iter().map(|name| serde_json::json!({"attributeName": short(name), "reason": reason})).collect();
    let result = serde_json::json!({"updated": updated.iter().map(short).collect::<Vec<_>>(), "notUpdated": left});
    reply::body(StatusCode::MULTI_STATUS, Media::Json, context, result.to_string().into_bytes())
}

/// The patch of one attribute; the body may also be the value alone.
async fn one(engine: &Engine, call: &Call, name: &str, body: &[u8], mode: Mode) -> Result<Entity, Fault> {
    if body.trim_ascii() == b"{}" {
        return Err(Fault::bad(format!("{name}: is empty")));
    }
    let context = call.body_context(engine, body).await?;
    Ok(ld::decode_attribute_fragment(name, text(body)?, &context, call.rules(mode), Timestamp::now())?)
}

pub(super) async fn partial(
    State(engine): State<Engine>,
    call: Call,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Fault> {
    let patch = one(&engine, &call, &name, &body, Mode::MergePatch).await?;
    call.check_id(&engine, &id)?;
    let action = if patch.attributes.iter().any(|attribute| attribute.value.as_text() == LD_NULL) {
        Action::DeleteAttributes(removals(patch.attributes))
    } else {
        check_kinds(&engine, &call, &id, &patch)?;
        Action::Update { patch, partial: true }
    };
    write(&engine, &call.identity, &id, action).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

/// A partial update cannot make another kind of an attribute (clause 5.6.4).
fn check_kinds(engine: &Engine, call: &Call, id: &str, patch: &Entity) -> Result<(), Fault> {
    let Some(entity) = engine.get(&call.identity, id) else { return Ok(()) };
    for new in patch.attributes.iter().filter(|attribute| !attribute.value.is_null()) {
        if let Some(old) = entity.attributes.iter().find(|old| old.same_instance(new))
            && old.kind != new.kind
        {
            return Err(Fault::bad(format!("type: the attribute is a {} and not a {}", old.kind.as_str(), new.kind.as_str())));
        }
    }
    Ok(())
}

pub(super) async fn replace(
    State(engine): State<Engine>,
    call: Call,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Fault> {
    if name == "scope" {
        return Err(Fault::bad("scope: is no attribute"));
    }
    call.check_id(&engine, &id)?;
    let patch = one(&engine, &call, &name, &body, Mode::Fragment).await?;
    write(&engine, &call.identity, &id, Action::ReplaceAttributes(patch)).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path((id, name)): Path<(String, String)>) -> Result<Response, Fault> {
    call.check_id(&engine, &id)?;
    let context = call.context(&engine).await?;
    let dataset_id = call.params.get("datasetId").filter(|id| *id != "@none").map(Into::into);
    let selector = AttributeSelector { name: context.expand(&name), dataset_id, all: call.params.flag("deleteAll") };
    write(&engine, &call.identity, &id, Action::DeleteAttributes(vec![selector])).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}
