//! One subscriber's URL: its subscriptions with something to send, and the loop that sends.
//!
//! Each endpoint has at most one request on its way, so order holds and a slow one delays only itself. All endpoints
//! together share a number of permits; an endpoint that takes longer than [`SLOW`] gives its permit back while it goes
//! on, so hanging ones cannot use them up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fogflow_ngsi::Timestamp;
use parking_lot::Mutex;
use rand::Rng;
use reqwest::header::HeaderMap;
use smol_str::SmolStr;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::outbox::Outbox;
use super::request::{self, Built, Outgoing};
use super::{Context, collect};
use crate::change::Change;
use crate::matcher::SharedWatch;
use crate::subscription::Format;

/// Changes taken at one time; a request also ends at its largest size.
const TAKE: usize = 200;
/// How long an endpoint without work keeps its task.
const LINGER: Duration = Duration::from_secs(2);
/// While the lease of a subscription's slot is in doubt, how long until it is looked at again.
const DOUBT: Duration = Duration::from_millis(100);
/// After this a request no longer counts against the number of requests at one time.
const SLOW: Duration = Duration::from_secs(1);
/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// One subscriber's URL.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: SmolStr,
    ready: Mutex<VecDeque<SharedWatch<Outbox>>>,
    wake: Notify,
    active: AtomicBool,
}

/// What came of one request.
enum Sent {
    Arrived(u16),
    /// The subscriber answered that it does not want it; sending it again would not help.
    Refused(u16),
    /// Worth another try.
    Failed(Option<u16>, String),
}

impl Endpoint {
    pub(super) fn new(url: SmolStr) -> Self {
        Endpoint { url, ready: Mutex::default(), wake: Notify::new(), active: AtomicBool::new(false) }
    }

    /// Puts a subscription among those with something to send. Returns whether the endpoint needs a task.
    pub(super) fn schedule(&self, watch: &SharedWatch<Outbox>) -> bool {
        if watch.payload.scheduled.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.ready.lock().push_back(Arc::clone(watch));
        self.wake.notify_one();
        !self.active.swap(true, Ordering::AcqRel)
    }

    /// The first subscription that may send now, else when the next one may.
    fn next(&self) -> Result<SharedWatch<Outbox>, Option<Instant>> {
        let mut ready = self.ready.lock();
        let now = Instant::now();
        let mut earliest: Option<Instant> = None;
        for index in 0..ready.len() {
            let Some(watch) = ready.get(index) else { break };
            let throttled = *watch.payload.not_before.lock();
            match throttled {
                Some(time) if time > now && !watch.payload.closed.load(Ordering::Acquire) => {
                    earliest = Some(earliest.map_or(time, |other| other.min(time)));
                }
                _ => return ready.remove(index).ok_or(None),
            }
        }
        Err(earliest)
    }

    /// Sends until there has been nothing to send for a while.
    pub(super) async fn run(self: Arc<Self>, context: Arc<Context>) {
        context.metrics.endpoints.inc();
        let mut failures: u32 = 0;
        loop {
            match self.next() {
                Ok(watch) => {
                    watch.payload.scheduled.store(false, Ordering::Release);
                    if self.send_some(&context, &watch, failures > 0).await {
                        failures = 0;
                    } else {
                        failures = failures.saturating_add(1);
                        tokio::time::sleep(backoff(failures)).await;
                    }
                    if !watch.payload.queue.lock().is_empty() {
                        self.schedule(&watch);
                    }
                }
                Err(Some(time)) => {
                    let _ = tokio::time::timeout_at(time.into(), self.wake.notified()).await;
                }
                Err(None) => {
                    if tokio::time::timeout(LINGER, self.wake.notified()).await.is_err() {
                        self.active.store(false, Ordering::Release);
                        if self.ready.lock().is_empty() || self.active.swap(true, Ordering::AcqRel) {
                            break;
                        }
                    }
                }
            }
        }
        context.metrics.endpoints.dec();
    }

    /// Sends one request for a subscription. Returns whether the endpoint is well.
    async fn send_some(&self, context: &Context, watch: &SharedWatch<Outbox>, ailing: bool) -> bool {
        let outbox = &watch.payload;
        let now = Timestamp::now();
        if outbox.closed.load(Ordering::Acquire) || !watch.subscription.active(now) {
            let dropped = std::mem::take(&mut *outbox.queue.lock());
            context.metrics.queued.sub(i64::try_from(dropped.len()).unwrap_or(i64::MAX));
            return true;
        }
        if !context.slots.may_send(outbox.slot) {
            if context.slots.holds(outbox.slot) {
                *outbox.not_before.lock() = Some(Instant::now() + DOUBT);
            } else {
                // Another replica sends it.
                let dropped = std::mem::take(&mut *outbox.queue.lock());
                context.metrics.queued.sub(i64::try_from(dropped.len()).unwrap_or(i64::MAX));
            }
            return true;
        }
        collect(context, watch);
        let taken = outbox.queue.lock().take(TAKE);
        if taken.is_empty() {
            return true;
        }
        let count = i64::try_from(taken.len()).unwrap_or(i64::MAX);
        let Some(Built { outgoing, carried, rest }) = request::build(&watch.subscription, &context.contexts, &context.state, taken) else {
            outbox.queue.lock().sent();
            context.metrics.queued.sub(count);
            return true;
        };
        if !rest.is_empty() {
            outbox.queue.lock().put_back(rest);
        }
        if watch.subscription.throttling_ms > 0 {
            *outbox.not_before.lock() = Some(Instant::now() + watch.subscription.throttling());
        }
        let begun = Instant::now();
        let span = fogflow_chassis::continued("notify", "broker", carried.last().map(|change| change.trace.as_str()));
        let mut sent = send(context, &watch.subscription.target.format, &outgoing).instrument(span.clone()).await;
        if !ailing && matches!(sent, Sent::Failed(None, _)) && begun.elapsed() < SLOW {
            // An idle connection that the subscriber closed just now looks like this.
            sent = send(context, &watch.subscription.target.format, &outgoing).instrument(span).await;
        }
        self.settle(context, watch, carried, sent)
    }

    fn settle(&self, context: &Context, watch: &SharedWatch<Outbox>, taken: Vec<Arc<Change>>, sent: Sent) -> bool {
        let outbox = &watch.payload;
        let count = taken.len();
        let gone = i64::try_from(count).unwrap_or(i64::MAX);
        let now = Some(Timestamp::now());
        let mut history = outbox.history.lock();
        history.last_notification = now;
        outbox.times_sent.fetch_add(1, Ordering::Relaxed);
        let (outcome, well) = match sent {
            Sent::Arrived(status) => {
                history.last_success = now;
                history.status = Some(status);
                history.failures = 0;
                outbox.queue.lock().sent();
                context.metrics.queued.sub(gone);
                ("delivered", true)
            }
            Sent::Refused(status) => {
                history.last_failure = now;
                history.status = Some(status);
                history.reason = Some(format!("answered with status {status}"));
                outbox.unknown_there.store(status == 410, Ordering::Relaxed);
                outbox.queue.lock().sent();
                context.metrics.queued.sub(gone);
                ("refused", true)
            }
            Sent::Failed(status, reason) => {
                if history.failures == 0 {
                    tracing::info!(url = %self.url, subscription = %watch.subscription.id, %reason, "a subscriber does not answer");
                }
                history.last_failure = now;
                history.status = status;
                history.reason = Some(reason);
                history.failures += 1;
                let mut queue = outbox.queue.lock();
                let before = queue.len() + count;
                queue.failed(taken);
                let coalesced = before.saturating_sub(queue.len());
                context.metrics.queued.sub(i64::try_from(coalesced).unwrap_or(i64::MAX));
                ("failed", false)
            }
        };
        context.metrics.notifications.with_label_values(&[outcome]).inc_by(count as u64);
        well
    }
}

/// Exponential with jitter, so that subscribers that failed together are not tried together.
fn backoff(failures: u32) -> Duration {
    let full = BACKOFF.0.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF.1);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

async fn send(context: &Context, format: &Format, outgoing: &Outgoing) -> Sent {
    let Ok(permit) = context.permits.acquire().await else {
        return Sent::Failed(None, "the broker is stopping".to_owned());
    };
    context.metrics.requests.inc();
    let request = exchange(&context.client, format, outgoing);
    tokio::pin!(request);
    match tokio::time::timeout(SLOW, &mut request).await {
        Ok(sent) => sent,
        Err(_) => {
            drop(permit);
            request.await
        }
    }
}

async fn exchange(client: &reqwest::Client, format: &Format, outgoing: &Outgoing) -> Sent {
    let mut request = client.request(outgoing.method.clone(), outgoing.url.clone()).body(outgoing.body.clone());
    for (name, value) in &outgoing.headers {
        request = request.header(name, value);
    }
    // In the place of the writer's, once this notification is a step of its own.
    let mut trace = HeaderMap::new();
    fogflow_chassis::inject_traceparent(&mut trace);
    request = request.headers(trace);
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Sent::Failed(None, describe(&error)),
    };
    let status = response.status().as_u16();
    // Read the rest, within reason, so that the connection can be used again.
    let mut left: usize = 64 * 1024;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if chunk.len() < left => left -= chunk.len(),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => break,
        }
    }
    match (format, status) {
        // Upstream's task agents answer 404 to a notification that they have processed.
        (Format::V1, _) | (_, 200..300) => Sent::Arrived(status),
        (_, 429 | 500..) => Sent::Failed(Some(status), format!("answered with status {status}")),
        _ => Sent::Refused(status),
    }
}

/// The innermost reason, without the URL.
fn describe(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}
