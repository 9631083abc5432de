//! A worker's HTTP interface.

use serde_json::Value;

use crate::designer::logs_path;
use crate::error::ClientError;
use crate::http::{Endpoint, TextStream, encoded};

/// A worker, by the `Url` of its profile.
#[derive(Clone, Debug)]
pub struct WorkerClient {
    endpoint: Endpoint,
}

impl WorkerClient {
    /// A worker at its base address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        WorkerClient { endpoint }
    }

    /// All its tasks.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn tasks(&self) -> Result<Value, ClientError> {
        self.endpoint.get("/tasks").await
    }

    /// One task; `None` when it has none of that id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn task(&self, id: &str) -> Result<Option<Value>, ClientError> {
        match self.endpoint.get(&format!("/tasks/{}", encoded(id))).await {
            Ok(task) => Ok(Some(task)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A task's log.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn logs(&self, task: &str, tail: Option<u32>, follow: bool) -> Result<TextStream, ClientError> {
        self.endpoint.stream(&logs_path(task, tail, follow), follow).await
    }
}
