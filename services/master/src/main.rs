//! `fogflow-master`

use std::process::ExitCode;

use fogflow_chassis::open_bus;
use fogflow_config::BusEngine;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-master", async |config, process| {
        // Alone in its process it has nobody to talk to but through RabbitMQ.
        let bus = open_bus(&config, &process, &config.master_id(), BusEngine::Rabbitmq).await?;
        fogflow_master::start(config, &process, bus).await?;
        Ok(())
    })
}
