//! What the master's tasks share: the state, who to wake when it changed, and the ways out.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use fogflow_bus::SharedBus;
use fogflow_client::{BrokerClient, DesignerClient, Peers};
use fogflow_orchestration::MasterProfile;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::state::State;

/// How often the timer looks at everything.
pub const TICK: Duration = Duration::from_secs(1);

/// Who this master is and where it is reached.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `Master.<site>`, its place, and the URL of its agent as configured; see [`Master::profile`].
    pub profile: MasterProfile,
    /// Names its queue: the id, and the instance if there are several.
    pub queue: String,
    /// Names its lease: id, instance and a random part per start, so that a restart is another holder.
    pub holder: String,
}

/// See the module.
pub struct Master {
    /// Who it is.
    pub identity: Identity,
    /// The port that its agent was given.
    pub agent_port: OnceLock<u16>,
    /// What it knows. Never locked over an await.
    pub state: Mutex<State>,
    /// The message bus.
    pub bus: SharedBus,
    /// The designer.
    pub designer: DesignerClient,
    /// This node's broker, for the entities that the master publishes.
    pub broker: BrokerClient,
    /// Discovery and the brokers that it names.
    pub peers: Peers,
    /// Figures.
    pub metrics: Metrics,
    /// Ends all.
    pub shutdown: CancellationToken,
    /// "Look at the state": the reconciler.
    pub wake: Notify,
    /// "Look at the registry."
    pub registry_nudge: Notify,
    /// "Look at the selectors and lookups."
    pub discovery_nudge: Notify,
    /// "Look at the questions to brokers."
    pub lookup_nudge: Notify,
    /// "Look at what is to be reported, published and stored."
    pub report_nudge: Notify,
    /// See [`Master::report_nudge`].
    pub publish_nudge: Notify,
    /// See [`Master::report_nudge`].
    pub store_nudge: Notify,
    /// "The lease may be lost."
    pub lease_nudge: Notify,
}

impl Master {
    /// How it describes itself; where port 0 is configured, the agent's URL has the real one.
    #[must_use]
    pub fn profile(&self) -> MasterProfile {
        let mut profile = self.identity.profile.clone();
        if let (Some(host), Some(port)) = (profile.agent.strip_suffix(":0"), self.agent_port.get()) {
            profile.agent = format!("{host}:{port}");
        }
        profile
    }

    /// The agent listens.
    pub fn set_agent_port(&self, port: u16) {
        // Set once, at the start.
        let _ = self.agent_port.set(port);
    }

    /// Changes the state, then wakes the reconciler.
    pub fn change<R>(&self, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let result = change(&mut self.state.lock(), Instant::now());
        self.wake.notify_one();
        result
    }

    /// Reads the state.
    pub fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.state.lock())
    }

    /// Wakes everyone who carries changes outside.
    pub fn nudge_outlets(&self) {
        for nudge in [&self.report_nudge, &self.publish_nudge, &self.store_nudge, &self.discovery_nudge] {
            nudge.notify_one();
        }
    }

    /// Waits for a nudge, at most this long. False at shutdown.
    pub async fn wait(&self, nudge: &Notify, limit: Duration) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            () = nudge.notified() => true,
            () = tokio::time::sleep(limit) => true,
        }
    }

    /// Sleeps. False at shutdown.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}
