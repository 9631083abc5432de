//! Registrations, and who holds an entity.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::v1::StatusCode;
use fogflow_ngsi::v1::availability::{EntityRegistration, MetadataList, RegisterContextRequest, RegisterContextResponse, RemovedEntity};
use fogflow_ngsi::{Name, Tenant};
use serde::Deserialize;
use smol_str::{SmolStr, ToSmolStr};

use super::Api;
use super::reply::{self, Fault};
use super::tenant::{self, OfHeaders};
use crate::model::EntityRef;
use crate::registry::Entry;

/// What upstream answers when the request names no duration.
const DURATION: &str = "PT10M";

#[derive(Deserialize)]
pub(super) struct Which {
    tenant: Option<String>,
    #[serde(rename = "servicePath")]
    service_path: Option<String>,
}

impl Which {
    fn tenant(&self, headers: OfHeaders) -> Tenant {
        match &self.tenant {
            Some(name) => tenant::named(name),
            None => headers.0,
        }
    }

    fn path(&self) -> Option<&str> {
        self.service_path.as_deref()
    }
}

pub(super) async fn register(State(api): State<Api>, headers: OfHeaders, body: Bytes) -> Result<Response, Fault> {
    let request = RegisterContextRequest::decode(&body)?;
    let registration_id =
        if request.registration_id.is_empty() { uuid::Uuid::new_v4().to_smolstr() } else { request.registration_id.clone() };
    let duration = if request.duration.is_empty() { SmolStr::new_static(DURATION) } else { request.duration.clone() };
    let (registered, version) = api.registry.register(request, &headers.0, api.clock.now())?;
    api.registry.durable(version).await?;
    let removed = |key: EntityRef| RemovedEntity { service_path: key.written_path(), id: key.id, tenant: key.tenant.0 };
    Ok(reply::json(&RegisterContextResponse {
        duration,
        registration_id,
        error_code: StatusCode::ok(),
        registrations_wanted: registered.registrations_wanted,
        owned_elsewhere: registered.owned_elsewhere.into_iter().map(removed).collect(),
    }))
}

pub(super) async fn show(State(api): State<Api>, Path(eid): Path<SmolStr>, Query(which): Query<Which>, headers: OfHeaders) -> Response {
    let entry = find(&api, &which.tenant(headers), &eid, which.path());
    reply::json(&entry.as_ref().map(shown))
}

/// Upstream keeps NGSI-LD entities under `<id>@<service>`; ours are found under their plain id as well. Attributes are
/// named by their IRIs, as its clients look for them.
pub(super) async fn show_ld(State(api): State<Api>, Path(eid): Path<SmolStr>, headers: OfHeaders) -> Response {
    let service = if headers.0.is_default() { "default" } else { headers.0.0.as_str() };
    let suffixed = format!("{eid}@{service}");
    let entry = find(&api, &headers.0, &eid, None).or_else(|| find(&api, &Tenant::default(), &suffixed, None));
    // The stored id stays as it is (F 18).
    reply::json(&entry.as_ref().map(|entry| {
        let shown = shown(entry);
        let attributes = shown.attributes.into_iter().map(|(name, attribute)| (Name::new(&name).iri().into(), attribute)).collect();
        EntityRegistration { id: eid, attributes, ..shown }
    }))
}

pub(super) async fn delete(
    State(api): State<Api>,
    Path(eid): Path<SmolStr>,
    Query(which): Query<Which>,
    headers: OfHeaders,
) -> Result<Response, Fault> {
    let tenant = which.tenant(headers);
    if let Some(entry) = api.registry.entity(&tenant, &eid, which.path()) {
        let version = api.registry.deregister(&entry.registration.key);
        api.registry.durable(version).await?;
    }
    Ok(().into_response())
}

pub(super) async fn types(State(api): State<Api>) -> Response {
    let names: Vec<SmolStr> = api.registry.types().iter().map(|name| name.as_str().into()).collect();
    reply::json(&names)
}

/// By id; `<id>@<service>` also means the entity of that tenant.
fn find(api: &Api, tenant: &Tenant, id: &str, path: Option<&str>) -> Option<Entry> {
    api.registry.entity(tenant, id, path).or_else(|| {
        let (id, service) = id.rsplit_once('@')?;
        api.registry.entity(&tenant::named(service), id, path)
    })
}

fn shown(entry: &Entry) -> EntityRegistration {
    let registration = &entry.registration;
    EntityRegistration {
        id: registration.key.id.clone(),
        entity_type: registration.entity_type.as_str().into(),
        attributes: registration.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.clone())).collect(),
        metadata: MetadataList(registration.metadata.to_vec()),
        providing_application: registration.owner.url.clone(),
        broker_id: registration.owner.broker.clone().unwrap_or_default(),
        alive: Some(entry.alive),
    }
}
