//! `fogflow-designer`

use std::process::ExitCode;
use std::sync::Arc;

use fogflow_chassis::open_bus;
use fogflow_config::{BusEngine, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-designer", async |config, process| {
        let mut config = Config::clone(&config);
        // Alone in its process it has nobody to talk to but through RabbitMQ.
        let engine = *config.bus.engine.get_or_insert(BusEngine::Rabbitmq);
        let bus = open_bus(&config, &process, "designer", engine).await?;
        fogflow_designer::start(Arc::new(config), &process, bus).await?;
        Ok(())
    })
}
