//! Updates with one subscriber: how many changes arrive, and how soon, at full and at half load.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Setting, once};
use crate::load::{Plan, Stamper, run};
use crate::report::Delivery;
use crate::sink::Sink;

/// How long the subscriber waits for a change that does not come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Both loads.
#[derive(Debug, Serialize)]
pub struct Deliveries {
    /// As many updates as the connections carry.
    pub full: Delivery,
    /// Half as many, at a steady rate.
    pub half: Delivery,
}

/// Subscribes once to all entities and updates them.
///
/// # Errors
/// If the broker refuses or cannot be reached.
pub async fn deliver(setting: &Setting, sink_host: &str) -> anyhow::Result<Deliveries> {
    setting.prepare().await?;
    let sink = Sink::listen(sink_host, Rc::default()).await?;
    once(&setting.target, &setting.api.subscribe_to_type(&setting.target, crate::api::TYPE, &sink.url)).await?;
    // The initial notification of existing entities is no change.
    sink.settle(1, Duration::from_secs(1)).await;
    let plan = Plan { connections: setting.connections, duration: setting.duration, rate: None, server: setting.server };
    one(setting, &sink, &Plan { duration: setting.duration / 5, ..plan.clone() }).await?;
    let full = one(setting, &sink, &plan).await?;
    let half = one(setting, &sink, &Plan { rate: Some(full.delivered_per_second.min(full.updates.per_second) / 2.0), ..plan }).await?;
    Ok(Deliveries { full, half })
}

async fn one(setting: &Setting, sink: &Sink, plan: &Plan) -> anyhow::Result<Delivery> {
    let stamper = Rc::new(Stamper::default());
    sink.reset(Rc::clone(&stamper));
    let start = Instant::now();
    let outcome = run(&setting.target, &setting.updates(), &stamper, plan).await?;
    let arrivals = sink.settle(stamper.count(), PATIENCE).await;
    let seconds = arrivals.last.map_or(0.0, |last| last.duration_since(start).as_secs_f64()).max(outcome.elapsed.as_secs_f64());
    Ok(Delivery::new(&outcome, stamper.count(), &arrivals, seconds))
}
