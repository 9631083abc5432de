//! Delivery of changes to subscribers.
//!
//! One queue per subscription, one sender per endpoint (URL). A subscriber that fails is retried with backoff and keeps
//! the newest state of each entity waiting; the others do not notice. See [`queue`] for what is kept, [`endpoint`] for
//! how it is sent, [`cursor`] for how it survives a restart.

mod behind;
mod changes;
pub mod cursor;
mod endpoint;
mod form;
pub mod guard;
mod handover;
mod oldest;
mod outbox;
mod queue;
mod recent;
mod request;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fogflow_ngsi::Tenant;
use fogflow_store::Sequence;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, RwLock};
use smol_str::SmolStr;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::change::Change;
use crate::contexts::Contexts;
use crate::filter::Filter;
use crate::matcher::{Matcher, SharedWatch, Watch};
use crate::metrics::Metrics;
use crate::replica::slots::Slots;
use crate::state::{Reach, Record, State, key_of};
use crate::subscription::Subscription;
use behind::Behind;
use endpoint::Endpoint;
use oldest::Oldest;
pub use outbox::{History, Outbox};
use queue::{Part, Queue};
use recent::Recent;

/// Requests on their way at one time, those of slow endpoints not counted.
const PERMITS: usize = 256;
/// Up to so many candidates are read while the subscription is made; more are read when the first request is built.
const READ_AT_ONCE: usize = 5000;
/// Entities read at one time for a subscriber that has to be sent the state; the rest follows when these have arrived.
const READ_PART: usize = queue::NEWEST / 2;

/// How long the end of the broker waits for subscribers, and how often it looks.
const DRAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));

/// What the senders share.
pub(crate) struct Context {
    pub(crate) state: Arc<State>,
    pub(crate) client: reqwest::Client,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) contexts: Arc<Contexts>,
    pub(crate) slots: Arc<Slots>,
    permits: Semaphore,
}

/// From where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the present state of what matches.
    Initial,
    /// With the next change.
    Now,
    /// With the newest state of all that changed after this commit.
    After(Sequence),
    /// Everything up to this commit is known; what follows is pushed again by the caller.
    From(Sequence),
}

/// The subscriptions under watch and their senders.
pub struct Notifier {
    context: Arc<Context>,
    matcher: RwLock<Matcher<Outbox>>,
    endpoints: Mutex<HashMap<SmolStr, Weak<Endpoint>, RandomState>>,
    /// Endpoints that need a task.
    activated: Mutex<Vec<Arc<Endpoint>>>,
    activation: Notify,
    published: AtomicU64,
    behind: Behind,
    /// What slots that come over need; nothing when the store is not shared.
    recent: Mutex<Recent>,
}

impl Notifier {
    /// A notifier without subscriptions.
    #[must_use]
    pub fn new(state: Arc<State>, client: reqwest::Client, metrics: Arc<Metrics>, contexts: Arc<Contexts>, slots: Arc<Slots>) -> Self {
        Notifier {
            context: Arc::new(Context { state, client, metrics, contexts, slots, permits: Semaphore::new(PERMITS) }),
            matcher: RwLock::default(),
            endpoints: Mutex::default(),
            activated: Mutex::default(),
            activation: Notify::new(),
            published: AtomicU64::new(0),
            behind: Behind::default(),
            recent: Mutex::new(Recent::after(0)),
        }
    }

    /// Watches for a subscription; one with the same id is replaced, and what it had waiting is sent by the new one.
    pub fn add(&self, subscription: Arc<Subscription>, filter: Filter, start: Start, stored: Sequence) {
        let endpoint = self.endpoint(&subscription.target.url);
        let slot = self.context.slots.of(&subscription.tenant, &subscription.id);
        let is_mine = self.context.slots.is_mine(slot);
        let mut matcher = self.matcher.write();
        let published = self.published.load(Ordering::Acquire);
        let old = matcher.remove(&subscription.tenant, &subscription.id);
        let queue = match (start, &old) {
            _ if !is_mine => Queue::from(published),
            (Start::Initial, _) => Queue::behind(0),
            (Start::Now, Some(old)) => Queue::behind(self.close(old, published)),
            (Start::Now, None) => Queue::from(published),
            (Start::After(sequence), _) => Queue::behind(sequence),
            (Start::From(sequence), _) => Queue::from(sequence),
        };
        if let Some(old) = &old
            && (start != Start::Now || !is_mine)
        {
            self.close(old, published);
        }
        let watch = Arc::new(Watch { subscription, filter, payload: Outbox::new(endpoint, queue, slot, stored) });
        self.behind.add(&watch);
        matcher.insert(Arc::clone(&watch));
        self.context.metrics.subscriptions.set(i64::try_from(matcher.len()).unwrap_or(i64::MAX));
        if is_mine && matches!(start, Start::Initial | Start::After(_)) {
            // Read while no change can be matched, so that each later change comes on its own after this state.
            if candidates(&self.context.state, &watch.subscription.tenant, &watch.filter) <= READ_AT_ONCE {
                collect(&self.context, &watch);
            }
        }
        drop(matcher);
        if !watch.payload.queue.lock().is_empty() {
            self.schedule(&watch);
        }
    }

    fn close(&self, old: &SharedWatch<Outbox>, published: Sequence) -> Sequence {
        old.payload.closed.store(true, Ordering::Release);
        old.payload.queue.lock().cursor(published)
    }

    /// Stops watching. Returns whether there was such a subscription.
    pub fn remove(&self, tenant: &Tenant, id: &str) -> bool {
        let mut matcher = self.matcher.write();
        let removed = matcher.remove(tenant, id);
        self.context.metrics.subscriptions.set(i64::try_from(matcher.len()).unwrap_or(i64::MAX));
        drop(matcher);
        if let Some(watch) = &removed {
            watch.payload.closed.store(true, Ordering::Release);
            // Its endpoint throws away what waits.
            self.schedule(watch);
        }
        removed.is_some()
    }

    /// The subscription with this id and how its notifications went.
    #[must_use]
    pub fn get(&self, tenant: &Tenant, id: &str) -> Option<SharedWatch<Outbox>> {
        self.matcher.read().get(tenant, id).cloned()
    }

    /// The subscriptions of a tenant.
    #[must_use]
    pub fn of_tenant(&self, tenant: &Tenant) -> Vec<SharedWatch<Outbox>> {
        self.select(|watch| watch.subscription.tenant == *tenant)
    }

    /// The subscriptions of which `wanted` says so. Keep it short: no subscription can be made meanwhile.
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&SharedWatch<Outbox>) -> bool) -> Vec<SharedWatch<Outbox>> {
        self.matcher.read().watches().filter(|watch| wanted(watch)).cloned().collect()
    }

    /// All subscriptions.
    #[must_use]
    pub fn all(&self) -> Vec<SharedWatch<Outbox>> {
        self.select(|_| true)
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.matcher.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Matches committed changes, in the order of their sequence, and lets them wait for their subscribers.
    pub fn publish(&self, changes: &[Arc<Change>]) {
        let matcher = self.matcher.read();
        for change in changes {
            matcher.matching(change, |watch| {
                if self.context.slots.is_mine(watch.payload.slot) {
                    self.enqueue(watch, change);
                }
            });
        }
        if self.context.slots.is_shared() {
            self.recent.lock().push(changes);
        }
        if let Some(last) = changes.last() {
            self.published.fetch_max(last.sequence, Ordering::AcqRel);
        }
    }

    /// Up to where changes were matched.
    #[must_use]
    pub fn published(&self) -> Sequence {
        self.published.load(Ordering::Acquire)
    }

    /// Sets up to where changes were published in an earlier life.
    pub fn resume(&self, published: Sequence) {
        self.published.fetch_max(published, Ordering::AcqRel);
    }

    /// Lets a change of another broker's entity wait for one subscription.
    pub fn deliver(&self, watch: &SharedWatch<Outbox>, change: &Arc<Change>) {
        self.enqueue(watch, change);
    }

    fn enqueue(&self, watch: &SharedWatch<Outbox>, change: &Arc<Change>) {
        let before_after = {
            let mut queue = watch.payload.queue.lock();
            let before = queue.len();
            let coalesced = queue.push(Arc::clone(change));
            (before, queue.len(), coalesced)
        };
        let (before, after, coalesced) = before_after;
        let metrics = &self.context.metrics;
        metrics.queued.add(i64::try_from(after).unwrap_or(0) - i64::try_from(before).unwrap_or(0));
        if coalesced {
            metrics.notifications.with_label_values(&["coalesced"]).inc();
        }
        self.schedule(watch);
    }

    fn schedule(&self, watch: &SharedWatch<Outbox>) {
        self.behind.add(watch);
        if watch.payload.endpoint.schedule(watch) {
            self.activated.lock().push(Arc::clone(&watch.payload.endpoint));
            self.activation.notify_one();
        }
    }

    fn endpoint(&self, url: &SmolStr) -> Arc<Endpoint> {
        let mut endpoints = self.endpoints.lock();
        if let Some(endpoint) = endpoints.get(url).and_then(Weak::upgrade) {
            return endpoint;
        }
        if endpoints.len() > 64 && endpoints.len().is_power_of_two() {
            endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        }
        let endpoint = Arc::new(Endpoint::new(url.clone()));
        endpoints.insert(url.clone(), Arc::downgrade(&endpoint));
        endpoint
    }

    /// Waits, for a short time, until every subscriber that answers has got all that was published.
    pub async fn drained(&self) {
        let drained = async {
            while self.behind.any_well(self.published.load(Ordering::Acquire)) {
                tokio::time::sleep(DRAIN.1).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN.0, drained).await;
    }

    /// Runs the senders until `stop` is done; then lets requests on their way end.
    ///
    /// # Errors
    /// If a sender panicked.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut senders = JoinSet::new();
        loop {
            for endpoint in std::mem::take(&mut *self.activated.lock()) {
                senders.spawn(endpoint.run(Arc::clone(&self.context)));
            }
            tokio::select! {
                () = self.activation.notified() => {}
                Some(ended) = senders.join_next(), if !senders.is_empty() => ended?,
                () = &mut stop => break,
            }
        }
        let idle = async {
            while self.context.permits.available_permits() < PERMITS {
                tokio::time::sleep(DRAIN.1).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN.0, idle).await;
        senders.shutdown().await;
        Ok(())
    }
}

fn reach(filter: &Filter) -> Reach {
    filter.types().map_or(Reach::All, Reach::Types)
}

fn candidates(state: &State, tenant: &Tenant, filter: &Filter) -> usize {
    if filter.ids().is_some() {
        return 0;
    }
    state.with_space(tenant, |space| space.count(&reach(filter))).unwrap_or(0)
}

/// Reads the next part of the state that a subscriber has to be sent first, if it has to and has got the part before.
fn collect(context: &Context, watch: &SharedWatch<Outbox>) {
    let Some(after) = watch.payload.queue.lock().begin_reading() else { return };
    let part = present(context, watch, READ_PART, |record| record.sequence > after);
    context.metrics.queued.add(watch.payload.queue.lock().read(part));
}

/// The present state of what matches, as changes in the order of commits: at most the `limit` oldest.
fn present(context: &Context, watch: &SharedWatch<Outbox>, limit: usize, wanted: impl Fn(&Record) -> bool) -> Part {
    let tenant = &watch.subscription.tenant;
    let head = context.state.with_space(tenant, |space| space.applied).unwrap_or_default();
    // What is written while this looks is newer than `head`, and matched.
    let matches = |record: &Record| record.sequence <= head && wanted(record) && watch.filter.matches(&record.path, &record.entity);
    let mut oldest = Oldest::of(limit);
    match watch.filter.ids() {
        Some(ids) => {
            let ids: BTreeSet<&str> = ids.into_iter().collect();
            ids.iter().flat_map(|id| context.state.with_id(tenant, id)).for_each(|record| oldest.offer(record, matches));
        }
        None => context.state.visit(tenant, &reach(&watch.filter), |record| {
            oldest.offer(record, matches);
            true
        }),
    }
    let (records, is_last) = oldest.into_order();
    let until = records.last().filter(|_| !is_last).map_or(head, |record| record.sequence);
    // Known when the subscription is just being made: the first notification belongs to that request.
    let trace = fogflow_chassis::current_traceparent().map(SmolStr::from).unwrap_or_default();
    let change = |record: Record| {
        let shown = Change::snapshot(key_of(tenant, &record), record.entity, record.sequence);
        Arc::new(Change { trace: trace.clone(), ..shown })
    };
    Part { changes: records.into_iter().map(change).collect(), until, is_last }
}
