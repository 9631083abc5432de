//! Figures of the master, at `/metrics`.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// See the module.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `fogflow_master_leads`: 1 while this master leads.
    pub leads: IntGauge,
    /// `fogflow_master_tasks{state}`: planned tasks, placed or waiting.
    pub tasks: IntGaugeVec,
    /// `fogflow_master_workers`: alive workers.
    pub workers: IntGauge,
    /// `fogflow_master_intents{status}`
    pub intents: IntGaugeVec,
    /// `fogflow_master_orders_total{type,result}`: messages to workers.
    pub orders: IntCounterVec,
    /// `fogflow_master_messages_total{type}`: messages from the bus.
    pub messages: IntCounterVec,
    /// `fogflow_master_plan_seconds`: planning after a change.
    pub plan: Histogram,
    /// `fogflow_master_assignment_seconds`: from the arrival of an availability notification until the bus has taken the orders.
    pub assignment: Histogram,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = |name: &str, help: &str| {
            let buckets = vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        };
        let metrics = Metrics {
            leads: IntGauge::new("fogflow_master_leads", "1 while this master leads")?,
            tasks: IntGaugeVec::new(Opts::new("fogflow_master_tasks", "Planned tasks"), &["state"])?,
            workers: IntGauge::new("fogflow_master_workers", "Alive workers")?,
            intents: IntGaugeVec::new(Opts::new("fogflow_master_intents", "Intents"), &["status"])?,
            orders: IntCounterVec::new(Opts::new("fogflow_master_orders_total", "Messages to workers"), &["type", "result"])?,
            messages: IntCounterVec::new(Opts::new("fogflow_master_messages_total", "Messages from the bus"), &["type"])?,
            plan: seconds("fogflow_master_plan_seconds", "Planning after a change")?,
            assignment: seconds("fogflow_master_assignment_seconds", "From an availability notification to its orders on the bus")?,
        };
        registry.register(Box::new(metrics.leads.clone()))?;
        registry.register(Box::new(metrics.tasks.clone()))?;
        registry.register(Box::new(metrics.workers.clone()))?;
        registry.register(Box::new(metrics.intents.clone()))?;
        registry.register(Box::new(metrics.orders.clone()))?;
        registry.register(Box::new(metrics.messages.clone()))?;
        registry.register(Box::new(metrics.plan.clone()))?;
        registry.register(Box::new(metrics.assignment.clone()))?;
        Ok(metrics)
    }
}
