//! `fogflow-discovery`

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fogflow_chassis::main("fogflow-discovery", async |config, process| fogflow_discovery::start(config, &process).await.map(|_| ()))
}
