//! What the designer stores beside the types of `fogflow-orchestration`, and which collection each kind lives in.
//!
//! Field names are those of upstream's `db.json`, so that the export is a document that upstream reads.

use std::collections::BTreeMap;

use fogflow_orchestration::{Envelope, FogFunction, Operator, ServiceIntent, Topology};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::registry::{Contents, Shelf};

/// A kind of document in the designer's store.
pub(crate) trait Record: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The collection in the store; for what `db.json` holds, also its top-level key there.
    const COLLECTION: &'static str;
    /// The word for messages to people and for `registry` events.
    const KIND: &'static str;
    /// Its shelf.
    fn shelf(contents: &Contents) -> &Shelf<Self>;
    /// Its shelf, to change.
    fn shelf_mut(contents: &mut Contents) -> &mut Shelf<Self>;
}

macro_rules! record {
    ($type:ty, $collection:literal, $kind:literal, $shelf:ident) => {
        impl Record for $type {
            const COLLECTION: &'static str = $collection;
            const KIND: &'static str = $kind;
            fn shelf(contents: &Contents) -> &Shelf<Self> {
                &contents.$shelf
            }
            fn shelf_mut(contents: &mut Contents) -> &mut Shelf<Self> {
                &mut contents.$shelf
            }
        }
    };
}

record!(Operator, "operators", "operator", operators);
record!(Topology, "topologies", "topology", topologies);
record!(Service, "services", "service", services);
record!(ServiceIntent, "serviceintents", "intent", intents);
record!(FogFunction, "fogfunctions", "fog function", functions);
record!(Device, "devices", "device", devices);
record!(ForwardedSubscription, "subscriptions", "subscription", subscriptions);
record!(OutgoingMessage, "outbox", "outgoing message", outbox);
record!(BrokerRemoval, "removals", "removal", removals);

/// A topology as upstream's page registers it: with the scene of the visual editor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Service {
    /// The topology; stored under its name, too.
    pub topology: Topology,
    /// The scene of upstream's visual editor, kept as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub designboard: Option<Value>,
}

/// A value with its NGSI-10 type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TypedValue {
    /// For example `float`, `string`, `point`.
    #[serde(default, rename = "type")]
    pub value_type: String,
    /// The value.
    #[serde(default)]
    pub value: Value,
}

/// An entity that a user registered by hand; the designer keeps it at the cloud broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Device {
    /// Entity id.
    #[serde(default)]
    pub id: String,
    /// Entity type.
    #[serde(default, rename = "type")]
    pub device_type: String,
    /// Attributes by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TypedValue>")]
    pub attributes: IndexMap<String, TypedValue>,
    /// Domain metadata by name, for example `location`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, TypedValue>")]
    pub metadata: IndexMap<String, TypedValue>,
    /// Added when it is stored, as upstream does: `{id, type, isPattern}`.
    #[serde(default, rename = "entityId", skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<Value>,
    /// Whether this form of it has still to be brought to the broker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// A subscription that the designer holds at the cloud broker on behalf of another broker.
///
/// Its id is the designer's own and never changes; `brokerSubscriptionId` follows whatever the broker calls it (D 6).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ForwardedSubscription {
    /// Type of the entities to forward.
    #[serde(default)]
    pub entity_type: String,
    /// `NGSI-LD`, `NGSIv2`, or anything else for NGSI-10.
    #[serde(default)]
    pub destination_broker: String,
    /// Where to send.
    #[serde(default)]
    pub reference_url: String,
    /// `NGSILD-Tenant` at the destination.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The broker's id of it, once it is made.
    #[serde(default, rename = "brokerSubscriptionId", skip_serializing_if = "String::is_empty")]
    pub broker_subscription_id: String,
}

/// A message of the outbox: stored with the write that it announces, removed when the bus has taken it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutgoingMessage {
    /// What to publish.
    pub envelope: Envelope,
}

/// Something that is still to be taken away from the cloud broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub(crate) enum BrokerRemoval {
    /// An entity (of a deleted device).
    Entity {
        /// Entity id.
        id: String,
    },
    /// A subscription.
    Subscription {
        /// The broker's id of it.
        id: String,
    },
}
