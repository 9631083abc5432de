//! decode(encode(x)) = x for every payload, through the strict and the lenient reader; and no JSON makes the reader panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Debug;

use fogflow_orchestration::{
    Code, DesiredTasks, DockerImage, Envelope, Executable, FlowInfo, GeoScope, InputSelector, InputStream, Location, MessageType, Operator,
    OutputSelector, OutputStream, Parameter, Priority, ScheduledTaskInstance, ServiceIntent, Task, TaskState, TaskUpdate, Topology,
    WorkerProfile, WorkerTasks, full_report, go_json,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = serde_json::to_vec(value).unwrap();
    prop_assert_eq!(&serde_json::from_slice::<T>(&text).unwrap(), value);
    prop_assert_eq!(&go_json::from_slice::<T>(&text).unwrap(), value);
    Ok(())
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9._-]{0,12}", any::<String>()]
}

/// Millionths of a degree (11 cm): serde_json reads the last bit of a longer number only with a feature that costs time.
fn degrees(limit: i32) -> impl Strategy<Value = f64> {
    (-limit * 1_000_000..=limit * 1_000_000).prop_map(|millionths| f64::from(millionths) / 1e6)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(word(), inner, 0..4).prop_map(|object| object.into_iter().collect())
        ]
    })
}

fn state() -> impl Strategy<Value = TaskState> {
    use TaskState::{Failed, Paused, Pulling, Removed, Running, Scheduled, Starting};
    prop::sample::select(vec![Scheduled, Pulling, Starting, Running, Paused, Failed, Removed])
}

prop_compose! {
    fn input()(entity_type in word(), id in word(), attribute_list in vec(word(), 0..3), service_path in word()) -> InputStream {
        InputStream { entity_type, id, attribute_list, service_path }
    }
}

prop_compose! {
    fn executable()(command in vec(word(), 0..3), cwd in option::of(word()), env in btree_map(word(), word(), 0..3), hw_type in option::of(word()), os_type in option::of(word())) -> Executable {
        Executable { command, cwd, env, hw_type, os_type }
    }
}

prop_compose! {
    fn parameter()(name in word(), value in word()) -> Parameter {
        Parameter { name, value }
    }
}

prop_compose! {
    fn code()(language in word(), source in word()) -> Code {
        Code { language, source }
    }
}

prop_compose! {
    fn task()(
        (id, topology_name, task_name, service_intent_id, operator_name) in (word(), word(), word(), word(), word()),
        (docker_image, worker_id, status) in (word(), word(), word()),
        (is_exclusive, priority_level, keep_outputs) in (any::<bool>(), any::<i32>(), any::<bool>()),
        inputs in vec(input(), 0..3),
        outputs in vec((word(), word()), 0..3),
        parameters in vec(parameter(), 0..3),
        (generation, epoch, tenant) in (option::of(any::<u64>()), option::of(any::<u64>()), option::of(word())),
        (executable, code) in (option::of(executable()), option::of(code())),
    ) -> ScheduledTaskInstance {
        let outputs = outputs.into_iter().map(|(entity_type, stream_id)| OutputStream { entity_type, stream_id, annotations: None }).collect();
        ScheduledTaskInstance {
            id, topology_name, task_name, service_intent_id, operator_name, docker_image, worker_id, status, is_exclusive, priority_level, keep_outputs,
            inputs, outputs, parameters, generation, epoch, tenant, executable, code, ..ScheduledTaskInstance::default()
        }
    }
}

prop_compose! {
    fn update()(
        (task_id, topology_name, task_name, service_intent_id, worker_id) in (word(), word(), word(), word(), word()),
        (reason, endpoint, since) in (word(), word(), word()),
        (status, generation, restarts) in (state(), option::of(any::<u64>()), any::<u32>()),
    ) -> TaskUpdate {
        TaskUpdate { task_id, topology_name, task_name, service_intent_id, worker_id, reason, endpoint, since, status, generation, restarts }
    }
}

prop_compose! {
    fn profile()(
        (id, geohash_id, os, hardware, edge_address) in (word(), word(), word(), word(), word()),
        (latitude, longitude) in (degrees(90), degrees(180)),
        (capacity, workload, cadvisor_port) in (any::<u32>(), any::<u32>(), any::<u16>()),
        (last_heartbeat_update, engine, url, incarnation) in (word(), word(), word(), word()),
        (languages, heartbeat_seconds) in (vec(word(), 0..3), option::of(any::<u32>())),
    ) -> WorkerProfile {
        WorkerProfile {
            id, geohash_id, os, hardware, edge_address, location: Location { latitude, longitude }, capacity, workload, cadvisor_port,
            last_heartbeat_update, engine, url, incarnation, languages, heartbeat_seconds,
        }
    }
}

prop_compose! {
    fn intent()(
        (id, topology, stype, qos, action) in (word(), word(), word(), word(), word()),
        (exclusive, level) in (any::<bool>(), any::<i32>()),
        (scope_type, scope_value) in (word(), any_json()),
        tenant in option::of(word()),
    ) -> ServiceIntent {
        ServiceIntent { id, topology, stype, qos, action, priority: Priority { exclusive, level }, geoscope: GeoScope { scope_type, scope_value }, tenant }
    }
}

prop_compose! {
    fn operator()(
        (name, description) in (word(), word()),
        parameters in vec(parameter(), 0..3),
        images in vec((word(), word(), word(), word(), word(), any::<bool>()), 0..3),
        executables in vec(executable(), 0..2),
        code in option::of(code()),
        designboard in option::of(any_json().prop_filter("null is the same as none", |value| !value.is_null())),
    ) -> Operator {
        let image = |(operator_name, name, tag, hw_type, os_type, prefetched)| DockerImage { operator_name, name, tag, hw_type, os_type, prefetched };
        Operator { name, description, parameters, dockerimages: images.into_iter().map(image).collect(), executables, code, designboard, kubernetes: None }
    }
}

prop_compose! {
    fn topology()(
        (name, description) in (word(), word()),
        tasks in vec((word(), word(), vec((word(), vec(word(), 0..3), word(), any::<bool>()), 0..3), vec(word(), 0..3)), 0..3),
        operators in vec(operator(), 0..2),
    ) -> Topology {
        let stream = |(selected_type, selected_attributes, groupby, scoped)| InputSelector { selected_type, selected_attributes, groupby, scoped };
        let task = |(name, operator, inputs, outputs): (_, _, Vec<_>, Vec<String>)| Task {
            name,
            operator,
            input_streams: inputs.into_iter().map(stream).collect(),
            output_streams: outputs.into_iter().map(|entity_type| OutputSelector { entity_type }).collect(),
        };
        Topology { name, description, tasks: tasks.into_iter().map(task).collect(), operators }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tasks_come_back_as_they_were(task in task()) {
        same(&task)?;
    }

    #[test]
    fn inputs_come_back_as_they_were(input_stream in input(), task_instance_id in word(), worker_id in word(), generation in option::of(any::<u64>())) {
        same(&FlowInfo { input_stream, task_instance_id, worker_id, generation, epoch: None })?;
    }

    #[test]
    fn reports_come_back_as_they_were(worker_id in word(), epoch in any::<u64>(), generation in option::of(any::<u64>()), tasks in vec(update(), 0..3), wanted in vec(task(), 0..3), moved in vec(word(), 0..3)) {
        let report = WorkerTasks { worker_id: worker_id.clone(), epoch, generation, tasks };
        same(&report)?;
        let message = |kind| Envelope::encode(kind, "heartbeat.", &worker_id, &report).unwrap();
        let whole = Envelope::new(MessageType::WorkerTasks, "heartbeat.", &worker_id, &report).unwrap();
        prop_assert_eq!(go_json::from_slice::<Envelope>(&message(MessageType::WorkerTasks)).unwrap(), whole);
        prop_assert_eq!(full_report(&message(MessageType::WorkerTasks)), Some((worker_id.clone(), report.clone())));
        prop_assert_eq!(full_report(&message(MessageType::TaskUpdate)), None);
        same(&DesiredTasks { worker_id, epoch, generation: epoch, tasks: wanted, moved })?;
    }

    #[test]
    fn profiles_come_back_as_they_were(profile in profile()) {
        same(&profile)?;
    }

    #[test]
    fn intents_operators_and_topologies_come_back_as_they_were(intent in intent(), operator in operator(), topology in topology()) {
        // A scope value that is null is not written by Go either.
        if !intent.geoscope.scope_value.is_null() {
            same(&intent)?;
        }
        same(&operator)?;
        same(&topology)?;
    }

    #[test]
    fn envelopes_come_back_as_they_were(message_type in word(), routing_key in word(), from in word(), payload in any_json()) {
        same(&Envelope { message_type, routing_key, from, payload })?;
    }

    /// Whatever a stranger sends, the answer is a value or an error.
    #[test]
    fn no_json_makes_a_reader_panic(value in any_json(), key in prop::sample::select(vec!["ID", "Inputs", "location", "geoscope", "Parameters", "Tasks", "PayLoad", "Status"])) {
        for value in [value.clone(), json!({key: value})] {
            let _ = go_json::from_value::<Envelope>(value.clone());
            let _ = go_json::from_value::<ScheduledTaskInstance>(value.clone());
            let _ = go_json::from_value::<WorkerProfile>(value.clone());
            let _ = go_json::from_value::<WorkerTasks>(value.clone());
            let _ = go_json::from_value::<ServiceIntent>(value.clone());
            let _ = go_json::from_value::<Topology>(value);
        }
    }
}
