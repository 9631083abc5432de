//! Which engine and where: the choice made in `config.json` (`bus {engine}`, `rabbitmq {…}`).

use std::sync::Arc;

use fogflow_background::Spawner;
use serde::{Deserialize, Serialize};

use crate::contract::{BusError, SharedBus};
use crate::inprocess::InProcessBus;
use crate::rabbitmq::{AmqpSettings, RabbitBus};

/// The engine of the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Inside one process.
    InProcess,
    /// RabbitMQ, or another AMQP 0-9-1 server with publisher confirms.
    #[default]
    RabbitMq,
}

/// What [`open`] needs to know.
#[derive(Clone, Debug)]
pub struct BusSettings {
    /// The engine.
    pub engine: Engine,
    /// The server; unused in-process.
    pub amqp: AmqpSettings,
    /// Where its task is watched.
    pub spawner: Spawner,
}

/// Opens the bus that the settings name. RabbitMQ need not be up: the bus goes on trying to reach it.
///
/// # Errors
/// [`BusError::Refused`] when the URL is no AMQP URL.
pub async fn open(settings: &BusSettings) -> Result<SharedBus, BusError> {
    Ok(match settings.engine {
        Engine::InProcess => Arc::new(InProcessBus::new()),
        Engine::RabbitMq => Arc::new(RabbitBus::connect_with(settings.amqp.clone(), &settings.spawner)?),
    })
}
