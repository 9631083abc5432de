//! Requests by route: how many, how they ended, how long they took.
//!
//! The handles of a route are looked up once, when the router is built; a request costs two clock reads and two atomic adds.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// The metric families of a process.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    families: Option<(IntCounterVec, HistogramVec)>,
}

/// The handles of one route.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    handles: Option<Handles>,
}

#[derive(Debug)]
struct Handles {
    /// Index: hundreds of the status, less one.
    by_class: [IntCounter; 5],
    seconds: Histogram,
}

const BUCKETS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

impl HttpMetrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        let families = || -> prometheus::Result<(IntCounterVec, HistogramVec)> {
            let requests = IntCounterVec::new(
                Opts::new("http_requests_total", "Requests by route and class of status"),
                &["method", "route", "status"],
            )?;
            let options =
                HistogramOpts::new("http_request_duration_seconds", "Time from request head to response head").buckets(BUCKETS.to_vec());
            let seconds = HistogramVec::new(options, &["method", "route"])?;
            registry.register(Box::new(requests.clone()))?;
            registry.register(Box::new(seconds.clone()))?;
            Ok((requests, seconds))
        };
        HttpMetrics { families: families().ok() }
    }

    pub(crate) fn route(&self, method: &str, route: &str) -> RouteMetrics {
        let handles = self.families.as_ref().map(|(requests, seconds)| Handles {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| requests.with_label_values(&[method, route, class])),
            seconds: seconds.with_label_values(&[method, route]),
        });
        RouteMetrics { handles }
    }
}

impl RouteMetrics {
    pub(crate) fn observe(&self, status: u16, took: Duration) {
        let Some(handles) = &self.handles else { return };
        if let Some(counter) = handles.by_class.get(usize::from(status / 100).saturating_sub(1)) {
            counter.inc();
        }
        handles.seconds.observe(took.as_secs_f64());
    }
}
