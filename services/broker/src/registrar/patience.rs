//! When a failure is worth a warning.

use std::time::{Duration, Instant};

/// Services of one node start side by side, and one that is restarted is back in a moment.
const FORGIVEN: Duration = Duration::from_secs(3);

/// Tells a failure that goes on from one that passes.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
    warned: bool,
}

impl Patience {
    /// Another failure. True once, when they have gone on for too long.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let warns = !self.warned && now.saturating_duration_since(since) >= FORGIVEN;
        self.warned |= warns;
        warns
    }

    /// No failure. True if there was a warning that this ends.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self).warned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_warned_of_once_and_only_when_it_goes_on() {
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        // Discovery listens a moment later than the broker.
        assert!(!patience.failed(begun) && !patience.failed(after(1)));
        assert!(!patience.succeeded());
        assert!(!patience.failed(after(10)) && !patience.failed(after(12)));
        assert!(patience.failed(after(13)));
        assert!(!patience.failed(after(60)), "once");
        assert!(patience.succeeded() && !patience.succeeded());
    }
}
