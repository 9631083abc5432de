//! A worker with a broker that the test can look into and a master's end of the bus.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "shared by several test binaries, none of which uses all"
)]

pub mod broker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::inprocess::InProcessBus;
use fogflow_bus::{Message, Queue, SharedBus};
use fogflow_chassis::Process;
use fogflow_config::Config;
use fogflow_orchestration::{
    Code, Envelope, Executable, FlowInfo, InputStream, MessageType, OutputStream, Parameter, ScheduledTaskInstance, TaskState, TaskUpdate,
    WorkerTasks,
};
use fogflow_worker::settings::Settings;
use fogflow_worker::{RestartPolicy, Running};
use parking_lot::Mutex;
use serde::Serialize;

use self::broker::FakeBroker;

pub const WORKER: &str = "Worker.001";

/// A worker, its broker, and what it said on the bus.
pub struct World {
    pub broker: FakeBroker,
    pub bus: SharedBus,
    pub config: Config,
    pub settings: Settings,
    pub process: Process,
    pub running: Running,
    pub heard: Arc<Mutex<Vec<Envelope>>>,
    pub directory: tempfile::TempDir,
    listening: Process,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with_broker(FakeBroker::start().await, change).await
    }

    /// With a designer on this port.
    pub async fn with_designer(port: u16) -> Self {
        Self::assemble(FakeBroker::start().await, port, |_| {}).await
    }

    pub async fn with_broker(broker: FakeBroker, change: impl FnOnce(&mut Settings)) -> Self {
        // Nobody listens on port 1: this worker is alone.
        Self::assemble(broker, 1, change).await
    }

    async fn assemble(broker: FakeBroker, designer: u16, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        config.worker.http_port = 0;
        config.designer.web_srv_port = designer;
        let mut settings = Settings::from_config(&config);
        settings.broker_url = broker.url.clone();
        settings.heartbeat = Duration::from_millis(200);
        settings.restart = RestartPolicy {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(400),
            failed_after: 3,
            ..RestartPolicy::default()
        };
        change(&mut settings);
        let bus: SharedBus = Arc::new(InProcessBus::new());
        let listening = Process::new("test-master");
        let heard = listen(&bus, &listening).await;
        let (process, running) = start(&config, &settings, &bus).await;
        joined(&heard).await;
        World { broker, bus, config, settings, process, running, heard, directory, listening }
    }

    /// Ends the worker as SIGKILL would: nothing is told, nothing is cleaned.
    pub async fn crash(&self) {
        self.process.tasks.drain(Duration::ZERO).await;
        let lock = self.settings.directory.join("lock");
        eventually("the state directory is free", || {
            let file = std::fs::File::options().write(true).open(&lock).unwrap();
            file.try_lock().map_err(|error| error.to_string())
        })
        .await;
    }

    /// Ends the worker as SIGTERM does.
    pub async fn terminate(&self) {
        self.process.shutdown.cancel();
        let drained = self.process.tasks.drain(Duration::from_secs(15)).await;
        assert!(drained.unfinished.is_empty(), "still there: {:?}", drained.unfinished);
    }

    /// Removes what the worker has on this machine's disk.
    pub fn forget_directory(&self) {
        std::fs::remove_dir_all(&self.settings.directory).unwrap();
    }

    /// Starts a worker again on the same directory.
    pub async fn again(&mut self) {
        self.heard.lock().clear();
        (self.process, self.running) = start(&self.config, &self.settings, &self.bus).await;
        joined(&self.heard).await;
    }

    pub async fn send(&self, kind: MessageType, payload: &impl Serialize) {
        self.send_to(&format!("{WORKER}."), kind, payload).await;
    }

    pub async fn send_to(&self, key: &str, kind: MessageType, payload: &impl Serialize) {
        let envelope = Envelope::new(kind, key, "Master.001", payload).unwrap();
        self.publish(key, serde_json::to_vec(&envelope).unwrap()).await;
    }

    pub async fn publish(&self, key: &str, body: Vec<u8>) {
        let message = Message { routing_key: key.to_owned(), body: body.into(), traceparent: None };
        self.bus.publish(message).await.unwrap();
    }

    pub async fn add(&self, task: &ScheduledTaskInstance) {
        self.send(MessageType::AddTask, task).await;
    }

    pub async fn remove(&self, task: &ScheduledTaskInstance) {
        self.send(
            MessageType::RemoveTask,
            &ScheduledTaskInstance { id: task.id.clone(), worker_id: WORKER.to_owned(), ..Default::default() },
        )
        .await;
    }

    /// Every report about a task so far.
    pub fn reports(&self, task_id: &str) -> Vec<TaskUpdate> {
        self.of_kind::<TaskUpdate>(MessageType::TaskUpdate).into_iter().filter(|update| update.task_id == task_id).collect()
    }

    pub fn of_kind<T: serde::de::DeserializeOwned>(&self, kind: MessageType) -> Vec<T> {
        let heard = self.heard.lock();
        heard
            .iter()
            .filter(|envelope| envelope.kind() == Some(kind))
            .map(|envelope| serde_json::from_value(envelope.payload.clone()).unwrap())
            .collect()
    }

    /// The last report about a task.
    pub fn last(&self, task_id: &str) -> Option<TaskUpdate> {
        self.reports(task_id).pop()
    }

    /// Waits until the last report about a task is of this state.
    pub async fn until(&self, task_id: &str, state: TaskState) -> TaskUpdate {
        eventually(&format!("{task_id} is {state:?}"), || match self.last(task_id) {
            Some(update) if update.status == state => Ok(update),
            other => Err(format!("{other:?}; log: {}", self.log(task_id))),
        })
        .await
    }

    /// Waits until the worker's next full report after now.
    pub async fn full_report(&self) -> WorkerTasks {
        let before = self.of_kind::<WorkerTasks>(MessageType::WorkerTasks).len();
        eventually("a full report comes", || {
            let reports = self.of_kind::<WorkerTasks>(MessageType::WorkerTasks);
            if reports.len() > before + 1 { Ok(reports.last().unwrap().clone()) } else { Err(format!("{} reports", reports.len())) }
        })
        .await
    }

    pub fn task_directory(&self, task_id: &str) -> PathBuf {
        self.settings.directory.join("tasks").join(task_id)
    }

    pub fn log(&self, task_id: &str) -> String {
        std::fs::read_to_string(self.task_directory(task_id).join("output.log")).unwrap_or_default()
    }

    /// The task's process; 0 while there is none.
    pub fn pid(&self, task_id: &str) -> i32 {
        let Ok(text) = std::fs::read(self.task_directory(task_id).join("process.json")) else { return 0 };
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        i32::try_from(record["pid"].as_i64().unwrap()).unwrap()
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = client().get(format!("http://{}{path}", self.running.http)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever a failed test leaves: processes that carry this world's mark.
        let mark = self.directory.path().canonicalize().unwrap().display().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&format!("FOGFLOW_TASK_DIRECTORY={mark}")) {
                let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL);
            }
        }
    }
}

async fn start(config: &Config, settings: &Settings, bus: &SharedBus) -> (Process, Running) {
    let process = Process::new("fogflow-worker");
    let running = fogflow_worker::start_with(config, settings.clone(), &process, Arc::clone(bus)).await.unwrap();
    (process, running)
}

/// Waits until the worker has joined: from then on it hears commands.
async fn joined(heard: &Mutex<Vec<Envelope>>) {
    eventually("the worker joins", || {
        if heard.lock().iter().any(|envelope| envelope.kind() == Some(MessageType::WorkerJoin)) {
            Ok(())
        } else {
            Err("no WORKER_JOIN".to_owned())
        }
    })
    .await;
}

/// Keeps what the worker publishes.
async fn listen(bus: &SharedBus, process: &Process) -> Arc<Mutex<Vec<Envelope>>> {
    let heard = Arc::<Mutex<Vec<Envelope>>>::default();
    let bindings = ["heartbeat.*", "task."].map(str::to_owned).to_vec();
    let mut subscription = bus.subscribe(Queue { name: "Master.001".to_owned(), bindings, prefetch: 64 }).await.unwrap();
    let sink = Arc::clone(&heard);
    process.tasks.spawn("listen", async move {
        while let Some(delivery) = subscription.next().await {
            sink.lock().push(serde_json::from_slice(&delivery.message().body).unwrap());
            delivery.ack().await;
        }
    });
    heard
}

pub fn client() -> reqwest::Client {
    fogflow_chassis::http_client(&Config::default()).unwrap()
}

/// Waits for a condition, at most 30 s; says what it was waiting for and what it saw last.
pub async fn eventually<T>(what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("not within 30 s: {what}; last seen: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

/// False, with a line that says so, when a program that the test needs is not on `PATH`.
pub fn has(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|directory| directory.join(program).is_file());
    if !found {
        println!("skipped: {program} is not on PATH");
    }
    found
}

/// A task with one input `Device.1` of type `Temperature` and one output.
pub fn task(id: &str) -> ScheduledTaskInstance {
    ScheduledTaskInstance {
        id: id.to_owned(),
        topology_name: "t".to_owned(),
        task_name: "main".to_owned(),
        service_intent_id: "ServiceIntent.1".to_owned(),
        operator_name: "op".to_owned(),
        worker_id: WORKER.to_owned(),
        status: "scheduled".to_owned(),
        inputs: vec![input("Device.1")],
        outputs: vec![OutputStream { entity_type: "Out".to_owned(), stream_id: format!("Out.{id}.1"), annotations: None }],
        ..Default::default()
    }
}

/// [`task`] with a Python function that publishes what it gets.
pub fn python(id: &str) -> ScheduledTaskInstance {
    let source = "def handleEntity(entity, publish):\n    publish({'attributes': {'temp': entity['attributes']['temp']['value']}})\n";
    ScheduledTaskInstance { code: Some(Code { language: "python".to_owned(), source: source.to_owned() }), ..task(id) }
}

/// [`task`] that executes a command.
pub fn executable(id: &str, command: &[&str]) -> ScheduledTaskInstance {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    ScheduledTaskInstance { executable: Some(Executable { command, ..Default::default() }), ..task(id) }
}

pub fn input(id: &str) -> InputStream {
    InputStream { entity_type: "Temperature".to_owned(), id: id.to_owned(), ..InputStream::default() }
}

pub fn flow(task_id: &str, input: InputStream) -> FlowInfo {
    FlowInfo { input_stream: input, task_instance_id: task_id.to_owned(), worker_id: WORKER.to_owned(), ..Default::default() }
}

pub fn parameter(name: &str, value: &str) -> Parameter {
    Parameter { name: name.to_owned(), value: value.to_owned() }
}
