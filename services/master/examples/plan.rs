//! How long planning takes: 10 000 tasks on 1 000 workers, planned in full, planned again, and after single changes.
//!
//! `cargo run --release -p fogflow-master --example plan [tasks] [workers]`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_master::planner::{Desired, EntityKey, Planner, plan};
use fogflow_orchestration::{
    DockerImage, EntityDetail, InputSelector, Location, Operator, OutputSelector, ServiceIntent, Task, Topology, WorkerProfile,
};
use serde_json::json;

const ROUNDS: usize = 9;

/// The same places on every run: a sequence that fills a square evenly (additive recurrence with the plastic number).
fn place(number: usize) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let number = number as f64;
    (45.0 + 10.0 * (number * 0.754_877_666_246_693).fract(), 5.0 + 15.0 * (number * 0.569_840_290_998_053_3).fract())
}

fn entity(number: usize) -> EntityDetail {
    let (latitude, longitude) = place(number);
    EntityDetail {
        id: format!("Device.Temperature.{number:05}"),
        entity_type: "Temperature".to_owned(),
        attributes: vec!["temp".to_owned()],
        metadata: [("location".to_owned(), json!({"type": "point", "value": {"latitude": latitude, "longitude": longitude}}))].into(),
        provider: "http://127.0.0.1:8070/ngsi10".to_owned(),
        ..EntityDetail::default()
    }
}

fn world(tasks: usize, workers: usize, qos: &str) -> Desired {
    let image = DockerImage { name: "fogflow/dummy".to_owned(), tag: "latest".to_owned(), ..DockerImage::default() };
    let input = InputSelector { selected_type: "Temperature".to_owned(), groupby: "EntityID".to_owned(), ..InputSelector::default() };
    let task = Task {
        name: "main".to_owned(),
        operator: "dummy".to_owned(),
        input_streams: vec![input],
        output_streams: vec![OutputSelector { entity_type: "Out".to_owned() }],
    };
    let capacity = u32::try_from(tasks.div_ceil(workers) + 2).unwrap_or(u32::MAX);
    let worker = |number: usize| {
        let (latitude, longitude) = place(number * 7 + 3);
        WorkerProfile {
            id: format!("Worker.{number:04}"),
            location: Location { latitude, longitude },
            os: "linux".to_owned(),
            hardware: if number.is_multiple_of(4) { "arm64" } else { "amd64" }.to_owned(),
            capacity,
            ..WorkerProfile::default()
        }
    };
    let mut desired = Desired {
        operators: vec![Operator { name: "dummy".to_owned(), dockerimages: vec![image], ..Operator::default() }],
        topologies: vec![Topology { name: "demo".to_owned(), tasks: vec![task], ..Topology::default() }],
        intents: vec![ServiceIntent {
            id: "ServiceIntent.1".to_owned(),
            topology: "demo".to_owned(),
            qos: qos.to_owned(),
            ..ServiceIntent::default()
        }],
        workers: (0..workers).map(worker).collect(),
        ..Desired::default()
    };
    let mut planner = Planner::new(desired.policy);
    planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
    desired.entities = planner
        .selectors()
        .keys()
        .map(|selector| (selector.clone(), (0..tasks).map(|number| Arc::new(entity(number))).collect()))
        .collect();
    desired
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (tasks, workers) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(1_000));
    println!("{tasks} tasks, {workers} workers; medians of {ROUNDS}");
    for qos in ["MIN_LATENCY", "MAX_THROUGHPUT", "MIN_COST"] {
        let mut desired = world(tasks, workers, qos);
        let timed = |desired: &Desired| -> Duration {
            median(
                (0..ROUNDS)
                    .map(|_| {
                        let started = Instant::now();
                        let made = plan(desired);
                        let time = started.elapsed();
                        assert_eq!(made.tasks.len(), tasks);
                        time
                    })
                    .collect(),
            )
        };
        let full = timed(&desired);
        let made = plan(&desired);
        let placed: BTreeMap<Arc<str>, Arc<str>> =
            made.tasks.iter().filter_map(|(id, task)| Some((id.clone(), task.worker()?.clone()))).collect();
        assert!(made.unplaced.is_empty());
        desired.current.clone_from(&placed);
        let again = timed(&desired);
        let moved = plan(&desired).tasks.iter().filter(|(id, task)| placed.get(*id) != task.worker()).count();

        let mut planner = Planner::new(desired.policy);
        planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
        planner.set_workers(desired.workers.iter().map(|worker| (worker.id.clone(), worker.clone())).collect());
        let selector = desired.entities.keys().next().cloned().unwrap_or_else(|| "".into());
        for entity in desired.entities.values().flatten() {
            planner.set_entity(&selector, entity.id.as_str(), Some(entity.clone()));
        }
        planner.settle();
        let one: Vec<Duration> = (0..1000)
            .map(|number| {
                let new = entity(tasks + number);
                let started = Instant::now();
                planner.set_entity(&selector, EntityKey::of(&new), Some(Arc::new(new)));
                planner.settle();
                started.elapsed()
            })
            .collect();
        let worst = one.iter().max().copied().unwrap_or_default();
        println!(
            "{qos:15} full {:6.1} ms   again {:6.1} ms, {moved} moved   one entity more {:7.1} us (worst {:.1} us)",
            full.as_secs_f64() * 1e3,
            again.as_secs_f64() * 1e3,
            median(one).as_secs_f64() * 1e6,
            worst.as_secs_f64() * 1e6,
        );
    }
}
