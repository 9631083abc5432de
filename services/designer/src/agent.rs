//! The NGSI agent: where the cloud broker sends the newest state of entities.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use fogflow_chassis::{Access, Routes};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Shared;
use crate::body;
use crate::error::{ApiResult, error_response};
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
        .post("/notifyContext", Access::Component, "Takes an NGSI-10 notification for the live view", notify)
        .post("/admin", Access::Component, "Accepted without effect, as upstream", || async { "OK" })
        .body_limit(LARGEST)
        .errors(error_response)
}

/// `POST /notifyContext`. An element without attributes and metadata says that the entity is gone.
async fn notify(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Json<Value>> {
    let notification: Notification = body::one(&bytes)?;
    if app.watched.accepts(&notification.subscription_id) {
        for ElementResponse { element } in notification.responses {
            let id = &element.entity.id;
            if id.is_empty() {
                continue;
            }
            if element.attributes.is_empty() && element.metadata.is_empty() {
                app.hub.entity_removed(id);
            } else {
                app.hub.entity(id, &element.entity.entity_type, named(element.attributes), named(element.metadata));
            }
        }
    }
    Ok(Json(json!({"responseCode": {"code": 200, "reasonPhrase": "OK"}})))
}

fn named(items: Vec<Named>) -> IndexMap<String, TypedValue> {
    items.into_iter().map(|item| (item.name, item.value)).collect()
}
