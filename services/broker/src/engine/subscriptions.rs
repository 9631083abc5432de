//! Making, showing and ending subscriptions.

use std::sync::Arc;
use std::time::Duration;

use fogflow_chassis::outbound;
use fogflow_ngsi::{Tenant, Timestamp};
use fogflow_store::{Sequence, StoreError};
use smol_str::{SmolStr, format_smolstr};

use super::Engine;
use crate::matcher::SharedWatch;
use crate::notifier::{History, Outbox, Start};
use crate::subscription::{Face, Subscription, registry};

/// How long an answer waits until this replica has applied the write, which is durable already.
const APPLY: Duration = Duration::from_secs(1);

/// Why a subscription was not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something in it is wrong; says what.
    #[error("{0}")]
    Invalid(String),
    /// The id is taken.
    #[error("a subscription with this id exists already")]
    AlreadyExists,
    /// There is no such subscription.
    #[error("there is no such subscription")]
    NotFound,
    /// There are as many as the configuration allows (`broker.max_subscriptions`).
    #[error("there are too many subscriptions")]
    TooMany,
    /// The store has no space left.
    #[error("there is no space left to store the subscription")]
    Full,
    /// The store does not answer.
    #[error("not stored: {0}")]
    Unavailable(String),
}

impl Refused {
    /// The HTTP status that says the same.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refused::Invalid(_) => 400,
            Refused::AlreadyExists => 409,
            Refused::NotFound => 404,
            Refused::TooMany | Refused::Unavailable(_) => 503,
            Refused::Full => 507,
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Refused::Full,
            other => Refused::Unavailable(other.to_string()),
        }
    }
}

/// A subscription as a face shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The subscription.
    pub subscription: Arc<Subscription>,
    /// How its notifications went.
    pub history: History,
    /// How many were sent since the broker's start.
    pub times_sent: u64,
    /// Whether it is active now (not paused, not expired).
    pub active: bool,
}

fn shown(watch: &SharedWatch<Outbox>) -> Shown {
    Shown {
        subscription: Arc::clone(&watch.subscription),
        history: watch.payload.history.lock().clone(),
        times_sent: watch.payload.times_sent(),
        active: watch.subscription.active(Timestamp::now()),
    }
}

impl Engine {
    /// Makes a subscription; durable when this returns. An empty id is filled in; the id in use is returned. The present
    /// state of what matches is sent first, unless the subscription says otherwise.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was made then.
    pub async fn subscribe(&self, mut subscription: Subscription) -> Result<SmolStr, Refused> {
        let inner = &self.inner;
        if inner.notifier.len() >= inner.config.max_subscriptions {
            return Err(Refused::TooMany);
        }
        if subscription.id.is_empty() {
            let id = uuid::Uuid::new_v4();
            subscription.id =
                if subscription.face == Face::Ld { format_smolstr!("urn:ngsi-ld:Subscription:{id}") } else { format_smolstr!("{id}") };
        }
        let filter = checked(&subscription)?;
        let Some(stored) = registry::save(&inner.store, &subscription, true).await? else { return Err(Refused::AlreadyExists) };
        let start = if subscription.skip_initial { Start::Now } else { Start::Initial };
        let id = subscription.id.clone();
        self.begin(subscription, filter, start, stored).await;
        Ok(id)
    }

    /// Puts a subscription in the place of the one with its id; what the old one had waiting is sent by the new one.
    ///
    /// # Errors
    /// See [`Refused`]; the old one stands then.
    pub async fn replace(&self, mut subscription: Subscription) -> Result<(), Refused> {
        let old = self.subscription(&subscription.tenant, &subscription.id).ok_or(Refused::NotFound)?;
        subscription.created_at = old.subscription.created_at;
        subscription.modified_at = Timestamp::now();
        let filter = checked(&subscription)?;
        let stored = registry::save(&self.inner.store, &subscription, false).await?.unwrap_or(0);
        self.begin(subscription, filter, Start::Now, stored).await;
        Ok(())
    }

    /// Places the subscription of another broker, or puts it in the place of its older form.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn place(&self, subscription: Subscription) -> Result<(), Refused> {
        let filter = checked(&subscription)?;
        let stored = registry::save(&self.inner.store, &subscription, false).await?.unwrap_or(0);
        // The other broker asks because it does not have the state, perhaps after a restart.
        self.begin(subscription, filter, Start::Initial, stored).await;
        Ok(())
    }

    /// Begins to serve a stored subscription. Among replicas it comes back by the log, to each of them.
    async fn begin(&self, subscription: Subscription, filter: crate::filter::Filter, start: Start, stored: Sequence) {
        if let Some(line) = &self.inner.line {
            let _ = line.reached(stored, APPLY).await;
            return;
        }
        let subscription = Arc::new(subscription);
        self.inner.notifier.add(Arc::clone(&subscription), filter, start, stored);
        if !subscription.internal {
            self.inner.federation.watch(&subscription);
        }
    }

    /// Ends a subscription; durable when this returns. Its remote parts are ended in the background. Returns whether
    /// there was one.
    ///
    /// # Errors
    /// [`Refused::Full`] or [`Refused::Unavailable`]; it stands then.
    pub async fn unsubscribe(&self, tenant: &Tenant, id: &str) -> Result<bool, Refused> {
        if self.inner.notifier.get(tenant, id).is_none() {
            return Ok(false);
        }
        let deleted = registry::delete(&self.inner.store, tenant, id).await?;
        if let Some(line) = &self.inner.line {
            let _ = line.reached(deleted, APPLY).await;
            return Ok(true);
        }
        let removed = self.inner.notifier.remove(tenant, id);
        self.inner.federation.unwatch(tenant, id);
        Ok(removed)
    }

    /// The subscription with this id, also one of another broker.
    #[must_use]
    pub fn subscription(&self, tenant: &Tenant, id: &str) -> Option<Shown> {
        self.inner.notifier.get(tenant, id).as_ref().map(shown)
    }

    /// The subscriptions that clients of a tenant made through a face, by id; those of other brokers are not shown.
    #[must_use]
    pub fn subscriptions(&self, tenant: &Tenant, face: Face) -> Vec<Shown> {
        let mut all: Vec<Shown> = self
            .inner
            .notifier
            .of_tenant(tenant)
            .iter()
            .filter(|watch| !watch.subscription.internal && watch.subscription.face == face)
            .map(shown)
            .collect();
        all.sort_by(|a, b| a.subscription.id.cmp(&b.subscription.id));
        all
    }

    /// Ends what has expired and what other brokers no longer know, every now and then.
    ///
    /// # Errors
    /// Never.
    pub async fn tidy(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
            let now = Timestamp::now();
            let ended = |watch: &SharedWatch<Outbox>| {
                let expired = watch.subscription.face == Face::V1 && watch.subscription.expired(now);
                expired || (watch.subscription.internal && watch.payload.unknown_there())
            };
            for watch in self.inner.notifier.select(ended) {
                let subscription = &watch.subscription;
                if self.elsewhere(&subscription.tenant, &subscription.id).is_some() {
                    continue;
                }
                if let Err(error) = self.unsubscribe(&subscription.tenant, &subscription.id).await {
                    tracing::warn!(%error, subscription = %subscription.id, "an ended subscription is not removed yet");
                }
            }
        }
    }
}

fn checked(subscription: &Subscription) -> Result<crate::filter::Filter, Refused> {
    let filter = subscription.filter().map_err(Refused::Invalid)?;
    // NGSI-10 and upstream's other faces allow a subscription without an address, which can never notify; where the
    // standard does not, the face has refused it.
    if !subscription.target.url.is_empty() {
        outbound::check(&subscription.target.url).map_err(Refused::Invalid)?;
    }
    Ok(filter)
}
