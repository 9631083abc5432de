//! Heartbeats and the list of brokers.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::Timestamp;
use fogflow_ngsi::v1::availability::{Heartbeat, HeartbeatResponse};
use serde::Serialize;
use smol_str::SmolStr;

use super::Api;
use super::reply::{self, Fault};

/// A broker in the list.
#[derive(Serialize)]
struct Listed {
    id: SmolStr,
    #[serde(rename = "myURL")]
    url: SmolStr,
    #[serde(rename = "Last_Heartbeat_Update")]
    last_heartbeat: Timestamp,
}

pub(super) async fn heartbeat(State(api): State<Api>, body: Bytes) -> Result<Response, Fault> {
    let beat = Heartbeat::decode(&body)?;
    let registrations_wanted = api.registry.heartbeat(&beat, api.clock.now())?;
    let epoch = api.registry.epoch().clone();
    Ok(reply::json(&HeartbeatResponse { context_responses: None, epoch, registrations_wanted }))
}

pub(super) async fn list(State(api): State<Api>) -> Response {
    let listed = api.registry.brokers().into_iter().map(|broker| {
        let listed = Listed { id: broker.id.clone(), url: broker.url, last_heartbeat: broker.last_seen };
        (broker.id, listed)
    });
    reply::json(&listed.collect::<BTreeMap<_, _>>())
}

pub(super) async fn status() -> Response {
    reply::json(&"ok").into_response()
}
