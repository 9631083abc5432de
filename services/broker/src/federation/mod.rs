//! Entities that other brokers have: who owns them, updating them there, querying them, watching them, handing them over.
//!
//! An update is handed on at most once: what arrives from a broker is carried out here (F 9). Between our own brokers the
//! canonical commands and changes travel (see [`peer`]), so nothing is lost on the way; upstream's brokers are spoken to
//! in NGSI-10.

mod handover;
mod owners;
pub mod peer;
mod query;
mod upstream;
mod watches;

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_client::{Context, Peers};
use fogflow_ngsi::{EntityKey, Tenant};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::sync::Notify;

use crate::change::Origin;
use crate::metrics::Metrics;
use crate::registrar::{Me, Registrar};
use crate::state::State;
use crate::state::committer::Writer;

pub use owners::Owner;
pub use query::Remote;
use watches::Watched;

/// The federation with other brokers.
pub struct Federation {
    me: Me,
    peers: Peers,
    state: Arc<State>,
    writer: Writer,
    registrar: Arc<Registrar>,
    metrics: Arc<Metrics>,
    /// Recently found owners, by tenant and id.
    owners: owners::Cache,
    /// What the subscriptions of this broker's clients need elsewhere.
    watched: Mutex<HashMap<(Tenant, SmolStr), Watched, RandomState>>,
    /// Subscriptions whose remote parts are not as they should be.
    unsettled: Mutex<std::collections::BTreeSet<(Tenant, SmolStr)>>,
    /// Those that may have remote parts which nothing needs, and when to look.
    lingering: Mutex<std::collections::VecDeque<(std::time::Instant, (Tenant, SmolStr))>>,
    work: Notify,
}

/// What [`Federation`] is made of.
pub struct Parts {
    /// Who we are.
    pub me: Me,
    /// The way to others.
    pub peers: Peers,
    /// Our entities.
    pub state: Arc<State>,
    /// The way to write them.
    pub writer: Writer,
    /// What discovery is told.
    pub registrar: Arc<Registrar>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Federation {
    /// A federation that knows nobody yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { me, peers, state, writer, registrar, metrics } = parts;
        Federation {
            me,
            peers,
            state,
            writer,
            registrar,
            metrics,
            owners: owners::Cache::default(),
            watched: Mutex::default(),
            unsettled: Mutex::default(),
            lingering: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Who we are.
    #[must_use]
    pub fn me(&self) -> &Me {
        &self.me
    }

    fn context(&self, key: &EntityKey, origin: &Origin) -> Context {
        Context { service_path: key.path.to_string(), ..self.tenant_context(&key.tenant, origin) }
    }

    fn tenant_context(&self, tenant: &Tenant, origin: &Origin) -> Context {
        Context { tenant: tenant.0.to_string(), correlator: origin.correlator.to_string(), is_peer: true, ..Context::default() }
    }
}
