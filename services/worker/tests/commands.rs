//! Commands in every order, repeated, outdated, malformed; without real tasks where none is needed.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use fogflow_orchestration::{DesiredTasks, MessageType, ScheduledTaskInstance, TaskState, WorkerProfile};
use serde_json::json;
use support::{WORKER, World, eventually, flow, input, parameter, task};

/// A worker of the dry-run engine: all but the start of tasks.
async fn dry() -> World {
    World::with(|settings| settings.start_actual_task = false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_34_a_dry_run_starts_nothing_and_does_everything_else_dynamic_inputs_too() {
    let world = dry().await;
    let task = task("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    world.send(MessageType::AddInput, &flow(&task.id, input("Device.2"))).await;
    let subscribed = world.broker.until_subscribed(&["Device.1", "Device.2"]).await;
    for subscription in subscribed.values() {
        assert_eq!(world.broker.notify(subscription, subscription.entity(), 1.0).await, 200, "somebody takes what nobody works on");
    }
    let mut gone = flow(&task.id, input("Device.1"));
    gone.input_stream.entity_type.clear();
    world.send(MessageType::RemoveInput, &gone).await;
    world.broker.until_subscribed(&["Device.2"]).await;
    assert!(!world.task_directory(&task.id).join("process.json").exists());
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_9_removing_an_input_or_a_task_that_is_not_known_harms_nothing() {
    let world = dry().await;
    world.send(MessageType::RemoveInput, &flow("Task.unknown", input("Device.1"))).await;
    world.remove(&task("Task.unknown")).await;
    let task = task("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    assert!(world.reports("Task.unknown").is_empty());
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_comes_before_its_task_is_subscribed_with_it() {
    let world = dry().await;
    let task = task("Task.t.main.1");
    world.send(MessageType::AddInput, &flow(&task.id, input("Device.9"))).await;
    world.add(&task).await;
    world.broker.until_subscribed(&["Device.1", "Device.9"]).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_changes_nothing_and_fault_6_a_repeated_task_is_not_started_twice() {
    let world = dry().await;
    let task = task("Task.t.main.1");
    for _ in 0..3 {
        world.add(&task).await;
    }
    world.until(&task.id, TaskState::Running).await;
    world.broker.until_subscribed(&["Device.1"]).await;
    for _ in 0..3 {
        world.remove(&task).await;
    }
    world.until(&task.id, TaskState::Removed).await;
    world.full_report().await;
    assert_eq!(world.reports(&task.id).iter().filter(|update| update.status == TaskState::Removed).count(), 1);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outdated_generations_and_epochs_are_ignored() {
    let world = dry().await;
    let at = |epoch, generation| ScheduledTaskInstance { epoch: Some(epoch), generation: Some(generation), ..task("Task.t.main.1") };
    world.add(&at(2, 5)).await;
    world.until("Task.t.main.1", TaskState::Running).await;
    world.send(MessageType::RemoveTask, &at(2, 4)).await;
    world.send(MessageType::RemoveTask, &at(1, 99)).await;
    world
        .send(MessageType::DesiredTasks, &DesiredTasks { worker_id: WORKER.to_owned(), epoch: 1, generation: 9, ..Default::default() })
        .await;
    let report = world.full_report().await;
    assert_eq!((report.epoch, report.tasks.len(), report.tasks[0].generation), (2, 1, Some(5)));
    // A removal that overtakes the command before it: the task must not come back.
    world.send(MessageType::RemoveTask, &at(2, 7)).await;
    world.add(&at(2, 6)).await;
    world.until("Task.t.main.1", TaskState::Removed).await;
    assert!(world.full_report().await.tasks.is_empty());
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_set_is_taken_as_a_whole_and_moved_tasks_keep_their_outputs() {
    let world = dry().await;
    for id in ["Task.a", "Task.b", "Task.c"] {
        world.add(&task(id)).await;
        world.until(id, TaskState::Running).await;
    }
    let desired = DesiredTasks {
        worker_id: WORKER.to_owned(),
        epoch: 1,
        generation: 1,
        tasks: vec![task("Task.a"), task("Task.d")],
        moved: vec!["Task.c".to_owned()],
    };
    world.send(MessageType::DesiredTasks, &desired).await;
    for (id, state) in
        [("Task.a", TaskState::Running), ("Task.b", TaskState::Removed), ("Task.c", TaskState::Removed), ("Task.d", TaskState::Running)]
    {
        world.until(id, state).await;
    }
    eventually("the output of Task.b is deleted", || match world.broker.deleted() {
        deleted if deleted == ["Out.Task.b.1"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let ids: Vec<String> = world.full_report().await.tasks.into_iter().map(|task| task.task_id).collect();
    assert_eq!(ids, ["Task.a", "Task.d"]);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_19_and_35_an_exclusive_task_pauses_the_others_which_keep_their_outputs_and_come_back() {
    let world = dry().await;
    let (usual, mut exclusive) = (task("Task.a"), task("Task.x"));
    (exclusive.is_exclusive, exclusive.priority_level) = (true, 0);
    exclusive.inputs = vec![input("Device.5")];
    world.add(&usual).await;
    world.until(&usual.id, TaskState::Running).await;
    world.add(&exclusive).await;
    let paused = world.until(&usual.id, TaskState::Paused).await;
    assert!(paused.reason.contains("the exclusive task Task.x of level 0"), "{}", paused.reason);
    world.until(&exclusive.id, TaskState::Running).await;
    world.broker.until_subscribed(&["Device.5"]).await;
    assert!(world.broker.deleted().is_empty());
    world.remove(&exclusive).await;
    world.until(&usual.id, TaskState::Running).await;
    world.broker.until_subscribed(&["Device.1"]).await;
    eventually("only the output of the removed task is deleted", || match world.broker.deleted() {
        deleted if deleted == ["Out.Task.x.1"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_35_a_task_that_moves_leaves_its_outputs_and_fault_33_its_removal_tells_worker_and_generation() {
    let world = dry().await;
    let mut task = task("Task.t.main.1");
    task.generation = Some(3);
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    task.keep_outputs = true;
    task.generation = Some(4);
    world.send(MessageType::RemoveTask, &task).await;
    let update = world.until(&task.id, TaskState::Removed).await;
    assert_eq!((update.worker_id.as_str(), update.generation), (WORKER, Some(4)));
    eventually("nothing is left of it", || if world.task_directory(&task.id).exists() { Err("there".to_owned()) } else { Ok(()) }).await;
    assert!(world.broker.deleted().is_empty());
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_21_either_spelling_of_the_service_port_announces_the_service_at_the_nodes_own_address() {
    for name in ["service_port", "service-port"] {
        let world = dry().await;
        let mut task = task("Task.t.main.1");
        task.parameters = vec![parameter(name, "4041;7896")];
        world.add(&task).await;
        world.until(&task.id, TaskState::Running).await;
        let announced = world.broker.updated("UPDATE");
        assert_eq!(announced[0]["entityId"], json!({"id": "uService.t.Task.t.main.1", "type": "uService", "isPattern": false}));
        let metadata = |name: &str| {
            announced[0]["domainMetadata"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap()["value"].clone()
        };
        assert_eq!((metadata("IP"), metadata("port")), (json!("127.0.0.1"), json!("4041")));
        world.remove(&task).await;
        eventually("service and output are deleted", || match world.broker.deleted() {
            deleted if deleted == ["Out.Task.t.main.1.1", "uService.t.Task.t.main.1"] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        world.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_an_operator_that_asks_for_ngsi_ld_gets_an_ngsi_ld_subscription() {
    let world = dry().await;
    let mut task = task("Task.t.main.1");
    task.parameters = vec![parameter("notify_format", "ngsi-ld")];
    task.inputs[0].attribute_list = vec!["temp".to_owned()];
    task.tenant = Some("acme".to_owned());
    world.add(&task).await;
    let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
    let subscription = subscriptions.values().next().unwrap();
    assert!(subscription.ld);
    assert_eq!(subscription.headers["ngsild-tenant"], "acme");
    assert_eq!(subscription.body["notification"]["attributes"], json!(["temp"]));
    world.remove(&task).await;
    world.broker.until_subscribed(&[]).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_rejected_and_unknown_or_misdirected_ones_ignored() {
    let world = dry().await;
    let key = format!("{WORKER}.");
    let task = task("Task.t.main.1");
    for body in [
        "not json".to_owned(),
        json!({"Type": "ADD_TASK", "RoutingKey": key, "From": "x", "PayLoad": "text"}).to_string(),
        json!({"Type": "ADD_TASK", "RoutingKey": key, "From": "x", "PayLoad": {"ID": 7}}).to_string(),
        json!({"Type": "ADD_TASK", "RoutingKey": key, "From": "x", "PayLoad": {"ID": ""}}).to_string(),
        json!({"Type": "NEWS", "RoutingKey": key, "From": "x", "PayLoad": null}).to_string(),
        json!({"Type": "ADD_TASK", "RoutingKey": key, "From": "x", "PayLoad": {"ID": "Task.other", "WorkerID": "Worker.002"}}).to_string(),
    ] {
        world.publish(&key, body.into_bytes()).await;
    }
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    assert_eq!(world.full_report().await.tasks.len(), 1);
    let (_, metrics) = world.get("/metrics").await;
    for line in [
        r#"fogflow_worker_commands_total{result="unreadable",type="ADD_TASK"} 2"#,
        r#"fogflow_worker_commands_total{result="unreadable",type=""} 1"#,
        r#"fogflow_worker_commands_total{result="unknown",type="other"} 1"#,
        r#"fogflow_worker_commands_total{result="misdirected",type="ADD_TASK"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_message_of_an_upstream_master_is_obeyed() {
    let world = dry().await;
    let message = r#"{"Type":"ADD_TASK","RoutingKey":"Worker.001.","From":"Master.001","PayLoad":{
      "ID":"Task.ffTest.main.3321735966","TopologyName":"ffTest","TaskName":"main",
      "ServiceIntentID":"ServiceIntent.8a0c6c1e-2b53-4a7e-9a64-1f8f0a1f3f11","OperatorName":"dummy",
      "TaskType":"","FunctionCode":"","DockerImage":"fogflow/dummy:latest",
      "Parameters":[],"WorkerID":"Worker.001","IsExclusive":false,"PriorityLevel":0,"Status":"scheduled",
      "Inputs":[{"Type":"Temperature","ID":"Device.temp001","AttributeList":[]}],
      "Outputs":[{"Type":"Out","StreamID":"Out.3321735966.1","Annotations":null}]}}"#;
    world.publish("Worker.001.", message.as_bytes().to_vec()).await;
    let update = world.until("Task.ffTest.main.3321735966", TaskState::Running).await;
    assert_eq!((update.topology_name.as_str(), update.generation), ("ffTest", None));
    world.broker.until_subscribed(&["Device.temp001"]).await;
    let removal = r#"{"Type":"REMOVE_TASK","RoutingKey":"Worker.001.","From":"Master.001","PayLoad":{"ID":"Task.ffTest.main.3321735966",
      "TopologyName":"","Parameters":null,"WorkerID":"Worker.001","Inputs":null,"Outputs":null}}"#;
    world.publish("Worker.001.", removal.as_bytes().to_vec()).await;
    world.until("Task.ffTest.main.3321735966", TaskState::Removed).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_joins_then_beats_with_its_workload() {
    let world = dry().await;
    world.add(&task("Task.a")).await;
    world.until("Task.a", TaskState::Running).await;
    world.full_report().await;
    let join = world.of_kind::<WorkerProfile>(MessageType::WorkerJoin);
    let beats = world.of_kind::<WorkerProfile>(MessageType::WorkerHeartbeat);
    assert_eq!((join.len(), join[0].id.as_str(), join[0].workload), (1, WORKER, 0));
    assert_eq!(beats.last().unwrap().workload, 1);
    assert_eq!(beats.last().unwrap().url, format!("http://{}", world.running.http));
    assert_eq!(beats.last().unwrap().incarnation, join[0].incarnation);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_a_broker_lost_at_its_restart_are_placed_again_and_those_of_a_silent_one_are_not() {
    let world = World::with(|settings| {
        settings.start_actual_task = false;
        settings.subscription_check = std::time::Duration::from_millis(100);
    })
    .await;
    let task = task("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let before = world.broker.until_subscribed(&["Device.1"]).await;
    world.broker.set_down(true);
    world.full_report().await;
    world.broker.set_down(false);
    world.full_report().await;
    assert_eq!(world.broker.subscriptions().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    world.broker.kept.lock().subscriptions.clear();
    let after = world.broker.until_subscribed(&["Device.1"]).await;
    assert_ne!(after.keys().next(), before.keys().next());
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_to_fetch_in_advance_is_taken_in_upstreams_form() {
    let world = dry().await;
    let image =
        json!({"OperatorName": "dummy", "name": "fogflow/dummy", "tag": "latest", "hwType": "X86", "osType": "Linux", "prefetched": true});
    world.send(MessageType::PrefetchImage, &image).await;
    world.add(&task("Task.a")).await;
    world.until("Task.a", TaskState::Running).await;
    assert!(world.get("/metrics").await.1.contains(r#"fogflow_worker_commands_total{result="changed",type="PREFETCH_IMAGE"} 1"#));
    world.terminate().await;
}
