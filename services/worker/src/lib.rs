//! FogFlow worker: runs task instances as processes, docker containers or pods.
//!
//! ```text
//! bus -> messages -> table -> desired state -> one actor per task -> engine (process | docker | kubernetes | dry run)
//!                                                              \-> broker (inputs, outputs)
//! ```
//!
//! The [table](table) holds what masters want and is on disk before a command is acknowledged. Each task has an
//! [actor](task::actor) that is told the newest wish and makes it true, whatever came before. An [engine](engine) runs
//! instances and finds by its own marks what an earlier start of the worker left. Nothing but the table and the engine's
//! marks survives a restart, and that is enough to adopt every task or remove it.

pub mod broker;
pub mod contract;
pub mod desired;
pub mod engine;
mod files;
mod http;
mod messages;
mod metrics;
mod records;
pub mod settings;
mod table;
mod task;
mod turn;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use fogflow_bus::SharedBus;
use fogflow_chassis::{CancellationToken, Process, Security, UsageError};
use fogflow_client::{DesignerClient, Endpoint};
use fogflow_config::{Config, ContainerManagement, bracketed};
use fogflow_orchestration::WorkerProfile;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::broker::Broker;
use crate::engine::Engine;
use crate::engine::docker::DockerEngine;
use crate::engine::dryrun::{self, DryRun};
use crate::engine::kubernetes::KubernetesEngine;
use crate::engine::process::ProcessEngine;
use crate::files::StateDirectory;
use crate::http::HttpState;
use crate::messages::Messages;
use crate::metrics::Metrics;
use crate::records::Records;
use crate::settings::Settings;
use crate::table::TaskTable;
use crate::task::actor::Surroundings;
pub use crate::task::restart::RestartPolicy;
use crate::turn::Turn;

/// How long tasks may take to end with the worker, below the grace of the process.
const CLOSE_LIMIT: Duration = Duration::from_secs(12);

const RESTORE_AGAIN: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A worker that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where its HTTP interface listens.
    pub http: SocketAddr,
    /// `Worker.<site>[.<n>]`
    pub worker_id: String,
}

/// Starts a worker with a node's configuration.
///
/// # Errors
/// [`UsageError`] for what the user can mend (directory in use, port taken, engine that this machine does not have).
pub async fn start(config: Arc<Config>, process: &Process, bus: SharedBus) -> anyhow::Result<Running> {
    start_with(config.as_ref(), Settings::from_config(&config), process, bus).await
}

/// [`start`] with settings that differ from the configuration, for tests.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: &Config, settings: Settings, process: &Process, bus: SharedBus) -> anyhow::Result<Running> {
    let settings = Arc::new(settings);
    let state = Arc::new(open(&settings)?);
    let client = fogflow_chassis::component_client(config)?;
    let broker = Broker::new(&client, &settings.broker_url);
    let (engine, records) = choose_engine(config, &settings, &state, process).await?;
    let metrics = Metrics::register(&process.metrics)?;
    let (outbox, reports) = mpsc::channel(messages::OUTBOX);
    let designer = DesignerClient::new(Endpoint::new(client, &config.designer_url()));
    let turn = Arc::new(Turn::new(designer, &settings.worker_id, &settings.directory));
    let around = Surroundings { engine: Arc::clone(&engine), broker, state: Arc::clone(&state), records, settings: Arc::clone(&settings) };
    let table = TaskTable::new(around, process.tasks.clone(), outbox, metrics.clone());

    let http_state = HttpState { table: Arc::clone(&table), engine: Arc::clone(&engine), shutdown: process.shutdown.clone() };
    let router = http::router(http_state, process, &Security::from_config(config)?);
    let address = SocketAddr::from((config.listen_ip(), config.worker.http_port));
    let http = match fogflow_chassis::serve(process, "worker", address, router.clone()).await {
        // Upstream's workers listen nowhere, so that any number of them (`-i 1`, `-i 2`) start on one machine. Masters learn
        // the port from the profile.
        Err(error) if !matches!(config.instance.as_str(), "" | "0") => {
            tracing::info!(%error, "another port is taken for the worker's HTTP interface");
            fogflow_chassis::serve(process, "worker", SocketAddr::new(address.ip(), 0), router).await?
        }
        outcome => outcome?,
    };

    let profile = profile(&settings, engine.as_ref(), config.worker_url_at(http.port()));
    let worker_id = settings.worker_id.clone();
    let messages = Arc::new(Messages {
        bus,
        settings,
        profile,
        table,
        engine,
        metrics,
        process: process.clone(),
        prefetching: Arc::new(Semaphore::new(messages::PREFETCHES)),
        unknown: parking_lot::Mutex::default(),
        consuming: watch::Sender::new(false),
        muted: AtomicBool::new(false),
    });
    if messages.engine.has_standbys() {
        let (standby, shutdown) = (process.clone(), process.shutdown.clone());
        process.tasks.spawn_critical("worker/standby", async move {
            tokio::select! {
                () = shutdown.cancelled() => {
                    messages.engine.retire();
                    return Ok(());
                }
                active = messages.engine.activate() => active?,
            }
            begin(&messages, &standby, reports, None).await;
            shutdown.cancelled().await;
            Ok(())
        });
    } else if turn.is_taken().await {
        let (standby, shutdown) = (process.clone(), process.shutdown.clone());
        process.tasks.spawn_critical("worker/standby", async move {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = turn.come(messages.engine.as_ref(), &state) => {}
            }
            begin(&messages, &standby, reports, Some(turn)).await;
            shutdown.cancelled().await;
            Ok(())
        });
    } else {
        begin(&messages, process, reports, Some(turn)).await;
    }
    Ok(Running { http, worker_id })
}

/// Takes up what is there, then hears and speaks.
async fn begin(
    messages: &Arc<Messages>,
    process: &Process,
    reports: mpsc::Receiver<crate::task::report::Outgoing>,
    turn: Option<Arc<Turn>>,
) {
    if let Some(turn) = &turn {
        turn::keep(turn, messages, process);
    }
    while let Err(error) = messages.table.restore().await {
        tracing::warn!(%error, "what this worker had cannot be read; that is tried again");
        tokio::select! {
            () = process.shutdown.cancelled() => return messages.engine.retire(),
            () = tokio::time::sleep(RESTORE_AGAIN) => {}
        }
    }
    run(messages, process, reports, turn);
}

/// Spawns the tasks of a worker.
fn run(messages: &Arc<Messages>, process: &Process, reports: mpsc::Receiver<crate::task::report::Outgoing>, turn: Option<Arc<Turn>>) {
    let shutdown = process.shutdown.clone();
    process.tasks.spawn_restarting("worker/commands", {
        let (messages, shutdown) = (Arc::clone(messages), shutdown.clone());
        move || Arc::clone(&messages).consume(shutdown.clone())
    });
    process.tasks.spawn_restarting("worker/heartbeat", {
        let (messages, shutdown) = (Arc::clone(messages), shutdown.clone());
        move || Arc::clone(&messages).beat(shutdown.clone())
    });
    process.tasks.spawn_restarting("worker/sweep", {
        let (messages, shutdown) = (Arc::clone(messages), shutdown.clone());
        move || sweep(Arc::clone(&messages), shutdown.clone())
    });
    let ready = process.readiness.part("bus");
    let (mut connected, mut consuming) = (messages.bus.connected(), messages.consuming.subscribe());
    process.tasks.spawn("worker/bus-state", {
        let shutdown = shutdown.clone();
        async move {
            loop {
                if *connected.borrow_and_update() && *consuming.borrow_and_update() {
                    ready.ready();
                } else {
                    ready.not_ready("commands are not received from the message bus");
                }
                tokio::select! {
                    changed = connected.changed() => if changed.is_err() { return },
                    changed = consuming.changed() => if changed.is_err() { return },
                    () = shutdown.cancelled() => return,
                }
            }
        }
    });
    // Reports are sent until all tasks have ended, then the worker leaves.
    let messages = Arc::clone(messages);
    process.tasks.spawn("worker/tasks", async move {
        let sending = Arc::clone(&messages).send(reports);
        let closing = async {
            shutdown.cancelled().await;
            messages.table.close(CLOSE_LIMIT).await;
            messages.leave().await;
            messages.engine.retire();
            if let Some(turn) = turn {
                turn.end().await;
            }
        };
        tokio::select! {
            () = sending => {}
            () = closing => {}
        }
    });
}

/// Ends strays now and then: what an engine started after it had answered too late, or could not list at the start.
async fn sweep(messages: Arc<Messages>, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(SWEEP_EVERY) => messages.table.sweep().await,
        }
    }
}

fn open(settings: &Settings) -> anyhow::Result<StateDirectory> {
    match StateDirectory::open(&settings.directory) {
        Ok(state) => Ok(state),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(UsageError(error.to_string()).into()),
        Err(error) => Err(error).with_context(|| format!("cannot open the worker's directory {}", settings.directory.display())),
    }
}

/// The engine, and where its worker remembers its tasks.
async fn choose_engine(
    config: &Config,
    settings: &Arc<Settings>,
    state: &Arc<StateDirectory>,
    process: &Process,
) -> anyhow::Result<(Arc<dyn Engine>, Arc<dyn Records>)> {
    let records: Arc<dyn Records> = Arc::new(Arc::clone(state));
    let kind = match settings.engine {
        ContainerManagement::Process => "process",
        ContainerManagement::Docker => "docker",
        ContainerManagement::Kubernetes => "kubernetes",
        ContainerManagement::Mec => "mec",
    };
    if !settings.start_actual_task {
        let discarding =
            fogflow_chassis::serve(process, "worker/dry run", SocketAddr::new(config.listen_ip(), 0), dryrun::discard()).await?;
        let endpoint = format!("http://{}:{}", bracketed(&settings.host), discarding.port());
        return Ok((Arc::new(DryRun::new(kind, endpoint)), records));
    }
    let engine: Arc<dyn Engine> = match settings.engine {
        ContainerManagement::Process => {
            Arc::new(ProcessEngine::new(Arc::clone(state), process, settings.host.clone(), settings.broker_url.clone()))
        }
        ContainerManagement::Docker => Arc::new(DockerEngine::new(Arc::clone(settings), Arc::clone(state), process.clone())),
        ContainerManagement::Kubernetes => {
            let engine = KubernetesEngine::new(settings, process).await?;
            let records = engine.records();
            return Ok((Arc::new(engine), records));
        }
        ContainerManagement::Mec => {
            return Err(UsageError(format!("worker.container_management: this build has no engine for {kind:?}")).into());
        }
    };
    Ok((engine, records))
}

/// How the worker describes itself to masters.
fn profile(settings: &Settings, engine: &dyn Engine, url: String) -> WorkerProfile {
    WorkerProfile {
        id: settings.worker_id.clone(),
        location: settings.location,
        os: std::env::consts::OS.to_owned(),
        hardware: go_architecture(std::env::consts::ARCH).to_owned(),
        capacity: settings.capacity,
        engine: engine.kind().to_owned(),
        languages: engine.languages(),
        url,
        heartbeat_seconds: Some(u32::try_from(settings.heartbeat.as_secs()).unwrap_or(u32::MAX).max(1)),
        incarnation: uuid::Uuid::new_v4().to_string(),
        last_heartbeat_update: "0001-01-01T00:00:00Z".to_owned(),
        ..Default::default()
    }
}

/// Masters expect Go's words.
fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn architectures_are_told_in_gos_words() {
        assert_eq!(["x86_64", "aarch64", "arm", "riscv64"].map(super::go_architecture), ["amd64", "arm64", "arm", "riscv64"]);
    }
}
