//! The Records seam: what a worker remembers of its tasks over restarts.
//!
//! In its state directory where a worker stays on its machine; as objects of the cluster where the next worker may start on
//! another ([`crate::engine::kubernetes`]).

use std::io;

use async_trait::async_trait;
use serde_json::Value;

use crate::files::{self, SUBSCRIPTIONS_FILE, StateDirectory, TASK_FILE, TaskRecord};

/// Durable once a method has returned.
#[async_trait]
pub(crate) trait Records: Send + Sync + 'static {
    /// Every task.
    async fn tasks(&self) -> io::Result<Vec<TaskRecord>>;

    /// Replaces what is remembered of a task.
    async fn save_task(&self, record: TaskRecord) -> io::Result<()>;

    /// The ids of a task's subscriptions, in the form in which they were saved.
    async fn subscriptions(&self, task_id: &str) -> io::Result<Option<Value>>;

    /// Replaces the ids of a task's subscriptions.
    async fn save_subscriptions(&self, task_id: &str, record: Value) -> io::Result<()>;

    /// Forgets a task, unless it is wanted again by then.
    async fn forget(&self, task_id: &str, is_unwanted: &(dyn Fn() -> bool + Send + Sync));
}

#[async_trait]
impl Records for std::sync::Arc<StateDirectory> {
    async fn tasks(&self) -> io::Result<Vec<TaskRecord>> {
        let state = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || state.records()).await.map_err(io::Error::other)
    }

    async fn save_task(&self, record: TaskRecord) -> io::Result<()> {
        let task_id = record.task.id.clone();
        self.write(&task_id, TASK_FILE, record).await
    }

    async fn subscriptions(&self, task_id: &str) -> io::Result<Option<Value>> {
        files::read(&self.of(task_id).join(SUBSCRIPTIONS_FILE))
    }

    async fn save_subscriptions(&self, task_id: &str, record: Value) -> io::Result<()> {
        self.write(task_id, SUBSCRIPTIONS_FILE, record).await
    }

    /// The records are in the task's directory, and go with it.
    async fn forget(&self, _task_id: &str, _is_unwanted: &(dyn Fn() -> bool + Send + Sync)) {}
}
