//! Results: one JSON object per run, on standard output.

use serde::Serialize;

use crate::load::Outcome;
use crate::sink::Arrivals;

/// Round trips.
#[derive(Debug, Serialize)]
pub struct Throughput {
    /// Answered requests per second.
    pub per_second: f64,
    /// Microseconds, median.
    pub p50_us: u64,
    /// Microseconds, 99th percentile.
    pub p99_us: u64,
    /// Answers with a status outside of 2xx.
    pub refused: u64,
    /// Bytes of an answer's body.
    pub answer_size: usize,
    /// The share of one core that the generator used; near 1 it is what was measured.
    pub generator_busy: f64,
    /// Microseconds of processor time that the server used per request. Unlike the rate it hardly depends on what else
    /// the machine does.
    pub server_cpu_us: Option<f64>,
}

impl From<&Outcome> for Throughput {
    fn from(outcome: &Outcome) -> Self {
        Throughput {
            per_second: outcome.requests as f64 / outcome.elapsed.as_secs_f64(),
            p50_us: outcome.latency.quantile(0.5),
            p99_us: outcome.latency.quantile(0.99),
            refused: outcome.refused,
            answer_size: outcome.answer_size,
            generator_busy: outcome.generator_busy,
            server_cpu_us: outcome.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64),
        }
    }
}

/// Changes on their way to a subscriber.
#[derive(Debug, Serialize)]
pub struct Delivery {
    /// The updates that caused them.
    pub updates: Throughput,
    /// Distinct changes that arrived, per second from the first update to the last arrival.
    pub delivered_per_second: f64,
    /// The share of all changes that arrived.
    pub share: f64,
    /// Changes that arrived more than once.
    pub repeated: u64,
    /// Requests in which they arrived.
    pub requests: u64,
    /// Microseconds from request to subscriber, median.
    pub p50_us: u64,
    /// Microseconds, 99th percentile.
    pub p99_us: u64,
}

impl Delivery {
    /// From both ends.
    #[must_use]
    pub fn new(outcome: &Outcome, changes: u64, arrivals: &Arrivals, seconds: f64) -> Self {
        Delivery {
            updates: outcome.into(),
            delivered_per_second: arrivals.seen.len() as f64 / seconds,
            share: arrivals.seen.len() as f64 / changes.max(1) as f64,
            repeated: arrivals.repeated,
            requests: arrivals.requests,
            p50_us: arrivals.latency.quantile(0.5),
            p99_us: arrivals.latency.quantile(0.99),
        }
    }
}

/// Prints a result.
///
/// # Errors
/// If it cannot be serialised.
pub fn print<T: Serialize>(result: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}
