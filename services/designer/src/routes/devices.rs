//! Devices and forwarded subscriptions: stored first, then brought to the cloud broker (see `cloud::keep`).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::app::Shared;
use crate::body;
use crate::cloud::is_refusal;
use crate::error::{ApiError, ApiResult};
use crate::records::{BrokerRemoval, Device, ForwardedSubscription};
use crate::registry::Draft;
use crate::validate;

/// The answer for a device that came without an id.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    id: String,
}

/// `GET /device`: id -> device.
pub(super) async fn devices(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(app.registry.read().devices.iter().map(|(id, device)| (id.clone(), json!(device))).collect())
}

/// `GET /device/{id}`
pub(super) async fn device(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<Device>> {
    let contents = app.registry.read();
    contents.devices.get(&id).map(|device| Json(Device::clone(device))).ok_or_else(|| ApiError::missing("device", &id))
}

/// `POST /device`: one or a list. A device that the broker refuses is not kept (400); while the broker is away the answer carries
/// `X-FogFlow-Pending: broker`, and the entity is created when it is back.
pub(super) async fn put_device(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Response> {
    let body = body::one_or_many::<Device>(&bytes)?;
    let mut devices: Vec<Device> = body.items.into_iter().map(|(device, _)| device).collect();
    let mut made = None;
    for device in &mut devices {
        if device.id.is_empty() {
            device.id = format!("Device.{}.{}", device.device_type, uuid::Uuid::new_v4());
            made.get_or_insert_with(|| device.id.clone());
        }
        validate::device(device)?;
        complete(device);
    }
    app.registry.write(|draft| devices.iter().try_for_each(|device| draft.put(&device.id, device.clone()))).await?;
    let mut away = false;
    for device in &devices {
        match app.cloud.create(device).await {
            Ok(()) => app.registry.write(|draft| settle(draft, &device.id)).await?,
            Err(error) if is_refusal(&error) => {
                app.registry
                    .write(|draft| {
                        draft.remove::<Device>(&device.id);
                        Ok(())
                    })
                    .await?;
                return Err(ApiError::bad(format!("device {:?}: {error}", device.id)));
            }
            // The others would only wait as long; they are created when the broker is back.
            Err(_) => {
                away = true;
                break;
            }
        }
    }
    let answer = match made {
        Some(id) => Json(Made { id }).into_response(),
        None => "OK".into_response(),
    };
    Ok(if away { (pending(), answer).into_response() } else { answer })
}

/// Fills in what upstream adds, and marks the device as not yet at the broker.
pub(crate) fn complete(device: &mut Device) {
    device.entity_id = Some(json!({"id": device.id, "type": device.device_type, "isPattern": false}));
    device.pending = true;
}

/// The device is at the broker.
pub(crate) fn settle(draft: &mut Draft, id: &str) -> ApiResult<()> {
    match draft.contents().devices.get(id) {
        Some(device) if device.pending => draft.put(id, Device { pending: false, ..Device::clone(device) }),
        _ => Ok(()),
    }
}

fn pending() -> HeaderMap {
    HeaderMap::from_iter([(axum::http::HeaderName::from_static("x-fogflow-pending"), HeaderValue::from_static("broker"))])
}

/// `DELETE /device/{id}`: the record goes now; its entity as soon as the broker can be reached.
pub(super) async fn delete_device(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            draft.get::<Device>(&id)?;
            draft.remove::<Device>(&id);
            draft.put(&format!("entity {id}"), BrokerRemoval::Entity { id: id.clone() })
        })
        .await?;
    Ok("OK")
}

/// `GET /subscription`: id -> subscription.
pub(super) async fn subscriptions(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(app.registry.read().subscriptions.iter().map(|(id, subscription)| (id.clone(), json!(subscription))).collect())
}

/// `POST /subscription`: one or a list; made at the broker as soon as it can be reached.
pub(super) async fn put_subscription(State(app): State<Shared>, bytes: Bytes) -> ApiResult<&'static str> {
    let mut subscriptions: Vec<(String, ForwardedSubscription)> = Vec::new();
    for (mut subscription, _) in body::one_or_many::<ForwardedSubscription>(&bytes)?.items {
        validate::subscription(&subscription)?;
        subscription.broker_subscription_id.clear();
        subscriptions.push((uuid::Uuid::new_v4().to_string(), subscription));
    }
    app.registry.write(|draft| subscriptions.iter().try_for_each(|(id, subscription)| draft.put(id, subscription.clone()))).await?;
    Ok("OK")
}

/// `DELETE /subscription/{id}`
pub(super) async fn delete_subscription(State(app): State<Shared>, Path(id): Path<String>) -> ApiResult<&'static str> {
    app.registry
        .write(|draft| {
            let at_broker = draft.get::<ForwardedSubscription>(&id)?.broker_subscription_id.clone();
            draft.remove::<ForwardedSubscription>(&id);
            if at_broker.is_empty() {
                return Ok(());
            }
            draft.put(&format!("subscription {at_broker}"), BrokerRemoval::Subscription { id: at_broker })
        })
        .await?;
    Ok("OK")
}
