//! Leading and following: when this master may give commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::orders::REVIEW_AFTER;
use super::{State, workers};

/// After the bus came back, workers have this long to come back too.
const RETURN_GRACE: Duration = Duration::from_secs(12);

impl State {
    /// The epoch of its commands, while this master leads.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.lease.map(|lease| lease.max(self.least_epoch))
    }

    /// The lease was granted, or renewed. A new leader begins with looking: nothing is commanded until discovery, designer and the
    /// workers have spoken.
    pub fn lead(&mut self, lease: u64, now: Instant) {
        if self.lease == Some(lease) {
            // Workers have heard of a later epoch, and yet the lease is still granted: its store has lost count.
            if self.is_behind() {
                self.least_epoch = self.reported_epoch + 1;
                tracing::warn!(epoch = self.least_epoch, "workers know a later epoch than the lease; going on from theirs");
            }
            return;
        }
        self.lease = Some(lease);
        self.led_since = Some(now);
        self.open = false;
        self.watches.lose_all();
        let selectors: Vec<Arc<str>> = self.planner.selectors().keys().cloned().collect();
        for selector in selectors {
            self.planner.set_complete(&selector, false);
        }
        self.reported.full = true;
        self.published.full = true;
    }

    /// Another master leads, or nobody knows.
    pub fn follow(&mut self) {
        self.lease = None;
        self.led_since = None;
        self.open = false;
    }

    /// Whether workers have heard of a later epoch than this leader's.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.epoch().is_some_and(|epoch| epoch < self.reported_epoch)
    }

    /// The bus went or came. While it is away, silence proves nothing; when it is back, workers need their time to return.
    pub fn bus_is(&mut self, connected: bool, now: Instant) {
        self.bus_is_there = connected;
        self.workers.excuse_silence(now + RETURN_GRACE);
    }

    /// Opens when everything that a plan depends on is known: the registry, all entities, and the workers of the earlier start,
    /// or one and a half of their heartbeats have passed. So a restart moves nothing (FAULT 5).
    pub(super) fn try_open(&mut self, now: Instant) -> bool {
        let Some(since) = self.led_since else { return false };
        if self.registry.is_none() || !self.watches.all_complete() {
            return false;
        }
        let longest = self.workers.awaited().map(workers::heartbeat_of).max();
        if longest.is_some_and(|heartbeat| now.saturating_duration_since(since) < heartbeat.mul_f32(1.5)) {
            return false;
        }
        self.open = true;
        self.workers.give_up_waiting(now);
        self.planner.forget_places();
        for id in self.copies.tasks() {
            if let Some(worker) = self.copies.whereabouts(id, &self.workers) {
                self.planner.remember(id, worker);
            }
            self.dirty.insert(id.clone());
        }
        // What it learnt as a follower is not stored yet.
        self.unsaved.extend(self.copies.tasks().cloned());
        self.unsaved_workers.extend(self.workers.alive().map(|worker| worker.id.clone()));
        self.workers_changed();
        let intents: Vec<String> = self.planner.intent_ids().map(str::to_owned).collect();
        for intent in intents {
            self.refresh_intent(&intent);
        }
        self.planner.settle_first();
        // Then what changed while nobody led is followed.
        self.review_at = Some(now + REVIEW_AFTER);
        self.dirty.extend(self.planner.tasks().keys().cloned());
        self.reported.full = true;
        tracing::info!(
            epoch = self.epoch(),
            tasks = self.planner.tasks().len(),
            workers = self.workers.alive().count(),
            "this master leads and plans"
        );
        true
    }
}
