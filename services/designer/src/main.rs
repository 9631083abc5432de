//! `fogflow-designer`

use std::process::ExitCode;
use std::sync::Arc;

use fogflow_bus::rabbitmq::AmqpSettings;
use fogflow_bus::{BusSettings, Engine};
use fogflow_config::{BusEngine, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-designer", async |config, process| {
        let mut config = Config::clone(&config);
        // Alone in its process it has nobody to talk to but through RabbitMQ.
        let engine = match config.bus.engine.get_or_insert(BusEngine::Rabbitmq) {
            BusEngine::Inprocess => Engine::InProcess,
            BusEngine::Rabbitmq => Engine::RabbitMq,
        };
        let amqp = AmqpSettings { url: config.amqp_url(), exchange: "fogflow".to_owned(), component: "designer".to_owned() };
        let bus = fogflow_bus::open(&BusSettings { engine, amqp }).await?;
        fogflow_designer::start(Arc::new(config), &process, bus).await?;
        Ok(())
    })
}
