//! The remote parts of our clients' subscriptions.
//!
//! For each subscription there is one availability subscription at discovery, under the same id, and one subscription
//! at each other broker that has matching entities. Both are placed idempotently and tried again until they stand
//! (F 12); one broker never gets two for the same subscription (F 7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_client::{ClientError, Context};
use fogflow_ngsi::Tenant;
use fogflow_ngsi::v1::availability::{NotifyContextAvailabilityRequest, Snapshot, SubscribeContextAvailabilityRequest};
use fogflow_ngsi::v1::{EntityId, SubscribeContextRequest};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::query::wire_selectors;
use super::{Federation, Owner, peer};
use crate::change::Origin;
use crate::subscription::{Format, Subscription, Target};

/// First and longest wait before a remote part is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a remote part stays that no entity needs any more.
const LINGER: Duration = Duration::from_secs(2);
/// Subscriptions whose remote parts are placed at one time.
const AT_ONCE: usize = 32;

/// What one subscription needs elsewhere.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The subscription; `None` once it has ended and only its remote parts are left.
    subscription: Option<Arc<Subscription>>,
    /// Whether discovery has the availability subscription.
    announced: bool,
    owners: BTreeMap<Owner, Part>,
}

/// What is wanted of one broker, and what it was told.
#[derive(Debug, Default)]
struct Part {
    wanted: BTreeSet<SmolStr>,
    placed: Option<Placed>,
}

#[derive(Clone, Debug)]
struct Placed {
    /// The id there.
    id: SmolStr,
    /// The entities that it names; empty with our own brokers, which are told the whole filter.
    ids: BTreeSet<SmolStr>,
}

/// The name of an entity in [`Part::wanted`]: its id, and its service path if it has one, which upstream's never do.
fn mention(id: SmolStr, path: &SmolStr) -> SmolStr {
    if path.is_empty() { id } else { format_smolstr!("{path} {id}") }
}

impl Part {
    fn drop_id(&mut self, id: &str) {
        self.wanted.remove(id);
    }

    fn settled(&self, owner: &Owner) -> bool {
        match &self.placed {
            None => self.wanted.is_empty(),
            Some(placed) => !self.wanted.is_empty() && (owner.is_ours() || placed.ids == self.wanted),
        }
    }
}

impl Federation {
    /// Begins to watch for a subscription at other brokers.
    pub fn watch(&self, subscription: &Arc<Subscription>) {
        let key = (subscription.tenant.clone(), subscription.id.clone());
        let mut watched = self.watched.lock();
        let entry = watched.entry(key.clone()).or_default();
        entry.subscription = Some(Arc::clone(subscription));
        entry.announced = false;
        // Their conditions may have changed: they are told again.
        entry.owners.iter_mut().for_each(|(owner, part)| {
            if owner.is_ours() {
                part.placed = None;
            }
        });
        drop(watched);
        self.unsettle([key]);
    }

    /// Ends the remote parts of a subscription; in the background, so that no caller waits for other brokers (F 16).
    pub fn unwatch(&self, tenant: &Tenant, id: &str) {
        let key = (tenant.clone(), SmolStr::new(id));
        let mut watched = self.watched.lock();
        let Some(entry) = watched.get_mut(&key) else { return };
        entry.subscription = None;
        entry.owners.values_mut().for_each(|part| part.wanted.clear());
        drop(watched);
        self.unsettle([key]);
    }

    /// Another replica looks after the remote parts of a subscription now; they stay as they are.
    pub fn forget(&self, tenant: &Tenant, id: &str) {
        self.watched.lock().remove(&(tenant.clone(), SmolStr::new(id)));
    }

    fn unsettle(&self, keys: impl IntoIterator<Item = (Tenant, SmolStr)>) {
        self.unsettled.lock().extend(keys);
        self.work.notify_one();
    }

    /// How many subscriptions have remote parts or wait for them.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.lock().len()
    }

    /// Takes in what discovery says of the entities that match a subscription. `false` when there is no such
    /// subscription: discovery may forget it.
    pub fn availability(&self, tenant: &Tenant, notification: NotifyContextAvailabilityRequest) -> bool {
        let code = notification.error_code.code;
        let begins = code == 201 && notification.snapshot.is_none_or(|snapshot| snapshot == Snapshot::Begin);
        let mut watched = self.watched.lock();
        let by_tenant = (tenant.clone(), notification.subscribe_id.clone());
        let key = if watched.contains_key(&by_tenant) {
            by_tenant
        } else {
            match watched.keys().find(|(_, id)| *id == notification.subscribe_id) {
                Some(found) => found.clone(),
                None => {
                    // Left over from an earlier life: it is ended at discovery.
                    watched.insert(by_tenant.clone(), Watched { announced: true, ..Watched::default() });
                    drop(watched);
                    self.unsettle([by_tenant]);
                    return false;
                }
            }
        };
        let Some(entry) = watched.get_mut(&key).filter(|entry| entry.subscription.is_some()) else { return false };
        if begins {
            entry.owners.values_mut().for_each(|part| part.wanted.clear());
        }
        for registration in notification.responses.into_iter().map(|response| response.registration) {
            let owner = Owner { url: registration.providing_application, id: registration.broker_id };
            let path = registration.service_path;
            let ids = registration.entities.into_iter().map(|entity| mention(entity.id, &path));
            if self.is_me(&owner) {
                // What is ours now is nobody else's any more.
                if code != 410 {
                    for id in ids {
                        entry.owners.values_mut().for_each(|part| part.drop_id(&id));
                    }
                }
            } else if code == 410 {
                if let Some(part) = entry.owners.get_mut(&owner) {
                    ids.for_each(|id| part.drop_id(&id));
                }
            } else {
                let ids: Vec<SmolStr> = ids.collect();
                for (_, part) in entry.owners.iter_mut().filter(|(other, _)| **other != owner) {
                    ids.iter().for_each(|id| part.drop_id(id));
                }
                entry.owners.entry(owner).or_default().wanted.extend(ids);
            }
        }
        let open: Vec<bool> =
            entry.owners.iter().filter(|(owner, part)| !part.settled(owner)).map(|(_, part)| part.wanted.is_empty()).collect();
        drop(watched);
        if open.contains(&false) {
            self.unsettle([key]);
        } else if !open.is_empty() {
            // What the other broker still has to say of its last entity, its deletion above all, shall arrive.
            self.lingering.lock().push_back((Instant::now() + LINGER, key));
            self.work.notify_one();
        }
        true
    }

    /// The subscription of ours that a remote broker's notification is for, by the id that it was placed under there.
    #[must_use]
    pub fn main_of(&self, tenant: &Tenant, remote: &str) -> Option<SmolStr> {
        if let Some(id) = peer::main_id(remote, &self.me.id) {
            return self.watched.lock().contains_key(&(tenant.clone(), id.into())).then(|| id.into());
        }
        let watched = self.watched.lock();
        let placed = |entry: &Watched| entry.owners.values().any(|part| part.placed.as_ref().is_some_and(|placed| placed.id == remote));
        watched.iter().find(|(_, entry)| placed(entry)).map(|((_, id), _)| id.clone())
    }

    /// Everything is announced again: discovery has lost what it knew.
    pub fn announce_again(&self) {
        let mut watched = self.watched.lock();
        watched.values_mut().for_each(|entry| entry.announced = false);
        let keys: Vec<_> = watched.keys().cloned().collect();
        drop(watched);
        self.unsettle(keys);
    }

    /// Brings the remote parts to where they should be, as long as the broker runs; tries again what fails. Several at a
    /// time: a broker that hangs delays only the subscriptions that need it.
    ///
    /// # Errors
    /// Never.
    pub async fn settle_all(self: Arc<Self>, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut standing = self.registrar.standing();
        let mut epoch = SmolStr::default();
        let mut running = FuturesUnordered::new();
        let mut busy: BTreeSet<(Tenant, SmolStr)> = BTreeSet::new();
        let mut failed: BTreeSet<(Tenant, SmolStr)> = BTreeSet::new();
        let mut pause = RETRY.0;
        let mut retry_at = Instant::now();
        loop {
            // Without discovery nothing can be settled; its return is noticed by the heartbeat.
            let limit = if self.registrar.reachable() { AT_ONCE.saturating_sub(running.len()) } else { 0 };
            for key in self.take_unsettled(&busy, limit) {
                busy.insert(key.clone());
                let this = Arc::clone(&self);
                running.push(async move { (this.settle(&key).await, key) });
            }
            let lingers = self.lingering.lock().front().map(|(until, _)| *until);
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep_until(lingers.unwrap_or_else(Instant::now).into()), if lingers.is_some() => {
                    let due = self.lingering.lock().pop_front();
                    self.unsettled.lock().extend(due.map(|(_, key)| key));
                }
                Some((result, key)) = running.next(), if !running.is_empty() => {
                    busy.remove(&key);
                    match result {
                        Ok(()) => pause = RETRY.0,
                        Err(error) => {
                            tracing::debug!(subscription = %key.1, %error, "a remote part of a subscription is not placed yet");
                            if failed.is_empty() {
                                retry_at = Instant::now() + pause;
                            }
                            failed.insert(key);
                        }
                    }
                }
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(retry_at.into()), if !failed.is_empty() => {
                    pause = (pause * 2).min(RETRY.1);
                    self.unsettled.lock().append(&mut failed);
                }
                changed = standing.changed() => if changed.is_err() { return Ok(()) },
            }
            let present = standing.borrow_and_update().clone();
            if present.reachable && present.epoch != epoch {
                if !epoch.is_empty() {
                    self.announce_again();
                }
                epoch = present.epoch;
                retry_at = Instant::now();
            }
        }
    }

    /// Unsettled subscriptions that nobody is at work on.
    fn take_unsettled(&self, busy: &BTreeSet<(Tenant, SmolStr)>, limit: usize) -> Vec<(Tenant, SmolStr)> {
        let mut unsettled = self.unsettled.lock();
        let taken: Vec<_> = unsettled.iter().filter(|key| !busy.contains(*key)).take(limit).cloned().collect();
        taken.iter().for_each(|key| {
            unsettled.remove(key);
        });
        taken
    }

    async fn settle(&self, key: &(Tenant, SmolStr)) -> Result<(), ClientError> {
        let Some((subscription, announced, work)) = self.plan(key) else { return Ok(()) };
        match &subscription {
            Some(subscription) if !announced => {
                self.peers.discovery().subscribe(&self.announcement(subscription)).await?;
                if let Some(entry) = self.watched.lock().get_mut(key) {
                    entry.announced = true;
                }
            }
            None if announced => {
                self.peers.discovery().unsubscribe(&key.1).await?;
                if let Some(entry) = self.watched.lock().get_mut(key) {
                    entry.announced = false;
                }
            }
            _ => {}
        }
        let mut result = Ok(());
        for (owner, wanted, placed) in work {
            let outcome = match &subscription {
                Some(subscription) if !wanted.is_empty() => self.place(subscription, &owner, &wanted, placed.as_ref()).await.map(Some),
                _ => self.withdraw(&key.0, &owner, placed.as_ref()).await.map(|()| None),
            };
            match outcome {
                Ok(placed) => {
                    if let Some(part) = self.watched.lock().get_mut(key).and_then(|entry| entry.owners.get_mut(&owner)) {
                        part.placed = placed;
                    }
                }
                Err(error) => result = Err(error),
            }
        }
        self.forget_finished(key);
        result
    }

    /// What there is to do for a subscription.
    #[allow(clippy::type_complexity, reason = "used once, right here")]
    fn plan(&self, key: &(Tenant, SmolStr)) -> Option<(Option<Arc<Subscription>>, bool, Vec<(Owner, BTreeSet<SmolStr>, Option<Placed>)>)> {
        let watched = self.watched.lock();
        let entry = watched.get(key)?;
        let unsettled = entry.owners.iter().filter(|(owner, part)| !part.settled(owner));
        let work = unsettled.map(|(owner, part)| (owner.clone(), part.wanted.clone(), part.placed.clone())).collect();
        Some((entry.subscription.clone(), entry.announced, work))
    }

    /// Nothing is kept of subscriptions and brokers that are no longer concerned (F 17).
    fn forget_finished(&self, key: &(Tenant, SmolStr)) {
        let mut watched = self.watched.lock();
        let Some(entry) = watched.get_mut(key) else { return };
        entry.owners.retain(|_, part| part.placed.is_some() || !part.wanted.is_empty());
        if entry.subscription.is_none() && !entry.announced && entry.owners.is_empty() {
            watched.remove(key);
        }
    }

    fn announcement(&self, subscription: &Subscription) -> SubscribeContextAvailabilityRequest {
        SubscribeContextAvailabilityRequest {
            entities: wire_selectors(&subscription.entities),
            attributes: subscription.required.iter().map(|name| name.as_str().into()).collect(),
            reference: format_smolstr!("{}/notifyContextAvailability", self.me.url),
            restriction: subscription.restriction.clone(),
            subscription_id: subscription.id.clone(),
            tenant: subscription.tenant.0.clone(),
            ..SubscribeContextAvailabilityRequest::default()
        }
    }

    async fn place(
        &self,
        subscription: &Subscription,
        owner: &Owner,
        wanted: &BTreeSet<SmolStr>,
        placed: Option<&Placed>,
    ) -> Result<Placed, ClientError> {
        let context = self.tenant_context(&subscription.tenant, &Origin::default());
        if owner.is_ours() {
            let remote = self.remote(subscription);
            let id = remote.id.clone();
            let _: Value = self.say(owner, peer::SUBSCRIBE, &remote, &context).await?;
            return Ok(Placed { id, ids: BTreeSet::new() });
        }
        let request = SubscribeContextRequest {
            entities: wanted.iter().map(|id| EntityId { id: id.clone(), ..EntityId::default() }).collect(),
            reference: self.me.url.clone(),
            ..SubscribeContextRequest::default()
        };
        let context = Context { require_reliability: true, ..context };
        let id = self.peers.provider(&owner.url).subscribe(&request, &context).await?;
        if let Some(old) = placed {
            // The new one stands; should the old one stay, its notifications are not known any more and dropped.
            let _ = self.peers.provider(&owner.url).unsubscribe(&old.id, &context).await;
        }
        Ok(Placed { id: id.into(), ids: wanted.clone() })
    }

    async fn withdraw(&self, tenant: &Tenant, owner: &Owner, placed: Option<&Placed>) -> Result<(), ClientError> {
        let Some(placed) = placed else { return Ok(()) };
        let context = self.tenant_context(tenant, &Origin::default());
        let result = if owner.is_ours() {
            let body = peer::Unsubscribe { tenant: tenant.clone(), id: placed.id.clone() };
            self.say::<_, Value>(owner, peer::UNSUBSCRIBE, &body, &context).await.map(drop)
        } else {
            self.peers.provider(&owner.url).unsubscribe(&placed.id, &context).await
        };
        match result {
            // A broker that is gone has nothing to withdraw; when it comes back it finds that its peer does not know it.
            Err(error) if !error.is_unreachable() => Err(error),
            _ => Ok(()),
        }
    }

    /// The subscription as another of our brokers is to have it.
    fn remote(&self, subscription: &Subscription) -> Subscription {
        Subscription {
            id: peer::remote_id(&subscription.id, &self.me.id),
            target: Target { url: self.me.url.clone(), format: Format::Peer, ..Target::default() },
            attributes: Vec::new(),
            except: Vec::new(),
            throttling_ms: 0,
            correlator: SmolStr::default(),
            internal: true,
            document: fogflow_ngsi::Json::NULL,
            ..subscription.clone()
        }
    }
}
