//! Two replicas: what is written through one is read through the other, while both carry a steady load.

use std::rc::Rc;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::{Setting, once};
use crate::histogram::Histogram;
use crate::http::{Connection, Target};
use crate::load::{Plan, Stamper, run};
use crate::template::stamps;

/// Reads of one's own writes.
#[derive(Debug, Serialize)]
pub struct ReadYourWrite {
    /// How many were made.
    pub count: u64,
    /// Those that showed something older than the write that had been acknowledged before.
    pub stale: u64,
    /// Microseconds from the acknowledgement to the answer of the read, median.
    pub p50_us: u64,
    /// Microseconds, 99th percentile.
    pub p99_us: u64,
    /// Updates per second of the load beside it.
    pub load_per_second: f64,
}

/// Writes an entity at the setting's broker and reads it at `other`, again and again, beside a load of `rate` updates a second.
///
/// # Errors
/// If a broker refuses or cannot be reached.
pub async fn across(setting: &Setting, other: &Target, rate: f64) -> anyhow::Result<ReadYourWrite> {
    setting.prepare().await?;
    let own = setting.first + setting.entities;
    once(&setting.target, &setting.api.create(&setting.target, own..own + 1)).await?;
    let plan = Plan { connections: setting.connections, duration: setting.duration, rate: Some(rate), server: None };
    let (templates, stamper) = (setting.updates(), Rc::new(Stamper::default()));
    let (load, found) = tokio::join!(run(&setting.target, &templates, &stamper, &plan), probe(setting, other, own));
    let (mut found, load) = (found?, load?);
    found.load_per_second = load.requests as f64 / load.elapsed.as_secs_f64();
    Ok(found)
}

async fn probe(setting: &Setting, other: &Target, own: usize) -> anyhow::Result<ReadYourWrite> {
    let (mut writes, mut reads) = (Connection::open(&setting.target).await?, Connection::open(other).await?);
    let (mut update, get) = (setting.api.update(&setting.target, own), setting.api.get(other, own));
    let (mut latency, mut stale) = (Histogram::default(), 0);
    let start = Instant::now();
    while start.elapsed() < setting.duration {
        let number = latency.len() + 1;
        update.set(number);
        let answer = writes.exchange(update.bytes()).await.context("writing")?;
        anyhow::ensure!((200..300).contains(&answer.status), "the write was answered with {}", answer.status);
        let acknowledged = Instant::now();
        let answer = reads.exchange(get.bytes()).await.context("reading")?;
        latency.add(acknowledged.elapsed());
        anyhow::ensure!((200..300).contains(&answer.status), "the read was answered with {}", answer.status);
        stale += u64::from(stamps(reads.body(answer)).next() != Some(number));
    }
    let (p50_us, p99_us) = (latency.quantile(0.5), latency.quantile(0.99));
    Ok(ReadYourWrite { count: latency.len(), stale, p50_us, p99_us, load_per_second: 0.0 })
}
