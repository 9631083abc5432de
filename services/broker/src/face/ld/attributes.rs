//! Attributes of an entity (ETSI GS CIM 009, clauses 6.6 and 6.7).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::{self, Mode};
use fogflow_ngsi::{Entity, Name, Timestamp};

use super::call::{Call, Media};
use super::entities::{fragment, text, write};
use super::reply::{self, Fault};
use crate::command::{Action, AttributeSelector, Done, LD_NULL, Refusal};
use crate::engine::Engine;

pub(super) async fn append(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let patch = fragment(&call, &id, &body, &context, Mode::Fragment)?;
    let names = names(&patch);
    let overwrite = !call.params.option("noOverwrite");
    let answer = write(&engine, &call.identity, &id, Action::Append { patch, overwrite }).await;
    answered(answer, &names, &context, "the attribute exists already")
}

pub(super) async fn update(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let patch = fragment(&call, &id, &body, &context, Mode::Fragment)?;
    let names = names(&patch);
    let action = Action::Update { patch, partial: false };
    match write(&engine, &call.identity, &id, action).await {
        // None of the attributes is there: the entity is, so nothing was updated and that is said for each of them.
        Err(Refusal::NoSuchAttribute) => Ok(partly(&[], &names, &context, "the entity has no such attribute")),
        answer => answered(answer, &names, &context, "the entity has no such attribute"),
    }
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
    let short = |name: &Name| context.compact(name).into_owned();
    let left: Vec<_> = skipped.iter().map(|name| serde_json::json!({"attributeName": short(name), "reason": reason})).collect();
    let result = serde_json::json!({"updated": updated.iter().map(short).collect::<Vec<_>>(), "notUpdated": left});
    reply::body(StatusCode::MULTI_STATUS, Media::Json, context, "", result.to_string().into_bytes())
}

/// The patch of one attribute; the body may also be the value alone.
async fn one(engine: &Engine, call: &Call, name: &str, body: &[u8], mode: Mode) -> Result<Entity, Fault> {
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
    let deleted = patch.attributes.iter().find(|attribute| attribute.value.as_text() == LD_NULL);
    let action = match deleted {
        Some(attribute) => {
            let dataset_id = attribute.dataset_id().map(Into::into);
            Action::DeleteAttributes(vec![AttributeSelector { name: attribute.name.clone(), dataset_id, all: false }])
        }
        None => Action::Update { patch, partial: true },
    };
    write(&engine, &call.identity, &id, action).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

pub(super) async fn replace(
    State(engine): State<Engine>,
    call: Call,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Fault> {
    let patch = one(&engine, &call, &name, &body, Mode::Fragment).await?;
    write(&engine, &call.identity, &id, Action::ReplaceAttributes(patch)).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path((id, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let context = call.context(&engine).await?;
    let dataset_id = call.params.get("datasetId").filter(|id| *id != "@none").map(Into::into);
    let selector = AttributeSelector { name: context.expand(&name), dataset_id, all: call.params.flag("deleteAll") };
    write(&engine, &call.identity, &id, Action::DeleteAttributes(vec![selector])).await.map_err(|refusal| Fault::from(&refusal))?;
    Ok(reply::done())
}
