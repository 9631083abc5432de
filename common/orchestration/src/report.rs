//! What designer and master say to each other over HTTP: the registry as a whole, leases, and the master's report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::Operator;
use crate::profile::WorkerProfile;
use crate::task::TaskState;
use crate::topology::{IntentState, ServiceIntent, Topology};

/// Reply of the designer's `GET /internal/registry`: everything that a plan needs, as of one generation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RegistrySnapshot {
    /// Grows with each change of the registry.
    pub generation: u64,
    /// All operators.
    pub operators: Vec<Operator>,
    /// All topologies, those of fog functions included.
    pub topologies: Vec<Topology>,
    /// Stored intents, and those of enabled fog functions.
    pub intents: Vec<ServiceIntent>,
}

/// Body of the designer's `POST /internal/lease/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseRequest {
    /// Who asks.
    pub holder: String,
    /// For how long, in milliseconds.
    #[serde(rename = "ttlMs")]
    pub ttl_ms: u64,
}

/// Reply of the designer's `POST /internal/lease/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseReply {
    /// Whether the asking holder has it now.
    pub granted: bool,
    /// Who has it.
    pub holder: String,
    /// Grows with each change of holder.
    pub epoch: u64,
}

/// Body of the designer's `POST /internal/report`: what changed since the last report, or everything (`full`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MasterReport {
    /// The leading master.
    pub master: String,
    /// Epoch of its lease; an older one than the designer has seen is answered 409.
    pub epoch: u64,
    /// Whether intents, tasks and workers are all there are, not only those that changed.
    pub full: bool,
    /// States of intents.
    pub intents: Vec<IntentState>,
    /// Tasks as observed.
    pub tasks: Vec<TaskRow>,
    /// Ids of tasks that are gone.
    #[serde(rename = "removedTasks")]
    pub removed_tasks: Vec<String>,
    /// Workers as last heard of.
    pub workers: Vec<WorkerProfile>,
}

/// A task instance as users see it (`GET /info/task` of the designer, `GET /tasks` of the master): upstream's columns first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskRow {
    /// `Task.<topology>.<task>.<suffix>`
    #[serde(rename = "TaskID")]
    pub task_id: String,
    /// Topology name.
    #[serde(rename = "TopologyName")]
    pub topology_name: String,
    /// Task name in the topology.
    #[serde(rename = "TaskName")]
    pub task_name: String,
    /// The intent that asks for it.
    #[serde(rename = "ServiceIntentID")]
    pub service_intent_id: String,
    /// Its state.
    #[serde(rename = "Status")]
    pub status: TaskState,
    /// The worker that has it, or shall have it.
    #[serde(rename = "Worker")]
    pub worker: String,
    /// As [`TaskRow::task_id`]; upstream's page reads this one.
    #[serde(rename = "ID")]
    pub id: String,
    /// Why, for `failed` and `paused`.
    #[serde(rename = "Reason", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// RFC 3339 time of the last change of state.
    #[serde(rename = "Since", skip_serializing_if = "String::is_empty")]
    pub since: String,
    /// Base URL at which the task is reached.
    #[serde(rename = "Endpoint", skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// How often it was restarted.
    #[serde(rename = "Restarts")]
    pub restarts: u32,
    /// Entities that it consumes.
    #[serde(rename = "Inputs")]
    pub inputs: Vec<TaskInput>,
    /// Streams that it publishes.
    #[serde(rename = "Outputs")]
    pub outputs: Vec<TaskOutput>,
    /// The operator that it runs.
    #[serde(rename = "Operator", skip_serializing_if = "String::is_empty")]
    pub operator: String,
}

/// An input in a [`TaskRow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskInput {
    /// Entity type.
    #[serde(rename = "Type")]
    pub entity_type: String,
    /// Entity id; empty means every entity of the type.
    #[serde(rename = "ID")]
    pub id: String,
}

/// An output in a [`TaskRow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskOutput {
    /// Entity type.
    #[serde(rename = "Type")]
    pub entity_type: String,
    /// Entity id that it publishes under.
    #[serde(rename = "StreamID")]
    pub stream_id: String,
}
