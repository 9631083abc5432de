//! The worker's HTTP interface: its tasks and what they write.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use fogflow_chassis::{Access, CancellationToken, Process, Routes, Security};
use fogflow_orchestration::{InputStream, OutputStream, ScheduledTaskInstance, TaskUpdate};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::engine::{Engine, EngineError, LogRange};
use crate::table::TaskTable;

/// Lines of a log without `tail`.
const DEFAULT_TAIL: usize = 100;

/// What handlers need.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) table: Arc<TaskTable>,
    pub(crate) engine: Arc<dyn Engine>,
    /// Ends logs that are followed, so that their readers do not hold up the end of the worker.
    pub(crate) shutdown: CancellationToken,
}

/// The routes.
pub(crate) fn router(state: HttpState, process: &Process, security: &Security) -> Router {
    routes().build(state, process, security)
}

fn routes() -> Routes<HttpState> {
    Routes::new("FogFlow worker")
        .get("/tasks", Access::Viewer, "Every task that this worker has, with its state", tasks)
        .gives::<Vec<TaskView>>()
        .get("/tasks/{id}", Access::Viewer, "One task with its state", task)
        .gives::<TaskView>()
        .get("/tasks/{id}/logs", Access::Viewer, "What a task has written: the last `tail` lines, and with `follow=true` what comes", logs)
        .gives_as::<String>("text/plain")
}

/// A task as the interface shows it: its report, and what it works on.
#[derive(Serialize, JsonSchema)]
struct TaskView {
    #[serde(flatten)]
    update: TaskUpdate,
    #[serde(rename = "Operator")]
    operator: String,
    #[serde(rename = "Inputs")]
    inputs: Vec<InputStream>,
    #[serde(rename = "Outputs")]
    outputs: Vec<OutputStream>,
    #[serde(rename = "IsExclusive")]
    is_exclusive: bool,
    #[serde(rename = "PriorityLevel")]
    priority_level: i32,
}

fn view((task, update): (Arc<ScheduledTaskInstance>, TaskUpdate)) -> TaskView {
    TaskView {
        update,
        operator: task.operator_name.clone(),
        inputs: task.inputs.clone(),
        outputs: task.outputs.clone(),
        is_exclusive: task.is_exclusive,
        priority_level: task.priority_level,
    }
}

async fn tasks(State(state): State<HttpState>) -> Json<Vec<TaskView>> {
    Json(state.table.list().into_iter().map(view).collect())
}

async fn task(State(state): State<HttpState>, Path(id): Path<String>) -> Response {
    match state.table.get(&id) {
        Some(found) => Json(view(found)).into_response(),
        None => not_found(&id),
    }
}

#[derive(Deserialize)]
struct LogQuery {
    tail: Option<usize>,
    #[serde(default)]
    follow: bool,
}

async fn logs(State(state): State<HttpState>, Path(id): Path<String>, Query(query): Query<LogQuery>) -> Response {
    if state.table.get(&id).is_none() {
        return not_found(&id);
    }
    let range = LogRange { tail: query.tail.unwrap_or(DEFAULT_TAIL), follow: query.follow };
    match state.engine.logs(&id, range).await {
        Ok(text) => {
            let text = text.take_until(state.shutdown.clone().cancelled_owned());
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(text)).into_response()
        }
        Err(EngineError::Unknown(_)) => not_found(&id),
        Err(error) => failure(StatusCode::BAD_GATEWAY, "EngineError", &error.to_string()),
    }
}

fn not_found(id: &str) -> Response {
    failure(StatusCode::NOT_FOUND, "NotFound", &format!("this worker has no task {id}"))
}

fn failure(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({"error": error, "description": description}))).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_answer_is_described() {
        assert_eq!(super::routes().answers_without_schema().collect::<Vec<_>>(), []);
    }
}
