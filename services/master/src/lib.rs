//! FogFlow master: keeps the running task instances equal to what intents and available entities ask for.
//!
//! ```text
//! designer --registry--+                                             +--> workers (bus)
//! discovery --entities-+--> state (planner, copies, workers) --------+--> designer (reports)
//! workers --reports----+        one lock, no I/O     reconciler      +--> broker (entities), store
//! ```
//!
//! * [`planner`]: which task instances shall run where; pure.
//! * [`state`]: all that is known, and the difference between plan and workers; no I/O.
//! * [`reconciler`]: tells the workers the difference. Everything else carries facts in or out.

pub mod discovery;
pub mod entities;
pub mod http;
pub mod lease;
pub mod master;
pub mod messages;
pub mod metrics;
pub mod persist;
pub mod planner;
pub mod reconciler;
pub mod registry;
pub mod report;
pub mod state;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fogflow_bus::SharedBus;
use fogflow_chassis::{CancellationToken, Process, Security, component_client, open_store, serve, when_there};
use fogflow_client::{BrokerClient, DesignerClient, Endpoint, Peers};
use fogflow_config::{Config, Durability, StoreEngine};
use fogflow_orchestration::{Location, MasterProfile};
use fogflow_store::SharedStore;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::master::{Identity, Master};
use crate::metrics::Metrics;
use crate::planner::Policy;
use crate::state::State;

/// A running master.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its status interface.
    pub rest: SocketAddr,
    /// Its NGSI agent.
    pub agent: SocketAddr,
    /// Its insides, for tests and for the node's own display.
    pub master: MasterHandle,
}

/// A handle to a running master.
#[derive(Clone)]
pub struct MasterHandle(Arc<Master>);

impl MasterHandle {
    /// Whether it leads and gives commands.
    #[must_use]
    pub fn plans(&self) -> bool {
        self.0.read(State::is_open)
    }
}

impl std::fmt::Debug for MasterHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MasterHandle").field("id", &self.0.identity.profile.id).finish_non_exhaustive()
    }
}

/// Opens the store, binds both ports and starts the master's tasks. Designer, discovery, broker and bus need not be up.
///
/// # Errors
/// When the store cannot be opened or a port cannot be bound; [`fogflow_chassis::UsageError`] where the user can mend it.
pub async fn start(config: Arc<Config>, process: &Process, bus: SharedBus) -> anyhow::Result<Running> {
    // Workers tell what they run; waiting for the disk would only delay orders.
    let store = open_store(&config, process, "master", Durability::Relaxed).await?;
    start_with(config, process, bus, store).await
}

/// [`start`] with a store that is open already.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: Arc<Config>, process: &Process, bus: SharedBus, store: SharedStore) -> anyhow::Result<Running> {
    let registry_read = process.readiness.part("registry");
    let bus_connected = process.readiness.part("bus");
    let mut state = State::new(Policy::default(), dead_after(&config));
    when_there(process, async || persist::load(&store, &mut state).await).await?;

    let security = Security::from_config(&config)?;
    let identity = identity(&config);
    let former_holder = when_there(process, async || persist::exchange_holder(&store, &identity.holder).await).await?;
    // Only an embedded store has one process at a time.
    let former_holder = former_holder.filter(|_| config.store_of("master").engine == StoreEngine::Embedded);

    let http = component_client(&config)?;
    let master = Arc::new(Master {
        identity,
        agent_port: OnceLock::new(),
        state: Mutex::new(state),
        bus,
        designer: DesignerClient::new(Endpoint::new(http.clone(), &config.designer_url())),
        broker: BrokerClient::new(Endpoint::new(http.clone(), &config.broker_url())),
        peers: Peers::new(http, &config.discovery_url()),
        metrics: Metrics::register(&process.metrics)?,
        shutdown: process.shutdown.clone(),
        wake: Notify::new(),
        registry_nudge: Notify::new(),
        discovery_nudge: Notify::new(),
        lookup_nudge: Notify::new(),
        report_nudge: Notify::new(),
        publish_nudge: Notify::new(),
        store_nudge: Notify::new(),
        lease_nudge: Notify::new(),
    });
    let rest_router = http::status_routes().store_export(&store, &[], process).build(Arc::clone(&master), process, &security);
    let rest = serve(process, "master", SocketAddr::new(config.listen_ip(), config.master.rest_api_port), rest_router).await?;
    let agent_router = http::agent_routes().build(Arc::clone(&master), process, &security);
    let agent = serve(process, "master agent", SocketAddr::new(config.listen_ip(), config.master.ngsi_agent_port), agent_router).await?;
    master.set_agent_port(agent.port());

    let tasks = &process.tasks;
    let until_shutdown = |work| until_shutdown(process.shutdown.clone(), work);
    tasks.spawn_critical("master reconciler", reconciler::run(Arc::clone(&master)));
    tasks.spawn_critical("master lease", lease::run(Arc::clone(&master), former_holder));
    tasks.spawn_critical("master registry", until_shutdown(registry::run(Arc::clone(&master), registry_read).boxed()));
    tasks.spawn_critical("master subscriptions", until_shutdown(discovery::run(Arc::clone(&master)).boxed()));
    tasks.spawn_critical("master lookups", until_shutdown(discovery::look_up(Arc::clone(&master)).boxed()));
    tasks.spawn_critical("master report", until_shutdown(report::run(Arc::clone(&master)).boxed()));
    tasks.spawn_critical("master entities", until_shutdown(entities::run(Arc::clone(&master)).boxed()));
    tasks.spawn_critical("master storage", persist::run(Arc::clone(&master), store));
    tasks.spawn_critical("master greeting", messages::greet(Arc::clone(&master), bus_connected));
    {
        let master = Arc::clone(&master);
        tasks.spawn_restarting("master messages", move || messages::consume(Arc::clone(&master)));
    }
    Ok(Running { rest, agent, master: MasterHandle(master) })
}

/// Work that may be cut anywhere: a call that hangs must not hold up the end of the process.
async fn until_shutdown(shutdown: CancellationToken, work: BoxFuture<'static, anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = work => outcome,
    }
}

fn identity(config: &Config) -> Identity {
    let id = config.master_id();
    let queue = queue_name(config, &id);
    let place = &config.physical_location;
    Identity {
        holder: format!("{queue}/{}", uuid::Uuid::new_v4()),
        profile: MasterProfile {
            id,
            location: Location { latitude: place.latitude, longitude: place.longitude },
            agent: config.master_agent_url(),
        },
        queue,
    }
}

/// Every master hears everything, so each has a queue of its own. Replicas of one name are told apart by where they run; a
/// queue that is left behind ends by itself.
fn queue_name(config: &Config, id: &str) -> String {
    match config.instance.as_str() {
        "" | "0" if config.store_of("master").engine == StoreEngine::Embedded => id.to_owned(),
        "" | "0" => {
            let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("{id}@{machine}/{}:{}", config.listen_ip(), config.master.rest_api_port)
        }
        instance => format!("{id}.{instance}"),
    }
}

/// Only a configured heartbeat overrides what workers say of their own.
fn dead_after(config: &Config) -> Option<Duration> {
    let interval = config.worker.heartbeat_interval?;
    Some(Duration::from_secs(u64::from(interval) * u64::from(config.worker.detection_duration)))
}
