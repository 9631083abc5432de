//! What master and designer tell each other over HTTP (internal routes of the designer, REST routes of the master).

use serde::{Deserialize, Serialize};

use crate::operator::Operator;
use crate::profile::WorkerProfile;
use crate::task::{InputStream, OutputStream};
use crate::topology::{IntentState, ServiceIntent, Topology};

/// Reply of the designer's `GET /internal/registry`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Changes with every change of what follows.
    pub generation: u64,
    /// All operators.
    pub operators: Vec<Operator>,
    /// All topologies, those of fog functions included.
    pub topologies: Vec<Topology>,
    /// Stored intents and those of enabled fog functions.
    pub intents: Vec<ServiceIntent>,
}

/// Body of the designer's `POST /internal/lease/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseRequest {
    /// Who asks.
    pub holder: String,
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
}

/// Reply to a [`LeaseRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaseReply {
    /// Whether the asking holder has it now.
    pub granted: bool,
    /// Who has it.
    pub holder: String,
    /// Grows with each change of holder.
    pub epoch: u64,
}

/// Body of the designer's `POST /internal/report`; refused with 409 when the epoch is older than one it has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MasterReport {
    /// `Master.<site>`
    pub master: String,
    /// Epoch of its lease.
    pub epoch: u64,
    /// Whether this is the whole state, which replaces what the designer has, or what changed since the last report.
    pub full: bool,
    /// Intents whose state changed.
    pub intents: Vec<IntentState>,
    /// Tasks that changed.
    pub tasks: Vec<TaskRow>,
    /// Tasks that are gone.
    pub removed_tasks: Vec<String>,
    /// All workers that are alive, when any of them changed; empty otherwise.
    pub workers: Vec<WorkerProfile>,
}

/// One task as users see it: upstream's seven keys and ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// A word of [`crate::TaskState`], as its worker reported it; `scheduled` until then.
    #[serde(rename = "Status")]
    pub status: String,
    /// Where it is, or shall be; empty while no worker has room.
    #[serde(rename = "Worker")]
    pub worker: String,
    /// The same as `TaskID`, for clients of upstream.
    #[serde(rename = "ID")]
    pub id: String,
    /// Why, for `failed`, `paused`, and tasks without a worker.
    #[serde(rename = "Reason")]
    pub reason: String,
    /// RFC 3339 time of the last change of status.
    #[serde(rename = "Since")]
    pub since: String,
    /// Base URL at which the task is reached.
    #[serde(rename = "Endpoint")]
    pub endpoint: String,
    /// How often its worker restarted it.
    #[serde(rename = "Restarts")]
    pub restarts: u32,
    /// Its input entities.
    #[serde(rename = "Inputs")]
    pub inputs: Vec<InputStream>,
    /// The entities that it publishes.
    #[serde(rename = "Outputs")]
    pub outputs: Vec<OutputStream>,
    /// The operator.
    #[serde(rename = "Operator")]
    pub operator: String,
}
