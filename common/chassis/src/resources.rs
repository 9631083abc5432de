//! The stores and the bus that the configuration names, with their tasks below the supervisor of the service that opens them.

use anyhow::Context as _;
use fogflow_background::Spawner;
use fogflow_bus::rabbitmq::AmqpSettings;
use fogflow_bus::{BusSettings, SharedBus};
use fogflow_config::{BusEngine, Config, Durability, QueueType, StoreEngine};
use fogflow_store::{SharedStore, StoreError, StoreSettings};

use crate::errors::UsageError;
use crate::process::Process;

/// The exchange that upstream's components use, too.
const EXCHANGE: &str = "fogflow";

/// Opens the store of a service (`broker`, `discovery`, `designer`, `master`). `durability` concerns the embedded engine.
///
/// # Errors
/// [`UsageError`] when another process has the store; otherwise why it cannot be opened.
pub async fn open_store(config: &Config, process: &Process, service: &str, durability: Durability) -> anyhow::Result<SharedStore> {
    let settings = StoreSettings { spawner: process.tasks.spawner(service), ..store_settings(config, service, durability) };
    match fogflow_store::open(&settings).await {
        Ok(store) => Ok(store),
        Err(error @ StoreError::InUse(_)) => Err(UsageError(error.to_string()).into()),
        Err(error) => Err(error).with_context(|| format!("the store of {service} cannot be opened")),
    }
}

/// Where the store of a service is, for whoever opens it without being that service: its tasks are watched by nobody.
#[must_use]
pub fn store_settings(config: &Config, service: &str, durability: Durability) -> StoreSettings {
    let chosen = config.store_of(service);
    StoreSettings {
        engine: match chosen.engine {
            StoreEngine::Embedded => fogflow_store::Engine::Embedded,
            StoreEngine::Postgres => fogflow_store::Engine::Postgres,
            StoreEngine::Dgraph => fogflow_store::Engine::Dgraph,
        },
        url: chosen.url.clone(),
        service: service.to_owned(),
        dir: config.service_dir(service),
        durability: match durability {
            Durability::Fsync => fogflow_store::Durability::Fsync,
            Durability::Relaxed => fogflow_store::Durability::Relaxed,
        },
        spawner: Spawner::default(),
    }
}

/// Opens the bus for a component (`Worker.001`); `default` is the engine where the configuration names none. RabbitMQ need not
/// be up.
///
/// # Errors
/// When the address of RabbitMQ cannot be used.
pub async fn open_bus(config: &Config, process: &Process, component: &str, default: BusEngine) -> anyhow::Result<SharedBus> {
    let settings = BusSettings {
        engine: match config.bus.engine.unwrap_or(default) {
            BusEngine::Inprocess => fogflow_bus::Engine::InProcess,
            BusEngine::Rabbitmq => fogflow_bus::Engine::RabbitMq,
        },
        amqp: AmqpSettings {
            url: config.amqp_url(),
            exchange: EXCHANGE.to_owned(),
            component: component.to_owned(),
            quorum: config.bus.queue_type == QueueType::Quorum,
        },
        spawner: process.tasks.spawner(component),
    };
    fogflow_bus::open(&settings).await.context("the message bus cannot be used")
}
