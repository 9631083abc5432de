//! Tells discovery which entities this broker has, and that it is alive.
//!
//! What concerns discovery is an entity's id, types, attribute names and domain metadata, never its values. A change of
//! that view marks the entity; marks are sent in batches, with the state of the moment of sending, so that a mark can
//! neither be lost nor overtaken. What cannot be sent stays marked (F 12).

mod heartbeat;
mod patience;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fogflow_client::{ClientError, DiscoveryClient};
use fogflow_ngsi::v1::availability::{ContextRegistration, RegisterContextRequest, RemovedEntity, Snapshot};
use fogflow_ngsi::{EntityKey, Tenant, Timestamp};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::sync::{Notify, mpsc, watch};
use tracing::Instrument as _;

use crate::change::Change;
use crate::metrics::Metrics;
use crate::southbound::Devices;
use crate::state::{Reach, Record, State};
use patience::Patience;
pub use view::view_changed;
pub(crate) use view::{read as path_of, written as written_path};

/// The shortest time between two requests; marks gather meanwhile.
const GATHER: Duration = Duration::from_millis(5);
/// Entities in one request.
const BATCH: usize = 500;

/// Who this broker is to others.
#[derive(Clone, Debug)]
pub struct Me {
    /// `Broker.<site>[.<n>]`
    pub id: SmolStr,
    /// The advertised NGSI-10 address.
    pub url: SmolStr,
    /// The start of this process; tells its registrations from those of an earlier life.
    pub generation: u64,
    /// Latitude and longitude.
    pub location: (f64, f64),
}

/// What discovery is thought to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether discovery answers.
    pub reachable: bool,
    /// Which state discovery has; another one has forgotten our availability subscriptions.
    pub epoch: SmolStr,
}

/// The registrar.
pub struct Registrar {
    me: Me,
    state: Arc<State>,
    devices: Arc<Devices>,
    discovery: DiscoveryClient,
    /// With the `traceparent` of the latest write; empty if there is none.
    marks: Mutex<HashMap<EntityKey, SmolStr, RandomState>>,
    wake: Notify,
    /// Everything has to be registered again.
    full: AtomicBool,
    /// How many full registrations have begun; odd while one is under way.
    rounds: AtomicU64,
    /// Something could not be sent: others may have become owners meanwhile.
    doubtful: AtomicBool,
    standing: watch::Sender<Standing>,
    /// Among replicas, whether this one speaks for all, and under which generation.
    leads: AtomicBool,
    generation: AtomicU64,
    /// Whether the broker ends when this process does: the store is nobody else's.
    alone: AtomicBool,
    /// Entities that another broker has taken over; they are handed to it.
    elsewhere: mpsc::Sender<Vec<RemovedEntity>>,
    metrics: Arc<Metrics>,
}

impl Registrar {
    /// A registrar that begins with registering everything. Entities that discovery leaves to another broker go to
    /// `elsewhere`.
    #[must_use]
    pub fn new(
        me: Me,
        state: Arc<State>,
        devices: Arc<Devices>,
        discovery: DiscoveryClient,
        elsewhere: mpsc::Sender<Vec<RemovedEntity>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let generation = me.generation;
        Registrar {
            me,
            state,
            devices,
            discovery,
            marks: Mutex::default(),
            wake: Notify::new(),
            full: AtomicBool::new(true),
            rounds: AtomicU64::new(0),
            doubtful: AtomicBool::new(false),
            standing: watch::Sender::new(Standing::default()),
            leads: AtomicBool::new(true),
            generation: AtomicU64::new(generation),
            alone: AtomicBool::new(true),
            elsewhere,
            metrics,
        }
    }

    /// Speaks for all replicas from now on, and registers everything anew: nobody knows what the former one had not sent.
    pub fn lead(&self) {
        self.generation.store(u64::try_from(Timestamp::now().0).unwrap_or(0), Ordering::Release);
        self.full.store(true, Ordering::Release);
        self.leads.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Leaves it to another replica to speak with discovery.
    pub fn stand_by(&self) {
        self.leads.store(false, Ordering::Release);
        self.marks.lock().clear();
        self.metrics.unregistered.set(0);
    }

    /// It is one of several replicas, now or later: the broker goes on when this one ends, in others or in the next one on its store, so
    /// that discovery is not told that it is gone. That would end all tasks when the only pod is replaced.
    pub fn join_replicas(&self) {
        self.alone.store(false, Ordering::Release);
        self.stand_by();
    }

    fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    /// Marks the entities of changes that concern discovery.
    pub fn note(&self, changes: &[Arc<Change>]) {
        if !self.leads() {
            return;
        }
        let concerning = changes.iter().filter(|change| !change.silent && view_changed(change.before.as_deref(), change.after.as_deref()));
        let mut concerning = concerning.peekable();
        if concerning.peek().is_none() {
            return;
        }
        let mut marks = self.marks.lock();
        marks.extend(concerning.map(|change| (change.key.clone(), change.trace.clone())));
        self.metrics.unregistered.set(i64::try_from(marks.len()).unwrap_or(i64::MAX));
        drop(marks);
        self.wake.notify_one();
    }

    /// Marks the entity of a device that has been registered or forgotten.
    pub fn mark(&self, device: EntityKey) {
        if self.leads() {
            self.marks.lock().entry(device).or_default();
            self.wake.notify_one();
        }
    }

    /// Marks entities of which another broker may be the owner: discovery decides.
    pub fn doubt(&self, entities: impl IntoIterator<Item = EntityKey>) {
        let mut marks = self.marks.lock();
        let before = marks.len();
        for entity in entities {
            marks.entry(entity).or_default();
        }
        if marks.len() > before {
            self.doubtful.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    /// How discovery is, as of the last heartbeat or registration.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Whether discovery answered last time.
    #[must_use]
    pub fn reachable(&self) -> bool {
        self.standing.borrow().reachable
    }

    /// Sends marks as they come, until `stop` is done; then takes this broker out of discovery's list, unless it goes on in replicas.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let mut failures: u32 = 0;
        let mut patience = Patience::default();
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = async {
                    let nothing = || failures == 0 && self.marks.lock().is_empty() && !self.full.load(Ordering::Acquire);
                    while !self.leads() || nothing() {
                        self.wake.notified().await;
                    }
                    // The first mark after a rest is sent at once: a task may wait for it.
                    let pause = match failures {
                        0 => last.map_or(Duration::ZERO, |last| GATHER.saturating_sub(last.elapsed())),
                        _ => Duration::from_millis(250).saturating_mul(1 << (failures - 1).min(3)),
                    };
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                } => {}
            }
            last = Some(Instant::now());
            let sent = tokio::select! {
                biased;
                () = &mut stop => break,
                sent = self.send() => sent,
            };
            match sent {
                Ok(()) => {
                    failures = 0;
                    if patience.succeeded() {
                        tracing::info!("discovery takes registrations again");
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.doubtful.store(true, Ordering::Release);
                    if patience.failed(Instant::now()) {
                        tracing::warn!(%error, "discovery does not take registrations; they are sent later");
                    } else {
                        tracing::debug!(%error, failures, "discovery does not take registrations");
                    }
                    if error.is_unreachable() {
                        self.set_reachable(false);
                    }
                }
            }
        }
        let bye = RegisterContextRequest {
            broker_id: self.me.id.clone(),
            generation: self.generation.load(Ordering::Acquire),
            removed: vec![RemovedEntity { id: self.me.id.clone(), ..RemovedEntity::default() }],
            ..RegisterContextRequest::default()
        };
        if self.reachable() && self.alone.load(Ordering::Acquire) {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.discovery.register(&bye)).await;
        }
        Ok(())
    }

    fn set_reachable(&self, reachable: bool) {
        self.standing.send_if_modified(|standing| std::mem::replace(&mut standing.reachable, reachable) != reachable);
    }

    async fn send(&self) -> Result<(), ClientError> {
        if self.full.load(Ordering::Acquire) {
            self.send_everything().await?;
        }
        loop {
            let batch: Vec<(EntityKey, SmolStr)> = {
                let mut marks = self.marks.lock();
                let batch: Vec<_> = marks.iter().take(BATCH).map(|(mark, trace)| (mark.clone(), trace.clone())).collect();
                batch.iter().for_each(|(mark, _)| {
                    marks.remove(mark);
                });
                batch
            };
            if batch.is_empty() {
                self.metrics.unregistered.set(0);
                return Ok(());
            }
            let mut request = self.request();
            for (key, _) in &batch {
                match self.registration(key) {
                    Some(registration) => request.registrations.push(registration),
                    None => request.removed.push(RemovedEntity {
                        id: key.id.clone(),
                        tenant: key.tenant.0.clone(),
                        service_path: written_path(&key.path),
                    }),
                }
            }
            // A part of no snapshot: discovery then leaves to others what others have taken over.
            request.snapshot = self.doubtful.load(Ordering::Acquire).then_some(Snapshot::Part);
            // Many writes share a request; the trace of one of them goes on with it.
            let trace = batch.iter().map(|(_, trace)| trace.as_str()).find(|trace| !trace.is_empty());
            let span = fogflow_chassis::continued("register entities", "broker", trace);
            if let Err(error) = self.post(&request).instrument(span).await {
                self.marks.lock().extend(batch);
                return Err(error);
            }
            if self.marks.lock().is_empty() {
                self.doubtful.store(false, Ordering::Release);
            }
        }
    }

    fn request(&self) -> RegisterContextRequest {
        RegisterContextRequest {
            broker_id: self.me.id.clone(),
            generation: self.generation.load(Ordering::Acquire),
            ..RegisterContextRequest::default()
        }
    }

    async fn post(&self, request: &RegisterContextRequest) -> Result<(), ClientError> {
        let response = self.discovery.register(request).await?;
        self.set_reachable(true);
        if response.registrations_wanted && request.snapshot.is_none_or(|snapshot| snapshot == Snapshot::End) {
            self.full.store(true, Ordering::Release);
        }
        if !response.owned_elsewhere.is_empty() {
            // If nobody takes it now, the next registration tells it again.
            let _ = self.elsewhere.try_send(response.owned_elsewhere);
        }
        Ok(())
    }

    /// The registration of an entity, or of a device that has not published anything, as it stands.
    fn registration(&self, key: &EntityKey) -> Option<ContextRegistration> {
        match self.state.record(key) {
            Some(record) => Some(self.of_record(&key.tenant, &record)),
            None => self.devices.registration(key, &self.me.url),
        }
    }

    fn of_record(&self, tenant: &Tenant, record: &Record) -> ContextRegistration {
        view::registration(tenant, &record.path, &record.entity, &self.me.url)
    }

    /// Registers this broker and all its entities.
    async fn send_everything(&self) -> Result<(), ClientError> {
        self.full.store(false, Ordering::Release);
        self.rounds.fetch_add(1, Ordering::AcqRel);
        let result = self.send_all_parts().await;
        self.rounds.fetch_add(1, Ordering::AcqRel);
        if result.is_err() {
            self.full.store(true, Ordering::Release);
        }
        result
    }

    async fn send_all_parts(&self) -> Result<(), ClientError> {
        let mut begin = self.request();
        begin.snapshot = Some(Snapshot::Begin);
        begin.registrations.push(view::broker(&self.me));
        self.post(&begin).await?;
        let mut count = 0;
        for tenant in self.state.tenants() {
            let mut from = Some(0);
            while let Some(start) = from {
                let page = self.state.with_space(&tenant, |space| space.page(&Reach::All, start, BATCH));
                let Some((records, next)) = page else { break };
                from = next;
                if records.is_empty() {
                    continue;
                }
                count += records.len();
                let mut part = self.request();
                part.snapshot = Some(Snapshot::Part);
                part.registrations = records.iter().map(|record| self.of_record(&tenant, record)).collect();
                self.post(&part).await?;
            }
        }
        let devices = self.devices.registrations(&self.me.url).into_iter();
        let silent: Vec<ContextRegistration> =
            devices.filter(|(key, _)| self.state.record(key).is_none()).map(|(_, registration)| registration).collect();
        for batch in silent.chunks(BATCH) {
            let mut part = self.request();
            part.snapshot = Some(Snapshot::Part);
            part.registrations = batch.to_vec();
            self.post(&part).await?;
        }
        let mut end = self.request();
        end.snapshot = Some(Snapshot::End);
        // Discovery takes the sender's address from the first registration.
        end.registrations.push(view::broker(&self.me));
        self.post(&end).await?;
        tracing::info!(entities = count, "everything is registered at discovery");
        Ok(())
    }
}
