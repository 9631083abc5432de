//! What every handler shares.

use std::sync::Arc;

use fogflow_chassis::Security;
use fogflow_client::{DiscoveryClient, MasterClient};
use fogflow_config::Config;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry as Metrics};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::cloud::Cloud;
use crate::cloud::watch::Watched;
use crate::live::{Hub, Sharing};
use crate::photos::Photos;
use crate::registry::Registry;

/// Event streams that may be open at once.
pub(crate) const MOST_STREAMS: usize = 256;

/// The state of the designer's routers.
pub(crate) type Shared = Arc<App>;

/// See the module.
pub(crate) struct App {
    /// Keeps the store open.
    pub(crate) _user: TaskTrackerToken,
    /// What is stored.
    pub registry: Arc<Registry>,
    /// The live picture.
    pub hub: Arc<Hub>,
    /// How replicas share it.
    pub live: Sharing,
    /// The cloud broker.
    pub cloud: Cloud,
    /// Which notifications are ours.
    pub watched: Watched,
    /// Uploaded pictures.
    pub photos: Photos,
    /// Discovery.
    pub(crate) discovery: DiscoveryClient,
    /// The master.
    pub(crate) master: MasterClient,
    /// For calls to other services.
    pub http: reqwest::Client,
    /// Addresses.
    pub config: Arc<Config>,
    /// Who may do what.
    pub security: Security,
    /// One permit per open event stream.
    pub streams: Arc<Semaphore>,
    /// Ends event streams.
    pub shutdown: CancellationToken,
    /// Counters.
    pub counters: Counters,
}

/// The designer's own metrics.
#[derive(Clone)]
pub(crate) struct Counters {
    /// Event streams that are open.
    pub streams: IntGauge,
    /// Messages that wait for the bus.
    pub outbox: IntGauge,
    /// Messages from the bus by type and outcome.
    pub bus_messages: IntCounterVec,
}

impl Counters {
    /// Registers the metrics.
    ///
    /// # Errors
    /// If a name is taken.
    pub(crate) fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        let counters = Counters {
            streams: IntGauge::new("fogflow_designer_event_streams", "Open event streams of browsers and command lines.")?,
            outbox: IntGauge::new("fogflow_designer_outbox_messages", "Messages stored that the bus has not taken yet.")?,
            bus_messages: IntCounterVec::new(
                Opts::new("fogflow_designer_bus_messages_total", "Messages from the bus."),
                &["type", "outcome"],
            )?,
        };
        metrics.register(Box::new(counters.streams.clone()))?;
        metrics.register(Box::new(counters.outbox.clone()))?;
        metrics.register(Box::new(counters.bus_messages.clone()))?;
        Ok(counters)
    }
}
