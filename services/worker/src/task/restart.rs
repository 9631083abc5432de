//! When to start a task again that has ended.

use std::time::Duration;

use rand::Rng;

/// Delays between starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Before the first restart; doubles with each failure in a row.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// A run of at least this length makes earlier failures forgotten.
    pub stable: Duration,
    /// From this many failures in a row on the task counts as failed. It is still started again, at the longest delay.
    pub failed_after: u32,
    /// How long a task may take to listen on its port.
    pub start_limit: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            first: Duration::from_millis(250),
            longest: Duration::from_secs(30),
            stable: Duration::from_secs(60),
            failed_after: 5,
            start_limit: Duration::from_secs(60),
        }
    }
}

/// Failures in a row of one task.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Failures {
    count: u32,
}

impl Failures {
    /// Notes the end of a run that had been up for `ran`.
    pub(crate) fn note(&mut self, policy: &RestartPolicy, ran: Duration) {
        self.count = if ran >= policy.stable { 1 } else { self.count.saturating_add(1) };
    }

    /// Whether the task counts as failed.
    pub(crate) fn is_failed(self, policy: &RestartPolicy) -> bool {
        self.count >= policy.failed_after
    }

    /// How long to wait before the next start, between half of the step and the whole, so that tasks that failed
    /// together do not start together.
    pub(crate) fn delay(self, policy: &RestartPolicy) -> Duration {
        let step = if self.is_failed(policy) {
            policy.longest
        } else {
            policy.first.saturating_mul(1 << self.count.saturating_sub(1).min(16)).min(policy.longest)
        };
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_cap_and_a_stable_run_starts_over() {
        let policy = RestartPolicy::default();
        let mut failures = Failures::default();
        let mut steps = Vec::new();
        for _ in 0..7 {
            failures.note(&policy, Duration::ZERO);
            steps.push((failures.is_failed(&policy), failures.delay(&policy)));
        }
        for (number, (failed, delay)) in steps.iter().enumerate() {
            let step = if number < 4 { policy.first * (1 << number) } else { policy.longest };
            assert!(*delay <= step && *delay >= step / 2, "{number}: {delay:?} is not within half of {step:?}");
            assert_eq!(*failed, number >= 4);
        }
        failures.note(&policy, policy.stable);
        assert!(!failures.is_failed(&policy));
        assert!(failures.delay(&policy) <= policy.first);
    }
}
