//! The Kubernetes engine against an API server in this process.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;
#[path = "support/kubernetes.rs"]
mod support_kubernetes;

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::inprocess::InProcessBus;
use fogflow_bus::{Message, Queue, SharedBus};
use fogflow_chassis::Process;
use fogflow_config::{Config, ContainerManagement};
use fogflow_orchestration::{DesiredTasks, Envelope, MessageType, ScheduledTaskInstance, TaskState, WorkerTasks};
use fogflow_worker::settings::Settings;
use serde_json::json;
use support::broker::FakeBroker;
use support::{WORKER, World, eventually, python, task};
use support_kubernetes::FakeApi;

fn on_kubernetes(api: &FakeApi, directory: &std::path::Path) -> impl FnOnce(&mut Settings) + use<> {
    let kubeconfig = api.kubeconfig(directory);
    move |settings| {
        settings.engine = ContainerManagement::Kubernetes;
        settings.kubeconfig = Some(kubeconfig);
        settings.kubernetes.lease_seconds = 5;
    }
}

fn image(id: &str) -> ScheduledTaskInstance {
    ScheduledTaskInstance { docker_image: "fogflow/dummy:1".to_owned(), ..task(id) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_applied_adopted_by_a_worker_with_an_empty_disk_and_removed_with_all_that_belongs_to_it() {
    let (api, files) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let mut world = World::with(on_kubernetes(&api, files.path())).await;
    let wanted = python("Task.t.main.1");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;
    let (name, deployment) = api.all("deployments").into_iter().next().unwrap();
    assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/managed-by"], "fogflow-worker");
    let owner = &api.all("services")[&name]["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(*owner, deployment["metadata"]["uid"], "the garbage collection removes the Service with the Deployment");
    assert!(api.all("configmaps").contains_key(&format!("{name}-code")));
    assert_eq!(api.all("networkpolicies").len(), 1);
    let subscription = world.broker.until_subscribed(&["Device.1"]).await;

    world.terminate().await;
    world.forget_directory();
    let applied = api.count("PATCH deployments");
    world.again().await;
    let update = world.until(&wanted.id, TaskState::Running).await;
    assert_eq!(api.count("PATCH deployments"), applied, "what runs is left as it is: {update:?}");
    let after = world.broker.until_subscribed(&["Device.1"]).await;
    assert!(subscription.keys().eq(after.keys()), "its subscriptions too: {subscription:?} {after:?}");

    world.remove(&wanted).await;
    world.until(&wanted.id, TaskState::Removed).await;
    eventually("nothing is left", || {
        let left: Vec<usize> = ["deployments", "services", "pods", "configmaps"].map(|plural| api.all(plural).len()).into();
        if left == [0; 4] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_labelled_as_this_workers_and_wanted_by_nobody_is_removed_and_other_workers_tasks_are_not() {
    let (api, files) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let labels = json!({"app.kubernetes.io/managed-by": "fogflow-worker", "fogflow.io/worker": "Worker.002"});
    let metadata = json!({"name": "fogflow-task-other", "labels": labels, "annotations": {"fogflow.io/task": "Task.other"}});
    let spec = json!({"template": {"metadata": {"labels": labels}, "spec": {}}});
    api.put("deployments", json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}));
    let mut world = World::with(on_kubernetes(&api, files.path())).await;
    let wanted = image("Task.t.main.1");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;
    let (name, record) = api.all("configmaps").into_iter().next().unwrap();

    // Without its record nobody knows the task.
    world.terminate().await;
    world.forget_directory();
    api.delete("configmaps", &name);
    world.again().await;
    eventually("the stray task is gone", || {
        let left = api.all("deployments").into_keys().collect::<Vec<_>>();
        if left == ["fogflow-task-other"] { Ok(()) } else { Err(format!("{left:?}; {record}")) }
    })
    .await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_busy_or_conflicts_delays_a_task_and_a_refusal_is_its_reason() {
    let (api, files) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let world = World::with(on_kubernetes(&api, files.path())).await;
    api.refuse(&[429, 500, 409, 503]);
    let wanted = image("Task.t.main.1");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;

    let applied = api.count("PATCH configmaps");
    let refused = image("Task.t.main.2");
    world.add(&refused).await;
    eventually("the task is recorded", || if api.count("PATCH configmaps") > applied { Ok(()) } else { Err("no".to_owned()) }).await;
    api.refuse(&[403]);
    eventually("the refusal is the reason, or came too late", || {
        let reports = world.reports(&refused.id);
        let last = reports.last().map(|update| update.status);
        let told = reports.iter().any(|update| update.status == TaskState::Failed && update.reason.contains("refused by the test"));
        if told || last == Some(TaskState::Running) { Ok(()) } else { Err(format!("{reports:?}")) }
    })
    .await;
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_replaced_gets_new_subscriptions_and_the_task_counts_as_restarted() {
    let (api, files) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let world = World::with(on_kubernetes(&api, files.path())).await;
    let wanted = image("Task.t.main.1");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;
    let before = world.broker.until_subscribed(&["Device.1"]).await;
    let pod = api.all("pods").into_keys().next().unwrap();
    api.delete("pods", &pod);
    eventually("it was restarted and runs", || match world.last(&wanted.id) {
        Some(update) if update.status == TaskState::Running && update.restarts == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let after = world.broker.until_subscribed(&["Device.1"]).await;
    assert!(before.keys().ne(after.keys()));
    assert_eq!((api.all("pods").len(), api.count("PATCH deployments")), (1, 1), "Kubernetes replaced it, not the worker");
    world.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_acts_and_the_other_follows_a_worker_that_ended_or_died() {
    let (api, files) = (FakeApi::start().await, tempfile::tempdir().unwrap());
    let world = World::with(on_kubernetes(&api, files.path())).await;
    let wanted = image("Task.t.main.1");
    world.add(&wanted).await;
    world.until(&wanted.id, TaskState::Running).await;
    let standby = async |name: &str| {
        let settings = Settings { directory: files.path().join(name), ..world.settings.clone() };
        let process = Process::new("standby");
        fogflow_worker::start_with(&world.config, settings, &process, Arc::clone(&world.bus)).await.unwrap();
        process
    };
    let takes_over = async |limit: u64| {
        world.heard.lock().clear();
        let began = Instant::now();
        world.until(&wanted.id, TaskState::Running).await;
        assert!(began.elapsed() < Duration::from_secs(limit), "{:?}", began.elapsed());
    };
    let second = standby("second").await;
    world.terminate().await;
    takes_over(5).await;
    let third = standby("third").await;
    // Dead without a word: the lease has to run out.
    second.tasks.drain(Duration::ZERO).await;
    takes_over(15).await;
    third.shutdown.cancel();
    third.tasks.drain(Duration::from_secs(15)).await;
    assert_eq!((api.all("pods").len(), api.count("PATCH deployments")), (1, 1), "nothing was made twice");
}

const TASKS: usize = 2000;
const RATE: u16 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_tasks_fit_a_worker_below_96_mib_and_no_more_is_asked_of_the_server_than_agreed() {
    let (api, broker, files) = (FakeApi::start().await, FakeBroker::start().await, tempfile::tempdir().unwrap());
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_of_two_thousand_tasks", "--ignored", "--nocapture"])
        .env("FOGFLOW_TEST_KUBECONFIG", api.kubeconfig(files.path()))
        .env("FOGFLOW_TEST_BROKER", &broker.url)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = String::new();
    let began = Instant::now();
    tokio::io::AsyncReadExt::read_to_string(&mut child.stdout.take().unwrap(), &mut output).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{output}");
    let kib = |name: &str| -> u64 {
        let line = output.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name} in {output}"));
        line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    };
    let (now, peak) = (kib("VmRSS"), kib("VmHWM"));
    let times = api.times();
    println!("{TASKS} tasks: {now} KiB, at most {peak} KiB; {} requests in {:.1} s", times.len(), began.elapsed().as_secs_f64());
    assert!(peak < 96 << 10, "{peak} KiB");
    assert_eq!(api.all("pods").len(), TASKS);
    // In any second no more than the burst and the rate, and the few of the lease that do not count.
    let allowed = usize::from(RATE) * 3 + 20;
    for (first, start) in times.iter().enumerate() {
        let in_second = times[first..].iter().take_while(|at| at.duration_since(*start) < Duration::from_secs(1)).count();
        assert!(in_second <= allowed, "{in_second} requests in a second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of the test above, which starts it in a process of its own"]
async fn worker_of_two_thousand_tasks() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
    config.worker.http_port = 0;
    let mut settings = Settings::from_config(&config);
    settings.engine = ContainerManagement::Kubernetes;
    settings.kubeconfig = std::env::var_os("FOGFLOW_TEST_KUBECONFIG").map(Into::into);
    settings.broker_url = std::env::var("FOGFLOW_TEST_BROKER").unwrap();
    settings.kubernetes.requests_per_second = RATE;
    settings.heartbeat = Duration::from_secs(1);
    let bus: SharedBus = Arc::new(InProcessBus::new());
    let bindings = vec!["heartbeat.*".to_owned()];
    let mut heard = bus.subscribe(Queue { name: "Master.001".to_owned(), bindings, prefetch: 64 }).await.unwrap();
    let process = Process::new("fogflow-worker");
    fogflow_worker::start_with(&config, settings, &process, Arc::clone(&bus)).await.unwrap();
    let mut told = false;
    loop {
        let delivery = tokio::time::timeout(Duration::from_secs(240), heard.next()).await.unwrap().unwrap();
        let envelope: Envelope = serde_json::from_slice(&delivery.message().body).unwrap();
        delivery.ack().await;
        if envelope.kind() != Some(MessageType::WorkerTasks) {
            continue;
        }
        if !told {
            told = true;
            let tasks = (0..TASKS).map(|number| image(&format!("Task.t.main.{number}"))).collect();
            let desired = DesiredTasks { worker_id: WORKER.to_owned(), epoch: 1, generation: 1, tasks, moved: Vec::new() };
            let key = format!("{WORKER}.");
            let envelope = Envelope::new(MessageType::DesiredTasks, &key, "Master.001", &desired).unwrap();
            let body = serde_json::to_vec(&envelope).unwrap().into();
            bus.publish(Message { routing_key: key, body, traceparent: None }).await.unwrap();
            continue;
        }
        let report: WorkerTasks = serde_json::from_value(envelope.payload).unwrap();
        if report.tasks.iter().filter(|update| update.status == TaskState::Running).count() == TASKS {
            break;
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")) {
        println!("\n{line}");
    }
    process.shutdown.cancel();
    process.tasks.drain(Duration::from_secs(15)).await;
}
