//! What the broker counts. Label values are few and fixed: never ids or addresses.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The broker's metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Committed writes of entities.
    pub updates: IntCounter,
    /// Writes in one commit.
    pub commit_size: Histogram,
    /// Seconds from handing a batch to the store to its answer.
    pub commit_seconds: Histogram,
    /// Changes delivered, by outcome: `delivered`, `failed` (will be retried), `refused` (answered with an error that
    /// ends it), `coalesced` (left out because a newer state of the entity follows).
    pub notifications: IntCounterVec,
    /// Requests sent to subscribers.
    pub requests: IntCounter,
    /// Changes that wait for their subscriber.
    pub queued: IntGauge,
    /// Endpoints that have something to send.
    pub endpoints: IntGauge,
    /// Subscriptions.
    pub subscriptions: IntGauge,
    /// Slots of subscriptions that this replica serves; 0 when the store is not shared.
    pub slots: IntGauge,
    /// Entities whose registration at discovery is still to be sent.
    pub unregistered: IntGauge,
    /// Updates handed to the broker that owns the entity, by outcome: `done`, `failed`, `taken_over`.
    pub forwarded: IntCounterVec,
}

impl Metrics {
    /// Creates and registers them.
    ///
    /// # Errors
    /// If a name is taken in the registry.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let sizes = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
        let seconds = vec![0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];
        let metrics = Metrics {
            updates: IntCounter::new("fogflow_broker_updates_total", "Committed writes of entities")?,
            commit_size: Histogram::with_opts(HistogramOpts::new("fogflow_broker_commit_writes", "Writes per commit").buckets(sizes))?,
            commit_seconds: Histogram::with_opts(
                HistogramOpts::new("fogflow_broker_commit_seconds", "Duration of a commit").buckets(seconds),
            )?,
            notifications: IntCounterVec::new(
                Opts::new("fogflow_broker_notifications_total", "Changes for subscribers by outcome"),
                &["outcome"],
            )?,
            requests: IntCounter::new("fogflow_broker_notification_requests_total", "Requests sent to subscribers")?,
            queued: IntGauge::new("fogflow_broker_notifications_queued", "Changes that wait for their subscriber")?,
            endpoints: IntGauge::new("fogflow_broker_endpoints_active", "Endpoints with something to send")?,
            subscriptions: IntGauge::new("fogflow_broker_subscriptions", "Subscriptions")?,
            slots: IntGauge::new("fogflow_broker_slots", "Slots of subscriptions that this replica serves")?,
            unregistered: IntGauge::new("fogflow_broker_registrations_pending", "Registrations still to be sent")?,
            forwarded: IntCounterVec::new(
                Opts::new("fogflow_broker_forwarded_total", "Updates handed to the owner by outcome"),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(metrics.updates.clone()))?;
        registry.register(Box::new(metrics.commit_size.clone()))?;
        registry.register(Box::new(metrics.commit_seconds.clone()))?;
        registry.register(Box::new(metrics.notifications.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.queued.clone()))?;
        registry.register(Box::new(metrics.endpoints.clone()))?;
        registry.register(Box::new(metrics.subscriptions.clone()))?;
        registry.register(Box::new(metrics.slots.clone()))?;
        registry.register(Box::new(metrics.unregistered.clone()))?;
        registry.register(Box::new(metrics.forwarded.clone()))?;
        Ok(metrics)
    }
}
