//! The Engine seam: what runs task instances.
//!
//! One trait for processes, docker containers and pods. An engine is told what shall be ([`Engine::ensure`],
//! [`Engine::stop`]), both idempotent, and finds by its own marks what it runs after a crash of the worker
//! ([`Engine::list_mine`]). Whether a task shall run, its inputs, its outputs and restarts are not an engine's business.

pub mod docker;
pub mod dryrun;
pub mod kubernetes;
pub mod logs;
mod ports;
pub mod process;
pub mod source;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fogflow_orchestration::{ScheduledTaskInstance, TaskState};
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

/// One run of a task.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The task.
    pub task: Arc<ScheduledTaskInstance>,
    /// Hash of what the instance is started with ([`crate::contract::fingerprint`]); another one means another instance.
    pub fingerprint: String,
    /// The task's directory on the worker; it exists.
    pub directory: PathBuf,
    /// When it fires, [`Engine::ensure`] ends early with [`EngineError::Cancelled`].
    pub cancel: CancellationToken,
}

/// A running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The task.
    pub task_id: String,
    /// Names this run and no other: container id, pid and start time, pod uid and restarts. Empty while the engine has yet
    /// to find a place for it ([`Observed::Replaced`] follows).
    pub handle: String,
    /// Base URL at which the broker reaches the task.
    pub endpoint: String,
    /// Whether it ran already.
    pub adopted: bool,
}

/// What an engine runs, found by its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The task.
    pub task_id: String,
    /// As in [`Instance::handle`].
    pub handle: String,
}

/// What an engine sees of a running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It has ended; the reason is for people. The stream ends too.
    Ended(String),
    /// The engine has trouble that it may get over by itself, for example a pod that waits for a node.
    Trouble(String),
    /// The trouble is over, and so is the phase.
    Recovered,
    /// The engine itself is still at it, in this state and for this reason: it will go on by itself, also when it counts
    /// the task as [`TaskState::Failed`] for now.
    Phase(TaskState, String),
    /// The engine itself has started the task again; this is the new run.
    Replaced(Instance),
}

/// Why an engine could not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// This worker cannot run it as it is: no such image, executable or interpreter. Trying again soon is no use.
    #[error("{0}")]
    Unrunnable(String),
    /// It failed; trying again may help.
    #[error("{0}")]
    Failed(String),
    /// [`Launch::cancel`] fired.
    #[error("cancelled")]
    Cancelled,
    /// There is no such task.
    #[error("the engine has no task {0}")]
    Unknown(String),
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// How many of the last lines.
    pub tail: usize,
    /// Whether to go on with what is written from now on.
    pub follow: bool,
}

/// Text of a log, as it is read.
pub type LogStream = BoxStream<'static, Result<Bytes, EngineError>>;

/// Told when a start enters another phase ([`TaskState::Pulling`], [`TaskState::Starting`]).
pub type Progress<'a> = &'a (dyn Fn(TaskState) + Send + Sync);

/// The seam. Every method is safe to call concurrently for different tasks; calls for one task come one after the other.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The word in the worker's profile: `process`, `docker`, `kubernetes`.
    fn kind(&self) -> &'static str;

    /// Languages of inline code that it can run.
    fn languages(&self) -> Vec<String>;

    /// Whether its tasks go on when the worker ends in order, to be adopted by the next one.
    fn survives_worker(&self) -> bool;

    /// Whether several workers of one id may be there, one of which is active.
    fn has_standbys(&self) -> bool {
        false
    }

    /// Waits until this worker is the active one of its id. Nothing else of an engine is called before. Cancel-safe.
    async fn activate(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Leaves the work to a standby. Nothing else is called afterwards.
    fn retire(&self) {}

    /// Has the task run as `launch` says: adopts an instance of the same fingerprint, replaces any other, else starts
    /// one. Returns when it is started, which is before it listens. Is not dropped half-way; whatever an error leaves
    /// behind is removed by [`Engine::stop`].
    async fn ensure(&self, launch: &Launch, progress: Progress<'_>) -> Result<Instance, EngineError>;

    /// Whether the task accepts connections on its port now.
    async fn is_listening(&self, instance: &Instance) -> bool;

    /// What happens to an instance from now on.
    fn watch(&self, instance: &Instance) -> BoxStream<'static, Observed>;

    /// Ends the task and removes what the engine has of it. A task that is not there counts as ended.
    async fn stop(&self, task_id: &str) -> Result<(), EngineError>;

    /// Everything that this worker runs, also what an earlier start of it left.
    async fn list_mine(&self) -> Result<Vec<Owned>, EngineError>;

    /// Fetches an image before a task needs it.
    async fn prefetch(&self, image: &str) -> Result<(), EngineError>;

    /// What the task has written.
    async fn logs(&self, task_id: &str, range: LogRange) -> Result<LogStream, EngineError>;
}
