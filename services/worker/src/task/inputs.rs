//! The input subscriptions of one task at the broker.
//!
//! Their ids are recorded before they count as placed, so that an adopted task goes on with its subscriptions and a
//! removed one leaves none behind.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fogflow_orchestration::{InputStream, ScheduledTaskInstance};
use futures::StreamExt;
use futures::stream;
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::engine::Instance;
use crate::records::Records;

/// Requests of one task to the broker at a time.
const PARALLEL: usize = 8;

/// One placed subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    input: InputStream,
    id: String,
    /// The run of the task for which it was placed.
    handle: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    placed: Vec<Placed>,
    /// Ids that are still to be cancelled.
    obsolete: Vec<String>,
}

/// The subscriptions of one task.
pub(crate) struct Inputs {
    broker: Broker,
    records: Arc<dyn Records>,
    task_id: String,
    record: Record,
}

impl Inputs {
    /// What is remembered of a task's subscriptions, or nothing.
    pub(crate) async fn load(broker: Broker, records: Arc<dyn Records>, task_id: &str) -> Self {
        let read = async { io::Result::Ok(records.subscriptions(task_id).await?.map(serde_json::from_value).transpose()?) };
        let record = read
            .await
            .inspect_err(|error| tracing::warn!(task = task_id, %error, "subscriptions of a task are forgotten"))
            .ok()
            .flatten()
            .unwrap_or_default();
        Inputs { broker, records, task_id: task_id.to_owned(), record }
    }

    /// Brings the subscriptions in line with the task's inputs and its run. A run that is new gets new ones, since only a
    /// new subscription sends the current value. Returns what is not placed yet, with the reason.
    pub(crate) async fn reconcile(&mut self, task: &ScheduledTaskInstance, instance: &Instance) -> Vec<String> {
        let before = self.record.clone();
        let (kept, gone): (Vec<Placed>, Vec<Placed>) = std::mem::take(&mut self.record.placed)
            .into_iter()
            .partition(|placed| placed.handle == instance.handle && task.inputs.contains(&placed.input));
        self.record.placed = kept;
        self.record.obsolete.extend(gone.into_iter().map(|placed| placed.id));

        let mut missing: BTreeMap<&InputStream, ()> = task.inputs.iter().map(|input| (input, ())).collect();
        for placed in &self.record.placed {
            missing.remove(&placed.input);
        }
        let broker = &self.broker;
        let calls: Vec<_> =
            missing.into_keys().map(|input| async move { (input, broker.subscribe(task, input, &instance.endpoint).await) }).collect();
        let answers: Vec<_> = stream::iter(calls).buffer_unordered(PARALLEL).collect().await;
        let mut failures = Vec::new();
        for (input, answer) in answers {
            match answer {
                Ok(id) => self.record.placed.push(Placed { input: input.clone(), id, handle: instance.handle.clone() }),
                Err(error) => failures
                    .push(format!("input {} is not subscribed: {error}", if input.id.is_empty() { &input.entity_type } else { &input.id })),
            }
        }
        if before.placed != self.record.placed || before.obsolete != self.record.obsolete {
            self.save().await;
        }
        self.cancel_obsolete(task).await;
        failures
    }

    /// Finds out whether the broker has lost its subscriptions, as one that keeps them in memory only does when it is
    /// restarted. It loses all or none, so one is asked for. True when they are to be placed again.
    pub(crate) async fn are_lost(&mut self, task: &ScheduledTaskInstance) -> bool {
        let Some(first) = self.record.placed.first() else { return false };
        if self.broker.has_subscription(task, &first.id).await {
            return false;
        }
        tracing::warn!(task = task.id, "the broker has lost the task's subscriptions; they are placed again");
        // Should some be there after all, they must go: two would tell the task everything twice.
        let lost = std::mem::take(&mut self.record.placed).into_iter().map(|placed| placed.id);
        self.record.obsolete.extend(lost);
        true
    }

    /// Whether cancelled subscriptions are still waiting for a broker that does not answer.
    pub(crate) fn has_obsolete(&self) -> bool {
        !self.record.obsolete.is_empty()
    }

    /// Cancels every subscription. True when none is left at the broker.
    pub(crate) async fn clear(&mut self, task: &ScheduledTaskInstance) -> bool {
        if !self.record.placed.is_empty() {
            let ids = std::mem::take(&mut self.record.placed).into_iter().map(|placed| placed.id);
            self.record.obsolete.extend(ids);
            self.save().await;
        }
        self.cancel_obsolete(task).await
    }

    async fn cancel_obsolete(&mut self, task: &ScheduledTaskInstance) -> bool {
        if self.record.obsolete.is_empty() {
            return true;
        }
        let broker = &self.broker;
        let calls: Vec<_> = std::mem::take(&mut self.record.obsolete)
            .into_iter()
            .map(|id| async move {
                let error = broker.unsubscribe(task, &id).await.err()?;
                tracing::debug!(id, %error, "a subscription is not cancelled yet");
                Some(id)
            })
            .collect();
        let left: Vec<Option<String>> = stream::iter(calls).buffer_unordered(PARALLEL).collect().await;
        self.record.obsolete = left.into_iter().flatten().collect();
        self.save().await;
        self.record.obsolete.is_empty()
    }

    async fn save(&self) {
        let save = async { self.records.save_subscriptions(&self.task_id, serde_json::to_value(&self.record)?).await };
        if let Err(error) = save.await {
            tracing::warn!(task = self.task_id, %error, "the subscriptions of a task cannot be remembered");
        }
    }
}
