//! The NGSI agent: where the cloud broker sends the newest state of entities.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::v1::{NotifyContextRequest, NotifyContextResponse};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiResult, error_response};
use crate::live::{Told, ToldEntity};
use crate::records::TypedValue;

/// Largest notification, in bytes.
const LARGEST: usize = 16 * 1024 * 1024;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Notification {
    #[serde(rename = "subscriptionId")]
    subscription_id: String,
    #[serde(rename = "contextResponses")]
    responses: Vec<ElementResponse>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ElementResponse {
    #[serde(rename = "contextElement")]
    element: Element,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Element {
    #[serde(rename = "entityId")]
    entity: EntityId,
    attributes: Vec<Named>,
    #[serde(rename = "domainMetadata")]
    metadata: Vec<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct EntityId {
    id: String,
    #[serde(rename = "type")]
    entity_type: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
    #[serde(flatten)]
    value: TypedValue,
}

/// The agent's routes.
#[must_use]
pub(crate) fn routes() -> Routes<Shared> {
    Routes::new("FogFlow designer: NGSI agent")
        // A notification carries no credentials: it counts only if it names a subscription that we placed.
        .post("/notifyContext", Access::Anyone, "Takes an NGSI-10 notification for the live view", notify)
        .takes::<NotifyContextRequest>()
        .gives::<NotifyContextResponse>()
        .post("/admin", Access::Component, "Accepted without effect, as upstream", || async { "OK" })
        .gives_as::<String>("text/plain")
        .body_limit(LARGEST)
        .errors(error_response)
}

/// `POST /notifyContext`. An element without attributes and metadata says that the entity is gone.
async fn notify(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Json<Value>> {
    let notification: Notification = body::one(&bytes)?;
    if app.watched.accepts(&notification.subscription_id) {
        let told: Vec<Told> = notification.responses.into_iter().filter_map(|response| told(response.element)).collect();
        app.live.change(|picture| Ok(picture.notification(&told))).await?;
    }
    Ok(Json(json!({"responseCode": {"code": 200, "reasonPhrase": "OK"}})))
}

fn told(element: Element) -> Option<Told> {
    let Element { entity: EntityId { id, entity_type }, attributes, metadata } = element;
    if id.is_empty() {
        return None;
    }
    let is_gone = attributes.is_empty() && metadata.is_empty();
    let news = ToldEntity { entity_type, attributes: named(attributes), metadata: named(metadata) };
    Some((id, (!is_gone).then_some(news)))
}

fn named(items: Vec<Named>) -> IndexMap<String, TypedValue> {
    items.into_iter().map(|item| (item.name, item.value)).collect()
}
