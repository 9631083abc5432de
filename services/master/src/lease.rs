//! Leadership: one master leads per registry, by a lease that the designer grants (one mechanism for every store).
//!
//! The time that counts is the one before the request: a lease is held until then plus its length, whatever the answer took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::master::Master;

/// Name of the lease.
pub const LEASE: &str = "master";
const TTL: Duration = Duration::from_secs(3);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer is worth nothing.
const PATIENCE: Duration = Duration::from_millis(900);
/// While the designer is not there yet.
const KNOCK_EVERY: Duration = Duration::from_millis(200);
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes and renews the lease until shutdown, then gives it back.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>, former_holder: Option<String>) -> anyhow::Result<()> {
    if let Some(former) = former_holder {
        // This store had another holder, and a store has one process at a time: that one is gone.
        let given_back = master.designer.release_lease(LEASE, &former);
        if !matches!(tokio::time::timeout(PATIENCE, given_back).await, Ok(Ok(()))) {
            tracing::debug!(former, "the lease of the former start could not be given back; it ends by itself");
        }
    }
    let mut held_until: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let request = master.designer.acquire_lease(LEASE, &master.identity.holder, TTL);
        let pause = match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(reply)) if reply.granted => {
                held_until = Some(asked + TTL);
                lead(&master, reply.epoch);
                RENEW_EVERY
            }
            Ok(Ok(reply)) => {
                held_until = None;
                follow(&master, &format!("{} leads", reply.holder));
                RENEW_EVERY
            }
            // An upstream designer grants no leases; its only master leads.
            Ok(Err(error)) if error.status() == Some(404) => {
                held_until = None;
                lead(&master, 0);
                RENEW_EVERY
            }
            Ok(Err(_)) | Err(_) if held_until.is_some_and(|until| Instant::now() < until) => KNOCK_EVERY,
            Ok(Err(error)) => {
                held_until = None;
                follow(&master, &error.to_string());
                KNOCK_EVERY
            }
            Err(_) => {
                held_until = None;
                follow(&master, "the designer does not answer in time");
                KNOCK_EVERY
            }
        };
        if !master.wait(&master.lease_nudge, pause).await {
            break;
        }
    }
    master.change(|state, _| state.follow());
    let given_back = master.designer.release_lease(LEASE, &master.identity.holder);
    if !matches!(tokio::time::timeout(FAREWELL, given_back).await, Ok(Ok(()))) {
        tracing::debug!("the lease could not be given back; it ends by itself");
    }
    Ok(())
}

fn lead(master: &Master, epoch: u64) {
    let led = master.read(|state| state.epoch().is_some());
    master.change(|state, now| state.lead(epoch, now));
    if !led {
        tracing::info!(epoch, "this master has the lease");
        master.registry_nudge.notify_one();
        master.discovery_nudge.notify_one();
    }
}

fn follow(master: &Master, reason: &str) {
    if master.read(|state| state.epoch().is_some()) {
        tracing::warn!(reason, "this master no longer leads");
        master.change(|state, _| state.follow());
    }
}
