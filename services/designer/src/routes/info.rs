//! What runs where: `/info/*`, and the logs of tasks.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use fogflow_orchestration::{MasterProfile, TaskRow, WorkerProfile};

use crate::app::Shared;
use crate::cloud::short;
use crate::error::{ApiError, ApiResult};
use crate::feeds;
use crate::live::BrokerRow;

/// A followed log ends after this time at the latest.
const LONGEST_LOG: Duration = Duration::from_secs(3600);

/// `GET /info/master`
pub(super) async fn masters(State(app): State<Shared>) -> Json<Vec<MasterProfile>> {
    if let Ok(master) = feeds::master_status(&app).await {
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
    Json(feeds::master_workers(&app).await.unwrap_or_default())
}

/// `GET /info/broker`
pub(super) async fn brokers(State(app): State<Shared>) -> Json<Vec<BrokerRow>> {
    Json(feeds::brokers(&app).await.unwrap_or_default())
}

/// `GET /info/task`
pub(super) async fn tasks(State(app): State<Shared>) -> Json<Vec<TaskRow>> {
    Json(app.hub.tasks())
}

/// `GET /info/task/{intent}`
pub(super) async fn tasks_of(State(app): State<Shared>, Path(intent): Path<String>) -> Json<Vec<TaskRow>> {
    Json(app.hub.tasks().into_iter().filter(|task| task.service_intent_id == intent).collect())
}

/// `GET /info/type`: the types of entities that discovery knows.
pub(super) async fn types(State(app): State<Shared>) -> ApiResult<Json<Vec<String>>> {
    feeds::entity_types(&app).await.map(Json).map_err(|error| ApiError::unavailable(format!("discovery does not answer: {error}")))
}

/// `GET /tasks/{id}/logs[?tail=N&follow=true]`: from the worker that has the task.
pub(super) async fn logs(State(app): State<Shared>, Path(id): Path<String>, RawQuery(query): RawQuery) -> ApiResult<Response> {
    let task = app.hub.task(&id).ok_or_else(|| ApiError::missing("task", &id))?;
    let worker = app.hub.worker(&task.worker).ok_or_else(|| ApiError::unavailable(format!("the worker {:?} is not known", task.worker)))?;
    if worker.url.is_empty() {
        return Err(ApiError::unavailable(format!("the worker {:?} offers no logs", task.worker)));
    }
    let mut url = reqwest::Url::parse(&worker.url)
        .map_err(|error| ApiError::unavailable(format!("the worker {:?} has no usable address: {error}", task.worker)))?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["tasks", &id, "logs"]);
    }
    url.set_query(query.as_deref());
    let request = app.http.get(url).timeout(LONGEST_LOG);
    let answer = tokio::time::timeout(Duration::from_secs(10), request.send())
        .await
        .map_err(|_| ApiError::unavailable(format!("the worker {:?} does not answer within 10 s", task.worker)))?
        .map_err(|error| ApiError::unavailable(format!("the worker {:?} does not answer: {}", task.worker, short(&error))))?;
    let status = answer.status();
    if !status.is_success() {
        let text = answer.text().await.unwrap_or_default();
        return Err(ApiError::new(status, format!("the worker {:?} says: {}", task.worker, text.chars().take(300).collect::<String>())));
    }
    // Text only, whatever the worker says: it is shown in a browser.
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    let headers = response.headers_mut();
    headers.insert(axum::http::header::CONTENT_TYPE, axum::http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(axum::http::header::X_CONTENT_TYPE_OPTIONS, axum::http::HeaderValue::from_static("nosniff"));
    Ok(response)
}
