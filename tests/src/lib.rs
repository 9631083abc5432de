//! Helpers of the whole-system suites: nodes as real processes, notification sinks, bounded waits.
#![expect(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a test helper fails its test")]

pub mod balancer;
pub mod cluster;
pub mod history;
pub mod http;
pub mod node;
pub mod otlp;
pub mod proxy;
pub mod servers;
pub mod sink;
pub mod tasks;
pub mod wait;

pub use http::Http;
pub use node::{Site, Started};
pub use sink::Sink;
pub use wait::wait_for;

/// Says on standard error, past libtest's capture, why a test cannot run here.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
