//! The cloud broker as the designer uses it, and what the designer keeps there.

pub(crate) mod keep;
pub(crate) mod watch;

use std::collections::HashMap;

use fogflow_client::{BrokerClient, ClientError, Context};
use fogflow_ngsi::v1::{EntityId, SubscribeContextRequest};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::records::{Device, ForwardedSubscription, TypedValue};

/// A subscription as the broker lists it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Listed {
    /// Where it is sent.
    pub(crate) reference: String,
    /// Who made it, and how.
    #[serde(rename = "Subscriber")]
    pub(crate) subscriber: ListedSubscriber,
}

/// See [`Listed`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListedSubscriber {
    /// The `Fiware-Correlator` that it was made with.
    #[serde(rename = "Correlator")]
    pub(crate) correlator: String,
}

/// Whether trying again would not help: the broker understood, and does not want it.
pub(crate) fn is_refusal(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { .. }) && !error.is_transient()
}

/// The cloud broker.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    broker: BrokerClient,
}

impl Cloud {
    /// The broker behind this client.
    pub(crate) fn new(broker: BrokerClient) -> Self {
        Cloud { broker }
    }

    /// Whether the broker has an entity of this id.
    pub(crate) async fn has_entity(&self, id: &str) -> Result<bool, ClientError> {
        Ok(self.broker.entity(id, &Context::default()).await?.is_some())
    }

    /// Creates a device's entity, or writes these values over those that it has.
    pub(crate) async fn create(&self, device: &Device) -> Result<(), ClientError> {
        let list = |items: &IndexMap<String, TypedValue>| -> Vec<Value> {
            items.iter().map(|(name, item)| json!({"name": name, "type": item.value_type, "value": item.value})).collect()
        };
        let element = json!({
            "entityId": {"id": device.id, "type": device.device_type, "isPattern": false},
            "attributes": list(&device.attributes),
            "domainMetadata": list(&device.metadata),
        });
        let body = json!({"contextElements": [element], "updateAction": "UPDATE"}).to_string();
        self.broker.update_raw(body.into(), &Context::default()).await
    }

    /// Deletes an entity; one that is not there is deleted already.
    pub(crate) async fn delete_entity(&self, id: &str) -> Result<(), ClientError> {
        self.broker.delete_entity(id, &Context::default()).await.map(|_| ())
    }

    /// The broker's subscriptions by id.
    pub(crate) async fn subscriptions(&self) -> Result<HashMap<String, Listed>, ClientError> {
        let listed = self.broker.subscriptions(&Context::default()).await?;
        serde_json::from_value(listed)
            .map_err(|error| ClientError::Body { url: format!("{}/subscription", self.broker.url()), reason: error.to_string() })
    }

    /// Subscribes to all entities, to be sent to `reference`.
    pub(crate) async fn subscribe_to_all(&self, reference: &str, correlator: &str) -> Result<String, ClientError> {
        let everything = EntityId { id: ".*".into(), is_pattern: true, ..Default::default() };
        // Browsers are told ten times a second; what changes faster may share a request.
        let request = SubscribeContextRequest {
            entities: vec![everything],
            reference: reference.into(),
            throttling: "PT0.1S".into(),
            ..Default::default()
        };
        self.broker.subscribe(&request, &Context { correlator: correlator.to_owned(), ..Default::default() }).await
    }

    /// Subscribes on behalf of another broker. `correlator` marks it as ours.
    pub(crate) async fn forward(&self, wanted: &ForwardedSubscription, correlator: &str) -> Result<String, ClientError> {
        let of_type = EntityId { entity_type: wanted.entity_type.as_str().into(), is_pattern: true, ..Default::default() };
        let request =
            SubscribeContextRequest { entities: vec![of_type], reference: wanted.reference_url.as_str().into(), ..Default::default() };
        let is_known = ["NGSI-LD", "NGSIv2"].contains(&wanted.destination_broker.as_str());
        let context = Context {
            correlator: correlator.to_owned(),
            require_reliability: true,
            destination: if is_known { wanted.destination_broker.clone() } else { String::new() },
            tenant: if wanted.destination_broker == "NGSI-LD" { wanted.tenant.clone() } else { String::new() },
            ..Default::default()
        };
        self.broker.subscribe(&request, &context).await
    }

    /// Ends a subscription; one that is not there has ended already.
    pub(crate) async fn unsubscribe(&self, id: &str) -> Result<(), ClientError> {
        match self.broker.unsubscribe(id, &Context::default()).await {
            Err(error) if !is_refusal(&error) => Err(error),
            _ => Ok(()),
        }
    }
}
