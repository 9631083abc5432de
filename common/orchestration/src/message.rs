//! The envelope of every message on the bus.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::WorkerTasks;

/// One JSON object with exactly these keys; other spellings of the keys are read too, as upstream's decoder does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<P = Value> {
    /// What it is.
    #[serde(rename = "Type", alias = "type")]
    pub message_type: String,
    /// The routing key that it was sent with.
    #[serde(rename = "RoutingKey", alias = "routingKey", alias = "routing_key", default)]
    pub routing_key: String,
    /// The component that sent it, for example `Master.001`.
    #[serde(rename = "From", alias = "from", default)]
    pub from: String,
    /// The payload, in the form that the type tells.
    #[serde(rename = "PayLoad", alias = "Payload", alias = "payload", default)]
    pub payload: P,
}

/// The types of messages (`reference`: upstream's `common/communicator` and our two for the full sync).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// `MASTER_JOIN`
    MasterJoin,
    /// `MASTER_LEAVE`
    MasterLeave,
    /// `ServiceIntent`
    ServiceIntent,
    /// `WORKER_JOIN`
    WorkerJoin,
    /// `WORKER_HEARTBEAT`
    WorkerHeartbeat,
    /// `WORKER_LEAVE`
    WorkerLeave,
    /// `ADD_TASK`
    AddTask,
    /// `REMOVE_TASK`
    RemoveTask,
    /// `ADD_INPUT`
    AddInput,
    /// `REMOVE_INPUT`
    RemoveInput,
    /// `PREFETCH_IMAGE`
    PrefetchImage,
    /// `TASK_UPDATE`
    TaskUpdate,
    /// `TASK_INFO`
    TaskInfo,
    /// `WORKER_TASKS`: ours, a worker's full report.
    WorkerTasks,
    /// `DESIRED_TASKS`: ours, a master's full answer.
    DesiredTasks,
    /// `AVAILABILITY`: ours, a notification of discovery that a master passes on to the one that leads.
    AvailabilityNotice,
}

impl MessageType {
    /// Every type.
    pub const ALL: [MessageType; 16] = [
        MessageType::MasterJoin,
        MessageType::MasterLeave,
        MessageType::ServiceIntent,
        MessageType::WorkerJoin,
        MessageType::WorkerHeartbeat,
        MessageType::WorkerLeave,
        MessageType::AddTask,
        MessageType::RemoveTask,
        MessageType::AddInput,
        MessageType::RemoveInput,
        MessageType::PrefetchImage,
        MessageType::TaskUpdate,
        MessageType::TaskInfo,
        MessageType::WorkerTasks,
        MessageType::DesiredTasks,
        MessageType::AvailabilityNotice,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            MessageType::MasterJoin => "MASTER_JOIN",
            MessageType::MasterLeave => "MASTER_LEAVE",
            MessageType::ServiceIntent => "ServiceIntent",
            MessageType::WorkerJoin => "WORKER_JOIN",
            MessageType::WorkerHeartbeat => "WORKER_HEARTBEAT",
            MessageType::WorkerLeave => "WORKER_LEAVE",
            MessageType::AddTask => "ADD_TASK",
            MessageType::RemoveTask => "REMOVE_TASK",
            MessageType::AddInput => "ADD_INPUT",
            MessageType::RemoveInput => "REMOVE_INPUT",
            MessageType::PrefetchImage => "PREFETCH_IMAGE",
            MessageType::TaskUpdate => "TASK_UPDATE",
            MessageType::TaskInfo => "TASK_INFO",
            MessageType::WorkerTasks => "WORKER_TASKS",
            MessageType::DesiredTasks => "DESIRED_TASKS",
            MessageType::AvailabilityNotice => "AVAILABILITY",
        }
    }

    /// The type of this word, if we know it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The full report in a message, with its sender; `None` for any other message. It is by far the longest, and only ours send it: read
/// without the detour over [`Value`] and the spellings of upstream it costs a third.
#[must_use]
pub fn full_report(text: &[u8]) -> Option<(String, WorkerTasks)> {
    let envelope: Envelope<Box<RawValue>> = serde_json::from_slice(text).ok()?;
    let report = (envelope.kind() == Some(MessageType::WorkerTasks)).then(|| serde_json::from_str(envelope.payload.get()).ok())??;
    Some((envelope.from, report))
}

impl Envelope {
    /// Wraps a payload.
    ///
    /// # Errors
    /// If the payload cannot be written as JSON.
    pub fn new(kind: MessageType, routing_key: &str, from: &str, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Envelope {
            message_type: kind.as_str().to_owned(),
            routing_key: routing_key.to_owned(),
            from: from.to_owned(),
            payload: serde_json::to_value(payload)?,
        })
    }

    /// The text of a message with this payload.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn encode(kind: MessageType, routing_key: &str, from: &str, payload: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
        let (message_type, routing_key, from) = (kind.as_str().to_owned(), routing_key.to_owned(), from.to_owned());
        serde_json::to_vec(&Envelope { message_type, routing_key, from, payload })
    }
}

impl<P> Envelope<P> {
    /// The type, if we know it.
    #[must_use]
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::from_word(&self.message_type)
    }
}
