//! The master on the bus: what workers and designers say, and its own hello and good-bye.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fogflow_bus::{Delivery, Message, Queue};
use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_orchestration::{
    Envelope, MasterProfile, MessageType, ServiceIntent, TaskUpdate, WorkerProfile, WorkerTasks, full_report, go_json, routing,
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::master::Master;

/// Handling takes microseconds; this only hides the way to the server and back.
const PREFETCH: u16 = 256;
const FAREWELL: Duration = Duration::from_secs(2);

/// Consumes until shutdown.
///
/// # Errors
/// When the bus refuses the queue.
pub async fn consume(master: Arc<Master>) -> anyhow::Result<()> {
    let queue =
        Queue { name: master.identity.queue.clone(), bindings: routing::master_bindings(&master.identity.profile.id), prefetch: PREFETCH };
    let mut subscription = tokio::select! {
        () = master.shutdown.cancelled() => return Ok(()),
        subscription = master.bus.subscribe(queue) => subscription?,
    };
    let unknown = Mutex::new(HashSet::new());
    loop {
        let delivery = tokio::select! {
            () = master.shutdown.cancelled() => return Ok(()),
            delivery = subscription.next() => delivery,
        };
        let Some(delivery) = delivery else {
            master.shutdown.cancelled().await;
            return Ok(());
        };
        take(&master, delivery, &unknown).await;
    }
}

async fn take(master: &Arc<Master>, delivery: Box<dyn Delivery>, unknown: &Mutex<HashSet<String>>) {
    let traceparent = delivery.message().traceparent.clone();
    let body = &delivery.message().body;
    let handled = match full_report(body) {
        Some((from, report)) => {
            master.metrics.messages.with_label_values(&[MessageType::WorkerTasks.as_str()]).inc();
            take_report(master, from, report);
            Ok(())
        }
        None => go_json::from_slice::<Envelope>(body).and_then(|envelope| handle(master, envelope, traceparent, unknown)),
    };
    match handled {
        Ok(()) => delivery.ack().await,
        Err(error) => {
            // It will never be readable.
            tracing::warn!(%error, "a message that cannot be read is rejected");
            master.metrics.messages.with_label_values(&["unreadable"]).inc();
            delivery.reject().await;
        }
    }
}

fn take_report(master: &Arc<Master>, from: String, mut report: WorkerTasks) {
    if report.worker_id.is_empty() {
        report.worker_id = from;
    }
    let is_behind = master.change(|state, now| {
        state.worker_reports(report, now);
        state.is_behind()
    });
    if is_behind {
        // Either another master leads by now, or the lease's store has lost count: the designer knows.
        master.lease_nudge.notify_one();
    }
}

fn handle(
    master: &Arc<Master>,
    envelope: Envelope,
    traceparent: Option<String>,
    unknown: &Mutex<HashSet<String>>,
) -> Result<(), serde_json::Error> {
    let kind = envelope.kind();
    master.metrics.messages.with_label_values(&[kind.map_or("unknown", MessageType::as_str)]).inc();
    match kind {
        Some(joins @ (MessageType::WorkerJoin | MessageType::WorkerHeartbeat)) => {
            let profile: WorkerProfile = go_json::from_value(envelope.payload)?;
            let wall = jiff::Timestamp::now().to_string();
            master.change(|state, now| state.worker_seen(profile, joins == MessageType::WorkerJoin, now, &wall));
        }
        Some(MessageType::WorkerLeave) => {
            let profile: WorkerProfile = go_json::from_value(envelope.payload)?;
            master.change(|state, _| state.worker_left(&profile.id));
        }
        Some(MessageType::WorkerTasks) => {
            take_report(master, envelope.from, go_json::from_value(envelope.payload)?);
        }
        Some(MessageType::TaskUpdate) => {
            let update: TaskUpdate = go_json::from_value(envelope.payload)?;
            // Upstream leaves the worker to the envelope.
            let worker = if update.worker_id.is_empty() { envelope.from } else { update.worker_id.clone() };
            master.change(|state, _| state.task_update(&worker, update));
        }
        Some(MessageType::ServiceIntent) => {
            let intent: ServiceIntent = go_json::from_value(envelope.payload)?;
            tracing::debug!(intent = intent.id, action = intent.action, "the designer says that intents changed");
            master.change(|state, _| state.note_announced(intent));
            master.registry_nudge.notify_one();
        }
        Some(MessageType::AvailabilityNotice) => {
            let bytes = serde_json::to_vec(&envelope.payload)?;
            let notification = NotifyContextAvailabilityRequest::decode(&bytes)
                .map_err(|error| <serde_json::Error as serde::de::Error>::custom(error.to_string()))?;
            master.change(|state, now| {
                if state.epoch().is_some() {
                    state.hear(now, traceparent);
                    state.availability(notification, now);
                }
            });
        }
        // Sent after the update that says the same; of masters nothing is expected.
        Some(MessageType::TaskInfo | MessageType::MasterJoin | MessageType::MasterLeave) => {}
        _ => {
            if unknown.lock().insert(envelope.message_type.clone()) {
                tracing::info!(kind = envelope.message_type, from = envelope.from, "messages of this type mean nothing to a master");
            }
        }
    }
    Ok(())
}

/// Hands an availability notification to the leading master (all masters hear it, the others ignore it).
///
/// # Errors
/// When the bus does not take it.
pub async fn forward(master: &Master, notification: &Value) -> anyhow::Result<()> {
    publish(master, routing::ORCHESTRATION, MessageType::AvailabilityNotice, notification).await
}

/// Says hello whenever the bus is there, watches it, and says good-bye at the end.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn greet(master: Arc<Master>, ready: fogflow_chassis::ReadyPart) -> anyhow::Result<()> {
    let mut connected = master.bus.connected();
    loop {
        let is_connected = *connected.borrow_and_update();
        master.change(|state, now| state.bus_is(is_connected, now));
        if is_connected {
            ready.ready();
            if let Err(error) = publish(&master, routing::DESIGNER, MessageType::MasterJoin, &master.profile()).await {
                tracing::debug!(%error, "the bus did not take the greeting");
            }
        } else {
            ready.not_ready("the message bus is not connected");
        }
        tokio::select! {
            () = master.shutdown.cancelled() => break,
            changed = connected.changed() => if changed.is_err() { master.shutdown.cancelled().await; break; },
        }
    }
    let leaving = MasterProfile { id: master.identity.profile.id.clone(), ..MasterProfile::default() };
    let farewell = publish(&master, routing::DESIGNER, MessageType::MasterLeave, &leaving);
    if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        tracing::debug!("the bus did not take the farewell");
    }
    Ok(())
}

pub(crate) async fn publish(master: &Master, key: &str, kind: MessageType, payload: &impl serde::Serialize) -> anyhow::Result<()> {
    let message = Message {
        routing_key: key.to_owned(),
        body: Envelope::encode(kind, key, &master.identity.profile.id, payload)?.into(),
        traceparent: fogflow_chassis::current_traceparent(),
    };
    Ok(master.bus.publish(message).await?)
}
