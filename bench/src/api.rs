//! The same operations in the three interfaces of NGSI.

use serde_json::{Value, json};

use crate::http::Target;
use crate::template::{BLANK, Template};

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Api {
    /// NGSI-10 (v1), as FogFlow's broker speaks it.
    V1,
    /// NGSIv2.
    V2,
    /// NGSI-LD.
    Ld,
}

/// The type of the entities that scenarios use.
pub const TYPE: &str = "Bench";

/// The id of an entity.
#[must_use]
pub fn id(number: usize) -> String {
    format!("urn:ngsi-ld:Bench:{number:07}")
}

impl Api {
    /// Creates entities in one request, or one entity if the interface has no such request.
    #[must_use]
    pub fn create(self, target: &Target, numbers: std::ops::Range<usize>) -> Template {
        let entities: Vec<usize> = numbers.collect();
        match self {
            Api::V1 => {
                let elements: Vec<Value> = entities.iter().map(|number| element(*number)).collect();
                let body = json!({"contextElements": elements, "updateAction": "APPEND"});
                Template::new(target, "POST", "/ngsi10/updateContext", &[], &body.to_string())
            }
            Api::V2 => {
                let entities: Vec<Value> = entities.iter().map(|number| with_id(v2_attributes(), *number)).collect();
                let body = json!({"actionType": "append", "entities": entities});
                Template::new(target, "POST", "/v2/op/update", &[], &body.to_string())
            }
            Api::Ld => {
                let entities: Vec<Value> = entities.iter().map(|number| with_id(ld_attributes(), *number)).collect();
                Template::new(target, "POST", "/ngsi-ld/v1/entityOperations/upsert", &[], &Value::from(entities).to_string())
            }
        }
    }

    /// Updates all five attributes of an entity. Stamped.
    #[must_use]
    pub fn update(self, target: &Target, number: usize) -> Template {
        match self {
            Api::V1 => {
                let body = json!({"contextElements": [element(number)], "updateAction": "UPDATE"});
                Template::new(target, "POST", "/ngsi10/updateContext", &[], &body.to_string())
            }
            Api::V2 => Template::new(target, "PATCH", &format!("/v2/entities/{}/attrs", id(number)), &[], &v2_attributes().to_string()),
            Api::Ld => {
                Template::new(target, "PATCH", &format!("/ngsi-ld/v1/entities/{}/attrs", id(number)), &[], &ld_attributes().to_string())
            }
        }
    }

    /// Reads an entity by its id.
    #[must_use]
    pub fn get(self, target: &Target, number: usize) -> Template {
        let path = match self {
            Api::V1 => format!("/ngsi10/entity/{}", id(number)),
            Api::V2 => format!("/v2/entities/{}", id(number)),
            Api::Ld => format!("/ngsi-ld/v1/entities/{}", id(number)),
        };
        Template::new(target, "GET", &path, &[], "")
    }

    /// Subscribes an endpoint to all entities of a type.
    #[must_use]
    pub fn subscribe_to_type(self, target: &Target, entity_type: &str, endpoint: &str) -> Template {
        let (path, body) = match self {
            Api::V1 => {
                let entities = json!([{"type": entity_type, "isPattern": true, "id": ".*"}]);
                ("/ngsi10/subscribeContext", json!({"entities": entities, "reference": endpoint}))
            }
            Api::V2 => {
                let subject = json!({"entities": [{"idPattern": ".*", "type": entity_type}]});
                ("/v2/subscriptions", json!({"subject": subject, "notification": {"http": {"url": endpoint}}}))
            }
            Api::Ld => {
                let notification = json!({"endpoint": {"uri": endpoint, "accept": "application/json"}});
                (
                    "/ngsi-ld/v1/subscriptions",
                    json!({"type": "Subscription", "entities": [{"type": entity_type}], "notification": notification}),
                )
            }
        };
        Template::new(target, "POST", path, &[], &body.to_string())
    }
}

fn element(number: usize) -> Value {
    json!({
        "entityId": {"id": id(number), "type": TYPE, "isPattern": false},
        "attributes": [
            {"name": "stamp", "type": "string", "value": BLANK},
            {"name": "temperature", "type": "float", "value": 21.5},
            {"name": "humidity", "type": "float", "value": 0.43},
            {"name": "pressure", "type": "integer", "value": 1013},
            {"name": "active", "type": "boolean", "value": true}
        ],
        "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 49.406, "longitude": 8.684}}]
    })
}

fn v2_attributes() -> Value {
    json!({
        "stamp": {"type": "Text", "value": BLANK},
        "temperature": {"type": "Number", "value": 21.5},
        "humidity": {"type": "Number", "value": 0.43},
        "pressure": {"type": "Number", "value": 1013},
        "active": {"type": "Boolean", "value": true}
    })
}

fn ld_attributes() -> Value {
    json!({
        "stamp": {"type": "Property", "value": BLANK},
        "temperature": {"type": "Property", "value": 21.5},
        "humidity": {"type": "Property", "value": 0.43},
        "pressure": {"type": "Property", "value": 1013},
        "active": {"type": "Property", "value": true}
    })
}

fn with_id(mut attributes: Value, number: usize) -> Value {
    if let Some(object) = attributes.as_object_mut() {
        object.insert("id".to_owned(), id(number).into());
        object.insert("type".to_owned(), TYPE.into());
    }
    attributes
}
