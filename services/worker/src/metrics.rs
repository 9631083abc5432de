//! The worker's own metrics.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Tasks in the table.
    pub(crate) tasks: IntGauge,
    /// Messages by type and what became of them.
    pub(crate) commands: IntCounterVec,
    /// Reports that found the outbox full.
    pub(crate) dropped_reports: IntCounter,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// If one of them is registered already.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Metrics {
            tasks: IntGauge::new("fogflow_worker_tasks", "Tasks that the worker has, running or not.")?,
            commands: IntCounterVec::new(
                Opts::new("fogflow_worker_commands_total", "Messages from masters, by type and what became of them."),
                &["type", "result"],
            )?,
            dropped_reports: IntCounter::new(
                "fogflow_worker_dropped_reports_total",
                "Task reports that were not sent because the bus was away for long.",
            )?,
        };
        registry.register(Box::new(metrics.tasks.clone()))?;
        registry.register(Box::new(metrics.commands.clone()))?;
        registry.register(Box::new(metrics.dropped_reports.clone()))?;
        Ok(metrics)
    }
}
