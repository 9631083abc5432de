//! What a worker finds when it starts again after it was killed, or ended in order.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use fogflow_orchestration::{DesiredTasks, MessageType, TaskState};
use support::{WORKER, World, eventually, has, input, is_alive, python};

#[tokio::test(flavor = "multi_thread")]
async fn fault_4_a_killed_worker_leaves_its_task_running_and_the_next_one_adopts_it_with_its_subscriptions() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let task = python("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let (pid, before) = (world.pid(&task.id), world.broker.subscriptions());

    world.crash().await;
    assert!(is_alive(pid));
    world.again().await;
    world.until(&task.id, TaskState::Running).await;
    assert_eq!(world.pid(&task.id), pid);
    let after = world.broker.subscriptions();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let subscription = after.values().next().unwrap();
    assert_eq!(world.broker.notify(subscription, "Device.1", 3.5).await, 200);
    assert_eq!(world.broker.until_published("Out.Task.t.main.1.1").await["temp"], 3.5);

    // An adopted process is not a child; its end is noticed all the same.
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    eventually("another process runs", || match world.last(&task.id) {
        Some(update) if update.restarts == 1 && update.status == TaskState::Running => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_ne!(world.pid(&task.id), pid);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_4_a_task_that_is_not_wanted_any_more_is_removed_after_a_kill_with_all_that_belongs_to_it() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let (first, second) = (python("Task.t.main.1"), python("Task.t.main.2"));
    for task in [&first, &second] {
        world.add(task).await;
        world.until(&task.id, TaskState::Running).await;
    }
    let pid = world.pid(&first.id);
    world.crash().await;
    world.again().await;
    let desired = DesiredTasks { worker_id: WORKER.to_owned(), epoch: 1, generation: 1, tasks: vec![second.clone()], moved: Vec::new() };
    world.send(MessageType::DesiredTasks, &desired).await;
    world.until(&first.id, TaskState::Removed).await;
    assert!(!is_alive(pid));
    eventually("its output is deleted", || match world.broker.deleted() {
        deleted if deleted == ["Out.Task.t.main.1.1"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(world.full_report().await.tasks.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(), ["Task.t.main.2"]);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_4_a_process_that_nobody_knows_any_more_is_ended_at_the_next_start() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let task = python("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let pid = world.pid(&task.id);
    world.crash().await;
    std::fs::remove_file(world.task_directory(&task.id).join("task.json")).unwrap();
    world.again().await;
    eventually("the process is gone", || if is_alive(pid) { Err("alive".to_owned()) } else { Ok(()) }).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_the_start_of_a_process_and_the_note_of_its_pid_still_adopts_it() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let task = python("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let pid = world.pid(&task.id);
    world.crash().await;
    let file = world.task_directory(&task.id).join("process.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    (record["pid"], record["start_time"]) = (0.into(), 0.into());
    std::fs::write(&file, record.to_string()).unwrap();
    world.again().await;
    world.until(&task.id, TaskState::Running).await;
    let (_, text) = world.get("/tasks/Task.t.main.1").await;
    assert!(is_alive(pid), "{text}");
    world.terminate().await;
    assert!(!is_alive(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_died_while_no_worker_was_there_is_started_once_and_inputs_changed_meanwhile_are_caught_up() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let mut task = python("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let pid = world.pid(&task.id);
    world.crash().await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    eventually("it is dead", || if is_alive(pid) { Err("alive".to_owned()) } else { Ok(()) }).await;
    world.again().await;
    task.inputs = vec![input("Device.2")];
    let desired = DesiredTasks { worker_id: WORKER.to_owned(), epoch: 1, generation: 1, tasks: vec![task.clone()], moved: Vec::new() };
    world.send(MessageType::DesiredTasks, &desired).await;
    world.broker.until_subscribed(&["Device.2"]).await;
    world.until(&task.id, TaskState::Running).await;
    assert_ne!(world.pid(&task.id), pid);
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_a_dead_broker_kept_is_cancelled_after_the_next_start() {
    if !has("python3") {
        return;
    }
    let mut world = World::new().await;
    let task = python("Task.t.main.1");
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    world.broker.set_down(true);
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    world.crash().await;
    assert_eq!(world.broker.subscriptions().len(), 1);
    world.broker.set_down(false);
    world.again().await;
    world.broker.until_subscribed(&[]).await;
    eventually("nothing is left of it", || if world.task_directory(&task.id).exists() { Err("there".to_owned()) } else { Ok(()) }).await;
    world.terminate().await;
}
