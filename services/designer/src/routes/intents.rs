//! Intents.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use fogflow_orchestration::{IntentState, ServiceIntent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::registry::{Action, Contents, Draft};
use crate::validate;

/// What is answered for an intent that was taken.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Taken {
    /// The id of the intent, which is made where it was missing.
    id: String,
    /// The type that the last task of its topology publishes.
    #[serde(rename = "outputType")]
    output_type: String,
}

/// An intent with what the master says about it (`status`, `reason`).
fn view(intent: &ServiceIntent, states: &[IntentState]) -> Value {
    let mut value = json!(intent);
    let state = states.iter().find(|state| state.id == intent.id);
    if let (Some(members), Some(state)) = (value.as_object_mut(), state) {
        members.insert("status".to_owned(), json!(state.status));
        if !state.reason.is_empty() {
            members.insert("reason".to_owned(), json!(state.reason));
        }
    }
    value
}

/// `GET /intent`: id -> intent.
pub(super) async fn list(State(app): State<Shared>) -> Json<Map<String, Value>> {
    let states = app.hub.intents();
    Json(app.registry.read().intents.iter().map(|(id, intent)| (id.clone(), view(intent, &states))).collect())
}

/// `GET /intent/{id}`
pub(super) async fn get(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let contents = app.registry.read();
    let intent = contents.intents.get(&id).ok_or_else(|| ApiError::missing("intent", &id))?;
    Ok(Json(view(intent, &app.hub.intents())))
}

/// `GET /intent/topology/{topology}`: a list (D 3).
pub(super) async fn of_topology(State(app): State<Shared>, Path(topology): Path<String>) -> Json<Vec<Value>> {
    let states = app.hub.intents();
    let contents = app.registry.read();
    Json(contents.intents.values().filter(|intent| intent.topology == topology).map(|intent| view(intent, &states)).collect())
}

/// `POST /intent`: one intent or a list. Answers `{"id", "outputType"}` each; ids are made where they are missing.
pub(super) async fn put(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Json<Value>> {
    let body = body::one_or_many::<ServiceIntent>(&bytes)?;
    let mut intents: Vec<ServiceIntent> = body.items.into_iter().map(|(intent, _)| intent).collect();
    for intent in &mut intents {
        complete(intent);
        validate::intent(intent)?;
    }
    let answers =
        app.registry.write(|draft| intents.iter().map(|intent| store(draft, intent.clone())).collect::<ApiResult<Vec<Taken>>>()).await?;
    Ok(Json(if body.single { json!(answers.into_iter().next()) } else { json!(answers) }))
}

/// Fills the id in; what belongs on the bus only is dropped.
pub(crate) fn complete(intent: &mut ServiceIntent) {
    if intent.id.is_empty() {
        intent.id = format!("ServiceIntent.{}", uuid::Uuid::new_v4());
    }
    if intent.geoscope.scope_type.is_empty() {
        intent.geoscope = fogflow_orchestration::GeoScope::default();
    }
    intent.action.clear();
}

/// Stores an intent and announces it.
pub(crate) fn store(draft: &mut Draft, intent: ServiceIntent) -> ApiResult<Taken> {
    if !draft.contents().topologies.contains(&intent.topology) {
        return Err(ApiError::bad(format!("topology {:?} is not registered; register it first (POST /service)", intent.topology)));
    }
    let answer = Taken { id: intent.id.clone(), output_type: output_type(draft.contents(), &intent.topology) };
    draft.announce(&intent, Action::Add)?;
    draft.put(&intent.id.clone(), intent)?;
    Ok(answer)
}

/// The type that the last task of a topology publishes.
fn output_type(contents: &Contents, topology: &str) -> String {
    let task = contents.topologies.get(topology).and_then(|topology| topology.tasks.last());
    task.and_then(|task| task.output_streams.first()).map(|output| output.entity_type.clone()).unwrap_or_default()
}

/// `DELETE /intent/{id}`
pub(super) async fn delete(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<&'static str> {
    remove(&app, &id).await
}

#[derive(Deserialize)]
struct Which {
    id: String,
}

/// `DELETE /intent` with `{"id"}`, as older clients do.
pub(super) async fn delete_named(State(app): State<Shared>, bytes: Bytes) -> ApiResult<&'static str> {
    let which: Which = body::one(&bytes)?;
    remove(&app, &which.id).await
}

async fn remove(app: &Shared, id: &str) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            let intent = draft.get::<ServiceIntent>(id)?;
            draft.remove::<ServiceIntent>(id);
            draft.announce(&intent, Action::Delete)
        })
        .await?;
    Ok("OK")
}
