//! From "an entity appears" to "the order is on the bus": one availability notification after the other over HTTP, beside tasks that
//! exist already. Designer, discovery and workers are simulated, the master is real, the bus is the in-process one.
//!
//! `cargo run --release -p fogflow-master --example assignment [existing tasks] [samples]`
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::{Message, Queue, SharedBus};
use fogflow_orchestration::{
    DesiredTasks, Envelope, Location, MessageType, ScheduledTaskInstance, TaskState, TaskUpdate, WorkerProfile, WorkerTasks, routing,
};
use parking_lot::Mutex;
use support::World;

const WORKERS: u32 = 50;

type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

/// One of ours: confirms at once, and reports every two seconds.
async fn worker(bus: SharedBus, number: u32, capacity: u32, arrivals: Arrivals) {
    let id = format!("Worker.{number:03}");
    let queue = Queue { name: id.clone(), bindings: routing::worker_bindings(&id), prefetch: 16 };
    let mut subscription = bus.subscribe(queue).await.unwrap();
    let mut tasks: HashMap<String, TaskUpdate> = HashMap::new();
    let mut epoch = 0;
    let mut beat = tokio::time::interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let profile = WorkerProfile {
                    id: id.clone(), capacity, os: "linux".to_owned(), hardware: "amd64".to_owned(), engine: "docker".to_owned(),
                    location: Location { latitude: 40.0 + f64::from(number) / 10.0, longitude: 8.0 },
                    heartbeat_seconds: Some(2), incarnation: "1".to_owned(), ..WorkerProfile::default()
                };
                say(&bus, &id, routing::HEARTBEAT, MessageType::WorkerHeartbeat, &profile).await;
                let report = WorkerTasks { worker_id: id.clone(), epoch, generation: None, tasks: tasks.values().cloned().collect() };
                say(&bus, &id, routing::HEARTBEAT, MessageType::WorkerTasks, &report).await;
            }
            delivery = subscription.next() => {
                let delivery = delivery.unwrap();
                let arrived = Instant::now();
                let envelope: Envelope = serde_json::from_slice(&delivery.message().body).unwrap();
                delivery.ack().await;
                let added: Vec<ScheduledTaskInstance> = match envelope.kind() {
                    Some(MessageType::AddTask) => vec![serde_json::from_value(envelope.payload).unwrap()],
                    Some(MessageType::DesiredTasks) => {
                        let desired: DesiredTasks = serde_json::from_value(envelope.payload).unwrap();
                        epoch = desired.epoch;
                        desired.tasks
                    }
                    _ => Vec::new(),
                };
                for task in added {
                    arrivals.lock().entry(task.inputs[0].id.clone()).or_insert(arrived);
                    let update = TaskUpdate {
                        task_id: task.id.clone(), topology_name: task.topology_name, task_name: task.task_name, service_intent_id: task.service_intent_id,
                        status: TaskState::Running, worker_id: id.clone(), generation: task.generation, ..TaskUpdate::default()
                    };
                    if tasks.insert(task.id, update.clone()).is_none() {
                        say(&bus, &id, routing::TASK, MessageType::TaskUpdate, &update).await;
                    }
                }
            }
        }
    }
}

async fn say(bus: &SharedBus, from: &str, key: &str, kind: MessageType, payload: &impl serde::Serialize) {
    let body = Envelope::encode(kind, key, from, payload).unwrap();
    bus.publish(Message { routing_key: key.to_owned(), body: body.into(), traceparent: None }).await.unwrap();
}

fn share(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (existing, samples) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(1_000));
    let world = World::new().await;
    world.designer.register("t", &[("Temperature", "EntityID")], "ServiceIntent.1");
    for device in 0..existing {
        let entity = ("Temperature".to_owned(), serde_json::json!([]));
        world.discovery.book.lock().entities.insert(format!("Old.{device}"), entity);
    }
    let arrivals = Arrivals::default();
    let capacity = u32::try_from((existing + samples) / WORKERS as usize + 1).unwrap();
    for number in 0..WORKERS {
        tokio::spawn(worker(world.bus.clone(), number, capacity, arrivals.clone()));
    }
    let started = Instant::now();
    let master = world.master().await;
    support::eventually("all tasks exist", async || {
        let arrived = arrivals.lock().len();
        if arrived == existing { Ok(()) } else { Err(format!("{arrived} of {existing}")) }
    })
    .await;
    println!("{existing} tasks ordered {:.2} s after the start of the master", started.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut times = Vec::with_capacity(samples);
    for sample in 0..samples {
        let id = format!("New.{sample}");
        let place = (40.0 + f64::from(u32::try_from(sample % 50).unwrap()) / 10.0, 8.0);
        let started = Instant::now();
        world.discovery.put(&id, "Temperature", Some(place)).await;
        let arrived = loop {
            if let Some(arrived) = arrivals.lock().get(&id) {
                break *arrived;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        };
        times.push(arrived.saturating_duration_since(started));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times.sort_unstable();
    println!(
        "entity appears -> ADD_TASK at its worker, beside {existing} tasks, {samples} samples: p50 {:.2} ms  p95 {:.2} ms  p99 {:.2} ms  max {:.2} ms",
        share(&times, 50),
        share(&times, 95),
        share(&times, 99),
        share(&times, 100)
    );
    master.stop().await;
}
