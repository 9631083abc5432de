//! FogFlow discovery: which broker has which entity, and where (NGSI-9).
//!
//! ```text
//! api (HTTP) -> registry (one lock, durable) -> index: get and watch -> events -> queues -> notifier -> subscribers
//!                      ^ clock: leases, durations
//!                      ^ store: what other replicas were told
//! ```

pub mod api;
pub mod brokers;
pub mod clock;
pub mod filter;
pub mod geometry;
pub mod index;
mod metrics;
pub mod model;
pub mod notify;
pub mod registry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::middleware::from_fn_with_state;
use fogflow_chassis::{Process, Security, component_client, open_store, serve, serve_tls, when_there};
use fogflow_config::{Config, Consistency, Durability, StoreEngine};
use fogflow_store::SharedStore;

use api::Api;
use clock::Clock;
use notify::Notifier;
use registry::Others;
use registry::duty::Watch;

/// How often leases and durations are looked at.
const TICK: Duration = Duration::from_millis(500);

/// A running discovery.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Opens the store of the configuration and starts discovery.
///
/// # Errors
/// When the store cannot be opened or read, or a port cannot be bound.
pub async fn start(config: Arc<Config>, process: &Process) -> anyhow::Result<Running> {
    // Brokers repeat what discovery should have lost; waiting for the disk would only delay them.
    let store = open_store(&config, process, "discovery", Durability::Relaxed).await?;
    start_with(config, process, store).await
}

/// Starts discovery on an open store.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: Arc<Config>, process: &Process, store: SharedStore) -> anyhow::Result<Running> {
    let ready = process.readiness.part("registrations");
    let clock = Clock::default();
    let heartbeat = u64::from(config.broker.heartbeat_interval);
    // Only a store on a server has other processes.
    let others = if config.store_of("discovery").engine == StoreEngine::Embedded { Others::None } else { Others::Possible };
    let (registry, replica) = when_there(process, async || registry::load(&store, heartbeat, clock, others).await).await?;
    let metrics = metrics::Metrics::register(&process.metrics)?;

    let api = Api { registry: Arc::clone(&registry), clock };
    let router = api::routes().store_export(&store, &[], process).build(api, process, &Security::from_config(&config)?);
    let router = match (others, config.broker.consistency) {
        (Others::Possible, Consistency::Strong) => router.layer(from_fn_with_state(replica.follower(), api::fresh::before)),
        _ => router,
    };
    let address = SocketAddr::new(config.listen_ip(), config.discovery.http_port);
    let secure = SocketAddr::new(config.listen_ip(), config.discovery.https_port);
    let address = serve(process, "discovery", address, router.clone()).await?;
    serve_tls(process, "discovery", secure, router, &config).await?;

    let mut watch = (others == Others::Possible).then(|| {
        // The same after a restart, which then need not wait for its own lease to end; another for each replica.
        let holder = format!("discovery/{}/{address}", rustix::system::uname().nodename().to_string_lossy());
        Watch::new(Arc::clone(&registry), Arc::clone(&store), replica.follower(), clock, holder)
    });
    if others == Others::Possible {
        let shutdown = process.shutdown.clone();
        process.tasks.spawn_critical("discovery replica", async move {
            replica.follow(async move { shutdown.cancelled().await }).await.context("following the store")
        });
    }
    let (writer, shutdown) = (Arc::clone(&registry), process.shutdown.clone());
    process.tasks.spawn_critical("discovery storage", async move {
        let stored = registry::write_behind(&writer, &store, shutdown).await;
        store.close().await.context("closing discovery's store")?;
        stored
    });
    let notifier = Arc::new(Notifier::new(Arc::clone(&registry), component_client(&config)?, clock, metrics.notifications.clone()));
    let shutdown = process.shutdown.clone();
    process.tasks.spawn_critical("discovery notifier", async move { notifier.run(shutdown).await });
    let shutdown = process.shutdown.clone();
    process.tasks.spawn_critical("discovery leases", async move {
        while tokio::time::timeout(TICK, shutdown.cancelled()).await.is_err() {
            let is_on_duty = match &mut watch {
                Some(watch) => watch.round().await,
                None => true,
            };
            if is_on_duty {
                registry.tick(clock.now());
            }
            metrics.show(registry.counts());
        }
        if let Some(watch) = watch {
            watch.end().await;
        }
        Ok(())
    });
    ready.ready();
    Ok(Running { address })
}
