//! The connection to the API server: found as `kubectl` or a pod finds it, bounded in rate and time, patient with a
//! server that is busy.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::engine::EngineError;

const CONNECT: Duration = Duration::from_secs(5);
/// For one attempt. Watches are not bound by it: the server ends them by itself.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 6;
/// Calls at a time: what waits costs the server nothing, and its time has not begun.
const IN_FLIGHT: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The API server, and the namespaces that matter.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Where the worker itself is: of its service account, or of the kubeconfig's context.
    pub(crate) own_namespace: String,
}

/// Connects by `kubeconfig` if one is given, else by `KUBECONFIG`, `~/.kube/config` or the pod's service account.
///
/// # Errors
/// What is missing or wrong in the configuration; that the server answers is not tried.
pub(crate) async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Cluster> {
    let mut config = match kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?,
        None => Config::infer().await?,
    };
    config.connect_timeout = Some(CONNECT);
    // Retries are `Calls`' business, where they count against the rate.
    config.default_retry = false;
    let own_namespace = config.default_namespace.clone();
    Ok(Cluster { client: Client::try_from(config)?, own_namespace })
}

/// Makes calls, no faster than agreed and no more at a time.
#[derive(Debug)]
pub(crate) struct Calls {
    pace: Pace,
    /// When the next call would be due if all had been evenly spaced.
    due: Mutex<Instant>,
    in_flight: Semaphore,
    first_pause: Duration,
}

/// How often calls are made.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Time between two calls in the long run.
    interval: Duration,
    burst: u32,
}

impl Pace {
    fn new(per_second: u16) -> Self {
        let per_second = u32::from(per_second.max(1));
        Pace { interval: Duration::from_secs(1) / per_second, burst: per_second * 2 }
    }

    /// When a call may start that is wanted `now`; `due` moves on (the generic cell rate algorithm).
    fn slot(self, due: &mut Instant, now: Instant) -> Instant {
        let slot = (*due).max(now);
        *due = slot + self.interval;
        slot.checked_sub(self.interval * self.burst).map_or(now, |start| start.max(now))
    }
}

impl Calls {
    /// At most `per_second` calls, after a burst of twice as many.
    pub(crate) fn new(per_second: u16) -> Self {
        Calls {
            pace: Pace::new(per_second),
            due: Mutex::new(Instant::now()),
            in_flight: Semaphore::new(IN_FLIGHT),
            first_pause: FIRST_PAUSE,
        }
    }

    async fn turn(&self) {
        let start = self.pace.slot(&mut self.due.lock(), Instant::now());
        tokio::time::sleep_until(start).await;
    }

    /// Makes a call, again when the server was busy, conflicted or out of reach. `what` is for people, for example
    /// `"the Service cannot be made"`.
    ///
    /// # Errors
    /// [`EngineError::Unrunnable`] when the server refuses (admission, quota, rights, an invalid specification), in its own
    /// words; [`EngineError::Failed`] when it did not answer in the end.
    pub(crate) async fn make<T, F>(&self, what: &str, call: impl Fn() -> F + Send) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut pause = self.first_pause;
        let mut attempt = 1;
        loop {
            let outcome = {
                let _place = self.in_flight.acquire().await; // never closed
                self.turn().await;
                tokio::time::timeout(ATTEMPT, call()).await
            };
            let error = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !is_transient(&error) => return Err(refusal(what, &error)),
                Ok(Err(error)) => words(&error),
                Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
            };
            if attempt == ATTEMPTS {
                return Err(EngineError::Failed(format!("{what}: {error}")));
            }
            attempt += 1;
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether the same call may succeed a moment later.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => matches!(status.code, 408 | 409 | 429 | 500..),
        Error::HyperError(_) | Error::Service(_) | Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// A final error. A refusal by the server is about the task; 404 and the like are about this moment.
fn refusal(what: &str, error: &Error) -> EngineError {
    let text = format!("{what}: {}", words(error));
    match error {
        Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => EngineError::Unrunnable(text),
        _ => EngineError::Failed(text),
    }
}

/// Whether the server says that there is no such object.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// What an error says for people: the server's own message, or the innermost cause.
pub(crate) fn words(error: &Error) -> String {
    if let Error::Api(status) = error {
        return if status.message.is_empty() { format!("{} {}", status.code, status.reason) } else { status.message.clone() };
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn api(code: u16, message: &str) -> Error {
        let status = kube::core::Status { code, message: message.to_owned(), ..Default::default() };
        Error::Api(Box::new(status))
    }

    #[test]
    fn calls_are_no_more_than_the_burst_and_then_the_rate() {
        let (pace, now) = (Pace::new(10), Instant::now());
        let mut due = now;
        let starts: Vec<Duration> = (0..51).map(|_| pace.slot(&mut due, now) - now).collect();
        assert!(starts[..21].iter().all(Duration::is_zero), "{starts:?}");
        assert_eq!((starts[30].as_millis(), starts[50].as_millis()), (1000, 3000));
        // An hour later there is a burst again, and no more than one.
        let later = now + Duration::from_secs(3600);
        let again: Vec<Duration> = (0..22).map(|_| pace.slot(&mut due, later) - later).collect();
        assert_eq!((again[20], again[21]), (Duration::ZERO, Duration::from_millis(100)));
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again_and_a_refusal_is_final_in_its_own_words() {
        let calls = Calls { first_pause: Duration::from_millis(1), ..Calls::new(1000) };
        let count = AtomicU32::new(0);
        let busy = || async {
            let number = count.fetch_add(1, Ordering::Relaxed);
            if number < 3 { Err(api([429, 503, 409][number as usize], "later")) } else { Ok(number) }
        };
        assert_eq!(calls.make("x", busy).await, Ok(3));
        let refused = calls.make("the Deployment cannot be made", || async { Err::<(), _>(api(403, "exceeded quota: pods=3")) }).await;
        assert_eq!(refused, Err(EngineError::Unrunnable("the Deployment cannot be made: exceeded quota: pods=3".to_owned())));
        let count = AtomicU32::new(0);
        let gone = || async {
            count.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(api(503, "etcd is away"))
        };
        assert_eq!(calls.make("x", gone).await, Err(EngineError::Failed("x: etcd is away".to_owned())));
        assert_eq!(count.load(Ordering::Relaxed), ATTEMPTS);
    }
}
