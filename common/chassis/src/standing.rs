//! What every service answers: health, readiness, metrics, version.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{Encoder as _, TextEncoder};
use schemars::JsonSchema;
use serde::Serialize;

use crate::VERSION;
use crate::access::Access;
use crate::process::Process;
use crate::process_metrics;
use crate::routes::Routes;
use crate::supervisor::TaskStatus;

/// `GET /health`
#[derive(Serialize, JsonSchema)]
struct Health {
    /// `alive`
    status: &'static str,
    name: String,
    version: &'static str,
    /// The background tasks, with `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<TaskStatus>>,
}

/// `GET /ready`
#[derive(Serialize, JsonSchema)]
struct Ready {
    ready: bool,
    /// The parts that are not ready, and why.
    missing: Vec<String>,
    /// `ready`, or why not, by the name of the part.
    parts: BTreeMap<String, String>,
}

/// `GET /version`
#[derive(Serialize, JsonSchema)]
struct Version {
    name: String,
    version: &'static str,
}

/// Adds the standing routes that the service does not declare itself.
pub(crate) fn add<S: Clone + Send + Sync + 'static>(mut routes: Routes<S>, process: &Process) -> Routes<S> {
    for path in ["/health", "/healthz"] {
        if !routes.has(path) {
            let process = process.clone();
            routes = routes
                .get(path, Access::Anyone, "Alive; ?verbose lists background tasks", move |query: Query<HashMap<String, String>>| {
                    let response = health(&process, query.contains_key("verbose"));
                    async move { response }
                })
                .gives::<Health>();
        }
    }
    for path in ["/ready", "/readyz"] {
        if !routes.has(path) {
            let process = process.clone();
            routes = routes
                .get(path, Access::Anyone, "Ready to serve, or the parts that are not and why (503)", move || {
                    let response = ready(&process);
                    async move { response }
                })
                .gives::<Ready>();
        }
    }
    if !routes.has("/metrics") {
        let process = process.clone();
        routes = routes
            .get("/metrics", Access::Anyone, "Metrics in Prometheus' text format", move || {
                let response = metrics(&process);
                async move { response }
            })
            .gives_as::<String>("text/plain");
    }
    if !routes.has("/version") {
        let name = process.name.clone();
        routes = routes
            .get("/version", Access::Anyone, "Name and version of this build", move || {
                let version = Json(Version { name: name.clone(), version: VERSION });
                async move { version }
            })
            .gives::<Version>();
    }
    routes
}

/// A JSON text as a response.
pub(crate) fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn health(process: &Process, verbose: bool) -> Response {
    let tasks = verbose.then(|| process.tasks.status());
    Json(Health { status: "alive", name: process.name.clone(), version: VERSION, tasks }).into_response()
}

fn ready(process: &Process) -> Response {
    let ending = process.shutdown.is_cancelled();
    let is_ready = !ending && process.readiness.is_ready();
    let mut missing = process.readiness.missing();
    if ending {
        missing.push("process: shutting down".to_owned());
    }
    let parts = process.readiness.parts().into_iter().map(|(name, reason)| (name, reason.unwrap_or_else(|| "ready".to_owned()))).collect();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready: is_ready, missing, parts })).into_response()
}

fn metrics(process: &Process) -> Response {
    let mut out = Vec::with_capacity(16 * 1024);
    if let Err(error) = TextEncoder::new().encode(&process.metrics.gather(), &mut out) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    out.extend_from_slice(process_metrics::text(&process.name).as_bytes());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], out).into_response()
}
