//! The directory service itself: the state behind one lock, what is asked of it, and the hand-over to storage and notifier.

pub mod duty;
mod persist;
mod register;
mod replica;
mod state;

use std::sync::Arc;

use fogflow_chassis::outbound;
use fogflow_ngsi::v1::availability::{
    DiscoverContextAvailabilityRequest, Heartbeat, RegisterContextRequest, SubscribeContextAvailabilityRequest,
};
use fogflow_ngsi::{Name, Tenant, Timestamp};
use parking_lot::RwLock;
use smol_str::{SmolStr, ToSmolStr};
use tokio::sync::{Notify, watch};

use crate::brokers::{Broker, Presence};
use crate::clock::{self, Clock};
use crate::filter::Filter;
use crate::index::{Directory, Found};
use crate::model::{EntityRef, Registration};
use crate::notify::queue::{Batch, Next, Queue};
use persist::Progress;
pub use persist::{load, write_behind};
pub use register::Registered;
pub use replica::{Others, Replica};
use state::{State, Subscription};

/// How many changed entities may wait for one subscriber before they are replaced by a snapshot.
const QUEUE_BOUND: usize = 100_000;
/// How many entities one notification carries at most.
const BATCH: usize = 500;
/// A subscription whose subscriber has not answered for this long is dropped (microseconds).
const ABANDONED: i64 = 24 * 3600 * 1_000_000;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is wrong; the text names the member.
    #[error("{0}")]
    Invalid(String),
    /// It could not be made durable.
    #[error("not stored: {0}")]
    Unstored(String),
}

/// What is known of one entity, for `GET /ngsi9/registration/{id}`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The registration.
    pub registration: Arc<Registration>,
    /// Whether its owner is there.
    pub alive: bool,
}

/// A number for each metric of discovery.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Registered entities, also of lost brokers.
    pub registrations: usize,
    /// Availability subscriptions.
    pub subscriptions: usize,
    /// Brokers with a valid lease.
    pub brokers: usize,
    /// Entities of which some subscriber has yet to be told.
    pub waiting: usize,
}

/// The service.
#[derive(Debug)]
pub struct Registry {
    state: RwLock<State>,
    /// Something has to be stored.
    changed: Notify,
    /// Something has to be sent.
    ready: Notify,
    progress: watch::Sender<Progress>,
    epoch: SmolStr,
    clock: Clock,
}

impl Registry {
    /// An empty one. `epoch` names the store behind it.
    #[must_use]
    pub fn new(heartbeat_seconds: u64, epoch: &str, clock: Clock) -> Self {
        Registry {
            state: RwLock::new(State::new(heartbeat_seconds)),
            changed: Notify::new(),
            ready: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
            epoch: SmolStr::new(epoch),
            clock,
        }
    }

    /// Names the store: a new one makes brokers register and subscribe anew.
    #[must_use]
    pub fn epoch(&self) -> &SmolStr {
        &self.epoch
    }

    /// `registerContext`. Applied when it returns, durable after [`Registry::durable`] with the returned version.
    ///
    /// # Errors
    /// [`Refusal::Invalid`]; then nothing was applied.
    pub fn register(&self, request: RegisterContextRequest, tenant: &Tenant, now: Timestamp) -> Result<(Registered, u64), Refusal> {
        register::validate(&request).map_err(Refusal::Invalid)?;
        Ok(self.change(|state| state.register(request, tenant, now)))
    }

    /// `DELETE /ngsi9/registration/{id}`; an unknown id is no error.
    pub fn deregister(&self, key: &EntityRef) -> u64 {
        self.change(|state| state.remove(key)).1
    }

    /// A heartbeat; returns whether the broker shall register everything again.
    ///
    /// # Errors
    /// If the broker has no id.
    pub fn heartbeat(&self, beat: &Heartbeat, now: Timestamp) -> Result<bool, Refusal> {
        if beat.id.is_empty() {
            return Err(Refusal::Invalid("id: is empty".to_owned()));
        }
        let generation = Some(beat.generation).filter(|generation| *generation != 0);
        let (wanted, _) = self.change(|state| {
            state.sign_of_life(&beat.id, &beat.my_url, generation, now);
            state.brokers.get(&beat.id).is_some_and(Broker::registrations_wanted)
        });
        Ok(wanted)
    }

    /// `subscribeContextAvailability`: creates a subscription, or replaces it when the request names its id. Returns the id.
    ///
    /// # Errors
    /// [`Refusal::Invalid`]; then nothing was changed.
    pub fn subscribe(
        &self,
        mut request: SubscribeContextAvailabilityRequest,
        tenant: Tenant,
        now: Timestamp,
    ) -> Result<(SmolStr, u64), Refusal> {
        let expires = clock::end_of(&request.duration, now).map_err(Refusal::Invalid)?;
        outbound::check(request.reference.trim()).map_err(|why| Refusal::Invalid(format!("reference: {why}")))?;
        // Whoever names its subscription also wants to hear that nothing matches any more.
        let named = !request.subscription_id.is_empty();
        if !named {
            request.subscription_id = uuid::Uuid::new_v4().to_smolstr();
        }
        request.tenant = tenant.0;
        let filter = Filter::of_subscription(&request).map_err(Refusal::Invalid)?;
        let id = request.subscription_id.clone();
        let ((), version) = self.change(|state| state.subscribe(request, filter, expires, named, now));
        Ok((id, version))
    }

    /// `unsubscribeContextAvailability`; an unknown id is no error.
    pub fn unsubscribe(&self, id: &SmolStr) -> u64 {
        self.change(|state| state.unsubscribe(id)).1
    }

    /// `discoverContextAvailability`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`].
    pub fn discover(&self, request: &DiscoverContextAvailabilityRequest, tenant: Tenant) -> Result<Vec<Found>, Refusal> {
        let filter = Filter::of_query(request, tenant).map_err(Refusal::Invalid)?;
        Ok(self.state.read().index.get(&filter))
    }

    /// The registration of an entity; without a path, of the first service path that has the id.
    #[must_use]
    pub fn entity(&self, tenant: &Tenant, id: &str, path: Option<&str>) -> Option<Entry> {
        let state = self.state.read();
        let registration = state.index.with_id(tenant, id).find(|found| path.is_none_or(|path| found.key.path == path))?;
        Some(Entry { registration: Arc::clone(registration), alive: state.index.is_available(registration) })
    }

    /// A subscription as it was sent, with its id.
    #[must_use]
    pub fn subscription(&self, id: &str) -> Option<SubscribeContextAvailabilityRequest> {
        self.state.read().subscriptions.get(id).map(|subscription| subscription.request.clone())
    }

    /// All subscriptions, in the order of their ids.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscribeContextAvailabilityRequest> {
        let mut all: Vec<_> = self.state.read().subscriptions.values().map(|subscription| subscription.request.clone()).collect();
        all.sort_by(|a, b| a.subscription_id.cmp(&b.subscription_id));
        all
    }

    /// The distinct types of the available entities, sorted.
    #[must_use]
    pub fn types(&self) -> Vec<Name> {
        self.state.read().index.types()
    }

    /// The brokers with a valid lease, in the order of their ids.
    #[must_use]
    pub fn brokers(&self) -> Vec<Broker> {
        self.state.read().brokers.present().into_iter().cloned().collect()
    }

    /// Numbers for the metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.state.read();
        Counts {
            registrations: state.index.len(),
            subscriptions: state.subscriptions.len(),
            brokers: state.brokers.present().len(),
            waiting: state.subscriptions.values().map(|subscription| subscription.queue.len()).sum(),
        }
    }

    /// Does what time brings: ends leases, registrations and subscriptions.
    pub fn tick(&self, now: Timestamp) {
        let due = {
            let state = self.state.read();
            !state.brokers.expired(now).is_empty()
                || state.endings.first().is_some_and(|(end, _)| *end <= now)
                || state.subscriptions.values().any(|subscription| subscription.is_over(now).is_some())
        };
        if due {
            self.change(|state| state.tick(now));
        }
    }

    /// Waits until everything up to a version is stored.
    ///
    /// # Errors
    /// [`Refusal::Unstored`] when the store refuses, or does not answer in time. What was applied stays and is tried again.
    pub async fn durable(&self, version: u64) -> Result<(), Refusal> {
        persist::wait(self.progress.subscribe(), version).await.map_err(Refusal::Unstored)
    }

    /// Resolves when [`Registry::take_ready`] may have something.
    pub async fn until_ready(&self) {
        self.ready.notified().await;
    }

    /// The subscriptions to which something has to be sent, with their incarnations. The caller sends all of
    /// [`Registry::next_batch`] to each.
    #[must_use]
    pub fn take_ready(&self) -> Vec<(SmolStr, u64)> {
        if self.state.read().ready.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.state.write().ready)
    }

    /// What to send next and where; `None` ends the sending to this subscription.
    #[must_use]
    pub fn next_batch(&self, id: &SmolStr, incarnation: u64) -> Option<(SmolStr, Batch)> {
        let mut guard = self.state.write();
        let state = &mut *guard;
        let is_on_duty = state.duty.is_on();
        let subscription = state.subscriptions.get_mut(id).filter(|subscription| subscription.incarnation == incarnation)?;
        if !is_on_duty {
            subscription.sending = false;
            return None;
        }
        loop {
            match subscription.queue.next(BATCH) {
                Next::Send(batch) => return Some((subscription.request.reference.clone(), batch)),
                Next::Refill => {
                    tracing::warn!(subscription = %id, "too many changes wait for the subscriber: they are replaced by a snapshot");
                    subscription.queue.fill(state.index.watched(id), true);
                }
                Next::Idle => {
                    subscription.sending = false;
                    return None;
                }
            }
        }
    }

    /// Takes note of a delivery.
    pub fn delivered(&self, id: &SmolStr) {
        let failing = self.state.read().subscriptions.get(id).is_some_and(|subscription| subscription.failing_since.is_some());
        if failing && let Some(subscription) = self.state.write().subscriptions.get_mut(id) {
            subscription.failing_since = None;
        }
    }

    /// Takes back a batch that was not delivered.
    pub fn put_back(&self, id: &SmolStr, incarnation: u64, batch: Batch, now: Timestamp) {
        if let Some(subscription) = self.state.write().subscriptions.get_mut(id).filter(|found| found.incarnation == incarnation) {
            subscription.queue.put_back(batch);
            subscription.failing_since.get_or_insert(now);
        }
    }

    /// Runs a change under the lock and calls storage and notifier if there is work for them. Returns the version to wait for.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> (T, u64) {
        let mut state = self.state.write();
        let outcome = change(&mut state);
        let (dirty, ready, version) = (!state.dirty.is_empty(), !state.ready.is_empty(), state.version);
        drop(state);
        if ready {
            self.ready.notify_one();
        }
        if dirty {
            self.changed.notify_one();
        }
        (outcome, version)
    }
}

impl Subscription {
    /// Why it should end, if it should.
    fn is_over(&self, now: Timestamp) -> Option<&'static str> {
        if self.expires.is_some_and(|end| end <= now) {
            Some("its duration is over")
        } else if self.failing_since.is_some_and(|since| now.0 - since.0 > ABANDONED) {
            Some("its subscriber has not answered for 24 hours")
        } else {
            None
        }
    }
}

impl State {
    fn subscribe(
        &mut self,
        request: SubscribeContextAvailabilityRequest,
        filter: Filter,
        expires: Option<Timestamp>,
        even_if_empty: bool,
        now: Timestamp,
    ) {
        let id = request.subscription_id.clone();
        let found = self.index.watch(id.clone(), filter);
        let is_on_duty = self.duty.is_on();
        self.incarnations += 1;
        let incarnation = self.incarnations;
        let subscription = self.subscriptions.entry(id.clone()).or_insert_with(|| Subscription {
            request: SubscribeContextAvailabilityRequest::default(),
            expires,
            // Sequence numbers go on rising over restarts.
            queue: Queue::new(now.0.unsigned_abs(), QUEUE_BOUND),
            incarnation,
            sending: false,
            failing_since: None,
            even_if_empty,
        });
        subscription.request = request;
        subscription.expires = expires;
        subscription.failing_since = None;
        subscription.even_if_empty = even_if_empty;
        if is_on_duty {
            subscription.queue.fill(found, even_if_empty);
        }
        self.dirty.subscriptions.insert(id.clone());
        self.version += 1;
        self.call_for_sending(&id);
    }

    fn tick(&mut self, now: Timestamp) {
        for id in self.brokers.expired(now) {
            tracing::warn!(broker = %id, "the broker's lease has ended: its entities are no longer shown");
            self.set_presence(&id, Presence::Lost);
        }
        while let Some((_, key)) = self.endings.first().filter(|(end, _)| *end <= now).cloned() {
            // A broker that registered for itself before its first heartbeat holds its registrations by lease.
            let leased = self.index.registration(&key).is_some_and(|registration| self.brokers.of(&registration.owner).is_some());
            self.endings.pop_first();
            if !leased {
                self.remove(&key);
            }
        }
        let over: Vec<_> =
            self.subscriptions.iter().filter_map(|(id, subscription)| Some((id.clone(), subscription.is_over(now)?))).collect();
        for (id, reason) in over {
            tracing::info!(subscription = %id, reason, "an availability subscription ends");
            self.unsubscribe(&id);
        }
    }
}
