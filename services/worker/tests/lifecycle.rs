//! Tasks from their command to their end, as real processes.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use fogflow_orchestration::{MessageType, TaskInfo, TaskState};
use support::{World, eventually, executable, has, is_alive, python, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_starts_gets_its_input_publishes_its_output_and_leaves_nothing_behind() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let task = python("Task.t.main.1");
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Running).await;

    let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
    let subscription = subscriptions.values().next().unwrap();
    assert_eq!(subscription.headers["fiware-correlator"], task.id);
    assert_eq!(subscription.headers["require-reliability"], "true");
    assert_eq!(subscription.reference(), update.endpoint);
    assert_eq!(world.broker.notify(subscription, "Device.1", 21.5).await, 200);
    assert_eq!(world.broker.until_published("Out.Task.t.main.1.1").await["temp"], 21.5);

    let pid = world.pid(&task.id);
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    assert!(!is_alive(pid));
    world.broker.until_subscribed(&[]).await;
    eventually("the output is deleted", || match world.broker.deleted() {
        deleted if deleted == ["Out.Task.t.main.1.1"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    eventually("its directory is gone", || if world.task_directory(&task.id).exists() { Err("there".to_owned()) } else { Ok(()) }).await;
    assert!(world.full_report().await.tasks.is_empty());
    world.terminate().await;
}

/// FAULT 32: the routing key of task updates matched no binding.
#[tokio::test(flavor = "multi_thread")]
async fn fault_18_and_36_running_is_reported_only_when_the_task_listens_and_its_info_names_the_intent() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let task = python("Task.t.main.2");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let states: Vec<TaskState> = world.reports(&task.id).iter().map(|update| update.status).collect();
    assert_eq!(states, [TaskState::Starting, TaskState::Running]);
    let infos = eventually("its info comes", || match world.of_kind::<TaskInfo>(MessageType::TaskInfo) {
        infos if infos.is_empty() => Err("none".to_owned()),
        infos => Ok(infos),
    })
    .await;
    assert_eq!(infos[0].service_intent_id, "ServiceIntent.1");
    assert!(infos[0].info.starts_with("refURL=http://127.0.0.1:") && infos[0].info.contains("; containerID="), "{}", infos[0].info);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_8_a_removal_during_the_start_ends_the_task() {
    if !has("sleep") {
        return;
    }
    let world = World::new().await;
    let task = executable("Task.t.main.3", &["sleep", "1000"]);
    world.add(&task).await;
    world.until(&task.id, TaskState::Starting).await;
    let pid = eventually("it is started", || match world.pid(&task.id) {
        0 => Err("not yet".to_owned()),
        pid => Ok(pid),
    })
    .await;
    assert!(is_alive(pid));
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    assert!(!is_alive(pid));
    assert!(!world.reports(&task.id).iter().any(|update| update.status == TaskState::Running));
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_18_what_cannot_be_run_here_is_reported_failed_with_the_reason() {
    let world = World::new().await;
    let mut other_language = python("Task.code");
    other_language.code.as_mut().unwrap().language = "cobol".to_owned();
    let mut image_only = task("Task.image");
    image_only.docker_image = "fogflow/dummy:latest".to_owned();
    for (task, reason) in [
        (executable("Task.executable", &["no-such-program"]), "there is no executable no-such-program on this worker"),
        (other_language, "code in \"cobol\" cannot be run"),
        (image_only, "operator op has neither an executable nor code for this worker"),
    ] {
        world.add(&task).await;
        let update = world.until(&task.id, TaskState::Failed).await;
        assert!(update.reason.contains(reason), "{}", update.reason);
    }
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_keeps_ending_is_started_again_then_failed_with_its_exit_code_and_last_words_and_recovers() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let mut task = python("Task.t.main.4");
    let flag = world.directory.path().join("may-run");
    task.code.as_mut().unwrap().source = format!(
        "import os, sys\nif not os.path.exists({:?}):\n    print('the flag is missing', file=sys.stderr)\n    os._exit(3)\ndef handleEntity(entity, publish):\n    pass\n",
        flag.display().to_string()
    );
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Failed).await;
    assert_eq!(update.reason, "exited with code 3: the flag is missing");
    assert!(update.restarts >= 2, "{update:?}");
    std::fs::write(flag, "").unwrap();
    let update = world.until(&task.id, TaskState::Running).await;
    assert_eq!(update.reason, "");
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_that_is_killed_is_started_again_with_new_subscriptions() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let task = python("Task.t.main.5");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let before = world.broker.until_subscribed(&["Device.1"]).await;
    let pid = world.pid(&task.id);
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    eventually("the end is reported with its signal", || {
        let reports = world.reports(&task.id);
        if reports.iter().any(|update| update.reason.contains("killed by signal 9 SIGKILL")) { Ok(()) } else { Err(format!("{reports:?}")) }
    })
    .await;
    let update = eventually("it runs again", || match world.last(&task.id) {
        Some(update) if update.status == TaskState::Running && update.restarts == 1 => Ok(update),
        other => Err(format!("{other:?}")),
    })
    .await;
    let after = world.broker.until_subscribed(&["Device.1"]).await;
    assert_ne!(before.keys().next(), after.keys().next());
    assert_eq!(after.values().next().unwrap().reference(), update.endpoint);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_subscribed_as_soon_as_the_broker_is_back_and_only_then_the_task_runs() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    world.broker.set_down(true);
    let task = python("Task.t.main.6");
    world.add(&task).await;
    eventually("it says what it waits for", || match world.last(&task.id) {
        Some(update) if update.status == TaskState::Starting && update.reason.contains("input Device.1 is not subscribed") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.broker.set_down(false);
    world.until(&task.id, TaskState::Running).await;
    world.broker.until_subscribed(&["Device.1"]).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_stops_processes_cancels_subscriptions_keeps_outputs_and_says_good_bye() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let task = python("Task.t.main.7");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let pid = world.pid(&task.id);
    world.terminate().await;
    assert!(!is_alive(pid));
    assert!(world.broker.subscriptions().is_empty());
    assert!(world.broker.deleted().is_empty());
    eventually("it leaves", || {
        let heard: Vec<String> = world.heard.lock().iter().map(|envelope| envelope.message_type.clone()).collect();
        if heard.last().is_some_and(|kind| kind == "WORKER_LEAVE") { Ok(()) } else { Err(format!("{:?}", heard.last())) }
    })
    .await;
    assert!(!world.task_directory(&task.id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_their_logs_are_read_over_http() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let task = python("Task.t.main.8");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let (status, body) = world.get("/tasks").await;
    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, list[0]["TaskID"].as_str(), list[0]["Status"].as_str()), (200, Some("Task.t.main.8"), Some("running")));
    let (status, body) = world.get("/tasks/Task.t.main.8").await;
    assert!(status == 200 && body.contains("\"Operator\":\"op\""), "{body}");
    let (status, body) = world.get("/tasks/Task.t.main.8/logs?tail=1").await;
    assert!(status == 200 && body.starts_with("listening on port"), "{body}");
    for path in ["/tasks/no", "/tasks/no/logs"] {
        let (status, body) = world.get(path).await;
        assert!(status == 404 && body.contains("this worker has no task no"), "{body}");
    }
    assert_eq!(world.get("/tasks/Task.t.main.8/logs?tail=x").await.0, 400);

    // A reader that follows does not hold up the end.
    let follow = support::client().get(format!("http://{}/tasks/Task.t.main.8/logs?follow=true", world.running.http)).send().await.unwrap();
    assert_eq!(follow.status(), 200);
    let reading = tokio::spawn(follow.text());
    let began = std::time::Instant::now();
    world.terminate().await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(reading.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_more_memory_than_its_parameter_allows_fails_alone() {
    if !has("python3") {
        return;
    }
    let world = World::new().await;
    let mut task = python("Task.t.main.9");
    task.parameters = vec![support::parameter("memory", "200m")];
    task.code.as_mut().unwrap().source = "x = bytearray(400 << 20)\ndef handleEntity(entity, publish):\n    pass\n".to_owned();
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Failed).await;
    assert!(update.reason.contains("exited with code 1: MemoryError"), "{}", update.reason);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_a_task_started_and_sent_into_another_session_ends_with_the_task() {
    if !has("python3") || !has("setsid") {
        return;
    }
    let world = World::new().await;
    let mut task = python("Task.t.main.10");
    task.code.as_mut().unwrap().source = "import subprocess\nchild = subprocess.Popen(['setsid', 'sleep', '1000'])\n\
        open('pid', 'w').write(str(child.pid))\ndef handleEntity(entity, publish):\n    pass\n"
        .to_owned();
    // The task's working directory, the only one it may write to.
    let file = world.directory.path().join("worker/tasks").join(&task.id).join("code/pid");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let escaped: i32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert!(is_alive(escaped));
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    eventually("it is gone", || if is_alive(escaped) { Err("alive".to_owned()) } else { Ok(()) }).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_clears_its_environment_is_taken_for_itself_and_adopted_after_a_kill_of_the_worker() {
    if !has("python3") || !has("env") {
        return;
    }
    let mut world = World::new().await;
    let file = format!("{}/tests/agents/bare.sh", env!("CARGO_MANIFEST_DIR"));
    let task = executable("Task.t.main.11", &["sh", &file]);
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let pid = world.pid(&task.id);
    world.crash().await;
    world.again().await;
    world.until(&task.id, TaskState::Running).await;
    assert_eq!(world.pid(&task.id), pid);
    world.terminate().await;
    assert!(!is_alive(pid));
}
