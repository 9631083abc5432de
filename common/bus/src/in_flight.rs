//! Counts the deliveries that were handed out and not decided yet, so that closing can wait for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The counter of one bus.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<watch::Sender<usize>>);

/// One delivery in flight, until it is dropped.
pub(crate) struct Flight(InFlight);

impl Default for InFlight {
    fn default() -> Self {
        InFlight(Arc::new(watch::Sender::new(0)))
    }
}

impl InFlight {
    pub(crate) fn begin(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.clone())
    }

    /// Waits until nothing is in flight; false when that took longer than `limit`.
    pub(crate) async fn ended(&self, limit: Duration) -> bool {
        let mut count = self.0.subscribe();
        tokio::time::timeout(limit, count.wait_for(|count| *count == 0)).await.is_ok_and(|ended| ended.is_ok())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
