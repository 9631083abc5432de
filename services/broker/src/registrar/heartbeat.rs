//! The broker's lease at discovery.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fogflow_client::ClientError;
use fogflow_ngsi::v1::availability::{Heartbeat, HeartbeatResponse};

use super::Registrar;

/// While discovery does not answer it is asked more often.
const IMPATIENT: Duration = Duration::from_secs(2);

impl Registrar {
    /// Renews the lease every `interval` until `stop` is done.
    ///
    /// # Errors
    /// Never.
    pub async fn beat(self: Arc<Self>, interval: Duration, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            let generation = self.generation.load(Ordering::Acquire);
            let beat = Heartbeat { id: self.me.id.clone(), my_url: self.me.url.clone(), generation };
            let round = self.rounds.load(Ordering::Acquire);
            let answer = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                answer = self.sign_of_life(&beat) => answer,
            };
            let pause = match answer {
                Ok(None) => {
                    self.set_reachable(true);
                    interval.min(IMPATIENT)
                }
                Ok(Some(answer)) => {
                    // A wish from before a registration that is under way or done is fulfilled by it.
                    let begun = round % 2 == 1 || self.rounds.load(Ordering::Acquire) != round;
                    if answer.registrations_wanted && !begun {
                        self.full.store(true, Ordering::Release);
                        self.wake.notify_one();
                    }
                    self.standing.send_if_modified(|standing| {
                        let changed = !standing.reachable || standing.epoch != answer.epoch;
                        standing.reachable = true;
                        standing.epoch.clone_from(&answer.epoch);
                        changed
                    });
                    interval
                }
                Err(error) => {
                    if self.reachable() {
                        tracing::warn!(%error, "discovery does not answer the heartbeat");
                    }
                    self.set_reachable(false);
                    interval.min(IMPATIENT)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => return Ok(()),
            }
        }
    }

    /// The heartbeat; from a replica that does not speak for all, only the question whether discovery is there.
    async fn sign_of_life(&self, beat: &Heartbeat) -> Result<Option<HeartbeatResponse>, ClientError> {
        if self.leads() {
            return self.discovery.heartbeat(beat).await.map(Some);
        }
        match self.discovery.status().await {
            Err(error) if error.is_unreachable() => Err(error),
            _ => Ok(None),
        }
    }
}
