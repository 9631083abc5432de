//! What runs where: `/info/*`, and the logs of tasks.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use fogflow_client::{BrokerRecord, Endpoint, WorkerClient};
use fogflow_orchestration::{MasterProfile, TaskRow, WorkerProfile};
use futures::StreamExt as _;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Shared;
use crate::error::{ApiError, ApiResult};
use crate::live::{EntityRow, Series};

/// `GET /info/master`
pub(super) async fn masters(State(app): State<Shared>) -> Json<Vec<MasterProfile>> {
    if let Ok(master) = app.master.status().await {
        app.hub.master_seen(master);
    }
    Json(app.hub.masters())
}

/// `GET /info/worker`
pub(super) async fn workers(State(app): State<Shared>) -> Json<Vec<WorkerProfile>> {
    let known = app.hub.workers();
    if !known.is_empty() {
        return Json(known);
    }
    Json(app.master.workers().await.unwrap_or_default())
}

/// `GET /info/broker`
pub(super) async fn brokers(State(app): State<Shared>) -> Json<Vec<BrokerRecord>> {
    Json(app.discovery.brokers().await.map(|brokers| brokers.into_values().collect()).unwrap_or_default())
}

/// `GET /info/task`
pub(super) async fn tasks(State(app): State<Shared>) -> Json<Vec<TaskRow>> {
    Json(app.hub.tasks())
}

/// `GET /info/task/{intent}`
pub(super) async fn tasks_of(State(app): State<Shared>, Path(intent): Path<String>) -> Json<Vec<TaskRow>> {
    Json(app.hub.tasks().into_iter().filter(|task| task.service_intent_id == intent).collect())
}

/// An entity with a chart of its numbers.
#[derive(Serialize, JsonSchema)]
pub(super) struct EntityWithSeries {
    /// Its newest state.
    entity: EntityRow,
    /// The last values of numeric attributes, by name.
    #[schemars(with = "BTreeMap<String, Series>")]
    series: IndexMap<String, Series>,
}

/// `GET /info/entity/{id}`
pub(super) async fn entity(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<EntityWithSeries>> {
    let (entity, series) = app.hub.entity_with_history(&id).ok_or_else(|| ApiError::missing("entity in the live view", &id))?;
    Ok(Json(EntityWithSeries { entity, series }))
}

/// `GET /info/type`: the types of entities that discovery knows.
pub(super) async fn types(State(app): State<Shared>) -> ApiResult<Json<Vec<String>>> {
    let mut types = app.discovery.entity_types().await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    types.sort();
    Ok(Json(types))
}

/// Query of [`logs`].
#[derive(Debug, Deserialize)]
pub(super) struct WhichLines {
    tail: Option<u32>,
    #[serde(default)]
    follow: bool,
}

/// `GET /tasks/{id}/logs[?tail=N&follow=true]`: from the worker that has the task.
pub(super) async fn logs(State(app): State<Shared>, Path(id): Path<String>, Query(which): Query<WhichLines>) -> ApiResult<Response> {
    let task = app.hub.task(&id).ok_or_else(|| ApiError::missing("task", &id))?;
    let worker = app.hub.worker(&task.worker).ok_or_else(|| ApiError::unavailable(format!("the worker {:?} is not known", task.worker)))?;
    if worker.url.is_empty() {
        return Err(ApiError::unavailable(format!("the worker {:?} offers no logs", task.worker)));
    }
    let client = WorkerClient::new(Endpoint::new(app.http.clone(), &worker.url));
    let text = client.logs(&id, which.tail, which.follow).await.map_err(|error| match error.status() {
        Some(404) => ApiError::missing("log of task", &id),
        _ => ApiError::unavailable(error.to_string()),
    })?;
    // A log that is followed ends with this process, not only with its reader.
    let shutdown = app.shutdown.clone();
    let mut response = Response::new(Body::from_stream(text.take_until(async move { shutdown.cancelled().await })));
    // Text only, whatever the worker says: it is shown in a browser.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
