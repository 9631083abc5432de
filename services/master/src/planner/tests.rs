//! Named cases of the planner.

use std::collections::BTreeMap;

use fogflow_orchestration::{GeoScope, ServiceIntent, Topology};
use serde_json::json;

use super::testing::{as_current, entity, exclusive, fill, intent, operator, placed, topology, with, worker};
use super::{Desired, Planner, Policy, plan};

fn desired(topologies: Vec<Topology>, intents: Vec<ServiceIntent>) -> Desired {
    Desired { operators: vec![operator("op")], topologies, intents, workers: vec![worker("W1", (49.0, 8.0), 100)], ..Desired::default() }
}

#[test]
fn one_task_per_panel_and_every_rule_to_all_of_them() {
    let mut input = desired(vec![topology("t", &[("PowerPanel", "EntityID"), ("Rule", "ALL")])], vec![intent("i", "t")]);
    fill(&mut input, &[entity("Panel.1", "PowerPanel", None), entity("Panel.2", "PowerPanel", None)]);
    assert!(plan(&input).tasks.is_empty(), "not before both types have an entity");
    fill(
        &mut input,
        &[
            entity("Panel.1", "PowerPanel", None),
            entity("Panel.2", "PowerPanel", None),
            entity("Rule.1", "Rule", None),
            entity("Rule.2", "Rule", None),
        ],
    );
    let made = plan(&input);
    let inputs: Vec<Vec<&str>> =
        made.tasks.values().map(|task| task.instance.inputs.iter().map(|input| input.id.as_str()).collect()).collect();
    assert_eq!(inputs.len(), 2);
    assert!(inputs.contains(&vec!["Panel.1", "Rule.1", "Rule.2"]) && inputs.contains(&vec!["Panel.2", "Rule.1", "Rule.2"]), "{inputs:?}");
}

#[test]
fn fault_12_a_group_without_an_entity_for_every_input_makes_no_task() {
    let mut input = desired(vec![topology("t", &[("A", "city"), ("B", "city")])], vec![intent("i", "t")]);
    let city = |id: &str, kind: &str, city: &str| with(entity(id, kind, None), "city", json!(city));
    fill(&mut input, &[city("a1", "A", "Heidelberg"), city("a2", "A", "Mannheim"), city("b1", "B", "Heidelberg")]);
    // The keys A-city and B-city are two: their product makes both groups.
    assert_eq!(plan(&input).tasks.len(), 2);
    let mut same_key = desired(vec![topology("t", &[("A", "city"), ("A", "city")])], vec![intent("i", "t")]);
    same_key.topologies[0].tasks[0].input_streams[1].selected_attributes = vec!["x".to_owned()];
    let mut rich = city("a1", "A", "Heidelberg");
    rich.attributes = vec!["x".to_owned()];
    let mut poor = city("a2", "A", "Mannheim");
    poor.attributes = vec!["y".to_owned()];
    fill(&mut same_key, &[rich, poor]);
    let made = plan(&same_key);
    assert_eq!(made.tasks.len(), 1, "Mannheim has nothing for the second input");
    assert!(made.tasks.values().all(|task| task.instance.inputs.len() == 1), "one entity in two streams is one input");
}

#[test]
fn fault_12_attributes_of_an_input_are_those_of_its_own_selector() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID"), ("B", "ALL")])], vec![intent("i", "t")]);
    input.topologies[0].tasks[0].input_streams[0].selected_attributes = vec!["temp".to_owned()];
    input.topologies[0].tasks[0].input_streams[1].selected_attributes = vec!["ALL".to_owned()];
    fill(&mut input, &[entity("a", "A", None), entity("b", "B", None)]);
    let made = plan(&input);
    let task = made.tasks.values().next().expect("a task");
    let attributes: BTreeMap<&str, &[String]> =
        task.instance.inputs.iter().map(|input| (input.id.as_str(), input.attribute_list.as_slice())).collect();
    assert_eq!(attributes["a"], ["temp"]);
    assert!(attributes["b"].is_empty());
}

#[test]
fn fault_11_what_a_deleted_entity_grouped_is_gone_with_it() {
    let mut planner = Planner::new(Policy::default());
    planner.set_registry(&[operator("op")], &[topology("t", &[("A", "EntityID"), ("B", "ALL")])], &[intent("i", "t")]);
    planner.set_workers([("W1".to_owned(), worker("W1", (49.0, 8.0), 9))].into());
    let selectors: BTreeMap<String, String> =
        planner.selectors().iter().map(|(id, selector)| (selector.entity_type.clone(), id.to_string())).collect();
    planner.set_entity(&selectors["A"], "a1", Some(entity("a1", "A", None).into()));
    planner.set_entity(&selectors["A"], "a2", Some(entity("a2", "A", None).into()));
    planner.set_entity(&selectors["B"], "b1", Some(entity("b1", "B", None).into()));
    planner.settle();
    assert_eq!(planner.tasks().len(), 2);
    planner.set_entity(&selectors["A"], "a1", None);
    planner.set_entity(&selectors["B"], "b2", Some(entity("b2", "B", None).into()));
    planner.settle();
    let inputs: Vec<Vec<&str>> =
        planner.tasks().values().map(|task| task.instance.inputs.iter().map(|input| input.id.as_str()).collect()).collect();
    assert_eq!(inputs, [["a2", "b1", "b2"]]);
    assert_eq!(planner.load_of("W1"), Some((1, 9)), "the workload never goes negative");
    planner.set_entity(&selectors["B"], "b1", None);
    planner.set_entity(&selectors["B"], "b2", None);
    planner.settle();
    assert!(planner.tasks().is_empty());
}

#[test]
fn fault_7_two_intents_for_one_topology_have_their_own_tasks_and_end_alone() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t"), intent("j", "t")]);
    fill(&mut input, &[entity("a", "A", None)]);
    let both = plan(&input);
    assert_eq!(both.tasks.len(), 2);
    input.intents.remove(0);
    let one = plan(&input);
    assert_eq!(one.tasks.len(), 1);
    assert!(one.tasks.keys().all(|id| both.tasks.contains_key(id)));
}

#[test]
fn fault_17_outputs_of_topologies_that_group_by_the_same_entity_differ() {
    let mut input =
        desired(vec![topology("t", &[("A", "EntityID")]), topology("u", &[("A", "EntityID")])], vec![intent("i", "t"), intent("j", "u")]);
    fill(&mut input, &[entity("a", "A", None)]);
    let suffixes: std::collections::BTreeSet<String> =
        plan(&input).tasks.keys().map(|id| fogflow_orchestration::ids::suffix_of(id).to_owned()).collect();
    assert_eq!(suffixes.len(), 2);
}

#[test]
fn fault_6_an_intent_that_is_sent_again_changes_nothing() {
    let mut planner = Planner::new(Policy::default());
    let (operators, topologies, intents) = ([operator("op")], [topology("t", &[("A", "EntityID")])], [intent("i", "t")]);
    planner.set_registry(&operators, &topologies, &intents);
    planner.set_workers([("W1".to_owned(), worker("W1", (49.0, 8.0), 9))].into());
    let selector = planner.selectors().keys().next().cloned().expect("a selector");
    planner.set_entity(&selector, "a", Some(entity("a", "A", None).into()));
    assert_eq!(planner.settle().len(), 1);
    planner.set_registry(&operators, &topologies, &intents);
    assert!(planner.settle().is_empty());
}

#[test]
fn a_changed_geoscope_keeps_the_tasks_that_it_still_covers() {
    let circle = |radius: f64| GeoScope {
        scope_type: "circle".to_owned(),
        scope_value: json!({"centerLatitude": 49.0, "centerLongitude": 8.0, "radius": radius}),
    };
    let near = entity("near", "A", Some((49.001, 8.0)));
    let far = entity("far", "A", Some((49.1, 8.0)));
    let nowhere = entity("nowhere", "A", None);
    let scoped = |radius: f64| {
        let mut input =
            desired(vec![topology("t", &[("A", "EntityID")])], vec![ServiceIntent { geoscope: circle(radius), ..intent("i", "t") }]);
        fill(&mut input, &[near.clone(), far.clone(), nowhere.clone()]);
        plan(&input)
    };
    assert_eq!(placed(&scoped(1000.0)), [("near".to_owned(), "W1".to_owned())]);
    assert_eq!(placed(&scoped(20_000.0)).len(), 2, "an entity without location is in no circle");

    let mut planner = Planner::new(Policy::default());
    let register = |planner: &mut Planner, radius: f64| {
        planner.set_registry(
            &[operator("op")],
            &[topology("t", &[("A", "EntityID")])],
            &[ServiceIntent { geoscope: circle(radius), ..intent("i", "t") }],
        );
        planner.selectors().keys().next().cloned().expect("a selector")
    };
    let wide = register(&mut planner, 20_000.0);
    planner.set_workers([("W1".to_owned(), worker("W1", (49.0, 8.0), 9))].into());
    for entity in [&near, &far] {
        planner.set_entity(&wide, entity.id.as_str(), Some(entity.clone().into()));
    }
    assert_eq!(planner.settle().len(), 2);
    let narrow = register(&mut planner, 1000.0);
    planner.set_complete(&narrow, false);
    planner.settle();
    planner.set_entity(&narrow, "near", Some(near.clone().into()));
    planner.set_complete(&narrow, true);
    planner.settle();
    assert_eq!(planner.tasks().len(), 1);
}

#[test]
fn an_incomplete_selector_takes_no_task_away() {
    let mut planner = Planner::new(Policy::default());
    planner.set_registry(&[operator("op")], &[topology("t", &[("A", "ALL")])], &[intent("i", "t")]);
    planner.set_workers([("W1".to_owned(), worker("W1", (49.0, 8.0), 9))].into());
    let selector = planner.selectors().keys().next().cloned().expect("a selector");
    planner.set_entity(&selector, "a", Some(entity("a", "A", None).into()));
    planner.settle();
    planner.set_complete(&selector, false);
    planner.set_entity(&selector, "a", None);
    planner.settle();
    assert_eq!(planner.tasks().len(), 1);
    planner.set_complete(&selector, true);
    planner.settle();
    assert!(planner.tasks().is_empty());
}

#[test]
fn grouping_words_in_any_case_and_by_value_of_metadata() {
    let mut input =
        desired(vec![topology("t", &[("A", "entityID")]), topology("u", &[("A", "city")]), topology("v", &[("A", "all")])], Vec::new());
    let city = |id: &str, city: &str| with(entity(id, "A", None), "city", json!(city));
    let entities = [city("1", "Heidelberg"), city("2", "Heidelberg"), city("3", "Mannheim"), entity("4", "A", None)];
    let count = |input: &mut Desired, topology: &str| {
        input.intents = vec![intent("i", topology)];
        fill(input, &entities);
        plan(input).tasks.len()
    };
    assert_eq!((count(&mut input, "t"), count(&mut input, "u"), count(&mut input, "v")), (4, 3, 1));
}

#[test]
fn fault_14_what_has_no_room_waits_and_is_placed_when_there_is() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    fill(&mut input, &[entity("a", "A", None), entity("b", "A", None), entity("c", "A", None)]);
    input.workers = Vec::new();
    let none = plan(&input);
    assert!(none.unplaced.values().all(|reason| reason == "no worker is alive") && none.unplaced.len() == 3);
    input.workers = vec![worker("W1", (49.0, 8.0), 2)];
    let two = plan(&input);
    assert_eq!(two.unplaced.len(), 1);
    assert!(
        two.intents[0].status == "pending" && two.intents[0].reason.contains("1 of 3") && two.intents[0].reason.contains("full"),
        "{:?}",
        two.intents
    );
    input.current = as_current(&two);
    input.workers.push(worker("W2", (49.0, 8.0), 2));
    let all = plan(&input);
    assert!(all.unplaced.is_empty() && all.intents[0].status == "active");
    assert!(as_current(&two).iter().all(|(id, worker)| as_current(&all).get(id) == Some(worker)), "placed tasks stay");
}

#[test]
fn fault_3_tasks_of_a_dead_worker_go_elsewhere_and_others_stay() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    input.workers = vec![worker("W1", (49.0, 8.0), 5), worker("W2", (49.0, 8.0), 5)];
    let entities: Vec<_> = (0..6).map(|number| entity(&format!("a{number}"), "A", Some((49.0, 8.0)))).collect();
    fill(&mut input, &entities);
    let before = plan(&input);
    input.current = as_current(&before);
    input.workers = vec![worker("W2", (49.0, 8.0), 6)];
    let after = plan(&input);
    assert!(after.unplaced.is_empty());
    assert!(after.tasks.values().all(|task| task.worker().is_some_and(|worker| **worker == *"W2")));
}

#[test]
fn a_task_moves_only_if_it_comes_nearer_by_the_minimum_gain() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    input.workers = vec![worker("W1", (49.0, 8.0), 5), worker("W2", (49.01, 8.0), 5)];
    fill(&mut input, &[entity("a", "A", Some((49.0, 8.0)))]);
    let first = plan(&input);
    assert_eq!(placed(&first), [("a".to_owned(), "W1".to_owned())]);
    input.current = as_current(&first);
    // Just over the middle: W2 is nearer, but by less than the minimum.
    fill(&mut input, &[entity("a", "A", Some((49.005_2, 8.0)))]);
    assert_eq!(placed(&plan(&input)), [("a".to_owned(), "W1".to_owned())]);
    fill(&mut input, &[entity("a", "A", Some((49.009, 8.0)))]);
    assert_eq!(placed(&plan(&input)), [("a".to_owned(), "W2".to_owned())]);
}

#[test]
fn fault_14_a_task_on_a_full_worker_does_not_move_because_of_its_own_load() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    input.workers = vec![worker("W1", (49.0, 8.0), 1), worker("W2", (60.0, 8.0), 5)];
    fill(&mut input, &[entity("a", "A", Some((49.0, 8.0)))]);
    let first = plan(&input);
    input.current = as_current(&first);
    fill(&mut input, &[entity("a", "A", Some((49.1, 8.0)))]);
    assert_eq!(placed(&plan(&input)), placed(&first));
}

#[test]
fn an_exclusive_task_gets_an_idle_worker_and_what_it_would_pause_moves_away() {
    let mut input = desired(
        vec![topology("t", &[("A", "EntityID")]), topology("x", &[("A", "EntityID")])],
        vec![intent("i", "t"), exclusive("j", "x", 10)],
    );
    input.workers = vec![worker("W1", (49.0, 8.0), 5), worker("W2", (60.0, 8.0), 5)];
    fill(&mut input, &[entity("a", "A", Some((49.0, 8.0)))]);
    let made = plan(&input);
    let worker_of = |topology: &str| {
        made.tasks.values().find(|task| task.flow.topology == topology).and_then(|task| task.worker()).map(ToString::to_string)
    };
    assert_eq!((worker_of("x").as_deref(), worker_of("t").as_deref()), (Some("W1"), Some("W2")));
}

#[test]
fn objectives_have_their_stated_meaning() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], Vec::new());
    input.workers = vec![worker("W1", (49.0, 8.0), 4), worker("W2", (60.0, 8.0), 4)];
    let entities: Vec<_> = (0..4).map(|number| entity(&format!("a{number}"), "A", Some((60.0, 8.0)))).collect();
    let spread = |input: &mut Desired, qos: &str| {
        input.intents = vec![ServiceIntent { qos: qos.to_owned(), ..intent("i", "t") }];
        fill(input, &entities);
        let made = plan(input);
        let on = |worker: &str| made.tasks.values().filter(|task| task.worker().is_some_and(|on| **on == *worker)).count();
        (on("W1"), on("W2"))
    };
    assert_eq!(spread(&mut input, "MIN_LATENCY"), (0, 4));
    assert_eq!(spread(&mut input, "MAX_THROUGHPUT"), (2, 2));
    input.workers[1].capacity = 2;
    assert_eq!(spread(&mut input, "MIN_COST"), (2, 2), "the small one first, since it is the fullest once it has a task");
    input.workers[1].capacity = 9;
    assert_eq!(spread(&mut input, "Min-cost").0 % 4, 0, "one worker is enough");
}

#[test]
fn a_task_that_failed_for_good_goes_elsewhere_if_it_can() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    input.workers = vec![worker("W1", (49.0, 8.0), 5)];
    fill(&mut input, &[entity("a", "A", Some((49.0, 8.0)))]);
    let first = plan(&input);
    input.current = as_current(&first);
    for id in first.tasks.keys() {
        input.avoid.insert(id.clone(), ["W1".into()].into());
    }
    assert_eq!(placed(&plan(&input)), placed(&first), "nowhere else to go");
    input.workers.push(worker("W2", (60.0, 8.0), 5));
    assert_eq!(placed(&plan(&input)), [("a".to_owned(), "W2".to_owned())]);
}

#[test]
fn an_operator_that_runs_nowhere_fails_its_intent_with_the_reason() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID")])], vec![intent("i", "t")]);
    input.operators[0].dockerimages[0].hw_type = "ARM".to_owned();
    fill(&mut input, &[entity("a", "A", None)]);
    let made = plan(&input);
    assert!(
        made.intents[0].status == "failed"
            && made.intents[0].reason.contains("images/op:1")
            && made.intents[0].reason.contains("linux/amd64"),
        "{:?}",
        made.intents
    );
}

#[test]
fn a_product_beyond_the_limit_makes_no_tasks_and_says_so() {
    let mut input = desired(vec![topology("t", &[("A", "EntityID"), ("B", "EntityID")])], vec![intent("i", "t")]);
    input.policy.instances_per_flow = 3;
    let entities: Vec<_> =
        ["A", "B"].iter().flat_map(|kind| (0..2).map(move |number| entity(&format!("{kind}{number}"), kind, None))).collect();
    fill(&mut input, &entities);
    let made = plan(&input);
    assert!(made.tasks.is_empty() && made.intents[0].reason.contains("4 task instances"), "{:?}", made.intents);
    input.policy.instances_per_flow = 4;
    assert_eq!(plan(&input).tasks.len(), 4);
}

#[test]
fn a_task_without_inputs_runs_once() {
    let mut input = desired(vec![topology("t", &[])], vec![intent("i", "t")]);
    fill(&mut input, &[]);
    assert_eq!(plan(&input).tasks.len(), 1);
}

#[test]
fn a_flow_from_a_type_to_the_same_type_does_not_feed_on_itself() {
    let mut same = topology("t", &[("A", "EntityID")]);
    same.tasks[0].output_streams[0].entity_type = "A".to_owned();
    let output_of = |planner: &Planner| {
        let id = planner.tasks().keys().next().cloned().expect("a task");
        fogflow_orchestration::ids::output_id("A", fogflow_orchestration::ids::suffix_of(&id), 1)
    };
    let start = || {
        let mut planner = Planner::new(Policy::default());
        planner.set_registry(&[operator("op")], std::slice::from_ref(&same), &[intent("i", "t")]);
        planner.set_workers([("W1".to_owned(), worker("W1", (49.0, 8.0), 9))].into());
        let selector = planner.selectors().keys().next().cloned().expect("a selector");
        (planner, selector)
    };
    let (mut planner, selector) = start();
    planner.set_entity(&selector, "d1", Some(entity("d1", "A", None).into()));
    planner.settle();
    let output = output_of(&planner);
    planner.set_entity(&selector, output.as_str(), Some(entity(&output, "A", None).into()));
    planner.settle();
    assert_eq!(planner.tasks().len(), 1);
    // After a restart the output may be known before the device.
    let (mut planner, selector) = start();
    planner.set_entity(&selector, output.as_str(), Some(entity(&output, "A", None).into()));
    planner.settle();
    assert_eq!(planner.tasks().len(), 1, "an entity of another flow, as far as is known");
    planner.set_entity(&selector, "d1", Some(entity("d1", "A", None).into()));
    planner.settle();
    let inputs: Vec<&str> = planner.tasks().values().map(|task| task.instance.inputs[0].id.as_str()).collect();
    assert_eq!(inputs, ["d1"]);
    assert_eq!(planner.load_of("W1"), Some((1, 9)));
}
