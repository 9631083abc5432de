//! What masters ask of the designer: the registry as a whole, leases, and a place for their reports.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use fogflow_orchestration::{LeaseReply, LeaseRequest, MasterReport, Operator, RegistrySnapshot, Topology};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::validate;

/// `GET /internal/registry`
pub(super) async fn registry(State(app): State<Shared>) -> Json<RegistrySnapshot> {
    // The generation first: contents that are newer than it are fetched again, never taken for known.
    let generation = app.registry.generation();
    let contents = app.registry.read();
    Json(RegistrySnapshot {
        generation,
        operators: contents.operators.values().map(|operator| Operator::clone(operator)).collect(),
        topologies: contents.topologies.values().map(|topology| Topology::clone(topology)).collect(),
        intents: contents.active_intents().cloned().collect(),
    })
}

/// `POST /internal/lease/{name}`: takes or renews a lease by the store's clock.
pub(super) async fn lease(State(app): State<Shared>, Path(name): Path<String>, bytes: Bytes) -> ApiResult<Json<LeaseReply>> {
    validate::name("the name of the lease", &name)?;
    let asked: LeaseRequest = body::one(&bytes)?;
    if asked.holder.is_empty() {
        return Err(ApiError::bad("holder is missing"));
    }
    if !(100..=600_000).contains(&asked.ttl_ms) {
        return Err(ApiError::bad("ttlMs has to be between 100 and 600000"));
    }
    let lease = app.registry.store().lease(&lease_name(&name), &asked.holder, Duration::from_millis(asked.ttl_ms)).await?;
    Ok(Json(LeaseReply { granted: lease.granted, holder: lease.holder, epoch: lease.epoch }))
}

/// Query of [`release`].
#[derive(Debug, Deserialize)]
pub(super) struct Holder {
    #[serde(default)]
    holder: String,
}

/// `DELETE /internal/lease/{name}?holder=`: gives a lease back.
pub(super) async fn release(State(app): State<Shared>, Path(name): Path<String>, Query(who): Query<Holder>) -> ApiResult<&'static str> {
    if who.holder.is_empty() {
        return Err(ApiError::bad("the parameter holder is missing"));
    }
    app.registry.store().release(&lease_name(&name), &who.holder).await?;
    Ok("OK")
}

/// Leases of others stay apart from the designer's own.
fn lease_name(name: &str) -> String {
    format!("shared/{name}")
}

/// The answer to a report.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reported {
    /// Of the registry; a master that knows an older one reads it again.
    generation: u64,
}

/// `POST /internal/report`: 409 for a master that has lost its lease.
pub(super) async fn report(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Json<Reported>> {
    let report: MasterReport = body::one(&bytes)?;
    let old = |newest: u64| ApiError::conflict(format!("the epoch {} is older than {newest}, which another master has", report.epoch));
    app.live.change(|picture| picture.report(&report).map_err(|error| old(error.newest))).await?;
    Ok(Json(Reported { generation: app.registry.generation() }))
}
