//! Services (topologies with their scene) and topologies.

use std::collections::HashSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use fogflow_orchestration::{Operator, ServiceIntent, Topology};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::records::Service;
use crate::registry::{Action, Contents, Draft};
use crate::validate;

/// `GET /service`: name -> service.
pub(super) async fn services(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(app.registry.read().services.iter().map(|(name, service)| (name.clone(), json!(service))).collect())
}

/// `GET /service/{name}`
pub(super) async fn service(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Service>> {
    let contents = app.registry.read();
    contents.services.get(&name).map(|service| Json(Service::clone(service))).ok_or_else(|| ApiError::missing("service", &name))
}

/// `POST /service`: one service or a list of them. A bare topology is taken for a service without scene.
pub(super) async fn put(State(app): State<Shared>, bytes: Bytes) -> ApiResult<&'static str> {
    let services: Vec<Service> = match body::json(&bytes)? {
        Value::Array(values) => {
            values.into_iter().enumerate().map(|(i, value)| read(value, &format!("[{i}]."))).collect::<ApiResult<_>>()?
        }
        value => vec![read(value, "")?],
    };
    app.registry
        .write(|draft| {
            for service in &services {
                validate::topology(&service.topology, |operator| draft.contents().operators.contains(operator))?;
                store(draft, service.clone())?;
            }
            Ok(())
        })
        .await?;
    Ok("OK")
}

fn read(value: Value, at: &str) -> ApiResult<Service> {
    if value.get("topology").is_none() && value.get("tasks").is_some() {
        return Ok(Service { topology: body::typed(value, at)?, designboard: None });
    }
    body::typed(value, at)
}

/// Stores a service and its topology; running intents of it are announced again.
pub(crate) fn store(draft: &mut Draft, mut service: Service) -> ApiResult<()> {
    let name = service.topology.name.clone();
    if draft.contents().functions.contains(&name) {
        return Err(ApiError::conflict(format!("a fog function has the name {name:?} already")));
    }
    service.topology.operators.clear();
    draft.put(&name, service.topology.clone())?;
    draft.put(&name, service)?;
    intents_of(draft.contents(), &name).iter().try_for_each(|intent| draft.announce(intent, Action::Add))
}

fn intents_of(contents: &Contents, topology: &str) -> Vec<ServiceIntent> {
    contents.intents.values().filter(|intent| intent.topology == topology).map(|intent| ServiceIntent::clone(intent)).collect()
}

/// Query of [`delete`].
#[derive(Debug, Deserialize)]
pub(super) struct HowToDelete {
    #[serde(default)]
    cascade: bool,
}

/// `DELETE /service/{name}[?cascade=true]`: the service and its topology; 409 while intents ask for it, unless they may go too.
pub(super) async fn delete(State(app): State<Shared>, Path(name): Path<String>, Query(how): Query<HowToDelete>) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            draft.get::<Service>(&name)?;
            let intents = intents_of(draft.contents(), &name);
            if !intents.is_empty() && !how.cascade {
                let ids: Vec<&str> = intents.iter().map(|intent| intent.id.as_str()).collect();
                return Err(ApiError::conflict(format!(
                    "the service {name:?} is asked for by {}; delete them first, or add ?cascade=true",
                    ids.join(", ")
                )));
            }
            for intent in intents {
                draft.remove::<ServiceIntent>(&intent.id);
                draft.announce(&intent, Action::Delete)?;
            }
            draft.remove::<Service>(&name);
            draft.remove::<Topology>(&name);
            Ok(())
        })
        .await?;
    Ok("OK")
}

/// `GET /topology`: a list, with the topologies of fog functions.
pub(super) async fn topologies(State(app): State<Shared>) -> Json<Vec<Topology>> {
    Json(app.registry.read().topologies.values().map(|topology| Topology::clone(topology)).collect())
}

/// `GET /topology/{name}`: with the operators of its tasks. The answer is a copy; the stored topology stays as it is (D 7).
pub(super) async fn topology(State(app): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Topology>> {
    let contents = app.registry.read();
    let found = contents.topologies.get(&name).ok_or_else(|| ApiError::missing("topology", &name))?;
    Ok(Json(with_operators(&contents, found)))
}

fn with_operators(contents: &Contents, topology: &Topology) -> Topology {
    let mut seen = HashSet::new();
    let names = topology.tasks.iter().map(|task| task.operator.as_str()).filter(|name| seen.insert(*name));
    let operators = names.filter_map(|name| contents.operators.get(name)).map(|operator| Operator::clone(operator)).collect();
    Topology { operators, ..topology.clone() }
}
