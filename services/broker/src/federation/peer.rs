//! What our own brokers say to each other, below the broker's NGSI-10 address. All of it is JSON of the canonical types.

use std::sync::Arc;

use fogflow_ngsi::{Entity, EntityKey, Name, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::change::Change;
use crate::command::{Answer, Command};

/// `POST` commands to the owner of their entities; answered with one [`Answer`] each.
pub const COMMANDS: &str = "/internal/commands";
/// `POST` a request for entities by id.
pub const ENTITIES: &str = "/internal/entities";
/// `POST` a subscription to place or replace it under its id.
pub const SUBSCRIBE: &str = "/internal/subscribe";
/// `POST` the id of a subscription to end it.
pub const UNSUBSCRIBE: &str = "/internal/unsubscribe";
/// `POST` changes to the broker whose subscription they answer.
pub const NOTIFY: &str = "/internal/notify";
/// `POST` entities to the broker that has become their owner.
pub const HANDOVER: &str = "/internal/handover";

/// Body of [`COMMANDS`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Commands {
    /// The commands.
    #[schemars(with = "Vec<Value>")]
    pub commands: Vec<Command>,
    /// Of the writer.
    #[serde(default)]
    #[schemars(with = "String")]
    pub correlator: SmolStr,
    /// Of the writer.
    #[serde(default)]
    #[schemars(with = "String")]
    pub trace: SmolStr,
}

/// Answer to [`Commands`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answers {
    /// One per command.
    #[schemars(with = "Vec<Value>")]
    pub answers: Vec<Answer>,
}

/// Body of [`ENTITIES`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: Tenant,
    /// The ids.
    #[schemars(with = "Vec<String>")]
    pub ids: Vec<SmolStr>,
}

/// An entity with its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyed {
    /// The key.
    pub key: EntityKey,
    /// The entity.
    pub entity: Arc<Entity>,
}

/// Answer to [`Wanted`], and body of [`HANDOVER`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entities {
    /// The entities.
    #[schemars(with = "Vec<Value>")]
    pub entities: Vec<Keyed>,
}

/// Body of [`UNSUBSCRIBE`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unsubscribe {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: Tenant,
    /// The subscription.
    #[schemars(with = "String")]
    pub id: SmolStr,
}

/// Body of [`NOTIFY`].
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Notification {
    /// The tenant.
    #[schemars(with = "String")]
    pub tenant: Tenant,
    /// The subscription, as it was placed.
    #[schemars(with = "String")]
    pub subscription: SmolStr,
    /// Whole changes, in order.
    #[schemars(with = "Vec<Value>")]
    pub changes: Vec<Told>,
}

/// A [`Change`] on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// The entity.
    pub key: EntityKey,
    /// Before.
    pub before: Option<Arc<Entity>>,
    /// After.
    pub after: Option<Arc<Entity>>,
    /// What was written.
    pub written: Vec<Name>,
    /// Of the writer.
    #[serde(default)]
    pub correlator: SmolStr,
    /// Of the writer.
    #[serde(default)]
    pub trace: SmolStr,
}

impl From<&Change> for Told {
    fn from(change: &Change) -> Self {
        Told {
            key: change.key.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            written: change.written.to_vec(),
            correlator: change.correlator.clone(),
            trace: change.trace.clone(),
        }
    }
}

impl From<Told> for Change {
    /// Sequence 0: it has no place in this broker's order of commits.
    fn from(told: Told) -> Self {
        Change {
            key: told.key,
            before: told.before,
            after: told.after,
            written: told.written.into_iter().collect(),
            correlator: told.correlator,
            trace: told.trace,
            sequence: 0,
            silent: false,
            v1: std::sync::OnceLock::new(),
        }
    }
}

/// The id of the subscription that `broker` places elsewhere for one of its clients' subscriptions. The same at every
/// attempt, so that placing it again replaces it (F 7).
#[must_use]
pub fn remote_id(subscription: &str, broker: &str) -> SmolStr {
    smol_str::format_smolstr!("{subscription}@{broker}")
}

/// The client's subscription that a remote one was placed for.
#[must_use]
pub fn main_id<'a>(remote: &'a str, broker: &str) -> Option<&'a str> {
    remote.strip_suffix(broker)?.strip_suffix('@')
}
