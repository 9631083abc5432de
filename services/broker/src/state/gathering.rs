//! Whether the next batch of writes goes to the store now, or waits a moment to become fuller.
//!
//! With writers that each wait for their answer, a batch that is sent as soon as the one before has returned has only half of
//! them, and the disk is waited for twice as often as need be. So it waits for most of those that were there a moment ago.

use std::time::{Duration, Instant};

/// When a commit takes this long, somebody waits for a disk or a network, and a fuller batch is worth a wait for it.
const COSTLY: Duration = Duration::from_micros(150);
/// How long after an answer its writer may be waited for: most write again at once.
const WAIT: Duration = Duration::from_millis(1);

/// What is known of the last batch.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many requests were open when it returned, its own included.
    crowd: usize,
    /// Until when the next one may wait.
    until: Option<Instant>,
}

impl Gathering {
    /// A batch that was sent at `begun` has returned at `now`, with this many requests open.
    pub(super) fn returned(&mut self, open: usize, begun: Instant, now: Instant) {
        self.crowd = open;
        self.until = (now.duration_since(begun) >= COSTLY).then(|| now + WAIT);
    }

    /// Until when the next batch may wait, if it may.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the next batch, for which this many requests are open, goes now.
    pub(super) fn is_done(&mut self, open: usize, now: Instant) -> bool {
        if open * 4 >= self.crowd * 3 || self.until.is_none_or(|until| now >= until) {
            self.until = None;
        }
        self.until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(open: usize, took: Duration) -> (Gathering, Instant) {
        let now = Instant::now();
        let mut gathering = Gathering::default();
        gathering.returned(open, now - took, now);
        (gathering, now)
    }

    #[test]
    fn a_lone_writer_never_waits() {
        let (mut gathering, now) = after(1, Duration::from_millis(5));
        assert!(gathering.is_done(1, now));
        assert!(Gathering::default().is_done(1, now));
    }

    #[test]
    fn most_of_a_crowd_is_waited_for_but_not_for_long() {
        let (mut gathering, now) = after(32, Duration::from_millis(5));
        assert!(!gathering.is_done(23, now));
        assert_eq!(gathering.until(), Some(now + WAIT));
        assert!(!gathering.is_done(23, now + WAIT / 2));
        assert!(gathering.is_done(24, now + WAIT / 2));
        let (mut gathering, now) = after(32, Duration::from_millis(5));
        assert!(gathering.is_done(1, now + WAIT), "who has not come by then does not come");
    }

    #[test]
    fn a_store_that_answers_at_once_is_not_worth_a_wait() {
        let (mut gathering, now) = after(32, Duration::from_micros(20));
        assert!(gathering.is_done(1, now));
    }
}
