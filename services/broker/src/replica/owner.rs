//! Takes, renews and gives the leases of this replica, and keeps the cursors of what it serves.
//!
//! A lease that could not be renewed in time is in doubt: nothing is sent for it, but changes go on waiting here, and if
//! nobody has taken it meanwhile, it goes on as if nothing had been. The cursors of a slot are written with the version
//! that its owner knows, and by a new owner first of all; so one that has lost the slot without noticing cannot move them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_store::{Batch, Document, Expect, Lease, Outcome, StoreError, Version, Write};
use futures::StreamExt as _;
use futures::stream;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};
use tokio::time::timeout;

use super::balance::quota;
use super::members::{Beat, Members};
use super::slots::SLOTS;
use super::{Line, Parts};
use crate::change::Change;
use crate::matcher::SharedWatch;
use crate::metrics::Metrics;
use crate::notifier::Outbox;
use crate::notifier::cursor::{self, Cursors};

/// Time to live of a lease, by the store's clock (design: 3 s).
const TTL: Duration = Duration::from_secs(3);
/// How long after asking for a lease notifications are sent under it: the rest covers requests on their way.
const VALID: Duration = Duration::from_millis(2500);
/// Time between two looks.
const TICK: Duration = Duration::from_millis(250);
/// Time between two renewals, and two signs of life with cursors.
const RENEW: Duration = Duration::from_secs(1);
/// Longest time for one call of the store.
const LIMIT: Duration = Duration::from_secs(1);
/// Leases that are renewed side by side.
const AT_ONCE: usize = 4;
/// How long a slot that leaves waits for what is on its way.
const PATIENCE: Duration = Duration::from_secs(1);
/// The lease of the replica that speaks with discovery.
const REGISTRAR: &str = "registrar";

/// The name of a slot: of its lease and of its cursors.
fn name_of(slot: usize) -> SmolStr {
    format_smolstr!("slot.{slot}")
}

/// The slot that a name means.
pub(super) fn slot_of(name: &str) -> Option<usize> {
    name.strip_prefix("slot.")?.parse().ok()
}

/// The cursors of a slot with the epoch of the lease under which they were written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    epoch: u64,
    #[serde(flatten)]
    cursors: Cursors,
}

/// A slot that is ours.
#[derive(Debug)]
struct Held {
    epoch: u64,
    renewed: Instant,
    /// The version and content of its cursors in the store.
    version: Version,
    written: Cursors,
}

/// The keeper of this replica's leases.
pub struct Owner {
    line: Line,
    parts: Parts,
    metrics: Arc<Metrics>,
    me: SmolStr,
    held: BTreeMap<usize, Held>,
    /// Epoch of the registrar's lease, and when it was renewed.
    leads: Option<(u64, Instant)>,
    signed: Option<Instant>,
    beat: Beat,
}

impl Owner {
    /// Nothing is ours yet.
    #[must_use]
    pub fn new(line: Line, parts: Parts, metrics: Arc<Metrics>) -> Self {
        parts.registrar.join_replicas();
        let me = format_smolstr!("{}", uuid::Uuid::new_v4());
        Owner { line, parts, metrics, me, held: BTreeMap::new(), leads: None, signed: None, beat: Beat::default() }
    }

    /// Works until `stop` is done, then hands everything over.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::pin!(stop);
        let members = Arc::clone(&self.parts.members);
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the leases of this replica are in doubt");
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = members.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.resign().await;
        Ok(())
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        if self.signed.is_none() {
            self.sign().await?;
        }
        self.renew().await?;
        self.lead().await?;
        let alive = self.parts.members.alive(&self.me);
        let quota = quota(alive.rank, alive.count, SLOTS);
        let before = self.held.len();
        self.metrics.slots.set(i64::try_from(before).unwrap_or(0));
        // One at a time: the others must not be forgotten over it.
        if self.held.len() > quota
            && let Some(slot) = self.held.keys().next_back().copied()
        {
            self.leave(slot).await?;
        }
        for slot in (0..SLOTS).filter(|slot| !alive.taken.contains(slot)) {
            if self.held.len() < quota && !self.held.contains_key(&slot) {
                self.take(slot).await?;
            }
        }
        if self.held.len() != before || self.signed.is_none_or(|signed| signed.elapsed() >= RENEW) {
            self.sign().await?;
        }
        Ok(())
    }

    async fn lease(&self, name: &str) -> Result<Lease, StoreError> {
        in_time(self.line.store().lease(name, &self.me, TTL)).await
    }

    async fn release(&self, name: &str) {
        // If that does not arrive, the lease ends by itself.
        let _ = in_time(self.line.store().release(name, &self.me)).await;
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let due: Vec<usize> = self.held.iter().filter(|(_, held)| held.renewed.elapsed() >= RENEW).map(|(slot, _)| *slot).collect();
        // One after the other, those of a slow store would end before their turn.
        let this = &*self;
        let renewals = due.into_iter().map(|slot| async move { (slot, Instant::now(), this.lease(&name_of(slot)).await) });
        let renewed: Vec<(usize, Instant, Result<Lease, StoreError>)> =
            stream::iter(renewals.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        let mut outcome = Ok(());
        for (slot, begun, lease) in renewed {
            let lease = match lease {
                Ok(lease) => lease,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            let Some(held) = self.held.get_mut(&slot) else { continue };
            // After a time without the store the epoch is the next one if nobody else had the lease meanwhile.
            if lease.granted && lease.epoch <= held.epoch + 1 {
                held.epoch = lease.epoch;
                held.renewed = begun;
                self.parts.slots.set_until(slot, begun + VALID);
            } else {
                tracing::info!(slot, holder = %lease.holder, "another replica serves a slot of ours now");
                self.lose(slot);
            }
        }
        outcome
    }

    async fn lead(&mut self) -> Result<(), StoreError> {
        if self.leads.is_some_and(|(_, renewed)| renewed.elapsed() < RENEW) {
            return Ok(());
        }
        let begun = Instant::now();
        let lease = self.lease(REGISTRAR).await?;
        match (lease.granted, self.leads) {
            (true, Some((epoch, _))) if lease.epoch <= epoch + 1 => {}
            (true, _) => {
                tracing::info!("this replica speaks with discovery");
                self.parts.registrar.lead();
            }
            (false, Some(_)) => self.parts.registrar.stand_by(),
            (false, None) => {}
        }
        self.leads = lease.granted.then_some((lease.epoch, begun));
        Ok(())
    }

    /// Tries to take a slot.
    async fn take(&mut self, slot: usize) -> Result<(), StoreError> {
        let (name, begun) = (name_of(slot), Instant::now());
        let lease = self.lease(&name).await?;
        if !lease.granted {
            return Ok(());
        }
        self.parts.slots.set_until(slot, begun + VALID);
        match self.begin(slot, lease.epoch).await {
            Ok(Some(held)) => {
                self.held.insert(slot, held);
                Ok(())
            }
            Ok(None) => {
                self.release(&name).await;
                Ok(())
            }
            Err(error) => {
                self.release(&name).await;
                Err(error)
            }
        }
    }

    /// Begins to serve a slot whose lease we have. `None` when another replica was faster.
    async fn begin(&self, slot: usize, epoch: u64) -> Result<Option<Held>, StoreError> {
        let store = self.line.store();
        let key = cursor::key(&name_of(slot));
        let stored = in_time(store.get(&key)).await?;
        let expect = stored.as_ref().map_or(Expect::Absent, |document| Expect::Version(document.version));
        let Stored { cursors, .. } = stored.as_ref().map(read).transpose()?.unwrap_or_default();
        // The former owner cannot move its cursors from here on.
        let write = write_of(slot, epoch, &cursors, expect)?;
        let outcomes = in_time(store.commit(Batch::one(write))).await?;
        let Some(Outcome::Committed { version, .. }) = outcomes.first() else { return Ok(None) };
        // What it had matched is known here, too.
        self.line.barrier(LIMIT).await?;
        let gone = if self.parts.notifier.remembers(cursors.head) { Vec::new() } else { self.deletions(&cursors).await? };
        let watches = self.parts.notifier.take_over(slot, &cursors, &gone);
        for watch in watches.iter().filter(|watch| !watch.subscription.internal) {
            self.parts.federation.watch(&watch.subscription);
        }
        Ok(Some(Held { epoch, renewed: Instant::now(), version: *version, written: cursors }))
    }

    async fn deletions(&self, cursors: &Cursors) -> Result<Vec<Arc<Change>>, StoreError> {
        let missed = cursor::missed(self.line.store(), &self.parts.state, cursors.head).await?;
        Ok(missed.into_iter().filter(|change| change.after.is_none()).collect())
    }

    /// Gives a slot to whoever takes it.
    async fn leave(&mut self, slot: usize) -> Result<(), StoreError> {
        let cursors = self.parts.notifier.leave(slot, PATIENCE).await;
        let Some(held) = self.held.remove(&slot) else { return Ok(()) };
        self.forget(slot);
        let write = write_of(slot, held.epoch, &cursors, Expect::Version(held.version))?;
        let stored = in_time(self.line.store().commit(Batch::one(write))).await;
        self.release(&name_of(slot)).await;
        stored.map(drop)
    }

    fn lose(&mut self, slot: usize) {
        self.held.remove(&slot);
        self.parts.notifier.give_up(slot);
        self.forget(slot);
    }

    /// The remote parts of the slot's subscriptions are another replica's.
    fn forget(&self, slot: usize) {
        let is_in = |watch: &&SharedWatch<Outbox>| self.parts.slots.of(&watch.subscription.tenant, &watch.subscription.id) == slot;
        for watch in self.parts.notifier.all().iter().filter(is_in) {
            self.parts.federation.forget(&watch.subscription.tenant, &watch.subscription.id);
        }
    }

    /// A sign of life, and the cursors that have moved.
    async fn sign(&mut self) -> Result<(), StoreError> {
        self.beat = Beat { slots: self.held.keys().copied().collect(), count: self.beat.count + 1 };
        let head = self.parts.notifier.published();
        let mut moved = Vec::new();
        let mut writes = Vec::new();
        for (slot, cursors) in cursor::of_slots(&self.parts.notifier, self.held.keys().copied(), head) {
            if let Some(held) = self.held.get(&slot).filter(|held| held.written != cursors) {
                writes.push(write_of(slot, held.epoch, &cursors, Expect::Version(held.version))?);
                moved.push((slot, cursors));
            }
        }
        writes.push(Members::sign(&self.me, Some(&self.beat)));
        writes.extend(self.parts.members.cleaning());
        let outcomes = in_time(self.line.store().commit(Batch::independent(writes))).await?;
        self.signed = Some(Instant::now());
        for ((slot, cursors), outcome) in moved.into_iter().zip(outcomes) {
            let Some(held) = self.held.get_mut(&slot) else { continue };
            match outcome {
                Outcome::Committed { version, .. } => {
                    held.version = version;
                    held.written = cursors;
                }
                // Ours after all, from a commit that seemed to have failed.
                Outcome::Conflict(Some(there)) if read(&there).is_ok_and(|stored| stored.epoch == held.epoch) => {
                    held.version = there.version;
                }
                Outcome::Conflict(_) | Outcome::GroupAborted => self.lose(slot),
            }
        }
        Ok(())
    }

    /// Hands everything over: what was matched has been sent or is written down, and the leases are free.
    async fn resign(&self) {
        let (notifier, held) = (&self.parts.notifier, &self.held);
        let left = futures::future::join_all(held.iter().map(|(slot, held)| async {
            let cursors = notifier.leave(*slot, PATIENCE).await;
            write_of(*slot, held.epoch, &cursors, Expect::Version(held.version))
        }))
        .await;
        let store = self.line.store();
        if let Err(error) = in_time(store.commit(Batch::independent(left.into_iter().filter_map(Result::ok)))).await {
            tracing::warn!(%error, "the last cursors are not stored; some notifications may be repeated");
        }
        let names = held.keys().map(|slot| name_of(*slot)).chain(self.leads.map(|_| SmolStr::new_static(REGISTRAR)));
        futures::future::join_all(names.map(|name| async move { self.release(&name).await })).await;
        // Now the others look for what is free.
        let _ = in_time(store.commit(Batch::one(Members::sign(&self.me, None)))).await;
    }
}

fn write_of(slot: usize, epoch: u64, cursors: &Cursors, expect: Expect) -> Result<Write, StoreError> {
    let stored = Stored { epoch, cursors: cursors.clone() };
    let value = serde_json::to_vec(&stored).map_err(|error| StoreError::Invalid(error.to_string()))?;
    Ok(Write { key: cursor::key(&name_of(slot)), expect, value: Some(value.into()) })
}

fn read(document: &Document) -> Result<Stored, StoreError> {
    serde_json::from_slice(document.value.as_deref().unwrap_or_default())
        .map_err(|error| StoreError::Damaged(format!("{}: {error}", document.key.id)))
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(LIMIT, call).await.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
}
