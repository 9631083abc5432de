//! One of several replicas notifies subscribers and lets what is over end: the one that has the lease.
//!
//! All replicas know the same, so any can take over; it then sends every subscriber what matches now, since nobody knows
//! what the former one had sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_ngsi::Timestamp;
use fogflow_store::SharedStore;
use fogflow_store::follow::Follower;
use tokio::time::timeout;

use super::Registry;
use super::state::State;
use crate::clock::Clock;

const LEASE: &str = "discovery-duty";
const TTL: Duration = Duration::from_secs(3);
/// An answer that takes longer is worth nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Replicas that could not hear each other for longer do not hold silence against brokers.
const DEAF: Duration = Duration::from_secs(2);

/// Whether this replica notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// There are no other replicas.
    Always,
    /// Until the lease ends.
    Until(Instant),
    /// Another one does.
    Off,
}

impl Duty {
    pub(crate) fn is_on(self) -> bool {
        match self {
            Duty::Always => true,
            Duty::Until(end) => Instant::now() < end,
            Duty::Off => false,
        }
    }
}

impl Registry {
    /// Whether this replica has the lease, or had it and has not been told otherwise.
    fn is_counting_on_duty(&self) -> bool {
        self.state.read().duty != Duty::Off
    }

    fn on_duty(&self, until: Instant) {
        let mut state = self.state.write();
        // Whoever had it before, this one included, may have missed something once it had ended.
        let is_new = !state.duty.is_on();
        state.duty = Duty::Until(until);
        if is_new {
            tracing::info!("this replica notifies the availability subscribers");
            state.send_everything();
        }
        drop(state);
        self.ready.notify_one();
    }

    fn off_duty(&self) {
        if self.is_counting_on_duty() {
            tracing::info!("another replica notifies the availability subscribers");
            let mut state = self.state.write();
            state.duty = Duty::Off;
            state.subscriptions.values_mut().for_each(|subscription| subscription.queue.fill(Vec::new(), false));
        }
    }

    fn excuse_silence(&self, now: Timestamp) {
        self.state.write().brokers.excuse_silence(now);
    }
}

impl State {
    fn send_everything(&mut self) {
        let ids: Vec<_> = self.subscriptions.keys().cloned().collect();
        for id in ids {
            let found = self.index.watched(&id);
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.queue.fill(found, true);
            }
            self.call_for_sending(&id);
        }
    }
}

/// Takes part in the lease of the duty.
pub struct Watch {
    registry: Arc<Registry>,
    store: SharedStore,
    follower: Arc<Follower<()>>,
    clock: Clock,
    holder: String,
    heard: Instant,
}

impl Watch {
    /// For a replica of this name.
    #[must_use]
    pub fn new(registry: Arc<Registry>, store: SharedStore, follower: Arc<Follower<()>>, clock: Clock, holder: String) -> Self {
        Watch { registry, store, follower, clock, holder, heard: Instant::now() }
    }

    /// One round. Whether this replica shall do what time brings now.
    pub async fn round(&mut self) -> bool {
        let asked = Instant::now();
        let lease = timeout(PATIENCE, self.store.lease(LEASE, &self.holder, TTL)).await;
        let has_heard = self.follower.barrier(PATIENCE).await.is_ok();
        if has_heard {
            if self.heard.elapsed() > DEAF {
                self.registry.excuse_silence(self.clock.now());
            }
            self.heard = Instant::now();
        }
        match lease {
            // What was written before the lease was granted has to be known before it is told.
            Ok(Ok(lease)) if lease.granted && has_heard => {
                self.registry.on_duty(asked + TTL);
                true
            }
            Ok(Ok(lease)) if !lease.granted => {
                self.registry.off_duty();
                false
            }
            _ => false,
        }
    }

    /// Gives the lease back, so that the next one need not wait.
    pub async fn end(self) {
        self.registry.off_duty();
        let _ = timeout(PATIENCE, self.store.release(LEASE, &self.holder)).await;
    }
}
