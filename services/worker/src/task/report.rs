//! The observed state of one task, and how others learn of it.

use fogflow_orchestration::{MessageType, ScheduledTaskInstance, TaskInfo, TaskState, TaskUpdate};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

/// A message for the bus, waiting for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// What it is.
    pub(crate) kind: MessageType,
    /// Its payload.
    pub(crate) payload: Value,
}

/// Where a task's actor reports.
#[derive(Debug)]
pub(crate) struct Reporter {
    worker_id: String,
    status: watch::Sender<TaskUpdate>,
    outbox: mpsc::Sender<Outgoing>,
    dropped: prometheus::IntCounter,
}

impl Reporter {
    /// A reporter of a task that is `scheduled`.
    pub(crate) fn new(
        worker_id: String,
        task: &ScheduledTaskInstance,
        outbox: mpsc::Sender<Outgoing>,
        dropped: prometheus::IntCounter,
    ) -> Self {
        let (status, _) = watch::channel(TaskUpdate { status: TaskState::Scheduled, since: now(), ..identity(task, &worker_id) });
        Reporter { worker_id, status, outbox, dropped }
    }

    /// The state as it is now and as it changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<TaskUpdate> {
        self.status.subscribe()
    }

    /// Notes a state and publishes it, unless it is what is known already.
    pub(crate) fn state(&self, task: &ScheduledTaskInstance, state: TaskState, reason: impl Into<String>) {
        let reason = reason.into();
        let changed = self.status.send_if_modified(|update| {
            let same_state = update.status == state;
            if same_state && update.reason == reason && update.generation == task.generation {
                return false;
            }
            let since = if same_state { std::mem::take(&mut update.since) } else { now() };
            let endpoint = if matches!(state, TaskState::Running | TaskState::Starting) {
                std::mem::take(&mut update.endpoint)
            } else {
                String::new()
            };
            *update = TaskUpdate { status: state, reason, since, endpoint, restarts: update.restarts, ..identity(task, &self.worker_id) };
            true
        });
        if changed {
            let update = self.status.borrow().clone();
            tracing::info!(task = update.task_id, state = ?update.status, reason = update.reason, "task");
            self.publish(MessageType::TaskUpdate, &update);
        }
    }

    /// Notes where the task is reached. Published with the next state.
    pub(crate) fn endpoint(&self, endpoint: &str) {
        self.status.send_modify(|update| endpoint.clone_into(&mut update.endpoint));
    }

    /// Notes another restart. Published with the next state.
    pub(crate) fn restarted(&self) {
        self.status.send_modify(|update| update.restarts = update.restarts.saturating_add(1));
    }

    /// Publishes that the task is up and its inputs are subscribed. The intent is part of it (FAULT 36).
    pub(crate) fn up(&self, task: &ScheduledTaskInstance, endpoint: &str, handle: &str) {
        let info = TaskInfo {
            task_id: task.id.clone(),
            topology_name: task.topology_name.clone(),
            task_name: task.task_name.clone(),
            service_intent_id: task.service_intent_id.clone(),
            info: format!("refURL={endpoint}; containerID={handle}"),
        };
        self.publish(MessageType::TaskInfo, &info);
    }

    fn publish(&self, kind: MessageType, payload: &impl serde::Serialize) {
        let Ok(payload) = serde_json::to_value(payload) else { return };
        if self.outbox.try_send(Outgoing { kind, payload }).is_err() {
            // The bus has been away for long. The full report with the next heartbeat says the same.
            self.dropped.inc();
        }
    }
}

fn identity(task: &ScheduledTaskInstance, worker_id: &str) -> TaskUpdate {
    TaskUpdate {
        task_id: task.id.clone(),
        topology_name: task.topology_name.clone(),
        task_name: task.task_name.clone(),
        service_intent_id: task.service_intent_id.clone(),
        worker_id: worker_id.to_owned(),
        generation: task.generation,
        ..Default::default()
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
