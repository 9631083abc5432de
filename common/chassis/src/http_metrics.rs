//! Requests by route: how many, how they ended, how long they took.
//!
//! The series of a route are looked up once, at its first request; a request costs two clock reads and two atomic adds.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// The metric families of a process.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    families: Option<(IntCounterVec, HistogramVec)>,
}

/// The series of one route; each comes to life with the first request that it counts.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    families: Option<(IntCounterVec, HistogramVec)>,
    method: String,
    route: String,
    /// Index: hundreds of the status, less one.
    by_class: [OnceLock<IntCounter>; 5],
    seconds: OnceLock<Histogram>,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
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
        RouteMetrics {
            families: self.families.clone(),
            method: method.to_owned(),
            route: route.to_owned(),
            by_class: Default::default(),
            seconds: OnceLock::new(),
        }
    }
}

impl RouteMetrics {
    pub(crate) fn observe(&self, status: u16, took: Duration) {
        let Some((requests, seconds)) = &self.families else { return };
        let class = usize::from(status / 100).saturating_sub(1);
        if let (Some(counter), Some(word)) = (self.by_class.get(class), CLASSES.get(class)) {
            counter.get_or_init(|| requests.with_label_values(&[self.method.as_str(), &self.route, word])).inc();
        }
        self.seconds.get_or_init(|| seconds.with_label_values(&[&self.method, &self.route])).observe(took.as_secs_f64());
    }
}
