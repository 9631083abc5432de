//! Durations in buckets that are 1/16 of a power of two wide: under 7 % error, no allocation while measuring.

use std::time::Duration;

const STEPS: usize = 16;

/// A histogram of microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    largest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; 64 * STEPS], total: 0, largest: 0 }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(micros)) {
            *count += 1;
        }
        self.total += 1;
        self.largest = self.largest.max(micros);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, its)| *mine += its);
        self.total += other.total;
        self.largest = self.largest.max(other.largest);
    }

    /// How many were added.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration in microseconds that a share of all does not exceed (`0.99` for the 99th percentile).
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(bucket).min(self.largest);
            }
        }
        self.largest
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let power = micros.ilog2() as usize;
    let step = (micros >> (power - 4)) as usize & (STEPS - 1);
    (power - 3) * STEPS + step
}

fn upper(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let (power, step) = (bucket / STEPS + 3, (bucket % STEPS) as u64);
    (1 << power) + ((step + 1) << (power - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_bucket() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!((found / exact - 1.0).abs() < 0.07, "{share}: {found}");
        }
    }

    #[test]
    fn every_duration_has_a_bucket_that_ends_after_it() {
        for power in 0..40 {
            for micros in [1u64 << power, (1 << power) + 1, (1 << (power + 1)) - 1] {
                assert!(upper(bucket(micros)) >= micros, "{micros}");
            }
        }
    }
}
