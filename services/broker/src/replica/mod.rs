//! Several brokers of one site on one shared store: replicas of one logical broker.
//!
//! Every replica has the whole state, applied in the order of the store's commits ([`applier`]), and takes any request.
//! What must be done once is done by the one that holds a lease: each [slot](slots) of the subscriptions is matched and
//! sent by its owner, one replica registers at discovery. Leases run by the store's time; [`owner`] takes, renews and
//! gives them, so that the slots are spread evenly over the replicas that are alive ([`members`], [`balance`]).
//!
//! A broker on the embedded engine has its store for itself: one slot that is always its own, no leases, no reading of
//! the log.

pub mod applier;
pub mod balance;
pub mod fresh;
pub mod mail;
pub mod members;
pub mod owner;
pub mod slots;

use std::sync::Arc;

use fogflow_store::follow::SharedFollower;

use crate::federation::Federation;
use crate::notifier::Notifier;
use crate::registrar::Registrar;
use crate::state::State;
pub use applier::Own;
use members::Members;
use slots::Slots;

/// The way by which changes come into memory when the store is shared.
pub type Line = SharedFollower<Own>;

/// What of the broker the applier and the owner of leases work on together.
#[derive(Clone)]
pub struct Parts {
    /// Entities.
    pub state: Arc<State>,
    /// Subscriptions.
    pub notifier: Arc<Notifier>,
    /// Their parts at other sites.
    pub federation: Arc<Federation>,
    /// What discovery is told.
    pub registrar: Arc<Registrar>,
    /// Which subscriptions are ours.
    pub slots: Arc<Slots>,
    /// The replicas.
    pub members: Arc<Members>,
}
