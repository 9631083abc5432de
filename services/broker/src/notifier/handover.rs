//! Slots that come to this replica, and slots that leave it.
//!
//! All of it happens while no change is matched, so that each change belongs to one side: what the former owner had
//! matched is taken up from its cursor, what comes later is matched by the new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fogflow_store::Sequence;

use super::cursor::Cursors;
use super::queue::{Part, Queue};
use super::{DRAIN, Notifier, Outbox, READ_AT_ONCE, Recent, candidates, present};
use crate::change::Change;
use crate::matcher::SharedWatch;

impl Notifier {
    /// Sets from where on changes are known: what came before has to be made up for with the present state.
    pub fn begin(&self, loaded: Sequence) {
        self.resume(loaded);
        *self.recent.lock() = Recent::after(loaded);
    }

    /// Whether all changes after this commit are still known here.
    #[must_use]
    pub fn remembers(&self, from: Sequence) -> bool {
        self.recent.lock().reaches(from)
    }

    /// Forgets the changes that every owner has delivered.
    pub fn forget(&self, until: Sequence) {
        self.recent.lock().forget(until);
    }

    /// Begins to serve a slot where the former owner had got to. `gone` are deletions that may not have been told, for
    /// when the changes are not known here any more. Returns the slot's subscriptions.
    pub fn take_over(&self, slot: usize, cursors: &Cursors, gone: &[Arc<Change>]) -> Vec<SharedWatch<Outbox>> {
        let matcher = self.matcher.write();
        let recent = self.recent.lock();
        let watches: Vec<_> = matcher.watches().filter(|watch| watch.payload.slot == slot).cloned().collect();
        // From where on changes that are known here are matched again; a queue ignores what it begins after.
        let mut replayed = Sequence::MAX;
        for watch in &watches {
            let queue = match cursors.start_of(&watch.subscription, watch.payload.stored) {
                Some(from) if recent.reaches(from) && from > 0 => {
                    replayed = replayed.min(from);
                    Queue::from(from)
                }
                Some(from) => Queue::behind(from),
                None => {
                    self.made_lately(watch, &recent).inspect(|_| replayed = replayed.min(watch.payload.stored)).unwrap_or(Queue::behind(0))
                }
            };
            self.refill(watch, queue);
        }
        self.context.slots.set_mine(slot, true);
        for change in recent.newer(replayed).into_iter().flatten() {
            matcher.matching(change, |watch| {
                if watch.payload.slot == slot {
                    self.enqueue(watch, change);
                }
            });
        }
        for change in gone {
            matcher.matching(change, |watch| {
                if watch.payload.slot == slot && watch.payload.queue.lock().resync().is_some() {
                    self.enqueue(watch, change);
                }
            });
        }
        drop((recent, matcher));
        for watch in &watches {
            if !watch.payload.queue.lock().is_empty() {
                self.schedule(watch);
            }
        }
        watches
    }

    /// The queue of a subscription of which nobody knows whether it was sent its first state: with what stood then and has
    /// not changed since, if the changes since are known; they follow one by one.
    fn made_lately(&self, watch: &SharedWatch<Outbox>, recent: &Recent) -> Option<Queue> {
        let stored = watch.payload.stored;
        if !recent.reaches(stored) || candidates(&self.context.state, &watch.subscription.tenant, &watch.filter) > READ_AT_ONCE {
            return None;
        }
        let mut queue = Queue::from(stored);
        let stood = present(&self.context, watch, usize::MAX, |record| record.sequence <= stored);
        queue.read(Part { until: stored, is_last: true, ..stood });
        Some(queue)
    }

    /// Another replica serves the slot now: what waits here is dropped. Returns the slot's subscriptions.
    pub fn give_up(&self, slot: usize) -> Vec<SharedWatch<Outbox>> {
        let matcher = self.matcher.write();
        self.context.slots.set_mine(slot, false);
        let watches: Vec<_> = matcher.watches().filter(|watch| watch.payload.slot == slot).cloned().collect();
        for watch in &watches {
            self.refill(watch, Queue::from(self.published.load(Ordering::Acquire)));
        }
        watches
    }

    /// Ends matching for a slot, waits a moment until what was matched has been sent, and gives the place from which the
    /// next owner goes on.
    pub async fn leave(&self, slot: usize, patience: Duration) -> Cursors {
        let head = {
            let _nothing_is_matched = self.matcher.write();
            self.context.slots.set_leaving(slot);
            self.published.load(Ordering::Acquire)
        };
        let waits = |watch: &SharedWatch<Outbox>| {
            watch.payload.slot == slot && watch.payload.queue.lock().cursor(head) < head && watch.payload.history.lock().failures == 0
        };
        let drained = async {
            while self.matcher.read().watches().any(waits) {
                tokio::time::sleep(DRAIN.1).await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
        let cursors = super::cursor::of_slot(self, slot, head);
        self.give_up(slot);
        cursors
    }

    fn refill(&self, watch: &SharedWatch<Outbox>, queue: Queue) {
        let count = |queue: &Queue| i64::try_from(queue.len()).unwrap_or(i64::MAX);
        let new = count(&queue);
        let old = std::mem::replace(&mut *watch.payload.queue.lock(), queue);
        self.context.metrics.queued.add(new - count(&old));
    }
}
