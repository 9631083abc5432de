//! The master's planner by itself: many tasks on many workers, from nothing, and once more. Prints one JSON object.
//!
//! ```sh
//! cargo run --release -p fogflow-master --example plan [TASKS [WORKERS]]
//! ```
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Instant;

use fogflow_master::planner::{Desired, Place, Planner, plan};
use fogflow_orchestration::{EntityDetail, Executable, InputSelector, Operator, ServiceIntent, Task, Topology, WorkerProfile};
use serde_json::json;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().ok());
    let (tasks, workers) = (numbers.next().flatten().unwrap_or(10_000), numbers.next().flatten().unwrap_or(1_000));
    println!("{}", plan_many(tasks, workers));
}

/// Plans one task for each of `tasks` entities.
fn plan_many(tasks: usize, workers: usize) -> serde_json::Value {
    let operators = vec![Operator {
        name: "wait".into(),
        executables: vec![Executable { command: vec!["sleep".into()], ..Executable::default() }],
        ..Operator::default()
    }];
    let input = InputSelector { selected_type: "Car".into(), groupby: "EntityID".into(), ..InputSelector::default() };
    let task = Task { name: "Wait".into(), operator: "wait".into(), input_streams: vec![input], output_streams: Vec::new() };
    let topologies = vec![Topology { name: "many".into(), tasks: vec![task], ..Topology::default() }];
    let intents = vec![ServiceIntent { id: "ServiceIntent.many".into(), topology: "many".into(), ..ServiceIntent::default() }];
    let mut desired = Desired { operators, topologies, intents, workers: (0..workers).map(worker).collect(), ..Desired::default() };
    let mut planner = Planner::new(desired.policy);
    planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
    let details: Vec<EntityDetail> = (0..tasks).map(entity).collect();
    desired.entities = planner.selectors().keys().map(|selector| (selector.clone(), details.clone())).collect();

    let start = Instant::now();
    let first = plan(&desired);
    let first_ms = start.elapsed().as_secs_f64() * 1000.0;
    let place = |place: &Place| match place {
        Place::On { worker, .. } => Some(worker.clone()),
        Place::Impossible(_) | Place::Waiting(_) => None,
    };
    desired.current = first.tasks.iter().filter_map(|(id, task)| Some((Arc::clone(id), place(&task.place)?))).collect();
    let start = Instant::now();
    let second = plan(&desired);
    let second_ms = start.elapsed().as_secs_f64() * 1000.0;
    let moved = second.tasks.iter().filter(|(id, task)| place(&task.place).as_ref() != desired.current.get(*id)).count();
    json!({"tasks": first.tasks.len(), "workers": workers, "first_ms": first_ms, "second_ms": second_ms, "moved": moved, "unplaced": first.unplaced.len()})
}

fn worker(number: usize) -> WorkerProfile {
    WorkerProfile {
        id: format!("Worker.{number:04}"),
        location: place(number * 17),
        os: "linux".into(),
        hardware: "amd64".into(),
        capacity: 20,
        engine: "process".into(),
        ..WorkerProfile::default()
    }
}

fn entity(number: usize) -> EntityDetail {
    let at = place(number);
    let point = serde_json::json!({"type": "point", "value": {"latitude": at.latitude, "longitude": at.longitude}});
    EntityDetail {
        id: format!("Car.{number:06}"),
        entity_type: "Car".into(),
        attributes: vec!["speed".into()],
        metadata: [("location".to_owned(), point)].into(),
        provider: "http://127.0.0.1:8070/ngsi10".into(),
    }
}

/// Spread over a country.
fn place(number: usize) -> fogflow_orchestration::Location {
    let (north, east) = (number * 7919 % 1000, number * 104_729 % 1000);
    fogflow_orchestration::Location { latitude: 47.0 + north as f64 * 0.008, longitude: 6.0 + east as f64 * 0.009 }
}
