//! Two workers of one name: one works, the other stands by and takes over.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use fogflow_chassis::Process;
use fogflow_orchestration::{LeaseReply, LeaseRequest, TaskState};
use parking_lot::Mutex;
use support::{World, eventually, executable, is_alive};

type Leases = Arc<Mutex<HashMap<String, (String, Instant)>>>;

/// The designer's leases, as far as a worker needs them.
async fn designer() -> (u16, Leases) {
    async fn take(State(leases): State<Leases>, Path(name): Path<String>, Json(asked): Json<LeaseRequest>) -> Json<LeaseReply> {
        let (mut leases, now) = (leases.lock(), Instant::now());
        let held = leases.get(&name).filter(|(holder, until)| *holder != asked.holder && *until > now);
        if let Some((holder, _)) = held {
            return Json(LeaseReply { granted: false, holder: holder.clone(), epoch: 1 });
        }
        leases.insert(name, (asked.holder.clone(), now + Duration::from_millis(asked.ttl_ms)));
        Json(LeaseReply { granted: true, holder: asked.holder, epoch: 1 })
    }
    async fn give_back(State(leases): State<Leases>, Path(name): Path<String>) {
        leases.lock().remove(&name);
    }
    let leases = Leases::default();
    let router = Router::new().route("/internal/lease/{name}", post(take).delete(give_back)).with_state(leases.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (port, leases)
}

#[tokio::test]
async fn the_second_worker_of_a_name_stands_by_and_takes_over_when_the_first_ends() {
    let (port, leases) = designer().await;
    let world = World::with_designer(port).await;
    let mut config = world.config.clone();
    let other = tempfile::tempdir().unwrap();
    config.data_dir = other.path().to_owned();
    let mut settings = world.settings.clone();
    settings.directory = other.path().join("worker");
    let standby = Process::new("fogflow-worker");
    fogflow_worker::start_with(&config, settings.clone(), &standby, Arc::clone(&world.bus)).await.unwrap();

    let task = executable("Task.1", &["sleep", "1000"]);
    world.add(&task).await;
    let pid = eventually("the task's process", || match world.pid("Task.1") {
        0 => Err("none".to_owned()),
        pid => Ok(pid),
    })
    .await;
    assert!(!settings.directory.join("tasks").join("Task.1").exists(), "the standby hears nothing");

    world.terminate().await;
    assert!(!is_alive(pid));
    eventually("the standby has the lease", || match leases.lock().get(support::WORKER) {
        Some((holder, _)) if holder.ends_with(&settings.directory.canonicalize().unwrap().display().to_string()) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.add(&task).await;
    eventually("the task's process at the standby", || match settings.directory.join("tasks/Task.1/process.json").exists() {
        true => Ok(()),
        false => Err("none".to_owned()),
    })
    .await;
    assert_ne!(world.last("Task.1").map(|update| update.status), Some(TaskState::Failed));
    standby.shutdown.cancel();
    standby.tasks.drain(Duration::from_secs(15)).await;
}

#[tokio::test]
async fn a_worker_whose_name_another_has_taken_ends_its_tasks_and_itself_without_a_word() {
    let (port, leases) = designer().await;
    let world = World::with_designer(port).await;
    world.add(&executable("Task.1", &["sleep", "1000"])).await;
    let pid = eventually("the task's process", || match world.pid("Task.1") {
        0 => Err("none".to_owned()),
        pid => Ok(pid),
    })
    .await;
    let reports = world.reports("Task.1").len();
    leases.lock().insert(support::WORKER.to_owned(), ("another".to_owned(), Instant::now() + Duration::from_secs(60)));
    eventually("the worker ends", || world.process.tasks.failure().ok_or_else(|| "it goes on".to_owned())).await;
    world.process.tasks.drain(Duration::from_secs(15)).await;
    assert!(!is_alive(pid));
    let last = world.last("Task.1").map(|update| update.status);
    assert!(last != Some(TaskState::Removed) && world.reports("Task.1").len() <= reports + 1, "{last:?}");
}
