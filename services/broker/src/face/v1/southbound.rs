//! `/NGSI9`: registrations of IoT agents at the broker.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode as Http};
use axum::response::{IntoResponse, Response};
use fogflow_chassis::outbound;
use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::{ContextRegistration, RegisterContextRequest};
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::reply::{self, Malformed};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::registrar::written_path;
use crate::southbound::Device;

/// Registers the entities of a request. Answers the registration id as a bare JSON string, as IoT agents know it.
pub(super) async fn register(
    State(engine): State<Engine>,
    identity: Identity,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Malformed> {
    if !headers.contains_key("fiware-service") || !headers.contains_key("fiware-servicepath") {
        return Err(Malformed("fiware-service and fiware-servicepath are needed".to_owned()));
    }
    let request = RegisterContextRequest::decode(&body)?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Malformed(error.to_string()))?;
    let registration = format_smolstr!("{}", uuid::Uuid::new_v4());
    for part in &request.registrations {
        outbound::check(&part.providing_application).map_err(|why| Malformed(format!("providingApplication: {why}")))?;
        for entity in &part.entities {
            if engine.devices().get(&identity.tenant, &entity.id).is_some() {
                return Ok(reply::error(Http::CONFLICT, "Registration already exists for this Entity ID!"));
            }
        }
    }
    for part in &request.registrations {
        for entity in &part.entities {
            let device = Device {
                registration: registration.clone(),
                provider: part.providing_application.clone(),
                document: document.clone(),
                entity: ContextRegistration {
                    entities: vec![EntityId { is_pattern: false, ..entity.clone() }],
                    tenant: identity.tenant.0.clone(),
                    service_path: written_path(&identity.key("").path),
                    ..part.clone()
                },
            };
            match engine.devices().put(&identity.tenant, &entity.id, device).await {
                Ok(key) => engine.registrar().mark(key),
                Err(error) => return Ok(reply::error(Http::SERVICE_UNAVAILABLE, &error.to_string())),
            }
        }
    }
    Ok(reply::json(Http::OK, &registration))
}

/// The entity id, without the suffix `.<service>.<path>` that upstream appends.
fn entity_id(id: &str, identity: &Identity) -> SmolStr {
    let path = identity.key("").path.replace('/', "~");
    let suffix = format!(".{}.{path}", identity.tenant.0);
    id.strip_suffix(&suffix).unwrap_or(id).into()
}

pub(super) async fn show(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    match engine.devices().get(&identity.tenant, &entity_id(&id, &identity)) {
        Some(device) => reply::json(Http::OK, &device.document),
        None => reply::error(Http::NOT_FOUND, "no device is registered under this id"),
    }
}

pub(super) async fn delete(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    match engine.devices().remove(&identity.tenant, &entity_id(&id, &identity)).await {
        Ok(Some(key)) => {
            engine.registrar().mark(key);
            Http::OK.into_response()
        }
        Ok(None) => reply::error(Http::BAD_REQUEST, &format!("there is no registration for {id}")),
        Err(error) => reply::error(Http::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
