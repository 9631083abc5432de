//! `fogflow-worker`

use std::process::ExitCode;

use fogflow_bus::rabbitmq::AmqpSettings;
use fogflow_bus::{BusSettings, Engine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-worker", async |config, process| {
        let amqp = AmqpSettings { url: config.amqp_url(), exchange: "fogflow".to_owned(), component: config.worker_id(&config.instance) };
        let bus = fogflow_bus::open(&BusSettings { engine: Engine::RabbitMq, amqp }).await?;
        fogflow_worker::start(config, &process, bus).await.map(drop)
    })
}
