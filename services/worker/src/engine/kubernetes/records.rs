//! What a worker remembers of its tasks, as ConfigMaps: the next active replica may be on another node.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::client::{Calls, is_missing};
use super::names::{self, FIELD_MANAGER, TASK};
use crate::engine::EngineError;
use crate::files::TaskRecord;
use crate::records::Records;

/// Label of records among a worker's ConfigMaps.
const RECORD: &str = "fogflow.io/record";
const TASK_KEY: &str = "task.json";
const SUBSCRIPTIONS_KEY: &str = "subscriptions.json";
const PAGE: u32 = 100;
const ATTEMPTS: usize = 5;

/// Records in the tasks' namespace, one ConfigMap per task.
pub(crate) struct ClusterRecords {
    api: Api<ConfigMap>,
    calls: Arc<Calls>,
    worker_id: String,
    /// Owner references of what the worker makes, once they are known.
    owner: Arc<OnceLock<Value>>,
    /// Subscriptions that were read with the tasks, until their task asks.
    read: Mutex<HashMap<String, Value>>,
}

impl ClusterRecords {
    pub(crate) fn new(api: Api<ConfigMap>, calls: Arc<Calls>, worker_id: String, owner: Arc<OnceLock<Value>>) -> Self {
        ClusterRecords { api, calls, worker_id, owner, read: Mutex::default() }
    }

    fn name(&self, task_id: &str) -> String {
        names::object_name(&self.worker_id, task_id)
    }

    /// Notes what one ConfigMap remembers. What cannot be read is passed over with a line in the log.
    fn take(&self, map: &ConfigMap) -> Option<TaskRecord> {
        let data = map.data.as_ref()?;
        let record: TaskRecord = serde_json::from_str(data.get(TASK_KEY)?)
            .inspect_err(|error| tracing::warn!(name = map.metadata.name, %error, "the record of a task cannot be read and is passed over"))
            .ok()?;
        if let Some(Ok(subscriptions)) = data.get(SUBSCRIPTIONS_KEY).map(|text| serde_json::from_str(text)) {
            self.read.lock().insert(record.task.id.clone(), subscriptions);
        }
        Some(record)
    }
}

#[async_trait]
impl Records for ClusterRecords {
    async fn tasks(&self) -> io::Result<Vec<TaskRecord>> {
        let mut records = Vec::new();
        let mut next = ListParams::default().labels(&format!("{},{RECORD}=task", names::selector(&self.worker_id))).limit(PAGE);
        loop {
            let page = self.calls.make("the records cannot be read", || self.api.list(&next)).await.map_err(io::Error::other)?;
            records.extend(page.items.iter().filter_map(|map| self.take(map)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => next.continue_token = Some(token),
                None => return Ok(records),
            }
        }
    }

    async fn save_task(&self, record: TaskRecord) -> io::Result<()> {
        let name = self.name(&record.task.id);
        let mut labels = names::labels(&self.worker_id, &name, &record.task);
        labels.insert(RECORD, "task".to_owned());
        let mut map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": labels, "annotations": {TASK: record.task.id}},
            "data": {TASK_KEY: serde_json::to_string(&record)?},
        });
        if let Some(owner) = self.owner.get() {
            map["metadata"]["ownerReferences"] = json!([owner]);
        }
        let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&map));
        let saved = self.calls.make("the task cannot be remembered", || self.api.patch(&name, &parameters, &patch)).await;
        match saved {
            Ok(_) => Ok(()),
            // Too large, or over a quota: asking again is no use, and a master tells its tasks anew.
            Err(EngineError::Unrunnable(reason)) => {
                tracing::warn!(task = record.task.id, reason, "a task is not remembered");
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn subscriptions(&self, task_id: &str) -> io::Result<Option<Value>> {
        Ok(self.read.lock().remove(task_id))
    }

    /// A merge, not an apply: it must not make the record of a task that was forgotten meanwhile.
    async fn save_subscriptions(&self, task_id: &str, record: Value) -> io::Result<()> {
        let name = self.name(task_id);
        let patch = Patch::Merge(json!({"data": {SUBSCRIPTIONS_KEY: record.to_string()}}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let call = || async {
            match self.api.patch_metadata(&name, &parameters, &patch).await {
                Err(error) if is_missing(&error) => Ok(()),
                outcome => outcome.map(drop),
            }
        };
        self.calls.make("the task's subscriptions cannot be remembered", call).await.map_err(io::Error::other)
    }

    /// Deletes the record as it was before the question whether the task is still unwanted: one that is written anew
    /// after the question stays.
    async fn forget(&self, task_id: &str, is_unwanted: &(dyn Fn() -> bool + Send + Sync)) {
        let name = self.name(task_id);
        for _ in 0..ATTEMPTS {
            let found = self.calls.make("a record cannot be looked up", || self.api.get_metadata_opt(&name)).await;
            let metadata = match found {
                Ok(Some(found)) => found.metadata,
                Ok(None) => return,
                Err(error) => return tracing::warn!(task = task_id, %error, "the record of a task that is gone stays"),
            };
            if !is_unwanted() {
                return;
            }
            let preconditions = Preconditions { uid: metadata.uid, resource_version: metadata.resource_version };
            let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            match tokio::time::timeout(super::client::ATTEMPT, self.api.delete(&name, &parameters)).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) if is_missing(&error) => return,
                Ok(Err(error)) => tracing::debug!(task = task_id, %error, "a record is not deleted yet"),
                Err(_) => tracing::debug!(task = task_id, "a record is not deleted yet: no answer"),
            }
        }
    }
}
