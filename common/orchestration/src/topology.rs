//! Topologies, fog functions and intents: what a user asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operator::Operator;

/// A graph of tasks. Links are implicit: a task that selects the output type of another consumes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Unique name.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// The nodes.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// Added in the answer of `GET /topology/<name>`: the operators of its tasks, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Operator>,
}

/// A node of a topology.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Unique in the topology.
    pub name: String,
    /// The operator that it runs.
    pub operator: String,
    /// What it consumes.
    #[serde(default)]
    pub input_streams: Vec<InputSelector>,
    /// What it publishes.
    #[serde(default)]
    pub output_streams: Vec<OutputSelector>,
}

/// Which entities are an input of a task, and how they are grouped into task instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputSelector {
    /// Entity type.
    pub selected_type: String,
    /// Attributes that must exist and are delivered; empty, or `all` in any case, means no restriction.
    #[serde(default)]
    pub selected_attributes: Vec<String>,
    /// `ALL`, `EntityID`, `EntityType` (any case), or the name of a domain metadata item.
    #[serde(default)]
    pub groupby: String,
    /// Whether the intent's geoscope applies.
    #[serde(default)]
    pub scoped: bool,
}

/// A type of entity that a task publishes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputSelector {
    /// Entity type.
    pub entity_type: String,
}

/// "Run this topology, here, with this objective."
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceIntent {
    /// `ServiceIntent.<uuid>`
    #[serde(default)]
    pub id: String,
    /// Topology name.
    #[serde(default)]
    pub topology: String,
    /// `SYN` or `ASYN`; without effect.
    #[serde(default)]
    pub stype: String,
    /// Priority over other tasks of a worker.
    #[serde(default)]
    pub priority: Priority,
    /// `NONE`, `MAX_THROUGHPUT`, `MIN_LATENCY`, `MIN_COST`; upstream's other spellings are understood.
    #[serde(default)]
    pub qos: String,
    /// Where.
    #[serde(default)]
    pub geoscope: GeoScope,
    /// On the bus: `ADD` or `DELETE`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Tenant whose entities it selects; absent means the default one.
    #[serde(default, rename = "Tenant", skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// Priority of an intent's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Priority {
    /// Whether its tasks want a worker for themselves.
    #[serde(default)]
    pub exclusive: bool,
    /// Higher goes first among exclusive tasks.
    #[serde(default)]
    pub level: i32,
}

/// A scope as NGSI-9 restrictions carry it: `global`, `local`, `circle`, `polygon`, `stringQuery`, `nearby`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeoScope {
    /// The kind of scope.
    #[serde(default, rename = "scopeType")]
    pub scope_type: String,
    /// Its value, in the form that the kind tells.
    #[serde(default, rename = "scopeValue")]
    pub scope_value: Value,
}

impl Default for GeoScope {
    fn default() -> Self {
        GeoScope { scope_type: "global".to_owned(), scope_value: Value::String("global".to_owned()) }
    }
}

/// A topology bundled with one intent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FogFunction {
    /// Unique name; the topology has the same.
    pub name: String,
    /// The topology.
    #[serde(default)]
    pub topology: Topology,
    /// The intent.
    #[serde(default)]
    pub intent: ServiceIntent,
    /// The scene of upstream's visual editor, kept as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub designboard: Option<Value>,
    /// `enabled` or `disabled`
    #[serde(default)]
    pub status: String,
}

/// What became of an intent, as the master reports it to the designer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntentState {
    /// The intent.
    pub id: String,
    /// `pending`, `active` or `failed`.
    pub status: String,
    /// Why, when not active.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
