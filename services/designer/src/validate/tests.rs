use fogflow_orchestration::{GeoScope, InputSelector, Operator, OutputSelector, ServiceIntent, Task, Topology};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn task(name: &str, input: &str, output: &str) -> Task {
    Task {
        name: name.to_owned(),
        operator: "counter".to_owned(),
        input_streams: vec![InputSelector { selected_type: input.to_owned(), ..Default::default() }],
        output_streams: vec![OutputSelector { entity_type: output.to_owned() }],
    }
}

fn chain(tasks: Vec<Task>) -> Topology {
    Topology { name: "chain".to_owned(), tasks, ..Default::default() }
}

fn refusal(result: ApiResult<()>) -> String {
    result.expect_err("it should be refused").description
}

#[test]
fn a_chain_of_tasks_is_accepted() {
    topology(&chain(vec![task("a", "A", "B"), task("b", "B", "C"), task("c", "B", "D")]), |_| true).expect("accepted");
}

#[test]
fn tasks_of_the_same_name_are_refused() {
    let text = refusal(topology(&chain(vec![task("a", "A", "B"), task("a", "B", "C")]), |_| true));
    assert!(text.contains("tasks[1].name") && text.contains("twice"), "{text}");
}

#[test]
fn an_unknown_operator_is_refused_by_name() {
    let text = refusal(topology(&chain(vec![task("a", "A", "B")]), |_| false));
    assert!(text.contains("tasks[0].operator \"counter\""), "{text}");
}

#[test]
fn a_cycle_is_refused_with_its_tasks() {
    let text = refusal(topology(&chain(vec![task("first", "X", "A"), task("a", "A", "B"), task("b", "B", "A")]), |_| true));
    assert!(text.contains("a -> b -> a") || text.contains("b -> a -> b"), "{text}");
}

#[test]
fn a_task_that_eats_its_own_output_is_refused() {
    assert!(refusal(topology(&chain(vec![task("a", "A", "A")]), |_| true)).contains("a -> a"));
}

#[test]
fn an_input_without_type_is_refused() {
    assert!(refusal(topology(&chain(vec![task("a", "", "B")]), |_| true)).contains("input_streams[0].selected_type"));
}

#[test]
fn names_that_would_break_paths_or_task_ids_are_refused() {
    for wrong in ["", "a b", "a/b", "../x", "a?b", "<b>", "..", "a\n"] {
        assert!(name("name", wrong).is_err(), "{wrong:?}");
    }
    for right in ["Test", "anomaly-detection", "child_finder.v2", "Zähler", "urn:x:1"] {
        name("name", right).expect(right);
    }
}

#[test]
fn circles_and_polygons_have_to_be_places() {
    let circle = |value| geoscope(&GeoScope { scope_type: "circle".to_owned(), scope_value: value });
    circle(json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 100})).expect("a circle");
    assert!(refusal(circle(json!({"centerLatitude": 149.4, "centerLongitude": 8.6, "radius": 100}))).contains("centerLatitude"));
    assert!(refusal(circle(json!({"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 0}))).contains("radius"));
    assert!(refusal(circle(json!({"centerLatitude": "49", "centerLongitude": 8.6, "radius": 1}))).contains("number"));
    let polygon = |value| geoscope(&GeoScope { scope_type: "polygon".to_owned(), scope_value: value });
    assert!(refusal(polygon(json!({"vertices": [{"latitude": 1, "longitude": 2}]}))).contains("at least 3"));
}

#[test]
fn objectives_are_understood_in_upstreams_spellings_and_nothing_else() {
    let of = |qos: &str| intent(&ServiceIntent { id: "i".into(), topology: "t".into(), qos: qos.into(), ..Default::default() });
    for right in ["", "default", "Max Throughput", "Min-cost", "MIN_LATENCY", "NONE"] {
        of(right).expect(right);
    }
    assert!(refusal(of("fastest")).contains("MAX_THROUGHPUT"));
}

#[test]
fn code_needs_a_known_language_and_a_source() {
    let with = |code| operator(&Operator { name: "f".into(), code: Some(code), ..Default::default() });
    let code = |language: &str, source: &str| fogflow_orchestration::Code { language: language.into(), source: source.into() };
    with(code("python", "def handleEntity(e, publish): pass")).expect("python");
    assert!(refusal(with(code("perl", "x"))).contains("language"));
    assert!(refusal(with(code("python", "  "))).contains("source"));
}

proptest! {
    #[test]
    fn no_accepted_name_needs_escaping_in_a_path(text in "\\PC{0,24}") {
        if name("name", &text).is_ok() {
            prop_assert!(!text.contains(['/', '?', '#', '%', '\\', ' ', '"', '<']));
        }
    }

    #[test]
    fn the_search_for_cycles_ends_and_agrees_with_a_topological_order(edges in prop::collection::vec((0_usize..8, 0_usize..8), 0..16)) {
        // Task i consumes type Ti; an edge (a, b) makes task a publish Tb.
        let mut tasks: Vec<Task> = (0..8).map(|i| Task { output_streams: vec![], ..task(&format!("t{i}"), &format!("T{i}"), "x") }).collect();
        for (from, to) in &edges {
            tasks[*from].output_streams.push(OutputSelector { entity_type: format!("T{to}") });
        }
        let mut left: Vec<usize> = (0..8).collect();
        while let Some(place) = left.iter().position(|i| !edges.iter().any(|(from, to)| to == i && left.contains(from))) {
            left.remove(place);
        }
        prop_assert_eq!(topology(&chain(tasks), |_| true).is_ok(), left.is_empty());
    }
}
