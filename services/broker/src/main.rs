//! `fogflow-broker`

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-broker", async |config, process| {
        fogflow_broker::start(config, &process).await?;
        Ok(())
    })
}
