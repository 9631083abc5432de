//! Task instances: what a master wants and what a worker has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::{Code, Executable, Parameter};
use crate::pod::PodSettings;

/// Payload of `ADD_TASK` and `REMOVE_TASK`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduledTaskInstance {
    /// `Task.<topology>.<task>.<suffix>`
    #[serde(rename = "ID")]
    pub id: String,
    /// Topology name.
    #[serde(rename = "TopologyName")]
    pub topology_name: String,
    /// Task name in the topology.
    #[serde(rename = "TaskName")]
    pub task_name: String,
    /// The intent that asks for it.
    #[serde(rename = "ServiceIntentID")]
    pub service_intent_id: String,
    /// The operator.
    #[serde(rename = "OperatorName")]
    pub operator_name: String,
    /// Always empty from upstream.
    #[serde(rename = "TaskType")]
    pub task_type: String,
    /// Upstream's docker worker mounts it as `/app/function.js`.
    #[serde(rename = "FunctionCode")]
    pub function_code: String,
    /// `name:tag`, or empty.
    #[serde(rename = "DockerImage")]
    pub docker_image: String,
    /// The operator's parameters.
    #[serde(rename = "Parameters", deserialize_with = "null_as_empty")]
    pub parameters: Vec<Parameter>,
    /// The worker that shall run it.
    #[serde(rename = "WorkerID")]
    pub worker_id: String,
    /// From the intent's priority.
    #[serde(rename = "IsExclusive")]
    pub is_exclusive: bool,
    /// From the intent's priority.
    #[serde(rename = "PriorityLevel")]
    pub priority_level: i32,
    /// `scheduled` when sent by a master.
    #[serde(rename = "Status")]
    pub status: String,
    /// One per input entity.
    #[serde(rename = "Inputs", deserialize_with = "null_as_empty")]
    pub inputs: Vec<InputStream>,
    /// One per output stream.
    #[serde(rename = "Outputs", deserialize_with = "null_as_empty")]
    pub outputs: Vec<OutputStream>,
    /// Grows with each change that the leading master makes to this task; absent from upstream.
    #[serde(rename = "Generation", skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Epoch of the leading master; a lower one is refused.
    #[serde(rename = "Epoch", skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Tenant of inputs and outputs; absent means the default one.
    #[serde(rename = "Tenant", skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Command for the process engine.
    #[serde(rename = "Executable", skip_serializing_if = "Option::is_none")]
    pub executable: Option<Executable>,
    /// Inline code.
    #[serde(rename = "Code", skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What the operator asks of Kubernetes.
    #[serde(rename = "Kubernetes", skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<PodSettings>,
    /// In `REMOVE_TASK`: leave the output entities, since the task goes on elsewhere.
    #[serde(rename = "KeepOutputs", skip_serializing_if = "std::ops::Not::not")]
    pub keep_outputs: bool,
}

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One input entity of a task instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InputStream {
    /// Entity type.
    #[serde(rename = "Type")]
    pub entity_type: String,
    /// Entity id; empty means every entity of the type.
    #[serde(rename = "ID")]
    pub id: String,
    /// Attributes to deliver; empty means all.
    #[serde(rename = "AttributeList", deserialize_with = "null_as_empty")]
    pub attribute_list: Vec<String>,
    /// The service path of the entity (ours); empty means any.
    #[serde(rename = "ServicePath", skip_serializing_if = "String::is_empty")]
    pub service_path: String,
}

impl InputStream {
    /// Whether `REMOVE_INPUT` of this one means `input`: that of an upstream master names no service path.
    #[must_use]
    pub fn names(&self, input: &InputStream) -> bool {
        self.id == input.id && (self.service_path.is_empty() || self.service_path == input.service_path)
    }
}

/// One output stream of a task instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputStream {
    /// Entity type.
    #[serde(rename = "Type")]
    pub entity_type: String,
    /// Entity id to publish under: `<type>.<suffix>.<n>`.
    #[serde(rename = "StreamID")]
    pub stream_id: String,
    /// Always null.
    #[serde(rename = "Annotations")]
    pub annotations: Option<serde_json::Value>,
}

/// Payload of `ADD_INPUT` and `REMOVE_INPUT`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowInfo {
    /// The input; only its id is filled in `REMOVE_INPUT`.
    #[serde(rename = "InputStream")]
    pub input_stream: InputStream,
    /// The task.
    #[serde(rename = "TaskInstanceID")]
    pub task_instance_id: String,
    /// The worker.
    #[serde(rename = "WorkerID")]
    pub worker_id: String,
    /// As in [`ScheduledTaskInstance`].
    #[serde(rename = "Generation", skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// As in [`ScheduledTaskInstance`].
    #[serde(rename = "Epoch", skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// The fixed words for the state of a task instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Planned, not yet seen by its worker.
    #[default]
    Scheduled,
    /// Its image is being pulled.
    Pulling,
    /// Started, not yet listening.
    Starting,
    /// Listening, its inputs subscribed.
    Running,
    /// Stopped in favour of an exclusive task.
    Paused,
    /// Could not be started, or ended; see the reason.
    Failed,
    /// Gone.
    Removed,
}

impl TaskState {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TaskState::Scheduled => "scheduled",
            TaskState::Pulling => "pulling",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Paused => "paused",
            TaskState::Failed => "failed",
            TaskState::Removed => "removed",
        }
    }
}

impl std::fmt::Display for TaskState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Payload of `TASK_UPDATE`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskUpdate {
    /// The task.
    #[serde(rename = "TaskID")]
    pub task_id: String,
    /// Topology name.
    #[serde(rename = "TopologyName")]
    pub topology_name: String,
    /// Task name.
    #[serde(rename = "TaskName")]
    pub task_name: String,
    /// The intent.
    #[serde(rename = "ServiceIntentID")]
    pub service_intent_id: String,
    /// Its state.
    #[serde(rename = "Status")]
    pub status: TaskState,
    /// The worker; upstream leaves it to the envelope's `From`.
    #[serde(rename = "WorkerID", skip_serializing_if = "String::is_empty")]
    pub worker_id: String,
    /// Why, for `failed` and `paused`.
    #[serde(rename = "Reason", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Generation of the task that the worker has.
    #[serde(rename = "Generation", skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Base URL at which the task is reached.
    #[serde(rename = "Endpoint", skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// How often it was restarted.
    #[serde(rename = "Restarts", skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// RFC 3339 time of the last change of state.
    #[serde(rename = "Since", skip_serializing_if = "String::is_empty")]
    pub since: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Payload of `TASK_INFO`: sent when the task is up and its inputs are subscribed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskInfo {
    /// The task.
    #[serde(rename = "TaskID")]
    pub task_id: String,
    /// Topology name.
    #[serde(rename = "TopologyName")]
    pub topology_name: String,
    /// Task name.
    #[serde(rename = "TaskName")]
    pub task_name: String,
    /// The intent.
    #[serde(rename = "ServiceIntentID")]
    pub service_intent_id: String,
    /// `refURL=<url>; containerID=<id>`
    #[serde(rename = "Info")]
    pub info: String,
}

/// Payload of `WORKER_TASKS` (ours): every task that a worker has, sent with each heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerTasks {
    /// The worker.
    #[serde(rename = "WorkerID")]
    pub worker_id: String,
    /// Highest epoch that the worker has seen.
    #[serde(rename = "Epoch")]
    pub epoch: u64,
    /// Generation of the newest command of that epoch that it has taken in: a contradiction to a newer one proves nothing.
    #[serde(rename = "Generation", skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// All its tasks.
    #[serde(rename = "Tasks")]
    pub tasks: Vec<TaskUpdate>,
}

/// Payload of `DESIRED_TASKS` (ours): the master's answer, the whole set that the worker shall have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DesiredTasks {
    /// The worker.
    #[serde(rename = "WorkerID")]
    pub worker_id: String,
    /// Epoch of the leading master; a lower one is refused.
    #[serde(rename = "Epoch")]
    pub epoch: u64,
    /// Grows with each message of the epoch; a lower one is refused.
    #[serde(rename = "Generation")]
    pub generation: u64,
    /// All tasks that it shall have; whatever else it has it removes.
    #[serde(rename = "Tasks")]
    pub tasks: Vec<ScheduledTaskInstance>,
    /// Ids of tasks that now run on other workers: should this one still have them, it ends them but leaves their outputs.
    #[serde(rename = "Moved", skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<String>,
}

/// An entity as discovery describes it to the master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntityDetail {
    /// Entity id.
    pub id: String,
    /// Entity type.
    pub entity_type: String,
    /// Names of its attributes.
    pub attributes: Vec<String>,
    /// Domain metadata: name to `{type, value}`.
    pub metadata: std::collections::BTreeMap<String, serde_json::Value>,
    /// URL of the broker that has it.
    pub provider: String,
    /// Its service path; empty where discovery does not tell, as upstream's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_path: String,
}
