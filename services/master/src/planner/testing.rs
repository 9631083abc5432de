//! Small builders for the tests of the planner.

use std::sync::Arc;

use fogflow_orchestration::{
    DockerImage, EntityDetail, InputSelector, Location, Operator, OutputSelector, Priority, ServiceIntent, Task, Topology, WorkerProfile,
};
use serde_json::json;

use super::{Desired, Plan, Planner};

/// An operator with one image for everything.
pub(crate) fn operator(name: &str) -> Operator {
    let image = DockerImage { name: format!("images/{name}"), tag: "1".to_owned(), ..DockerImage::default() };
    Operator { name: name.to_owned(), dockerimages: vec![image], ..Operator::default() }
}

/// A topology of one task `main` of operator `op`; inputs are (type, groupby).
pub(crate) fn topology(name: &str, inputs: &[(&str, &str)]) -> Topology {
    let input = |(kind, groupby): &(&str, &str)| InputSelector {
        selected_type: (*kind).to_owned(),
        groupby: (*groupby).to_owned(),
        scoped: true,
        ..InputSelector::default()
    };
    let task = Task {
        name: "main".to_owned(),
        operator: "op".to_owned(),
        input_streams: inputs.iter().map(input).collect(),
        output_streams: vec![OutputSelector { entity_type: "Out".to_owned() }],
    };
    Topology { name: name.to_owned(), tasks: vec![task], ..Topology::default() }
}

pub(crate) fn intent(id: &str, topology: &str) -> ServiceIntent {
    ServiceIntent { id: id.to_owned(), topology: topology.to_owned(), ..ServiceIntent::default() }
}

pub(crate) fn exclusive(id: &str, topology: &str, level: i32) -> ServiceIntent {
    ServiceIntent { priority: Priority { exclusive: true, level }, ..intent(id, topology) }
}

pub(crate) fn entity(id: &str, kind: &str, place: Option<(f64, f64)>) -> EntityDetail {
    let mut entity = EntityDetail { id: id.to_owned(), entity_type: kind.to_owned(), ..EntityDetail::default() };
    if let Some((latitude, longitude)) = place {
        entity.metadata.insert("location".to_owned(), json!({"type": "point", "value": {"latitude": latitude, "longitude": longitude}}));
    }
    entity
}

pub(crate) fn with(mut entity: EntityDetail, name: &str, value: serde_json::Value) -> EntityDetail {
    entity.metadata.insert(name.to_owned(), json!({"type": "string", "value": value}));
    entity
}

pub(crate) fn worker(id: &str, place: (f64, f64), capacity: u32) -> WorkerProfile {
    WorkerProfile {
        id: id.to_owned(),
        location: Location { latitude: place.0, longitude: place.1 },
        os: "linux".to_owned(),
        hardware: "amd64".to_owned(),
        capacity,
        engine: "docker".to_owned(),
        ..WorkerProfile::default()
    }
}

/// Puts each entity into every selector of its type.
pub(crate) fn fill(desired: &mut Desired, entities: &[EntityDetail]) {
    let mut planner = Planner::new(desired.policy);
    planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
    desired.entities = planner
        .selectors()
        .iter()
        .map(|(id, selector)| {
            (id.clone(), entities.iter().filter(|entity| entity.entity_type == selector.entity_type).cloned().map(Arc::new).collect())
        })
        .collect();
}

/// The plan as (first input's id, worker) pairs, sorted.
pub(crate) fn placed(plan: &Plan) -> Vec<(String, String)> {
    let mut placed: Vec<(String, String)> = plan
        .tasks
        .values()
        .map(|task| {
            (
                task.instance.inputs.first().map(|input| input.id.clone()).unwrap_or_default(),
                task.worker().map(ToString::to_string).unwrap_or_default(),
            )
        })
        .collect();
    placed.sort();
    placed
}

/// What the plan would be told as current by the next round.
pub(crate) fn as_current(plan: &Plan) -> std::collections::BTreeMap<Arc<str>, Arc<str>> {
    plan.tasks.iter().filter_map(|(id, task)| Some((id.clone(), task.worker()?.clone()))).collect()
}
