//! Load: as many requests as connections can carry, or at a steady rate.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::histogram::Histogram;
use crate::http::{Connection, Target};
use crate::template::Template;

/// How to load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many connections, each with one request at a time.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
    /// Requests per second over all connections; `None` for as many as possible.
    pub rate: Option<f64>,
    /// The server's process, if it is on this machine and its processor time shall be read.
    pub server: Option<u32>,
}

/// What a load brought about.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answered requests.
    pub requests: u64,
    /// Those with a status outside of 2xx.
    pub refused: u64,
    /// How long it really took.
    pub elapsed: Duration,
    /// From request to complete answer.
    pub latency: Histogram,
    /// The size of the last answer's body.
    pub answer_size: usize,
    /// The share of one core that the generator used.
    pub generator_busy: f64,
    /// The processor time that the server used, if it was asked for.
    pub server_cpu: Option<Duration>,
}

/// Numbers the requests of a run.
#[derive(Debug)]
pub struct Stamper {
    next: Cell<u64>,
    /// When each was sent, by number, in microseconds since `start`.
    sent: RefCell<Vec<u64>>,
    start: Instant,
}

impl Default for Stamper {
    fn default() -> Self {
        Stamper { next: Cell::new(0), sent: RefCell::default(), start: Instant::now() }
    }
}

impl Stamper {
    /// The next number; notes the time.
    pub fn next(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        self.sent.borrow_mut().push(self.micros());
        number
    }

    /// How many were given out.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.next.get()
    }

    /// How long ago a number was given out.
    #[must_use]
    pub fn age(&self, number: u64) -> Option<Duration> {
        let sent = *self.sent.borrow().get(usize::try_from(number).ok()?)?;
        Some(Duration::from_micros(self.micros().saturating_sub(sent)))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Runs a load on the present thread (inside a `LocalSet`). Connection `n` sends `templates[n % len]`.
///
/// # Errors
/// If a connection cannot be opened or breaks.
pub async fn run(target: &Target, templates: &[Template], stamper: &Rc<Stamper>, plan: &Plan) -> anyhow::Result<Outcome> {
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(target).await.with_context(|| format!("connecting to {}", target.authority))?);
    }
    let cpu = cpu_time(std::process::id());
    let server = plan.server.map(cpu_time);
    let start = Instant::now();
    let interval = plan.rate.map(|rate| Duration::from_secs_f64(plan.connections as f64 / rate));
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, connection)| {
            let template = templates.get(number % templates.len().max(1)).cloned();
            // Spread over the interval, so that a steady rate is steady.
            let offset = interval.map(|interval| interval.mul_f64(number as f64 / plan.connections as f64));
            let pace = interval.zip(offset);
            tokio::task::spawn_local(drive(connection, template, Rc::clone(stamper), start, plan.duration, pace))
        })
        .collect();
    let mut outcome = Outcome::default();
    let mut latency = Histogram::default();
    for task in tasks {
        let part = task.await.context("a connection's task ended")??;
        outcome.requests += part.requests;
        outcome.refused += part.refused;
        outcome.answer_size = outcome.answer_size.max(part.answer_size);
        latency.merge(&part.latency);
    }
    outcome.latency = latency;
    outcome.elapsed = start.elapsed();
    outcome.server_cpu = plan.server.zip(server).map(|(pid, before)| cpu_time(pid).saturating_sub(before));
    outcome.generator_busy = cpu_time(std::process::id()).saturating_sub(cpu).as_secs_f64() / outcome.elapsed.as_secs_f64();
    Ok(outcome)
}

async fn drive(
    mut connection: Connection,
    template: Option<Template>,
    stamper: Rc<Stamper>,
    start: Instant,
    duration: Duration,
    pace: Option<(Duration, Duration)>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let Some(mut template) = template else { return Ok(outcome) };
    let mut due = pace.map(|(_, offset)| start + offset);
    loop {
        if let (Some(time), Some((interval, _))) = (due, pace) {
            tokio::time::sleep_until(time.into()).await;
            due = Some(time + interval);
        }
        if start.elapsed() >= duration {
            return Ok(outcome);
        }
        template.set(stamper.next());
        let sent = Instant::now();
        let answer = connection.exchange(template.bytes()).await.context("a connection broke")?;
        outcome.latency.add(sent.elapsed());
        outcome.requests += 1;
        outcome.answer_size = answer.size;
        if !(200..300).contains(&answer.status) {
            outcome.refused += 1;
        }
    }
}

/// The processor time that all threads of a process have used.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let nanos = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
