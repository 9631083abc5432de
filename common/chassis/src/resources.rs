//! The stores and the bus that the configuration names, with their tasks below the supervisor of the service that opens them.

use std::time::Duration;

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
/// How soon a store that is away at start is tried again.
const AGAIN: Duration = Duration::from_secs(1);

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

/// Reads from the store at start, again while the store is away: a service that starts while the database restarts waits for it,
/// and is not ready meanwhile.
///
/// # Errors
/// Every other error of `read`, and when the process is asked to end.
pub async fn when_there<T>(process: &Process, mut read: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    loop {
        let error = match read().await {
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Unavailable(_))) => error,
            done => return done,
        };
        tracing::warn!(error = format!("{error:#}"), "the store is away and tried again");
        tokio::select! {
            () = process.shutdown.cancelled() => return Err(error),
            () = tokio::time::sleep(AGAIN) => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_is_away_is_waited_for_and_another_error_is_not() {
        let process = Process::new("test");
        let mut tries = 0;
        let read = when_there(&process, async || {
            tries += 1;
            let away = || StoreError::Unavailable("the connection was reset".to_owned());
            if tries < 2 { Err(away()).context("the state cannot be read") } else { Ok(tries) }
        });
        assert_eq!(read.await.unwrap(), 2);
        let damaged = when_there(&process, async || Err::<(), _>(StoreError::Damaged("a document".to_owned()).into()));
        assert!(damaged.await.unwrap_err().to_string().contains("a document"));
        process.shutdown.cancel();
        let ended = when_there(&process, async || Err::<(), _>(StoreError::Unavailable("away".to_owned()).into()));
        assert!(ended.await.is_err());
    }
}
