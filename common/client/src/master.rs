//! The master's status interface.

use fogflow_orchestration::report::TaskRow;
use fogflow_orchestration::{IntentState, MasterProfile, WorkerProfile};

use crate::error::ClientError;
use crate::http::{Endpoint, encoded};

/// A master, by the base address of its REST interface.
#[derive(Clone, Debug)]
pub struct MasterClient {
    endpoint: Endpoint,
}

impl MasterClient {
    /// A master at its base address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        MasterClient { endpoint }
    }

    /// Its profile.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn status(&self) -> Result<MasterProfile, ClientError> {
        self.endpoint.get("/status").await
    }

    /// The workers that it knows.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn workers(&self) -> Result<Vec<WorkerProfile>, ClientError> {
        // Upstream's form: id to profile.
        let workers: std::collections::BTreeMap<String, WorkerProfile> = self.endpoint.get("/workers").await?;
        Ok(workers.into_values().collect())
    }

    /// Tasks, of one intent or of all.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn tasks(&self, intent: Option<&str>) -> Result<Vec<TaskRow>, ClientError> {
        match intent {
            Some(intent) => self.endpoint.get(&format!("/tasks?intent={}", encoded(intent))).await,
            None => self.endpoint.get("/tasks").await,
        }
    }

    /// States of intents.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn intents(&self) -> Result<Vec<IntentState>, ClientError> {
        self.endpoint.get("/intents").await
    }
}
