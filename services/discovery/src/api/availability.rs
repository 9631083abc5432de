//! Discovery queries and availability subscriptions.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use fogflow_ngsi::v1::availability::{
    ContextMetadata, ContextRegistration, DiscoverContextAvailabilityRequest, DiscoverContextAvailabilityResponse,
    SubscribeContextAvailabilityRequest, SubscribeContextAvailabilityResponse,
};
use fogflow_ngsi::v1::{EntityId, StatusCode, UnsubscribeContextRequest};
use fogflow_ngsi::{Attribute, Json, Timestamp};
use serde::Serialize;
use smol_str::SmolStr;

use super::Api;
use super::reply::{self, Fault};
use super::tenant::OfHeaders;
use crate::index::Found;

pub(super) async fn discover(State(api): State<Api>, headers: OfHeaders, body: Bytes) -> Result<Response, Fault> {
    let request = DiscoverContextAvailabilityRequest::decode(&body)?;
    let tenant = headers.or(&request.tenant);
    let found = api.registry.discover(&request, tenant)?;
    let responses = by_provider(&found).into_iter().map(Into::into).collect();
    Ok(reply::json(&DiscoverContextAvailabilityResponse { responses, error_code: StatusCode::ok() }))
}

/// Entities of one provider and service path together, in the order in which they were found. With `nearby` each entity stands alone, so
/// that the order by distance is kept, and has its distance in metres as metadata.
fn by_provider(found: &[Found]) -> Vec<ContextRegistration> {
    let mut registrations: Vec<ContextRegistration> = Vec::new();
    let mut places: BTreeMap<(SmolStr, SmolStr, SmolStr), usize> = BTreeMap::new();
    for Found { registration, distance } in found {
        let entity = EntityId { entity_type: registration.entity_type.as_str().into(), is_pattern: false, id: registration.key.id.clone() };
        let broker_id = registration.owner.broker.clone().unwrap_or_default();
        let service_path = registration.key.written_path();
        let place = (registration.owner.url.clone(), broker_id.clone(), service_path.clone());
        match places.get(&place).and_then(|place| registrations.get_mut(*place)) {
            Some(present) if distance.is_none() => present.entities.push(entity),
            _ => {
                places.insert(place, registrations.len());
                registrations.push(ContextRegistration {
                    entities: vec![entity],
                    metadata: ContextMetadata(distance.map(as_metadata).into_iter().collect()),
                    providing_application: registration.owner.url.clone(),
                    tenant: registration.key.tenant.0.clone(),
                    service_path,
                    broker_id,
                    ..ContextRegistration::default()
                });
            }
        }
    }
    registrations
}

fn as_metadata(metres: f64) -> Attribute {
    Attribute {
        domain: true,
        value_type: Some(SmolStr::new_static("float")),
        ..Attribute::property("distance", Json::from((metres * 10.0).round() / 10.0), Timestamp::default())
    }
}

pub(super) async fn subscribe(State(api): State<Api>, headers: OfHeaders, body: Bytes) -> Result<Response, Fault> {
    let request = SubscribeContextAvailabilityRequest::decode(&body)?;
    subscribe_to(api, headers, request).await
}

/// Upstream's `UpdateLDContextAvailability`: the id is in the path.
pub(super) async fn update(State(api): State<Api>, Path(sid): Path<SmolStr>, headers: OfHeaders, body: Bytes) -> Result<Response, Fault> {
    let request = SubscribeContextAvailabilityRequest::decode(&body)?;
    subscribe_to(api, headers, SubscribeContextAvailabilityRequest { subscription_id: sid, ..request }).await
}

async fn subscribe_to(api: Api, headers: OfHeaders, request: SubscribeContextAvailabilityRequest) -> Result<Response, Fault> {
    let tenant = headers.or(&request.tenant);
    let duration = request.duration.clone();
    let known = !request.subscription_id.is_empty() && api.registry.subscription(&request.subscription_id).is_some();
    let (subscribe_id, version) = api.registry.subscribe(request, tenant, api.clock.now())?;
    if let Err(refusal) = api.registry.durable(version).await {
        // The client believes that it has no subscription; so it shall have none.
        if !known {
            api.registry.unsubscribe(&subscribe_id);
        }
        return Err(refusal.into());
    }
    Ok(reply::json(&SubscribeContextAvailabilityResponse { subscribe_id, duration, error_code: StatusCode::ok() }))
}

pub(super) async fn unsubscribe(State(api): State<Api>, body: Bytes) -> Result<Response, Fault> {
    /// Upstream puts the word into `details`, not into `reasonPhrase`.
    #[derive(Serialize)]
    struct Unsubscribed {
        #[serde(rename = "subscriptionId")]
        subscription_id: SmolStr,
        #[serde(rename = "statusCode")]
        status_code: StatusCode,
    }
    let request = UnsubscribeContextRequest::decode(&body)?;
    let version = api.registry.unsubscribe(&request.subscription_id);
    api.registry.durable(version).await?;
    let status_code = StatusCode { code: 200, reason_phrase: SmolStr::default(), details: "OK".to_owned() };
    Ok(reply::json(&Unsubscribed { subscription_id: request.subscription_id, status_code }))
}

pub(super) async fn list(State(api): State<Api>) -> Response {
    let all = api.registry.subscriptions().into_iter();
    reply::json(&all.map(|subscription| (subscription.subscription_id.clone(), subscription)).collect::<BTreeMap<_, _>>())
}

pub(super) async fn show(State(api): State<Api>, Path(sid): Path<SmolStr>) -> Result<Response, Fault> {
    match api.registry.subscription(&sid) {
        Some(subscription) => Ok(reply::json(&subscription)),
        None => Err(Fault::NotFound(format!("there is no availability subscription {sid}"))),
    }
}
