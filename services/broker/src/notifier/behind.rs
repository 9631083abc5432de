//! The subscriptions that may have something outstanding, so that nobody has to look at all of them to know how far the
//! deliveries have got: most of very many subscriptions are idle.

use std::sync::atomic::Ordering;

use fogflow_store::Sequence;
use parking_lot::Mutex;

use super::outbox::Outbox;
use crate::matcher::SharedWatch;

/// A list in which each subscription with something outstanding stands once.
#[derive(Default)]
pub(super) struct Behind(Mutex<Vec<SharedWatch<Outbox>>>);

impl Behind {
    /// Adds a subscription, after something was put into its queue and before that counts as published.
    pub(super) fn add(&self, watch: &SharedWatch<Outbox>) {
        if !watch.payload.listed.swap(true, Ordering::AcqRel) {
            self.0.lock().push(watch.clone());
        }
    }

    /// Shows each subscription that has not got everything up to `head`, with how far it has got.
    pub(super) fn each(&self, head: Sequence, mut show: impl FnMut(&SharedWatch<Outbox>, Sequence)) {
        self.0.lock().retain(|watch| {
            let outbox = &watch.payload;
            if outbox.closed.load(Ordering::Acquire) {
                return false;
            }
            // Cleared before the queue is looked at: what is put in later adds the subscription again.
            outbox.listed.store(false, Ordering::Release);
            let cursor = outbox.queue.lock().cursor(Sequence::MAX);
            if cursor == Sequence::MAX {
                return false;
            }
            if cursor < head {
                show(watch, cursor);
            }
            !outbox.listed.swap(true, Ordering::AcqRel)
        });
    }

    /// Whether a subscription whose subscriber answers has not got everything up to `head`.
    pub(super) fn any_well(&self, head: Sequence) -> bool {
        let mut found = false;
        self.each(head, |watch, _| found |= watch.payload.history.lock().failures == 0);
        found
    }
}
