//! FogFlow designer: registry of operators, topologies, functions and intents, and the dashboard.
//!
//! ```text
//! REST (routes) -> registry -> store          every write is durable before it is answered
//!                     |
//!                     +-> outbox -> bus       announcements to masters, stored with the write, published with retry
//!                     +-> cloud::keep         devices and forwarded subscriptions at the cloud broker
//! reports, bus, probes, notifications -> live picture -> GET /events
//! ```

mod agent;
mod app;
mod body;
mod cloud;
mod duty;
mod error;
mod feeds;
mod fresh;
mod live;
mod outbox;
mod page;
mod photos;
mod records;
mod registry;
mod routes;
mod validate;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fogflow_bus::SharedBus;
use fogflow_chassis::{Process, Security, component_client, open_store, serve, serve_tls_for_pages, when_there};
use fogflow_client::{BrokerClient, DiscoveryClient, Endpoint, MasterClient};
use fogflow_config::{BusEngine, Config, Durability, StoreEngine};
use fogflow_store::SharedStore;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::app::{App, Counters, MOST_STREAMS, Shared};
use crate::cloud::{Cloud, watch};
use crate::live::{Hub, SHARED, Sharing};
use crate::photos::Photos;
use crate::registry::{Observers, Registry};

/// A call to the cloud broker: short enough that a user who waits for it is answered within five seconds.
const CLOUD_PATIENCE: Duration = Duration::from_secs(4);
/// Longer than listeners wait for requests under way.
const LONGEST_USE: Duration = Duration::from_secs(12);

/// The designer as started.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Where REST interface and dashboard are.
    pub address: SocketAddr,
    /// Where the NGSI agent is.
    pub agent: SocketAddr,
}

/// Opens the store, binds both ports, and starts the designer's tasks. It needs neither the bus nor the broker to be up.
///
/// # Errors
/// If the store cannot be opened or a port cannot be bound; [`fogflow_chassis::UsageError`] where the user can mend it.
pub async fn start(config: Arc<Config>, process: &Process, bus: SharedBus) -> anyhow::Result<Running> {
    let store = open_store(&config, process, "designer", Durability::Fsync).await?;
    start_with(config, process, bus, store).await
}

/// [`start`] with a store that is open already.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: Arc<Config>, process: &Process, bus: SharedBus, store: SharedStore) -> anyhow::Result<Running> {
    let loaded = process.readiness.part("registry");
    let hub = Arc::new(Hub::default());
    // Only a store on a server has other processes.
    let shared = config.store_of("designer").engine != StoreEngine::Embedded;
    let (told, told_live) = (Arc::clone(&hub), Arc::clone(&hub));
    let observers = Observers {
        registry: Arc::new(move |changes, generation| told.registry_changed(changes, generation)),
        live: Arc::new(move |news| told_live.live_changed(news)),
        live_collections: if shared { &SHARED } else { &[] },
    };
    let registry = when_there(process, async || Ok(Registry::open(Arc::clone(&store), observers.clone()).await?)).await?;
    let registry = Arc::new(registry);
    let http = component_client(&config)?;
    let security = Security::from_config(&config)?;
    let users = TaskTracker::new();
    let app: Shared = Arc::new(App {
        _user: users.token(),
        live: Sharing::new(Arc::clone(&hub), Arc::clone(&registry), shared),
        registry,
        hub,
        cloud: Cloud::new(BrokerClient::new(Endpoint::new(http.clone(), &config.broker_url()).with_timeout(CLOUD_PATIENCE))),
        discovery: DiscoveryClient::new(Endpoint::new(http.clone(), &config.discovery_url()).with_timeout(feeds::PATIENCE)),
        master: MasterClient::new(Endpoint::new(http.clone(), &config.master_url()).with_timeout(feeds::PATIENCE)),
        watched: watch::Watched::default(),
        photos: Photos::new(config.service_dir("designer").join("photo")),
        http,
        config: Arc::clone(&config),
        security: security.clone(),
        streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        shutdown: process.shutdown.clone(),
        counters: Counters::new(&process.metrics)?,
    });

    // The agent's router has health and metrics of its own; they show the same process.
    let fresh = axum::middleware::from_fn_with_state(Arc::clone(&app), fresh::before);
    let agent_router = agent::routes().build(Arc::clone(&app), process, &security);
    let agent = serve(process, "designer agent", SocketAddr::new(config.listen_ip(), config.designer.agent_port), agent_router).await?;
    // What replicas show each other is reported anew after a restore.
    let router = routes::all().store_export(&store, &SHARED, process).build(Arc::clone(&app), process, &security).layer(fresh);
    let address = serve(process, "designer", SocketAddr::new(config.listen_ip(), config.designer.web_srv_port), router.clone()).await?;
    let encrypted = SocketAddr::new(config.listen_ip(), config.designer.https_web_srv_port);
    serve_tls_for_pages(process, "designer", encrypted, router, &config).await?;

    let running = Running { address, agent };
    spawn(process, &app, &bus, running);
    app.hub.probed("designer", &format!("http://{address}"), Ok((fogflow_chassis::VERSION.to_owned(), Some(true))));
    // Requests under way and tasks may still write after shutdown began: the store closes when nobody can any more.
    let shutdown = process.shutdown.clone();
    process.tasks.spawn("close store", async move {
        shutdown.cancelled().await;
        users.close();
        if tokio::time::timeout(LONGEST_USE, users.wait()).await.is_err() {
            tracing::warn!("the store is closed while somebody still uses it");
        }
        if let Err(error) = store.close().await {
            tracing::warn!(%error, "the store did not close in order");
        }
    });
    loaded.ready();
    Ok(running)
}

/// Each task holds the app, and with it the store, until it has ended.
fn spawn(process: &Process, app: &Shared, bus: &SharedBus, Running { address, agent }: Running) {
    let tasks = &process.tasks;
    // The same after a restart, which then need not wait for its own lease to end; another for each replica.
    let holder: Arc<str> = format!("designer/{}/{address}", rustix::system::uname().nodename().to_string_lossy()).into();
    {
        let (app, bus, holder) = (Arc::clone(app), Arc::clone(bus), Arc::clone(&holder));
        tasks.spawn_restarting("publish outbox", move || {
            outbox::publish(Arc::clone(&app.registry), Arc::clone(&bus), holder.to_string(), app.shutdown.clone())
        });
    }
    {
        let app = Arc::clone(app);
        tasks.spawn_restarting("follow store", move || {
            let app = Arc::clone(&app);
            async move {
                tokio::select! {
                    () = app.shutdown.cancelled() => Ok(()),
                    ended = app.registry.follow() => ended,
                }
            }
        });
    }
    {
        let (app, holder) = (Arc::clone(app), Arc::clone(&holder));
        tasks.spawn_restarting("keep devices and subscriptions", move || {
            let (registry, cloud) = (Arc::clone(&app.registry), app.cloud.clone());
            let work = move |until| cloud::keep::run(Arc::clone(&registry), cloud.clone(), until);
            duty::run(Arc::clone(&app.registry), "designer-keep", Arc::clone(&holder), app.shutdown.clone(), work)
        });
    }
    {
        let app = Arc::clone(app);
        let reference = agent_url(&app.config, agent);
        tasks.spawn_restarting("watch entities", move || {
            let (cloud, reference, watched) = (app.cloud.clone(), reference.clone(), app.watched.clone());
            let shared = app.live.is_shared();
            let work = move |until| watch::keep(cloud.clone(), reference.clone(), watched.clone(), shared, until);
            duty::run(Arc::clone(&app.registry), "designer-watch", Arc::clone(&holder), app.shutdown.clone(), work)
        });
    }
    let bus_address = match app.config.bus.engine {
        // `fogflow up` hands its own bus in; the main of a designer alone says RabbitMQ.
        Some(BusEngine::Inprocess) | None => "in this process".to_owned(),
        Some(BusEngine::Rabbitmq) => without_credentials(&app.config.amqp_url()),
    };
    feeds::spawn(process, app, bus, &bus_address);
}

/// The agent's address for the broker; with a configured port 0 the real one.
fn agent_url(config: &Config, agent: SocketAddr) -> String {
    let configured = config.designer_agent_url();
    match configured.strip_suffix(":0") {
        Some(host) => format!("{host}:{}", agent.port()),
        None => configured,
    }
}

fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}
