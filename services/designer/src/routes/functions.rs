//! Fog functions: a topology bundled with its intent.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use fogflow_orchestration::{FogFunction, Topology};
use serde_json::{Map, Value, json};

use super::intents;
use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::registry::{Action, Draft};
use crate::validate;

/// `GET /fogfunction`: name -> fog function.
pub(super) async fn list(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(app.registry.read().functions.iter().map(|(name, function)| (name.clone(), json!(function))).collect())
}

/// `GET /fogfunction/{name}`
pub(super) async fn get(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<FogFunction>> {
    let contents = app.registry.read();
    contents.functions.get(&name).map(|function| Json(FogFunction::clone(function))).ok_or_else(|| ApiError::missing("fog function", &name))
}

/// `POST /fogfunction`: one or a list; each is enabled.
pub(super) async fn put(State(app): State<Shared>, bytes: Bytes) -> ApiResult<&'static str> {
    let functions: Vec<FogFunction> = body::one_or_many(&bytes)?.items.into_iter().map(|(function, _)| function).collect();
    app.registry
        .write(|draft| {
            for function in &functions {
                let mut function = function.clone();
                "enabled".clone_into(&mut function.status);
                let function = complete(draft, function)?;
                validate::topology(&function.topology, |operator| draft.contents().operators.contains(operator))?;
                store(draft, function)?;
            }
            Ok(())
        })
        .await?;
    Ok("OK")
}

/// Function, topology and intent have one name (the master finds the topology by it); an id is made where it is missing.
///
/// # Errors
/// 400 if the names differ or the intent is wrong.
pub(crate) fn complete(draft: &Draft, mut function: FogFunction) -> ApiResult<FogFunction> {
    let name = function.name.clone();
    validate::name("name", &name)?;
    for (field, value) in [("topology.name", &mut function.topology.name), ("intent.topology", &mut function.intent.topology)] {
        if value.is_empty() {
            value.clone_from(&name);
        } else if *value != name {
            return Err(ApiError::bad(format!("{field} {value:?} has to be the name of the function, {name:?}")));
        }
    }
    if function.intent.id.is_empty()
        && let Some(old) = draft.contents().functions.get(&name)
    {
        function.intent.id.clone_from(&old.intent.id);
    }
    intents::complete(&mut function.intent);
    validate::intent(&function.intent)?;
    function.topology.operators.clear();
    Ok(function)
}

/// Stores a complete function with its topology, and announces its intent.
pub(crate) fn store(draft: &mut Draft, function: FogFunction) -> ApiResult<()> {
    let name = function.name.clone();
    if draft.contents().services.contains(&name) {
        return Err(ApiError::conflict(format!("a service has the name {name:?} already")));
    }
    if let Some(old) = draft.contents().functions.get(&name).cloned()
        && old.status == "enabled"
        && old.intent.id != function.intent.id
    {
        draft.announce(&old.intent, Action::Delete)?;
    }
    if function.status == "enabled" {
        draft.announce(&function.intent, Action::Add)?;
    }
    draft.put(&name, function.topology.clone())?;
    draft.put(&name, function)
}

/// `DELETE /fogfunction/{name}`
pub(super) async fn delete(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            let function = draft.get::<FogFunction>(&name)?;
            draft.announce(&function.intent, Action::Delete)?;
            draft.remove::<FogFunction>(&name);
            draft.remove::<Topology>(&name);
            Ok(())
        })
        .await?;
    Ok("OK")
}

/// `GET`, `POST` or `PUT /fogfunction/{name}/enable`
pub(super) async fn enable(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<FogFunction>> {
    switch(&app, &name, "enabled", Action::Add).await
}

/// `GET`, `POST` or `PUT /fogfunction/{name}/disable`
pub(super) async fn disable(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<FogFunction>> {
    switch(&app, &name, "disabled", Action::Delete).await
}

async fn switch(app: &Shared, name: &str, status: &str, action: Action) -> ApiResult<Json<FogFunction>> {
    let function = app
        .registry
        .write(|draft| {
            let mut function = FogFunction::clone(&*draft.get::<FogFunction>(name)?);
            status.clone_into(&mut function.status);
            draft.announce(&function.intent, action)?;
            draft.put(name, function.clone())?;
            Ok(function)
        })
        .await?;
    Ok(Json(function))
}
