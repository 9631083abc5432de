//! The master's two HTTP interfaces: status for users (upstream: 8010) and the NGSI agent for discovery (upstream: 1060).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_ngsi::v1::{NotifyContextRequest, NotifyContextResponse};
use fogflow_orchestration::{IntentState, MasterProfile, TaskRow, WorkerProfile};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::master::Master;
use crate::messages;

/// A snapshot of many entities with their metadata.
const NOTIFICATION_BYTES: usize = 32 * 1024 * 1024;
/// The bus has this long to take a notification that is passed on; discovery repeats it otherwise.
const FORWARD_WITHIN: Duration = Duration::from_secs(3);

/// The status interface.
#[must_use]
pub fn status_routes() -> Routes<Arc<Master>> {
    Routes::new("FogFlow master")
        .get("/workers", Access::Anyone, "Alive workers: id to profile", workers)
        .gives::<BTreeMap<String, WorkerProfile>>()
        .get("/status", Access::Anyone, "This master's profile", status)
        .gives::<MasterProfile>()
        .get("/tasks", Access::Viewer, "Tasks as their workers report them; `intent=` restricts them to one intent", tasks)
        .gives::<Vec<TaskRow>>()
        .get("/intents", Access::Viewer, "What became of each intent: pending, active or failed, and why", intents)
        .gives::<Vec<IntentState>>()
}

/// The NGSI agent.
#[must_use]
pub fn agent_routes() -> Routes<Arc<Master>> {
    Routes::new("FogFlow master agent")
        .post(
            "/notifyContextAvailability",
            Access::Component,
            "Discovery's notification of entities that came, changed or went",
            notify_availability,
        )
        .takes::<NotifyContextAvailabilityRequest>()
        .gives::<NotifyContextResponse>()
        .post("/notifyContext", Access::Component, "An NGSI-10 notification; taken and ignored", notify)
        .takes::<NotifyContextRequest>()
        .gives::<NotifyContextResponse>()
        .body_limit(NOTIFICATION_BYTES)
        .errors(v1_error)
}

fn v1_error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"responseCode": {"code": status.as_u16(), "reasonPhrase": message}}))).into_response()
}

async fn workers(State(master): State<Arc<Master>>) -> Json<BTreeMap<String, WorkerProfile>> {
    Json(master.read(|state| state.workers.alive().map(|worker| (worker.id.clone(), worker.clone())).collect()))
}

async fn status(State(master): State<Arc<Master>>) -> Json<MasterProfile> {
    Json(master.profile())
}

#[derive(Deserialize)]
struct TaskQuery {
    intent: Option<String>,
}

async fn tasks(State(master): State<Arc<Master>>, Query(query): Query<TaskQuery>) -> Json<Vec<TaskRow>> {
    Json(master.read(|state| state.rows(query.intent.as_deref())))
}

async fn intents(State(master): State<Arc<Master>>) -> Json<Vec<IntentState>> {
    Json(master.read(|state| state.shown_intents()))
}

/// Answers as soon as the state has it; nothing is asked back before. Discovery takes `responseCode.code` 200 for delivered, and
/// repeats otherwise.
async fn notify_availability(State(master): State<Arc<Master>>, body: Bytes) -> Response {
    let notification = match NotifyContextAvailabilityRequest::decode(&body) {
        Ok(notification) => notification,
        Err(error) => return v1_error(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if master.read(|state| state.epoch().is_none()) {
        return pass_on(&master, &body).await;
    }
    let traceparent = fogflow_chassis::current_traceparent();
    master.change(|state, now| {
        state.hear(now, traceparent);
        state.availability(notification, now);
    });
    master.lookup_nudge.notify_one();
    ok()
}

async fn pass_on(master: &Master, body: &[u8]) -> Response {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return v1_error(StatusCode::BAD_REQUEST, "no JSON") };
    match tokio::time::timeout(FORWARD_WITHIN, messages::forward(master, &value)).await {
        Ok(Ok(())) => ok(),
        Ok(Err(error)) => v1_error(StatusCode::SERVICE_UNAVAILABLE, &format!("the leading master cannot be reached: {error}")),
        Err(_) => v1_error(StatusCode::SERVICE_UNAVAILABLE, "the leading master cannot be reached in time"),
    }
}

async fn notify() -> Response {
    ok()
}

fn ok() -> Response {
    Json(json!({"responseCode": {"code": 200, "reasonPhrase": "OK"}})).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_body_and_every_answer_is_described() {
        let routes = super::status_routes().merge(super::agent_routes());
        assert_eq!(routes.bodies_without_schema().chain(routes.answers_without_schema()).collect::<Vec<_>>(), []);
    }
}
