//! Tasks as containers of a real docker engine that the test starts itself.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;
#[path = "support/docker.rs"]
mod support_docker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;
use fogflow_config::ContainerManagement;
use fogflow_orchestration::{ScheduledTaskInstance, TaskState};
use support::{World, eventually, parameter, python, task};
use support_docker::Engine;

const AGENT_PYTHON: &str = "test/agent-python:1";
const AGENT_NODE: &str = "test/agent-node:1";

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The sdk's base image as its Dockerfile makes it.
async fn sdk_python(engine: &Engine) -> bool {
    let mut files: Vec<(String, String)> = ["__init__", "__main__", "ngsi", "runner"]
        .iter()
        .map(|name| {
            (format!("usr/lib/python3/dist-packages/fogflow_task/{name}.py"), text(&format!("../../sdk/python/fogflow_task/{name}.py")))
        })
        .collect();
    files.push(("task/function.py".to_owned(), text("../../sdk/python/function.py")));
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    let changes = "WORKDIR /task\nENV PYTHONUNBUFFERED=1\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/python3\", \"-m\", \"fogflow_task\"]\nCMD [\"function.py\"]";
    engine.image("fogflow/task-python:latest", "python3", &files, changes).await
}

async fn agent_python(engine: &Engine) -> bool {
    let files = [("agent.py", text("tests/agents/agent.py"))];
    engine.image(AGENT_PYTHON, "python3", &files, "ENTRYPOINT [\"/usr/bin/python3\", \"/agent.py\", \"-o\"]").await
}

async fn agent_node(engine: &Engine) -> bool {
    let files = [("agent.js", text("tests/agents/agent.js"))];
    engine.image(AGENT_NODE, "nodejs", &files, "ENTRYPOINT [\"/usr/bin/node\", \"/agent.js\", \"-o\"]").await
}

/// A loopback worker with the docker engine. Each has an id of its own, since tests share the engine.
async fn world(engine: &Arc<Engine>, worker_id: &str) -> World {
    let host = engine.host.clone();
    let worker_id = worker_id.to_owned();
    World::with(move |settings| {
        settings.engine = ContainerManagement::Docker;
        settings.docker_host = Some(host);
        settings.worker_id = worker_id;
    })
    .await
}

fn image(id: &str, image: &str) -> ScheduledTaskInstance {
    ScheduledTaskInstance { docker_image: image.to_owned(), ..task(id) }
}

/// Ids of a worker's containers, also ended ones.
async fn containers(engine: &Engine, worker_id: &str) -> Vec<String> {
    let filter = HashMap::from([("label", vec![format!("fogflow.io/worker={worker_id}")])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    engine.docker.list_containers(Some(options)).await.unwrap().into_iter().filter_map(|container| container.id).collect()
}

async fn none_left(engine: &Engine, worker_id: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let left = containers(engine, worker_id).await;
        if left.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "still there: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// FAULT 31: the templates for functions started in test mode.
#[tokio::test(flavor = "multi_thread")]
async fn inline_code_runs_in_the_base_image_and_a_loopback_broker_is_reached_from_the_container() {
    let Some(engine) = Engine::shared().await else { return };
    if !sdk_python(&engine).await {
        return;
    }
    let world = world(&engine, "Worker.001").await;
    let mut task = python("Task.t.main.1");
    task.parameters = vec![parameter("memory", "128m"), parameter("cpu", "0.5"), parameter("pids", "50")];
    world.add(&task).await;
    world.until(&task.id, TaskState::Running).await;
    let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
    assert_eq!(world.broker.notify(subscriptions.values().next().unwrap(), "Device.1", 21.5).await, 200);
    assert_eq!(world.broker.until_published("Out.Task.t.main.1.1").await["temp"], 21.5);

    // FAULT 37: limits and no privileges, as the engine has them.
    let id = containers(&engine, "Worker.001").await.pop().unwrap();
    let host = engine.docker.inspect_container(&id, None).await.unwrap().host_config.unwrap();
    assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(128 << 20), Some(500_000_000), Some(50)));
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    let (status, log) = world.get("/tasks/Task.t.main.1/logs?tail=5").await;
    assert!(status == 200 && log.contains("listening on port"), "{log}");

    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    none_left(&engine, "Worker.001").await;
    world.broker.until_subscribed(&[]).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_29_upstreams_python_and_node_agents_run_unchanged_in_images_of_debian_packages() {
    let Some(engine) = Engine::shared().await else { return };
    for (name, ready, status) in [(AGENT_PYTHON, agent_python(&engine).await, 200), (AGENT_NODE, agent_node(&engine).await, 404)] {
        if !ready {
            continue;
        }
        let world = world(&engine, "Worker.001.2").await;
        let mut task = image("Task.t.main.1", name);
        task.worker_id.clear();
        world.send_to("Worker.001.2.", fogflow_orchestration::MessageType::AddTask, &task).await;
        world.until(&task.id, TaskState::Running).await;
        let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
        assert_eq!(world.broker.notify(subscriptions.values().next().unwrap(), "Device.1", 7.5).await, status);
        assert_eq!(world.broker.until_published("ResultDevice.1").await["temp"], 7.5);
        world.send_to("Worker.001.2.", fogflow_orchestration::MessageType::RemoveTask, &task).await;
        world.until(&task.id, TaskState::Removed).await;
        none_left(&engine, "Worker.001.2").await;
        world.terminate().await;
    }
}

/// D 21: the clean-up script deleted every container and image of the machine.
#[tokio::test(flavor = "multi_thread")]
async fn fault_4_containers_outlive_a_killed_and_an_ended_worker_and_are_adopted_or_removed() {
    let Some(engine) = Engine::shared().await else { return };
    if !agent_python(&engine).await {
        return;
    }
    let id = "Worker.001.3";
    let mut world = world(&engine, id).await;
    let mut task = image("Task.t.main.1", AGENT_PYTHON);
    task.worker_id.clear();
    let key = format!("{id}.");
    world.send_to(&key, fogflow_orchestration::MessageType::AddTask, &task).await;
    world.until(&task.id, TaskState::Running).await;
    let (before, subscriptions) = (containers(&engine, id).await, world.broker.subscriptions());
    for orderly in [false, true] {
        if orderly {
            world.terminate().await;
        } else {
            world.crash().await;
        }
        assert_eq!(containers(&engine, id).await, before);
        world.again().await;
        world.until(&task.id, TaskState::Running).await;
        assert_eq!(containers(&engine, id).await, before);
        assert_eq!(world.broker.subscriptions().keys().collect::<Vec<_>>(), subscriptions.keys().collect::<Vec<_>>());
    }
    world.crash().await;
    std::fs::remove_file(world.task_directory(&task.id).join("task.json")).unwrap();
    world.again().await;
    none_left(&engine, id).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_is_replaced_and_its_exit_code_and_last_words_are_told() {
    let Some(engine) = Engine::shared().await else { return };
    let files = [("die.py", "print('no more'); raise SystemExit(7)".to_owned())];
    if !engine.image("test/dying:1", "python3", &files, "ENTRYPOINT [\"/usr/bin/python3\", \"/die.py\"]").await {
        return;
    }
    let world = world(&engine, "Worker.001").await;
    let task = image("Task.dying", "test/dying:1");
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Failed).await;
    assert_eq!(update.reason, "exited with code 7: no more");
    // Whether the log comes from a container or from what was kept of it depends on the moment; it always comes.
    for _ in 0..20 {
        let (status, log) = world.get("/tasks/Task.dying/logs").await;
        assert_eq!(status, 200, "{log}");
    }
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_8_and_18_an_image_that_cannot_be_had_is_told_and_the_task_can_be_removed_meanwhile() {
    let Some(engine) = Engine::shared().await else { return };
    let world = world(&engine, "Worker.001").await;
    let task = image("Task.pull", "127.0.0.1:1/none:1");
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Failed).await;
    assert!(update.reason.contains("image 127.0.0.1:1/none:1 is not here and cannot be pulled"), "{}", update.reason);
    assert!(world.reports(&task.id).iter().any(|update| update.status == TaskState::Pulling));
    world.remove(&task).await;
    world.until(&task.id, TaskState::Removed).await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_10_an_engine_that_does_not_answer_is_told_as_the_reason_and_the_worker_lives_on() {
    let world = World::with(|settings| {
        settings.engine = ContainerManagement::Docker;
        settings.docker_host = Some("unix:///no/such/socket".to_owned());
    })
    .await;
    let task = image("Task.t.main.1", "a:1");
    world.add(&task).await;
    let update = world.until(&task.id, TaskState::Failed).await;
    assert!(update.reason.contains("docker engine at unix:///no/such/socket"), "{}", update.reason);
    assert_eq!(world.full_report().await.tasks[0].status, TaskState::Failed);
    let (status, _) = world.get("/tasks").await;
    assert_eq!(status, 200);
    eventually("it still beats", || if world.heard.lock().len() > 3 { Ok(()) } else { Err("silent".to_owned()) }).await;
    world.terminate().await;
}
