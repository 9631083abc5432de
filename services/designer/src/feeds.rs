//! What fills the live picture from outside: probes of the services, the bus, and the step that tells entities.

use std::sync::Arc;
use std::time::Duration;

use fogflow_bus::{Delivery, Queue, SharedBus};
use fogflow_orchestration::{Envelope, MasterProfile, MessageType, TaskInfo, TaskUpdate, WorkerProfile, go_json, routing};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::Shared;
use crate::error;
use crate::outbox;

/// Time between two probes of a service.
const PROBE: Duration = Duration::from_secs(2);
/// A probe that takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// An entity is told to browsers at most once in this time.
const TELL: Duration = Duration::from_millis(100);

/// Probes services, brokers and workers again and again.
///
/// # Errors
/// Never.
pub(crate) async fn probe(app: Shared) -> anyhow::Result<()> {
    // Services start together: the first rounds follow quickly.
    let pauses = std::iter::repeat_n(PROBE / 8, 12).chain(std::iter::repeat(PROBE));
    let mut answered = None;
    for pause in pauses {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            () = round(&app, &mut answered) => {}
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// One look at everything. `answered` is the master that answered last.
async fn round(app: &Shared, answered: &mut Option<String>) {
    let broker = app.config.broker_url();
    let discovery = app.config.discovery_url();
    let master = app.config.master_url();
    let reporting: Vec<WorkerProfile> = app.hub.workers().into_iter().filter(|worker| !worker.url.is_empty()).collect();
    let service = |name: &'static str, base: String| service(app, name, base);
    let ((), (), (), master_found, workers_found, brokers_found, _) = tokio::join!(
        service("broker", broker.trim_end_matches("/ngsi10").to_owned()),
        service("discovery", discovery.trim_end_matches("/ngsi9").to_owned()),
        service("master", master),
        app.master.status(),
        app.master.workers(),
        app.discovery.brokers(),
        futures::future::join_all(reporting.iter().map(|worker| self::service(app, &worker.id, worker.url.clone()))),
    );
    match master_found {
        Ok(found) => {
            *answered = Some(found.id.clone());
            app.hub.master_seen(found);
        }
        // Other masters, known from the bus, are not concerned.
        Err(_) => answered.take().iter().for_each(|id| app.hub.master_left(id)),
    }
    if let Ok(found) = workers_found {
        app.hub.workers_listed(found);
    }
    if let Ok(found) = brokers_found {
        app.hub.brokers_listed(found.into_values().collect());
    }
    app.hub.services_kept(|name| {
        ["broker", "discovery", "designer", "master", "bus"].contains(&name) || reporting.iter().any(|worker| worker.id == name)
    });
}

/// Version and readiness of one service. Upstream's broker tells its version, its discovery and master neither.
async fn service(app: &Shared, name: &str, base: String) {
    let found = match app.http.get(format!("{base}/version")).timeout(PATIENCE).send().await {
        Ok(answer) if answer.status().is_server_error() => Err(format!("status {}", answer.status())),
        Ok(answer) => {
            let version: Value = answer.json().await.unwrap_or_default();
            let version = version.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok((version, ready(app, &base).await))
        }
        Err(error) => Err(error::cause(&error)),
    };
    app.hub.probed(name, &base, found);
}

async fn ready(app: &Shared, base: &str) -> Option<bool> {
    let status = app.http.get(format!("{base}/ready")).timeout(PATIENCE).send().await.ok()?.status();
    match status.as_u16() {
        200 => Some(true),
        503 => Some(false),
        _ => None,
    }
}

/// Shows whether the bus is connected.
///
/// # Errors
/// Never.
pub(crate) async fn watch_bus(app: Shared, bus: SharedBus, address: String) -> anyhow::Result<()> {
    let mut connected = bus.connected();
    loop {
        let up = *connected.borrow_and_update();
        app.hub.probed("bus", &address, if up { Ok((String::new(), Some(true))) } else { Err("not connected".to_owned()) });
        app.counters.outbox.set(i64::try_from(app.registry.read().outbox.len()).unwrap_or(i64::MAX));
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            changed = connected.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(PROBE) => {}
        }
    }
}

/// Tells browsers of changed entities, ten times a second.
///
/// # Errors
/// Never.
pub(crate) async fn tell_entities(app: Shared) -> anyhow::Result<()> {
    let mut step = tokio::time::interval(TELL);
    step.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            _ = step.tick() => app.hub.tell_entities(),
        }
    }
}

/// Consumes `fogflow-designer` for as long as the process runs.
///
/// # Errors
/// If the queue cannot be declared, or the store takes no write; the caller starts it again.
pub(crate) async fn consume(app: Shared, bus: SharedBus) -> anyhow::Result<()> {
    let queue = Queue {
        name: "fogflow-designer".to_owned(),
        bindings: vec![format!("{}*", routing::DESIGNER), routing::TASK.to_owned()],
        prefetch: 64,
    };
    let mut messages = bus.subscribe(queue).await?;
    loop {
        let delivery = tokio::select! {
            () = app.shutdown.cancelled() => return Ok(()),
            delivery = messages.next() => delivery,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        handle(&app, delivery).await?;
    }
}

async fn handle(app: &Shared, delivery: Box<dyn Delivery>) -> anyhow::Result<()> {
    let count = |kind: &str, outcome: &str| app.counters.bus_messages.with_label_values(&[kind, outcome]).inc();
    let Ok(envelope) = go_json::from_slice::<Envelope>(&delivery.message().body) else {
        tracing::warn!(routing_key = %delivery.message().routing_key, "a message on the bus is not an envelope; put aside");
        count("unreadable", "rejected");
        delivery.reject().await;
        return Ok(());
    };
    let Some(kind) = envelope.kind() else {
        if app.counters.bus_messages.with_label_values(&["unknown", "ignored"]).get() == 0 {
            tracing::warn!(message_type = %envelope.message_type, from = %envelope.from, "messages of a type that nobody knows are ignored");
        }
        count("unknown", "ignored");
        delivery.ack().await;
        return Ok(());
    };
    match act(app, kind, envelope).await {
        Ok(()) => {
            count(kind.as_str(), "handled");
            delivery.ack().await;
            Ok(())
        }
        Err(Failure::Message(reason)) => {
            tracing::warn!(message_type = kind.as_str(), %reason, "a message on the bus cannot be read; put aside");
            count(kind.as_str(), "rejected");
            delivery.reject().await;
            Ok(())
        }
        // Dropping the delivery hands it back to the queue.
        Err(Failure::Ours(error)) => Err(error),
    }
}

enum Failure {
    Message(String),
    Ours(anyhow::Error),
}

async fn act(app: &Shared, kind: MessageType, envelope: Envelope) -> Result<(), Failure> {
    let shared = app.live.is_shared();
    let changed = match kind {
        MessageType::TaskUpdate => {
            let update: TaskUpdate = payload(envelope.payload)?;
            app.live.change(|picture| Ok(picture.task_update(&update, &envelope.from, shared))).await
        }
        MessageType::TaskInfo => {
            let info: TaskInfo = payload(envelope.payload)?;
            app.live.change(|picture| Ok(picture.task_info(&info, shared))).await
        }
        MessageType::MasterJoin => {
            let master: MasterProfile = payload(envelope.payload)?;
            tracing::info!(master = %master.id, "a master joined: it gets all intents again");
            outbox::announce_again(&app.registry).await.map_err(|error| Failure::Ours(error.into()))?;
            app.live.change(|picture| Ok(picture.master_joined(&master))).await
        }
        MessageType::MasterLeave => {
            let id = payload::<MasterProfile>(envelope.payload)?.id;
            app.live.change(|picture| Ok(picture.master_left(&id))).await
        }
        _ => Ok(()),
    };
    changed.map_err(|error| Failure::Ours(error.into()))
}

fn payload<T: DeserializeOwned>(payload: Value) -> Result<T, Failure> {
    go_json::from_value(payload).map_err(|error| Failure::Message(error.to_string()))
}

/// Opens the tasks above in the process's supervisor.
pub(crate) fn spawn(process: &fogflow_chassis::Process, app: &Shared, bus: &SharedBus, bus_address: &str) {
    let tasks = &process.tasks;
    {
        let app = Arc::clone(app);
        tasks.spawn_restarting("probe services", move || probe(Arc::clone(&app)));
    }
    {
        let app = Arc::clone(app);
        tasks.spawn_restarting("tell entities", move || tell_entities(Arc::clone(&app)));
    }
    {
        let (app, bus, address) = (Arc::clone(app), Arc::clone(bus), bus_address.to_owned());
        tasks.spawn_restarting("watch bus", move || watch_bus(Arc::clone(&app), Arc::clone(&bus), address.clone()));
    }
    let (app, bus) = (Arc::clone(app), Arc::clone(bus));
    tasks.spawn_restarting("consume bus", move || consume(Arc::clone(&app), Arc::clone(&bus)));
}
