//! The worker on the bus: commands in, profile and reports out.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fogflow_bus::{BusError, Delivery, Message, Queue, SharedBus};
use fogflow_chassis::Process;
use fogflow_orchestration::{DockerImage, Envelope, MessageType, WorkerProfile};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::table::{Applied, Command, TaskTable};
use crate::task::report::Outgoing;

/// Routing key of profiles and full reports.
const HEARTBEAT_KEY: &str = "heartbeat.";
/// Routing key of task reports.
const TASK_KEY: &str = "task.";
/// Commands that may be on their way to the disk together.
const PREFETCH: u16 = 64;
/// Reports that may wait for the bus.
pub(crate) const OUTBOX: usize = 4096;
/// Images that are fetched in advance at the same time.
pub(crate) const PREFETCHES: usize = 4;
const RETRY: Duration = Duration::from_millis(500);
const FAREWELL: Duration = Duration::from_secs(2);

/// The worker's part of the bus.
pub(crate) struct Messages {
    pub(crate) bus: SharedBus,
    pub(crate) settings: Arc<Settings>,
    pub(crate) profile: WorkerProfile,
    pub(crate) table: Arc<TaskTable>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) metrics: Metrics,
    pub(crate) process: Process,
    /// Images that are fetched in advance at a time.
    pub(crate) prefetching: Arc<Semaphore>,
    /// Types that were met and not known; each is logged once.
    pub(crate) unknown: Mutex<HashSet<String>>,
    /// Whether commands are consumed: a worker that cannot hear must not say that it is there (FAULT 1).
    pub(crate) consuming: watch::Sender<bool>,
    /// Set when another worker has this one's name: nothing more is said in it.
    pub(crate) muted: AtomicBool,
}

impl Messages {
    /// Consumes commands until `shutdown`. Each is acknowledged when it is on disk; one that cannot be read is rejected. Those
    /// that are there at the same time wait for the disk together.
    pub(crate) async fn consume(self: Arc<Self>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let id = &self.settings.worker_id;
        let queue = Queue { name: id.clone(), bindings: vec![format!("{id}.*")], prefetch: PREFETCH };
        let subscription = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            subscription = self.bus.subscribe(queue) => subscription?,
        };
        self.consuming.send_replace(true);
        let deliveries = stream::unfold(subscription, async |mut subscription| Some((subscription.next().await?, subscription)));
        let mut groups = std::pin::pin!(deliveries.ready_chunks(PREFETCH.into()));
        loop {
            let group = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                group = groups.next() => group,
            };
            match group {
                Some(group) => self.take(group).await,
                None => {
                    shutdown.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    /// Obeys commands in their order, and acknowledges those that were obeyed when they are on disk.
    async fn take(&self, group: Vec<Box<dyn Delivery>>) {
        let mut obeyed = Vec::with_capacity(group.len());
        for delivery in group {
            if let Some(taken) = self.obey(delivery).await {
                obeyed.push(taken);
            }
        }
        if let Err(error) = self.table.settle().await {
            // Not acknowledged, so they come again; the pause keeps a full disk from turning this into a loop.
            tracing::error!(commands = obeyed.len(), %error, "commands cannot be stored; they are tried again");
            for (_, kind, _) in &obeyed {
                self.metrics.commands.with_label_values(&[kind, "not-stored"]).inc();
            }
            return tokio::time::sleep(RETRY).await;
        }
        for (delivery, kind, result) in obeyed {
            self.metrics.commands.with_label_values(&[kind, result]).inc();
            delivery.ack().await;
        }
    }

    /// Obeys one command, but for storing it. Returns it with its kind and what became of it, unless it was refused.
    async fn obey(&self, delivery: Box<dyn Delivery>) -> Option<(Box<dyn Delivery>, &'static str, &'static str)> {
        let envelope = match serde_json::from_slice::<Envelope>(&delivery.message().body) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "a message that is no JSON envelope is rejected");
                self.metrics.commands.with_label_values(&["", "unreadable"]).inc();
                delivery.reject().await;
                return None;
            }
        };
        let span = fogflow_chassis::continued("obey order", "worker", delivery.message().traceparent.as_deref());
        match span.in_scope(|| self.handle(&envelope)) {
            Ok(result) => Some((delivery, known(&envelope), result)),
            Err(Refusal::Closing) => None,
            Err(Refusal::Unreadable(error)) => {
                tracing::warn!(kind = envelope.message_type, from = envelope.from, %error, "a message cannot be read and is rejected");
                self.metrics.commands.with_label_values(&[known(&envelope), "unreadable"]).inc();
                delivery.reject().await;
                None
            }
        }
    }

    fn handle(&self, envelope: &Envelope) -> Result<&'static str, Refusal> {
        let command = match envelope.kind() {
            Some(MessageType::AddTask) => Command::Add(payload(envelope)?),
            Some(MessageType::RemoveTask) => Command::Remove(payload(envelope)?),
            Some(MessageType::AddInput) => Command::AddInput(payload(envelope)?),
            Some(MessageType::RemoveInput) => Command::RemoveInput(payload(envelope)?),
            Some(MessageType::DesiredTasks) => Command::Whole(payload(envelope)?),
            Some(MessageType::PrefetchImage) => {
                self.prefetch(&payload(envelope)?);
                return Ok("changed");
            }
            _ => {
                if self.unknown.lock().insert(envelope.message_type.clone()) {
                    tracing::info!(kind = envelope.message_type, from = envelope.from, "messages of this type mean nothing to a worker");
                }
                return Ok("unknown");
            }
        };
        if addressed_to_another(&command, &self.settings.worker_id) {
            return Ok("misdirected");
        }
        match self.table.apply(command) {
            Applied::Changed => Ok("changed"),
            Applied::Unchanged => Ok("unchanged"),
            Applied::Stale => {
                tracing::debug!(kind = envelope.message_type, from = envelope.from, "an outdated command is ignored");
                Ok("stale")
            }
            Applied::Closing => Err(Refusal::Closing),
        }
    }

    /// Fetches an image beside everything else; commands do not wait for it.
    fn prefetch(&self, image: &DockerImage) {
        let name = format!("{}:{}", image.name, image.tag);
        let Ok(slot) = Arc::clone(&self.prefetching).try_acquire_owned() else {
            return tracing::info!(image = name, "not fetched in advance: too many others are being fetched");
        };
        let (engine, shutdown) = (Arc::clone(&self.engine), self.process.shutdown.clone());
        self.process.tasks.spawn(format!("worker/prefetch/{name}"), async move {
            let _slot = slot;
            tokio::select! {
                () = shutdown.cancelled() => {}
                outcome = engine.prefetch(&name) => match outcome {
                    Ok(()) => tracing::info!(image = name, "fetched in advance"),
                    Err(error) => tracing::warn!(image = name, %error, "an image cannot be fetched in advance"),
                },
            }
        });
    }

    /// Joins, and again whenever the bus comes back; between that a heartbeat with a full report.
    pub(crate) async fn beat(self: Arc<Self>, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut connected = self.bus.connected();
        let mut kind = MessageType::WorkerJoin;
        let mut consuming = self.consuming.subscribe();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            consuming = consuming.wait_for(|consuming| *consuming) => drop(consuming?),
        }
        loop {
            let profile = WorkerProfile { workload: self.table.workload(), ..self.profile.clone() };
            match self.publish(HEARTBEAT_KEY, kind, &profile).await {
                Ok(()) => {
                    kind = MessageType::WorkerHeartbeat;
                    // Of thousands of tasks it takes a while, in which this thread has other work.
                    let this = Arc::clone(&self);
                    let report =
                        tokio::task::spawn_blocking(move || this.encode(HEARTBEAT_KEY, MessageType::WorkerTasks, &this.table.report()));
                    if let Err(error) = self.send_text(HEARTBEAT_KEY, report.await??).await {
                        tracing::debug!(%error, "a report was not taken by the bus; the next one tells the same");
                    }
                }
                Err(error) => {
                    kind = MessageType::WorkerJoin;
                    tracing::debug!(%error, "a heartbeat was not taken by the bus");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.settings.heartbeat) => {}
                Ok(()) = connected.changed() => {
                    if !*connected.borrow_and_update() {
                        continue;
                    }
                    kind = MessageType::WorkerJoin;
                }
            }
        }
    }

    /// Sends reports in their order, each until the bus has taken it.
    pub(crate) async fn send(self: Arc<Self>, mut outbox: mpsc::Receiver<Outgoing>) {
        while let Some(Outgoing { kind, payload }) = outbox.recv().await {
            while let Err(error) = self.publish(TASK_KEY, kind, &payload).await {
                match error {
                    BusError::Unconfirmed(_) | BusError::Refused(_) => tokio::time::sleep(RETRY).await,
                    BusError::Closed => return,
                }
            }
        }
    }

    /// Says good-bye. Not said when tasks go on without the worker: the master would start them elsewhere, while the next
    /// worker is about to take them up.
    pub(crate) async fn leave(&self) {
        if self.engine.survives_worker() && self.table.workload() > 0 {
            return;
        }
        let farewell = self.publish(HEARTBEAT_KEY, MessageType::WorkerLeave, &self.profile);
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
            tracing::debug!("the bus did not take the farewell; the master will miss the heartbeats");
        }
    }

    async fn publish(&self, routing_key: &str, kind: MessageType, payload: &impl Serialize) -> Result<(), BusError> {
        self.send_text(routing_key, self.encode(routing_key, kind, payload)?).await
    }

    fn encode(&self, routing_key: &str, kind: MessageType, payload: &impl Serialize) -> Result<Vec<u8>, BusError> {
        Envelope::encode(kind, routing_key, &self.settings.worker_id, payload).map_err(|error| BusError::Refused(error.to_string()))
    }

    async fn send_text(&self, routing_key: &str, text: Vec<u8>) -> Result<(), BusError> {
        if self.muted.load(Ordering::SeqCst) {
            return Ok(());
        }
        let message =
            Message { routing_key: routing_key.to_owned(), body: text.into(), traceparent: fogflow_chassis::current_traceparent() };
        self.bus.publish(message).await
    }
}

enum Refusal {
    Unreadable(serde_json::Error),
    /// Not acknowledged, so that the next worker gets it.
    Closing,
}

fn payload<T: DeserializeOwned>(envelope: &Envelope) -> Result<T, Refusal> {
    T::deserialize(&envelope.payload).map_err(Refusal::Unreadable)
}

/// The label of a message in metrics: its type if we know it, so that strangers cannot make labels.
fn known(envelope: &Envelope) -> &'static str {
    envelope.kind().map_or("other", MessageType::as_str)
}

/// A queue that outlived another worker's id, or a mistaken master. Upstream fills the worker's id in some commands only.
fn addressed_to_another(command: &Command, worker_id: &str) -> bool {
    let addressee = match command {
        Command::Add(task) | Command::Remove(task) => &task.worker_id,
        Command::AddInput(flow) | Command::RemoveInput(flow) => &flow.worker_id,
        Command::Whole(desired) => &desired.worker_id,
    };
    !addressee.is_empty() && addressee != worker_id
}
