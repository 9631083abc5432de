//! What the notifier keeps for one subscription.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use fogflow_ngsi::Timestamp;
use fogflow_store::Sequence;
use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::queue::Queue;

/// The sending side of one subscription.
#[derive(Debug)]
pub struct Outbox {
    pub(super) queue: Mutex<Queue>,
    pub(super) endpoint: Arc<Endpoint>,
    /// The slot of the subscription; see [`crate::replica::slots`].
    pub(super) slot: usize,
    /// The commit that wrote the subscription.
    pub(super) stored: Sequence,
    /// Whether it is in its endpoint's list of those with something to send.
    pub(super) scheduled: AtomicBool,
    /// Whether it is among those that [`Behind`](super::behind::Behind) looks at.
    pub(super) listed: AtomicBool,
    /// Whether the subscription is gone: what waits is not sent.
    pub(super) closed: AtomicBool,
    /// Throttling: not before this.
    pub(super) not_before: Mutex<Option<Instant>>,
    /// How it went so far.
    pub history: Mutex<History>,
    pub(super) times_sent: AtomicU64,
    /// Whether the broker that placed it says that it does not know it.
    pub(super) unknown_there: AtomicBool,
}

/// What became of the notifications of a subscription since the broker's start (NGSI-LD `timesSent`,
/// `lastNotification`, `lastSuccess`, `lastFailure`; NGSIv2 the same names).
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Last attempt.
    pub last_notification: Option<Timestamp>,
    /// Last success.
    pub last_success: Option<Timestamp>,
    /// Last failure.
    pub last_failure: Option<Timestamp>,
    /// Why the last failure.
    pub reason: Option<String>,
    /// The last HTTP status.
    pub status: Option<u16>,
    /// Failures since the last success.
    pub failures: u64,
}

impl Outbox {
    pub(super) fn new(endpoint: Arc<Endpoint>, queue: Queue, slot: usize, stored: Sequence) -> Self {
        Outbox {
            queue: Mutex::new(queue),
            endpoint,
            slot,
            stored,
            scheduled: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            not_before: Mutex::new(None),
            history: Mutex::default(),
            times_sent: AtomicU64::new(0),
            unknown_there: AtomicBool::new(false),
        }
    }

    /// The commit that wrote the subscription.
    #[must_use]
    pub fn stored(&self) -> Sequence {
        self.stored
    }

    /// How many notifications were sent since the broker's start.
    #[must_use]
    pub fn times_sent(&self) -> u64 {
        self.times_sent.load(Ordering::Relaxed)
    }

    /// Whether the subscriber, another broker, has answered that it does not know the subscription (410).
    #[must_use]
    pub fn unknown_there(&self) -> bool {
        self.unknown_there.load(Ordering::Relaxed)
    }

    /// Changes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }
}
