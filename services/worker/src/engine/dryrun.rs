//! An engine that runs nothing (`worker.start_actual_task: false`): everything else happens, inputs are subscribed and
//! outputs cleaned. For measuring orchestration without the cost of tasks.

use std::collections::HashMap;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;

use super::{Engine, EngineError, Instance, Launch, LogRange, LogStream, Observed, Owned, Progress};

/// What stands in for the tasks of a dry run: it takes their notifications and keeps nothing of them. If nobody took them,
/// the broker would try again for each, which costs more than the orchestration that is to be measured.
pub fn discard() -> Router {
    Router::new().fallback(async |_: Bytes| StatusCode::OK)
}

/// Pretends that every task runs. Its tasks are reached at `endpoint`, where [`discard`] answers.
#[derive(Debug)]
pub struct DryRun {
    kind: &'static str,
    endpoint: String,
    running: Mutex<HashMap<String, String>>,
}

impl DryRun {
    /// Stands in for the engine `kind`; notifications of its tasks go to `endpoint`.
    #[must_use]
    pub fn new(kind: &'static str, endpoint: String) -> Self {
        DryRun { kind, endpoint, running: Mutex::default() }
    }
}

#[async_trait]
impl Engine for DryRun {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn languages(&self) -> Vec<String> {
        vec!["python".to_owned(), "javascript".to_owned()]
    }

    fn survives_worker(&self) -> bool {
        false
    }

    async fn ensure(&self, launch: &Launch, _progress: Progress<'_>) -> Result<Instance, EngineError> {
        let handle = format!("dryrun-{}", launch.fingerprint);
        let previous = self.running.lock().insert(launch.task.id.clone(), handle.clone());
        let adopted = previous.is_some_and(|previous| previous == handle);
        Ok(Instance { task_id: launch.task.id.clone(), handle, endpoint: self.endpoint.clone(), adopted })
    }

    async fn is_listening(&self, _instance: &Instance) -> bool {
        true
    }

    fn watch(&self, _instance: &Instance) -> BoxStream<'static, Observed> {
        stream::pending().boxed()
    }

    async fn stop(&self, task_id: &str) -> Result<(), EngineError> {
        self.running.lock().remove(task_id);
        Ok(())
    }

    async fn list_mine(&self) -> Result<Vec<Owned>, EngineError> {
        Ok(self.running.lock().iter().map(|(task_id, handle)| Owned { task_id: task_id.clone(), handle: handle.clone() }).collect())
    }

    async fn prefetch(&self, _image: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn logs(&self, task_id: &str, _range: LogRange) -> Result<LogStream, EngineError> {
        if !self.running.lock().contains_key(task_id) {
            return Err(EngineError::Unknown(task_id.to_owned()));
        }
        Ok(stream::once(async { Ok(Bytes::from_static(b"dry run: this task runs nothing\n")) }).boxed())
    }
}
