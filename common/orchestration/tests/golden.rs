//! Messages as upstream 3.2.8 writes them (its Go structs without tags, `null` for empty lists, keys in any case) are read, and ours
//! are written in its spelling: nothing that it does not know unless it is used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fogflow_orchestration::{
    DesiredTasks, DockerImage, Envelope, FlowInfo, MasterProfile, MessageType, Operator, ScheduledTaskInstance, ServiceIntent, TaskInfo,
    TaskState, TaskUpdate, Topology, WorkerProfile, WorkerTasks, go_json,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Reads upstream's text, and writes exactly it again.
fn golden<T: DeserializeOwned + Serialize>(message: &Value) -> T {
    let read: T = go_json::from_value(message.clone()).unwrap();
    let strict: T = serde_json::from_value(message.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), *message);
    assert_eq!(serde_json::to_value(&strict).unwrap(), *message);
    read
}

#[test]
fn an_envelope_has_exactly_upstreams_four_keys() {
    let message = json!({"Type": "ADD_TASK", "RoutingKey": "Worker.001.", "From": "Master.001", "PayLoad": {}});
    let envelope: Envelope = golden(&message);
    assert_eq!(envelope.kind(), Some(MessageType::AddTask));
    let text = serde_json::to_string(&envelope).unwrap();
    assert_eq!(text, r#"{"Type":"ADD_TASK","RoutingKey":"Worker.001.","From":"Master.001","PayLoad":{}}"#);
}

#[test]
fn an_unknown_type_is_an_envelope_all_the_same() {
    let envelope: Envelope = go_json::from_value(json!({"Type": "heart_beat", "PayLoad": 7})).unwrap();
    assert_eq!((envelope.kind(), envelope.from.as_str()), (None, ""));
}

#[test]
fn add_task_of_an_upstream_master() {
    let message = json!({"ID": "Task.ffTest.main.3321735966", "TopologyName": "ffTest", "TaskName": "main",
        "ServiceIntentID": "ServiceIntent.8a0c6c1e-2b53-4a7e-9a64-1f8f0a1f3f11", "OperatorName": "dummy",
        "TaskType": "", "FunctionCode": "", "DockerImage": "fogflow/dummy:latest",
        "Parameters": [], "WorkerID": "Worker.001", "IsExclusive": false, "PriorityLevel": 0, "Status": "scheduled",
        "Inputs": [{"Type": "Temperature", "ID": "Device.temp001", "AttributeList": []}],
        "Outputs": [{"Type": "Out", "StreamID": "Out.3321735966.1", "Annotations": null}]});
    let task: ScheduledTaskInstance = golden(&message);
    assert_eq!((task.inputs[0].id.as_str(), task.outputs[0].stream_id.as_str()), ("Device.temp001", "Out.3321735966.1"));
    assert_eq!((task.generation, task.epoch, task.tenant), (None, None, None));
}

#[test]
fn remove_task_of_an_upstream_master_has_little_in_it() {
    let task: ScheduledTaskInstance = go_json::from_value(json!({"ID": "Task.a.b.1", "WorkerID": "Worker.001", "Parameters": null,
        "IsExclusive": false, "PriorityLevel": 0, "Inputs": null, "Outputs": null, "Status": ""}))
    .unwrap();
    assert_eq!((task.id.as_str(), task.keep_outputs), ("Task.a.b.1", false));
}

#[test]
fn flow_info_of_an_upstream_master() {
    golden::<FlowInfo>(&json!({"InputStream": {"Type": "Rule", "ID": "Stream.Rule.01", "AttributeList": ["threshold"]},
        "TaskInstanceID": "Task.a.b.1", "WorkerID": "Worker.001"}));
    let removal: FlowInfo = go_json::from_value(json!({"InputStream": {"Type": "", "ID": "Stream.Rule.01", "AttributeList": null},
        "TaskInstanceID": "Task.a.b.1", "WorkerID": "Worker.001"}))
    .unwrap();
    assert_eq!(removal.input_stream.id, "Stream.Rule.01");
}

#[test]
fn the_profile_of_an_upstream_worker() {
    let profile: WorkerProfile =
        golden(&json!({"id": "Worker.001", "location": {"latitude": 49.406393, "longitude": 8.684208}, "geohash_id": "",
        "os": "linux", "hardware": "amd64", "capacity": 8, "workload": 0, "CAdvisorPort": 0, "EdgeAddress": "",
        "Last_Heartbeat_Update": "0001-01-01T00:00:00Z"}));
    assert!(profile.heartbeat_seconds.is_none() && profile.incarnation.is_empty() && profile.engine.is_empty());
    golden::<MasterProfile>(
        &json!({"id": "Master.001", "location": {"latitude": 49.4, "longitude": 8.6}, "agent": "http://10.0.0.5:1060"}),
    );
}

#[test]
fn reports_of_an_upstream_worker() {
    for status in ["running", "paused", "removed"] {
        let update: TaskUpdate = golden(
            &json!({"TaskID": "Task.a.b.1", "TopologyName": "a", "TaskName": "b", "ServiceIntentID": "ServiceIntent.1", "Status": status}),
        );
        assert_eq!(update.status.as_str(), status);
    }
    golden::<TaskInfo>(&json!({"TaskID": "Task.a.b.1", "TopologyName": "a", "TaskName": "b", "ServiceIntentID": "",
        "Info": "refURL=http://10.0.0.5:40123; containerID=4fe2"}));
}

#[test]
fn an_intent_of_an_upstream_designer() {
    let message = json!({"id": "ServiceIntent.1", "topology": "anomaly-detection", "stype": "ASYN", "priority": {"exclusive": false, "level": 50},
        "qos": "MAX_THROUGHPUT", "geoscope": {"scopeType": "circle", "scopeValue": {"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 1000}}, "action": "ADD"});
    let intent: ServiceIntent = golden(&message);
    assert_eq!((intent.priority.level, intent.geoscope.scope_type.as_str()), (50, "circle"));
    let with_object: ServiceIntent = go_json::from_value(json!({"id": "i", "action": "DELETE", "TopologyObject": null})).unwrap();
    assert_eq!(with_object.action, "DELETE");
}

#[test]
fn a_topology_of_an_upstream_designer_with_its_operators() {
    let topology: Topology = go_json::from_value(json!({"name": "t", "description": "", "designboard": {"blocks": []},
        "tasks": [{"name": "main", "operator": "dummy", "input_streams": [{"selected_type": "Temperature", "selected_attributes": [], "groupby": "EntityID", "scoped": false}],
                   "output_streams": [{"entity_type": "Out"}]}],
        "operators": [{"name": "dummy", "description": "", "parameters": [{"name": "service_port", "values": ["8080"]}],
                       "dockerimages": [{"name": "fogflow/dummy", "tag": "latest", "hwType": "X86", "osType": "Linux", "operatorName": "dummy", "prefetched": false}]}]}))
    .unwrap();
    let operator: &Operator = &topology.operators[0];
    assert_eq!((operator.parameters[0].value.as_str(), operator.dockerimages[0].hw_type.as_str()), ("8080", "X86"));
    let prefetch: DockerImage = go_json::from_value(
        json!({"OperatorName": "dummy", "name": "fogflow/dummy", "tag": "v1", "hwType": "ARM", "osType": "Linux", "prefetched": true}),
    )
    .unwrap();
    assert!(prefetch.prefetched && prefetch.operator_name == "dummy");
}

#[test]
fn our_two_messages_name_their_types() {
    let report = WorkerTasks {
        worker_id: "Worker.001".to_owned(),
        epoch: 3,
        generation: Some(9),
        tasks: vec![TaskUpdate { status: TaskState::Failed, ..TaskUpdate::default() }],
    };
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!((&report["Tasks"][0]["Status"], &report["Generation"]), (&json!("failed"), &json!(9)));
    let desired: DesiredTasks =
        go_json::from_value(json!({"WorkerID": "Worker.001", "Epoch": 3, "Generation": 9, "Tasks": [{"ID": "t"}], "Moved": ["u"]}))
            .unwrap();
    assert_eq!((desired.tasks[0].id.as_str(), desired.moved.as_slice()), ("t", ["u".to_owned()].as_slice()));
    for kind in MessageType::ALL {
        assert_eq!(MessageType::from_word(kind.as_str()), Some(kind));
    }
}
