//! The reconciler: makes workers do what the plan says. It takes no input beyond the state; a wake-up only says "look". So a
//! change, the timer, a restart and a lost message share one path.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fogflow_orchestration::{MessageType, routing};
use futures::stream::{self, StreamExt as _};
use tracing::Instrument as _;

use crate::master::{Master, TICK};
use crate::messages::publish;
use crate::planner::Place;
use crate::state::Order;
use crate::state::copies::Command;

/// Workers that are told at the same time; each worker is told one thing after the other.
const AT_ONCE: usize = 32;

/// Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>) -> anyhow::Result<()> {
    let mut next_tick = Instant::now() + TICK;
    loop {
        let limit = next_tick.saturating_duration_since(Instant::now());
        if !master.wait(&master.wake, limit).await {
            return Ok(());
        }
        let now = Instant::now();
        let (orders, heard) = {
            let mut state = master.state.lock();
            if now >= next_tick {
                state.tick(now, TICK);
                next_tick = now + TICK;
                show(&master, &state);
            }
            let timer = master.metrics.plan.start_timer();
            let orders = state.reconcile(now);
            timer.observe_duration();
            (orders, state.take_heard())
        };
        master.nudge_outlets();
        if !orders.is_empty() {
            let trace = heard.as_ref().and_then(|heard| heard.traceparent.as_deref());
            let span = fogflow_chassis::continued("give orders", "master", trace);
            give(&master, orders).instrument(span).await;
            if let Some(heard) = heard {
                master.metrics.assignment.observe(heard.at.elapsed().as_secs_f64());
            }
            // What the bus did not take is tried again with the next tick.
            master.store_nudge.notify_one();
        }
    }
}

async fn give(master: &Arc<Master>, orders: BTreeMap<String, Vec<Order>>) {
    stream::iter(orders)
        .for_each_concurrent(AT_ONCE, |(worker, orders)| async move {
            // A bus that does not take one order will not take the next: they are given again with the next tick.
            let mut taken = true;
            for order in orders {
                taken = taken && send(master, &worker, &order).await;
                master.state.lock().ordered(&worker, &order, taken, Instant::now());
            }
        })
        .await;
}

async fn send(master: &Arc<Master>, worker: &str, order: &Order) -> bool {
    let key = routing::to(worker);
    let (kind, sent) = match order {
        Order::Task(Command::Add(task)) => (MessageType::AddTask, publish(master, &key, MessageType::AddTask, task).await),
        Order::Task(Command::Remove(task)) => (MessageType::RemoveTask, publish(master, &key, MessageType::RemoveTask, task).await),
        Order::Task(Command::AddInput(flow)) => (MessageType::AddInput, publish(master, &key, MessageType::AddInput, flow).await),
        Order::Task(Command::RemoveInput(flow)) => (MessageType::RemoveInput, publish(master, &key, MessageType::RemoveInput, flow).await),
        Order::Task(Command::Whole(desired)) => {
            (MessageType::DesiredTasks, publish(master, &key, MessageType::DesiredTasks, desired).await)
        }
        Order::Prefetch(image) => (MessageType::PrefetchImage, publish(master, &key, MessageType::PrefetchImage, image).await),
    };
    let result = if sent.is_ok() { "taken" } else { "failed" };
    master.metrics.orders.with_label_values(&[kind.as_str(), result]).inc();
    if let Err(error) = &sent {
        tracing::warn!(worker, kind = kind.as_str(), %error, "the bus did not take an order; it is given again");
    }
    sent.is_ok()
}

fn show(master: &Master, state: &crate::state::State) {
    let metrics = &master.metrics;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let placed = state.planner.tasks().values().filter(|task| matches!(task.place, Place::On { .. })).count();
    metrics.leads.set(i64::from(state.epoch().is_some()));
    metrics.tasks.with_label_values(&["placed"]).set(count(placed));
    metrics.tasks.with_label_values(&["waiting"]).set(count(state.planner.tasks().len() - placed));
    metrics.workers.set(count(state.workers.alive().count()));
    for status in ["pending", "active", "failed"] {
        metrics.intents.with_label_values(&[status]).set(count(state.intent_states().filter(|intent| intent.status == status).count()));
    }
}
