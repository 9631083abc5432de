//! One active replica per worker, by a Lease (`coordination.k8s.io/v1`).
//!
//! The holder renews; a standby takes over once it has seen no renewal for the lease's length, by its own clock, so that
//! clocks need not agree. A holder that cannot renew gives up before that. What replicas make has the same names whoever
//! makes it, so that even two that overlap for a moment make nothing twice.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Error};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::words;
use super::names::{FIELD_MANAGER, MANAGED_BY};

const CALL: Duration = Duration::from_secs(2);
/// Between two looks of a standby.
const LOOK: Duration = Duration::from_secs(1);

/// A lease that this process holds or wants.
#[derive(Clone)]
pub(crate) struct Leadership {
    pub(crate) api: Api<Lease>,
    pub(crate) name: String,
    /// Unique among replicas and restarts.
    pub(crate) identity: String,
    pub(crate) length: Duration,
    /// Reference to the worker's own Deployment, once it is known: with that the lease goes, too.
    pub(crate) owner: Arc<OnceLock<Value>>,
}

/// The last change of a lease that was seen, and when.
#[derive(Clone, Debug)]
struct Sighting {
    version: Option<String>,
    at: Instant,
}

/// What a standby may do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Take,
    Wait,
}

/// Decides. `unchanged_for` is how long the lease has been seen without a change.
fn decide(spec: &LeaseSpec, me: &str, unchanged_for: Duration, length: Duration) -> Move {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    // The holder's own idea of the length counts, should configurations differ.
    let theirs = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(length, Duration::from_secs);
    if holder.is_empty() || holder == me || unchanged_for >= theirs { Move::Take } else { Move::Wait }
}

impl Leadership {
    /// Waits until this process holds the lease.
    pub(crate) async fn acquire(&self) {
        let mut seen = Sighting { version: None, at: Instant::now() };
        let mut holder = String::new();
        loop {
            match tokio::time::timeout(CALL, self.attempt(&mut seen, &mut holder)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the lease cannot be asked for"),
                Err(_) => tracing::warn!(lease = self.name, "the lease cannot be asked for: no answer"),
            }
            tokio::time::sleep(LOOK.mul_f64(rand::random_range(0.5..=1.0))).await;
        }
    }

    async fn attempt(&self, seen: &mut Sighting, holder: &mut String) -> Result<bool, Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return won(self.api.create(&PostParams::default(), &self.lease(LeaseSpec::default(), None)).await);
        };
        let version = lease.metadata.resource_version.clone();
        if seen.version != version {
            *seen = Sighting { version: version.clone(), at: Instant::now() };
        }
        let spec = lease.spec.take().unwrap_or_default();
        if decide(&spec, &self.identity, seen.at.elapsed(), self.length) == Move::Wait {
            let present = spec.holder_identity.unwrap_or_default();
            if *holder != present {
                tracing::info!(lease = self.name, holder = present, "standing by");
                *holder = present;
            }
            return Ok(false);
        }
        won(self.api.replace(&self.name, &PostParams::default(), &self.lease(spec, version)).await)
    }

    /// Renews until `retired`, then gives the lease back.
    ///
    /// # Errors
    /// When the lease is another's or could not be renewed in time: this process must not go on.
    pub(crate) async fn keep(&self, retired: CancellationToken) -> anyhow::Result<()> {
        let mut renewed = Instant::now();
        // Three attempts, and a rest in which to end before somebody else begins.
        let pause = self.length / 5;
        let limit = self.length * 7 / 10;
        loop {
            tokio::select! {
                () = retired.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
                () = tokio::time::sleep(pause) => {}
            }
            match tokio::time::timeout(CALL, self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => bail!("the lease {} is another worker's", self.name),
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the lease is not renewed"),
                Err(_) => tracing::warn!(lease = self.name, "the lease is not renewed: no answer"),
            }
            if renewed.elapsed() > limit {
                bail!("the lease {} could not be renewed for {} s", self.name, renewed.elapsed().as_secs());
            }
        }
    }

    async fn renew(&self) -> Result<bool, Error> {
        let lease = self.api.get(&self.name).await?;
        let spec = lease.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(false);
        }
        won(self.api.replace(&self.name, &PostParams::default(), &self.lease(spec, lease.metadata.resource_version)).await)
    }

    /// Leaves the lease to whoever asks next. If that fails, they have to wait.
    async fn release(&self) {
        let leave = async {
            let lease = self.api.get(&self.name).await?;
            let spec = lease.spec.unwrap_or_default();
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            let mut next = self.lease(spec, lease.metadata.resource_version);
            if let Some(spec) = &mut next.spec {
                spec.holder_identity = Some(String::new());
            }
            self.api.replace(&self.name, &PostParams::default(), &next).await.map(drop)
        };
        match tokio::time::timeout(CALL, leave).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(lease = self.name, error = %words(&error), "the lease is not given back"),
            Err(_) => tracing::warn!(lease = self.name, "the lease is not given back: no answer"),
        }
    }

    /// The lease as it is when this process has it.
    fn lease(&self, before: LeaseSpec, version: Option<String>) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let is_mine = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            acquire_time: before.acquire_time.filter(|_| is_mine).or_else(|| Some(now.clone())),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.length.as_secs()).unwrap_or(i32::MAX)),
            lease_transitions: Some(if is_mine { transitions } else { transitions.saturating_add(1) }),
            renew_time: Some(now),
            ..LeaseSpec::default()
        };
        let labels = [(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())].into();
        let owner = self.owner.get().and_then(|owner| OwnerReference::deserialize(owner).ok());
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            resource_version: version,
            labels: Some(labels),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
}

/// Whether a write was the first: a conflict means that somebody else was.
fn won(outcome: Result<Lease, Error>) -> Result<bool, Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(10), ..LeaseSpec::default() }
    }

    #[test]
    fn a_standby_takes_a_lease_that_is_free_its_own_or_silent_for_as_long_as_its_holder_promised() {
        let seconds = Duration::from_secs;
        assert_eq!(decide(&held_by("other"), "me", seconds(9), seconds(10)), Move::Wait);
        assert_eq!(decide(&held_by("other"), "me", seconds(10), seconds(60)), Move::Take);
        assert_eq!(decide(&held_by(""), "me", seconds(0), seconds(10)), Move::Take);
        assert_eq!(decide(&held_by("me"), "me", seconds(0), seconds(10)), Move::Take);
        assert_eq!(decide(&LeaseSpec::default(), "me", seconds(0), seconds(10)), Move::Take);
    }
}
