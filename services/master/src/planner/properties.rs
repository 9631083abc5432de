//! Properties of every plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogflow_orchestration::{DockerImage, EntityDetail, Operator, Priority, ServiceIntent, WorkerProfile};
use proptest::prelude::*;
use serde_json::json;

use super::capability::{WorkerKind, artefact_for};
use super::testing::{as_current, entity, fill, intent, topology, with, worker};
use super::{Desired, EntityKey, Plan, Planner, plan};

/// Few places, so that several things are at the same one.
fn place() -> impl Strategy<Value = (f64, f64)> {
    prop_oneof![Just((49.0, 8.0)), Just((49.001, 8.0)), Just((50.0, 9.0)), Just((-30.0, 150.0)), Just((0.0, 0.0))]
}

fn an_entity() -> impl Strategy<Value = EntityDetail> {
    (0..12u8, 0..3u8, proptest::option::of(place()), proptest::option::of(0..3u8)).prop_map(|(id, kind, place, city)| {
        let kind = ["A", "B", "C"][usize::from(kind)];
        let made = entity(&format!("{kind}.{id}"), kind, place);
        match city {
            Some(city) => with(made, "city", json!(city)),
            None => made,
        }
    })
}

fn a_worker() -> impl Strategy<Value = WorkerProfile> {
    (0..6u8, place(), 0..5u32, 0..3u8).prop_map(|(id, place, capacity, kind)| {
        let mut made = worker(&format!("W{id}"), place, capacity);
        match kind {
            0 => made.hardware = "arm64".to_owned(),
            1 => made.engine = "process".to_owned(),
            _ => {}
        }
        made
    })
}

fn an_operator() -> impl Strategy<Value = Operator> {
    (0..4u8).prop_map(|kind| {
        let mut made = super::testing::operator("op");
        match kind {
            0 => made.dockerimages[0].hw_type = "ARM".to_owned(),
            1 => made.executables = vec![fogflow_orchestration::Executable { command: vec!["run".to_owned()], ..Default::default() }],
            2 => made.dockerimages.push(DockerImage { hw_type: "X86".to_owned(), ..made.dockerimages[0].clone() }),
            _ => {}
        }
        made
    })
}

fn an_intent() -> impl Strategy<Value = ServiceIntent> {
    (0..4u8, 0..3usize, any::<bool>(), 0..3i32, 0..3usize).prop_map(|(id, topology, exclusive, level, objective)| ServiceIntent {
        priority: Priority { exclusive, level },
        qos: ["MIN_LATENCY", "MAX_THROUGHPUT", "MIN_COST"][objective].to_owned(),
        ..intent(&format!("i{id}"), ["t", "u", "v"][topology])
    })
}

prop_compose! {
    fn a_world()(
        operator in an_operator(),
        intents in proptest::collection::vec(an_intent(), 0..4),
        entities in proptest::collection::vec(an_entity(), 0..14),
        workers in proptest::collection::vec(a_worker(), 0..7),
    ) -> Desired {
        let by_id = |intents: Vec<ServiceIntent>| intents.into_iter().map(|intent| (intent.id.clone(), intent)).collect::<BTreeMap<_, _>>().into_values().collect();
        let unique: BTreeMap<String, EntityDetail> = entities.into_iter().map(|entity| (entity.id.clone(), entity)).collect();
        let workers: BTreeMap<String, WorkerProfile> = workers.into_iter().map(|worker| (worker.id.clone(), worker)).collect();
        let mut desired = Desired {
            operators: vec![operator],
            topologies: vec![topology("t", &[("A", "EntityID")]), topology("u", &[("A", "city"), ("B", "ALL")]), topology("v", &[("A", "EntityID"), ("B", "city"), ("C", "EntityType")])],
            intents: by_id(intents),
            workers: workers.into_values().collect(),
            ..Desired::default()
        };
        fill(&mut desired, &unique.into_values().collect::<Vec<_>>());
        desired
    }
}

/// Worker and inputs of each task.
type Shape = BTreeMap<Arc<str>, (Option<Arc<str>>, Vec<String>)>;

fn shape(plan: &Plan) -> Shape {
    plan.tasks
        .iter()
        .map(|(id, task)| (id.clone(), (task.worker().cloned(), task.instance.inputs.iter().map(|input| input.id.clone()).collect())))
        .collect()
}

/// Grouping as `orchestration.md` says it, without any index.
fn expected_inputs(desired: &Desired) -> BTreeSet<(String, Vec<String>)> {
    let mut expected = BTreeSet::new();
    let mut planner = Planner::new(desired.policy);
    planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
    for intent in &desired.intents {
        let topology = desired.topologies.iter().find(|topology| topology.name == intent.topology).expect("it is registered");
        let streams: Vec<(super::flow::GroupBy, Vec<Arc<EntityDetail>>)> = topology.tasks[0]
            .input_streams
            .iter()
            .map(|stream| {
                let selector =
                    planner.selectors().values().find(|selector| selector.entity_type == stream.selected_type).expect("it is watched");
                (super::flow::GroupBy::parse(&stream.groupby), desired.entities[&selector.id].clone())
            })
            .collect();
        // Each stream has its own key here (types differ): groups are tuples of values.
        let mut groups: Vec<Vec<Vec<String>>> = vec![Vec::new()];
        for (group_by, entities) in &streams {
            let mut by_value: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
            for entity in entities {
                by_value.entry(group_by.value_of(entity)).or_default().push(entity.id.clone());
            }
            groups = groups
                .iter()
                .flat_map(|group| by_value.values().map(move |members| [group.clone(), vec![members.clone()]].concat()))
                .collect();
        }
        for group in groups {
            let mut inputs: Vec<String> = group.concat();
            inputs.sort();
            expected.insert((intent.id.clone(), inputs));
        }
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_input_makes_the_same_plan(desired in a_world()) {
        prop_assert_eq!(shape(&plan(&desired)), shape(&plan(&desired)));
    }

    #[test]
    fn planning_again_moves_nothing(desired in a_world()) {
        let first = plan(&desired);
        let again = plan(&Desired { current: as_current(&first), ..desired });
        prop_assert_eq!(shape(&first), shape(&again));
    }

    #[test]
    fn every_complete_group_has_exactly_one_task(desired in a_world()) {
        let made = plan(&desired);
        let found: Vec<(String, Vec<String>)> = made.tasks.values().map(|task| (task.flow.key.intent.to_string(), task.instance.inputs.iter().map(|input| input.id.clone()).collect())).collect();
        let distinct: BTreeSet<_> = found.iter().cloned().collect();
        prop_assert_eq!(found.len(), distinct.len());
        prop_assert_eq!(distinct, expected_inputs(&desired));
    }

    #[test]
    fn no_worker_is_above_its_capacity_and_nothing_is_where_it_cannot_run(desired in a_world()) {
        let made = plan(&desired);
        for worker in &desired.workers {
            let here = made.tasks.values().filter(|task| task.worker().is_some_and(|on| **on == *worker.id)).count();
            prop_assert!(here <= worker.capacity as usize);
            if here > 0 {
                prop_assert!(artefact_for(&desired.operators[0], &WorkerKind::of(worker)).is_some());
            }
        }
    }

    #[test]
    fn nothing_waits_while_a_worker_that_can_run_it_has_room(desired in a_world()) {
        let made = plan(&desired);
        let room = desired.workers.iter().any(|worker| {
            let here = made.tasks.values().filter(|task| task.worker().is_some_and(|on| **on == *worker.id)).count();
            here < worker.capacity as usize && artefact_for(&desired.operators[0], &WorkerKind::of(worker)).is_some()
        });
        prop_assert!(made.unplaced.is_empty() || !room);
    }

    /// Entities come, change and go one by one, workers too; at the end the tasks are those of a plan made at once.
    #[test]
    fn change_by_change_comes_to_the_same_tasks_as_all_at_once(before in a_world(), after in a_world()) {
        let mut planner = Planner::new(before.policy);
        for world in [&before, &after] {
            planner.set_registry(&world.operators, &world.topologies, &world.intents);
            planner.set_workers(world.workers.iter().map(|worker| (worker.id.clone(), worker.clone())).collect());
            planner.settle();
            let selectors: Vec<Arc<str>> = planner.selectors().keys().cloned().collect();
            for selector in selectors {
                let known: Vec<EntityKey> = planner.entities(&selector).into_iter().flatten().map(|(id, _)| id.clone()).collect();
                let wanted = world.entities.get(&selector).cloned().unwrap_or_default();
                for key in known.iter().filter(|key| !wanted.iter().any(|entity| EntityKey::of(entity) == **key)) {
                    planner.set_entity(&selector, key.clone(), None);
                    planner.settle();
                }
                for entity in wanted {
                    planner.set_entity(&selector, EntityKey::of(&entity), Some(entity));
                    planner.settle();
                }
            }
        }
        let at_once = plan(&after);
        let inputs = |tasks: &BTreeMap<Arc<str>, super::PlannedTask>| -> BTreeMap<Arc<str>, Vec<String>> {
            tasks.iter().map(|(id, task)| (id.clone(), task.instance.inputs.iter().map(|input| input.id.clone()).collect())).collect()
        };
        prop_assert_eq!(inputs(planner.tasks()), inputs(&at_once.tasks));
        for worker in &after.workers {
            let here = planner.tasks().values().filter(|task| task.worker().is_some_and(|on| **on == *worker.id)).count();
            prop_assert_eq!(planner.load_of(&worker.id), Some((u32::try_from(here).expect("few"), worker.capacity)));
            prop_assert!(here <= worker.capacity as usize);
        }
        // And settling once more, with every task looked at, ends in a plan that stays.
        planner.review_all();
        planner.settle();
        planner.review_all();
        prop_assert!(planner.settle().is_empty());
    }
}
