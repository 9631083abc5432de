//! `fogflow-master`

use std::process::ExitCode;

use fogflow_bus::rabbitmq::AmqpSettings;
use fogflow_bus::{BusSettings, Engine};
use fogflow_config::{BusEngine, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-master", async |config, process| {
        let bus = fogflow_bus::open(&bus_settings(&config)).await?;
        fogflow_master::start(config, &process, bus).await?;
        Ok(())
    })
}

fn bus_settings(config: &Config) -> BusSettings {
    let engine = match config.bus.engine {
        Some(BusEngine::Inprocess) => Engine::InProcess,
        // Alone in its process it has nobody to talk to but through RabbitMQ.
        Some(BusEngine::Rabbitmq) | None => Engine::RabbitMq,
    };
    BusSettings { engine, amqp: AmqpSettings { url: config.amqp_url(), exchange: "fogflow".to_owned(), component: config.master_id() } }
}
