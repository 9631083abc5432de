//! The demo: real measurements replayed as NGSI updates, and a fog function that finds anomalies in them.
//!
//! Both parts repeat themselves without harm: what is registered already stays, and the replay goes on whatever the broker does.

mod function;
mod weather;

use std::time::Duration;

use fogflow_chassis::{Process, http_client};
use fogflow_config::Config;

use crate::target::Target;

/// How fast measurements are replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    days_per_second: f64,
}

impl Speed {
    /// From 0.001 to 1000 days a second.
    pub(crate) fn new(days_per_second: f64) -> Option<Self> {
        (0.001..=1000.0).contains(&days_per_second).then_some(Speed { days_per_second })
    }

    fn pause(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.days_per_second)
    }
}

/// Spawns the demo; the text says what it does.
pub(crate) fn start(config: &Config, process: &Process, speed: Speed) -> anyhow::Result<String> {
    let security = fogflow_chassis::Security::from_config(config)?;
    let target = Target::new(http_client(config)?, &config.designer_url(), Some(security.admin_token().to_owned()))?;
    let broker = fogflow_client::BrokerClient::new(fogflow_client::Endpoint::new(http_client(config)?, &config.broker_url()));
    let readings = weather::readings()?;
    let shutdown = process.shutdown.clone();
    process
        .tasks
        .spawn_restarting("demo/replay", move || weather::replay(broker.clone(), readings.clone(), speed.pause(), shutdown.clone()));
    let language = function::language_found();
    let told = match language {
        Some(_) => "Seattle's weather is replayed; the fog function `anomaly` publishes entities of type Anomaly",
        None => "Seattle's weather is replayed; no function: neither python3 nor node is installed",
    };
    if let Some(language) = language {
        let shutdown = process.shutdown.clone();
        process.tasks.spawn_restarting("demo/registration", move || function::register(target.clone(), language, shutdown.clone()));
    }
    Ok(told.to_owned())
}
