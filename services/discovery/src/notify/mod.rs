//! Availability notifications: one ordered stream per subscription, each at its own pace.
//!
//! A subscription has at most one request under way. What changes meanwhile waits in its [`queue`] and goes together in
//! the next one, so that the first change is told at once and a burst costs few requests.

mod message;
pub mod queue;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prometheus::IntCounterVec;
use reqwest::header::HeaderMap;
use smol_str::SmolStr;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::registry::Registry;
use queue::Batch;

/// How many requests may be under way at once, over all subscriptions.
const CONCURRENT: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A subscriber that has come back is told within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends what subscribers have to be told.
pub struct Notifier {
    registry: Arc<Registry>,
    client: reqwest::Client,
    clock: Clock,
    permits: Semaphore,
    /// By `outcome`: `delivered` or `failed`.
    sent: IntCounterVec,
}

impl Notifier {
    /// A notifier for a registry. `sent` counts requests by outcome.
    #[must_use]
    pub fn new(registry: Arc<Registry>, client: reqwest::Client, clock: Clock, sent: IntCounterVec) -> Self {
        Notifier { registry, client, clock, permits: Semaphore::new(CONCURRENT), sent }
    }

    /// Works until shutdown. What is not delivered by then is covered by the snapshots after the next start.
    ///
    /// # Errors
    /// Never; the type is that of a supervised task.
    pub async fn run(&self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.registry.until_ready() => {
                    under_way.extend(self.registry.take_ready().into_iter().map(|(id, incarnation)| self.work_off(id, incarnation)));
                }
                Some(()) = under_way.next() => {}
            }
        }
    }

    /// Sends to one subscription until nothing waits for it.
    async fn work_off(&self, id: SmolStr, incarnation: u64) {
        let mut pause = FIRST_PAUSE;
        while let Some((reference, batch)) = self.registry.next_batch(&id, incarnation) {
            let span = fogflow_chassis::continued("notify availability", "discovery", batch.trace.as_deref());
            match self.send(&id, &reference, &batch).instrument(span).await {
                Ok(()) => {
                    self.sent.with_label_values(&["delivered"]).inc();
                    self.registry.delivered(&id);
                    pause = FIRST_PAUSE;
                }
                Err(reason) => {
                    self.sent.with_label_values(&["failed"]).inc();
                    tracing::debug!(subscription = %id, %reference, %reason, "an availability notification was not delivered");
                    self.registry.put_back(&id, incarnation, batch, self.clock.now());
                    tokio::time::sleep(pause.mul_f64(jitter(&id, pause))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Delivered means that the subscriber says so: `responseCode.code` 200 in a JSON body.
    async fn send(&self, id: &SmolStr, reference: &str, batch: &Batch) -> Result<(), String> {
        let _permit = self.permits.acquire().await.map_err(|error| error.to_string())?;
        let mut trace = HeaderMap::new();
        fogflow_chassis::inject_traceparent(&mut trace);
        let request = self.client.post(reference).header("content-type", "application/json").header("accept", "application/json");
        let response =
            request.headers(trace).body(message::encode(id, batch)).send().await.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| error.without_url().to_string())?;
        match message::acknowledged(&body) {
            true => Ok(()),
            false => Err(format!("the answer was {status} without responseCode.code 200")),
        }
    }
}

/// Between 0.5 and 1, different for each subscription and attempt, so that many do not knock at the same moment.
fn jitter(id: &str, pause: Duration) -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let hash = RandomState::new().hash_one((id, pause));
    0.5 + f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX) / 2.0
}
