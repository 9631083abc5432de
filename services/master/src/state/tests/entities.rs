//! What discovery and brokers say of entities, and what tasks get of it.

use fogflow_orchestration::EntityDetail;
use serde_json::json;

use super::super::copies::Command;
use super::super::watches::Lookup;
use super::harness::{Rig, SECOND, one_per_device, ours, registry, upstream};
use crate::planner::EntityKey;
use crate::planner::testing::{intent, topology};

#[test]
fn fault_15_a_notification_that_comes_before_its_subscription_is_known_is_not_lost() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.state.watches.lost(&selector);
    let described =
        json!({"contextRegistration": {"entities": [{"id": "A.1", "type": "A"}], "brokerId": "B", "providingApplication": "p"}});
    rig.hear(json!({"subscribeId": "their-own-id", "contextRegistrationResponses": [described], "errorCode": {"code": 201}}));
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 0);
    rig.state.subscribed(&selector, "their-own-id", rig.now);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 1);
}

#[test]
fn fault_16_an_entity_of_which_only_the_name_is_known_is_looked_up_before_it_is_placed() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.join(ours("W2", (60.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    let named = json!({"contextRegistration": {"entities": [{"id": "A.1", "type": "A"}], "providingApplication": "http://b/ngsi10"}});
    rig.hear(json!({"subscribeId": &*selector, "contextRegistrationResponses": [named], "errorCode": {"code": 301}}));
    rig.run();
    assert_eq!(rig.tasks_on("W1") + rig.tasks_on("W2"), 0);
    let due = |rig: &mut Rig| -> Lookup { rig.state.watches.due_lookups(rig.now, 10).0.pop().expect("a question is due") };
    let lookup = due(&mut rig);
    rig.state.looked_up(&lookup, None);
    rig.run();
    assert_eq!(rig.tasks_on("W1") + rig.tasks_on("W2"), 0, "the broker has not stored it yet");
    rig.now += SECOND;
    let lookup = due(&mut rig);
    rig.state.looked_up(&lookup, Some(crate::planner::testing::entity("A.1", "A", Some((60.0, 8.0)))));
    rig.run();
    assert_eq!(rig.tasks_on("W2"), 1);
}

#[test]
fn fault_16_when_the_broker_never_answers_id_and_type_have_to_do() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.state.watches.look_up(&selector, EntityKey::from("A.1"), "A", "http://b/ngsi10", rig.now);
    for _ in 0..10 {
        let (due, _) = rig.state.watches.due_lookups(rig.now, 10);
        for lookup in due {
            rig.state.looked_up(&lookup, None);
        }
        rig.now += SECOND;
        rig.run();
    }
    assert_eq!(rig.tasks_on("W1"), 1);
}

#[test]
fn fault_35_outputs_go_when_a_task_ends() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    rig.tell(410, "A.1", "A", None);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 0);
    assert!(rig.sim("W1").kept_outputs.is_empty());
}

#[test]
fn an_entity_detail_of_discovery_reaches_the_planner_whole() {
    let registration = json!({"entities": [{"id": "A.1", "type": "A"}], "attributes": [{"name": "temp", "type": "float", "isDomain": false}],
        "contextMetadata": [{"name": "city", "type": "string", "value": "Heidelberg"}, {"name": "location", "type": "point", "value": {"latitude": 49.4, "longitude": 8.7}}],
        "providingApplication": "http://b/ngsi10", "brokerId": "B"});
    let mut rig = Rig::new(one_per_device());
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    rig.hear(json!({"subscribeId": &*selector, "contextRegistrationResponses": [{"contextRegistration": registration}], "errorCode": {"code": 301}}));
    let entity: &EntityDetail =
        rig.state.planner.entities(&selector).and_then(|entities| entities.get(&EntityKey::from("A.1"))).expect("it is known");
    assert_eq!(entity.attributes, ["temp"]);
    assert_eq!(entity.metadata["city"]["value"], "Heidelberg");
    assert_eq!(crate::planner::scope::location_of(entity).map(|place| (place.latitude, place.longitude)), Some((49.4, 8.7)));
}

#[test]
fn inputs_that_come_and_go_are_told_as_upstream_tells_them() {
    let mut rig = Rig::new(registry(vec![topology("t", &[("A", "EntityID"), ("B", "ALL")])], vec![intent("i", "t")]));
    rig.join(upstream("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.put("B.1", None);
    rig.run();
    rig.put("B.2", None);
    rig.run();
    rig.tell(410, "B.1", "B", None);
    rig.run();
    let sim = rig.sim("W1");
    let inputs: Vec<&str> = sim.tasks.values().flat_map(|task| &task.inputs).map(|input| input.id.as_str()).collect();
    assert_eq!(inputs, ["A.1", "B.2"]);
    assert_eq!(
        (sim.count(|command| matches!(command, Command::AddInput(_))), sim.count(|command| matches!(command, Command::RemoveInput(_)))),
        (1, 1)
    );
    assert_eq!(sim.received.len(), 3);
}

#[test]
fn an_id_on_two_service_paths_is_two_entities_with_a_task_each() {
    let mut rig = Rig::new(one_per_device());
    rig.join(ours("W1", (49.0, 8.0), 5));
    for path in ["", "/north", "/south"] {
        rig.tell_on(path, 301, "A.1", "A", None);
    }
    rig.run();
    let inputs = |rig: &mut Rig| -> Vec<(String, String)> {
        let inputs = rig.sim("W1").tasks.values().flat_map(|task| &task.inputs);
        let mut inputs: Vec<_> = inputs.map(|input| (input.id.clone(), input.service_path.clone())).collect();
        inputs.sort();
        inputs
    };
    let on = |path: &str| ("A.1".to_owned(), path.to_owned());
    assert_eq!(inputs(&mut rig), [on("/"), on("/north"), on("/south")]);
    assert_eq!(rig.tasks_on("W1"), 3);
    rig.tell_on("/north", 410, "A.1", "A", None);
    rig.run();
    assert_eq!(inputs(&mut rig), [on("/"), on("/south")]);
    // Another snapshot names one of them: the other is gone.
    let selector = rig.state.planner.selectors().keys().next().cloned().expect("a selector");
    let registration =
        json!({"entities": [{"id": "A.1", "type": "A"}], "ServicePath": "/south", "brokerId": "B", "providingApplication": "p"});
    rig.hear(json!({"subscribeId": &*selector, "snapshot": "whole", "errorCode": {"code": 201},
        "contextRegistrationResponses": [{"contextRegistration": registration}]}));
    rig.run();
    assert_eq!(inputs(&mut rig), [on("/south")]);
    rig.assert_nothing_doubled();
}

#[test]
fn inputs_of_one_id_on_two_service_paths_come_and_go_alone() {
    let mut rig = Rig::new(registry(vec![topology("t", &[("A", "ALL")])], vec![intent("i", "t")]));
    rig.join(ours("W1", (49.0, 8.0), 5));
    let paths = |rig: &mut Rig| -> Vec<String> {
        rig.sim("W1").tasks.values().flat_map(|task| &task.inputs).map(|input| input.service_path.clone()).collect()
    };
    for path in ["/north", "/south"] {
        rig.tell_on(path, 301, "A.1", "A", None);
        rig.run();
    }
    assert_eq!(paths(&mut rig), ["/north", "/south"]);
    rig.tell_on("/north", 410, "A.1", "A", None);
    rig.run();
    rig.pass(4);
    assert_eq!(paths(&mut rig), ["/south"]);
    rig.assert_nothing_doubled();
}

#[test]
fn an_id_of_two_tenants_is_an_entity_of_each_intent() {
    let of = |tenant: &str| fogflow_orchestration::ServiceIntent { tenant: Some(tenant.to_owned()), ..intent(tenant, "t") };
    let mut rig = Rig::new(registry(vec![topology("t", &[("A", "EntityID")])], vec![of("acme"), of("emca")]));
    rig.join(ours("W1", (49.0, 8.0), 5));
    rig.put("A.1", None);
    rig.run();
    assert_eq!(rig.tasks_on("W1"), 2);
    let acme = rig.state.planner.selectors().values().find(|selector| selector.tenant == "acme").map(|selector| selector.id.clone());
    let registration = json!({"entities": [{"id": "A.1", "type": "A"}], "Tenant": "acme", "brokerId": "B", "providingApplication": "p"});
    rig.hear(json!({"subscribeId": acme.as_deref(), "contextRegistrationResponses": [{"contextRegistration": registration}],
        "errorCode": {"code": 410}}));
    rig.run();
    let tenants: Vec<_> = rig.sim("W1").tasks.values().map(|task| task.tenant.clone()).collect();
    assert_eq!(tenants, [Some("emca".to_owned())]);
}
