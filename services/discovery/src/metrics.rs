//! Discovery's own metrics.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use crate::registry::Counts;

/// The metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registrations: IntGauge,
    subscriptions: IntGauge,
    brokers: IntGauge,
    waiting: IntGauge,
    /// Requests to subscribers by `outcome`.
    pub(crate) notifications: IntCounterVec,
}

impl Metrics {
    /// Adds them to a process's registry.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let options = Opts::new("fogflow_discovery_notifications_total", "Availability notifications sent, by outcome");
        let notifications = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(notifications.clone()))?;
        Ok(Metrics {
            registrations: gauge("fogflow_discovery_registrations", "Registered entities")?,
            subscriptions: gauge("fogflow_discovery_subscriptions", "Availability subscriptions")?,
            brokers: gauge("fogflow_discovery_brokers", "Brokers with a valid lease")?,
            waiting: gauge("fogflow_discovery_waiting", "Entities of which a subscriber has yet to be told")?,
            notifications,
        })
    }

    /// Shows present numbers.
    pub(crate) fn show(&self, counts: Counts) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.registrations.set(number(counts.registrations));
        self.subscriptions.set(number(counts.subscriptions));
        self.brokers.set(number(counts.brokers));
        self.waiting.set(number(counts.waiting));
    }
}
