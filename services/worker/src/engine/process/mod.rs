//! The process engine: tasks are processes of this machine.
//!
//! The command of an operator's `executables` is executed as given; inline `code` runs in the interpreter found on
//! `PATH`. A process outlives a worker that is killed: it holds no pipe of the worker and leads its own group. The next
//! worker finds it by the mark in its environment and by `process.json`, which is written before the process starts.

mod exit;
mod proc;
mod sandbox;
mod spawn;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fogflow_chassis::{CancellationToken, Process, Supervisor};
use fogflow_config::bracketed;
use fogflow_orchestration::{Code, TaskState};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::watch;

use self::proc::Listener;
use self::spawn::Program;
use super::ports::Ports;
use super::source::{self, Language};
use super::{Engine, EngineError, Instance, Launch, LogRange, LogStream, Observed, Owned, Progress, logs};
use crate::contract;
use crate::files::{self, StateDirectory, TASK_FILE, TaskRecord};

const PROCESS_FILE: &str = "process.json";
const LOG_FILE: &str = "output.log";
/// Folder within a task's directory that is its `TMPDIR`.
const TEMPORARY: &str = "tmp";
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
const ROTATE_EVERY: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Written before a process starts, and again when its pid is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ProcessRecord {
    fingerprint: String,
    port: u16,
    boot_id: String,
    /// 0 until the process has been started.
    pid: i32,
    start_time: u64,
}

/// A process that runs, or has ended.
#[derive(Clone, Debug)]
struct Running {
    record: ProcessRecord,
    /// Why it ended, once it has.
    ended: watch::Receiver<Option<String>>,
}

impl Running {
    fn handle(&self) -> String {
        format!("{}:{}", self.record.pid, self.record.start_time)
    }
}

/// Runs tasks as processes.
pub struct ProcessEngine {
    state: Arc<StateDirectory>,
    supervisor: Supervisor,
    /// Host part of the tasks' endpoints (`my_hostip`).
    host: String,
    broker_url: String,
    ports: Ports,
    running: Arc<Mutex<HashMap<String, Running>>>,
}

impl ProcessEngine {
    /// An engine whose tasks are reached at `host` and talk to the broker at `broker_url` (`…/ngsi10`).
    pub(crate) fn new(state: Arc<StateDirectory>, process: &Process, host: String, broker_url: String) -> Self {
        let running = Arc::<Mutex<HashMap<String, Running>>>::default();
        process.tasks.spawn_restarting("worker/log-rotation", {
            let (state, running, shutdown) = (Arc::clone(&state), Arc::clone(&running), process.shutdown.clone());
            move || rotate_logs(Arc::clone(&state), Arc::clone(&running), shutdown.clone())
        });
        ProcessEngine { state, supervisor: process.tasks.clone(), host, broker_url, ports: Ports::default(), running }
    }

    fn endpoint(&self, port: u16) -> String {
        format!("http://{}:{port}", bracketed(&self.host))
    }

    fn instance(&self, task_id: &str, running: &Running, adopted: bool) -> Instance {
        Instance { task_id: task_id.to_owned(), handle: running.handle(), endpoint: self.endpoint(running.record.port), adopted }
    }

    /// The process of a task, ours or one that an earlier start of the worker left.
    fn find(&self, task_id: &str) -> Option<Running> {
        if let Some(running) = self.running.lock().get(task_id) {
            return running.ended.borrow().is_none().then(|| running.clone());
        }
        let directory = self.state.of(task_id);
        let record: ProcessRecord =
            files::read(&directory.join(PROCESS_FILE)).ok().flatten().filter(|record: &ProcessRecord| record.boot_id == proc::boot_id())?;
        let (pid, start_time) = if proc::is_alive(record.pid, record.start_time) {
            (record.pid, record.start_time)
        } else {
            // The worker may have been killed between the start of the process and the note of its pid.
            let (stat, _) = proc::marked_leaders(self.state.tasks()).into_iter().find(|(_, mark)| Path::new(mark) == directory)?;
            (stat.pid, stat.start_time)
        };
        let record = ProcessRecord { pid, start_time, ..record };
        let (sender, ended) = watch::channel(None);
        self.supervisor.spawn(format!("worker/process/{task_id}"), async move {
            exit::of_stranger(pid, start_time).await;
            exit::signal_group(pid, Signal::KILL);
            sender.send_replace(Some("ended; its exit code is not known, since an earlier start of the worker began it".to_owned()));
        });
        let running = Running { record, ended };
        self.running.lock().insert(task_id.to_owned(), running.clone());
        Some(running)
    }

    fn program(launch: &Launch) -> Result<Program, EngineError> {
        let task = &launch.task;
        if let Some(executable) = task.executable.as_ref().filter(|executable| !executable.command.is_empty()) {
            let directory = executable.cwd.as_ref().filter(|cwd| !cwd.is_empty()).map(PathBuf::from);
            if let Some(missing) = directory.as_ref().filter(|directory| !directory.is_dir()) {
                return Err(EngineError::Unrunnable(format!("the working directory {} does not exist on this worker", missing.display())));
            }
            let path = spawn::find(&executable.command[0], directory.as_deref())
                .ok_or_else(|| EngineError::Unrunnable(format!("there is no executable {} on this worker", executable.command[0])))?;
            let arguments = executable.command[1..].iter().map(Into::into).collect();
            let own = launch.directory.join(TEMPORARY);
            return Ok(Program { path, arguments, directory, environment: Default::default(), memory: None, own });
        }
        if let Some(code) = &task.code {
            return Self::inline(launch, code);
        }
        Err(EngineError::Unrunnable(format!(
            "operator {} has neither an executable nor code for this worker, which runs processes",
            if task.operator_name.is_empty() { "(unnamed)" } else { &task.operator_name }
        )))
    }

    fn inline(launch: &Launch, code: &Code) -> Result<Program, EngineError> {
        let language = Language::from_name(&code.language)
            .ok_or_else(|| EngineError::Unrunnable(format!("code in {:?} cannot be run; python and javascript can", code.language)))?;
        let path = language.interpreters().iter().find_map(|name| spawn::find(name, None)).ok_or_else(|| {
            EngineError::Unrunnable(format!(
                "no interpreter of {} ({}) is on this worker's PATH",
                language.name(),
                language.interpreters().join(", ")
            ))
        })?;
        let directory = launch.directory.join("code");
        source::write(&directory, language, code).map_err(|error| EngineError::Failed(format!("the code cannot be written: {error}")))?;
        let environment =
            [("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Program {
            path,
            arguments: language.arguments(&code.source).map(Into::into).to_vec(),
            directory: Some(directory),
            environment: environment.into(),
            memory: None,
            own: launch.directory.join(TEMPORARY),
        })
    }

    /// Starts a process and notes it, so that a worker killed at any moment finds it again.
    async fn start(&self, launch: &Launch) -> Result<Running, EngineError> {
        let failed = |what: &str, error: io::Error| EngineError::Failed(format!("{what}: {error}"));
        let mut program = Self::program(launch)?;
        let port = self.ports.choose().map_err(|error| failed("no port", error))?;
        program.memory = contract::memory_limit(&launch.task.parameters);
        program.environment.extend(contract::environment(&launch.task, port, &self.broker_url, &self.endpoint(port)));
        tokio::fs::create_dir_all(&program.own).await.map_err(|error| failed("no directory for temporary files", error))?;
        program.environment.entry("TMPDIR".to_owned()).or_insert_with(|| program.own.display().to_string());
        program.environment.insert(proc::MARK.to_owned(), launch.directory.display().to_string());
        if let Ok(address) = self.host.parse::<std::net::IpAddr>()
            && address.is_loopback()
        {
            program.environment.insert("FOGFLOW_LISTEN".to_owned(), self.host.clone());
        }
        let save = |record: ProcessRecord| async {
            let saved = self.state.write(&launch.task.id, PROCESS_FILE, record).await;
            saved.map_err(|error| failed("the state of the task cannot be written", error))
        };
        let record = ProcessRecord { fingerprint: launch.fingerprint.clone(), port, boot_id: proc::boot_id(), pid: 0, start_time: 0 };
        save(record.clone()).await?;
        let log = launch.directory.join(LOG_FILE);
        let mut child = on_own_thread({
            let (program, log) = (program.clone(), log.clone());
            move || spawn::start(&program, &log)
        })
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                EngineError::Unrunnable(format!("{} cannot be executed: {error}", program.path.display()))
            }
            _ => EngineError::Failed(format!("{} cannot be executed: {error}", program.path.display())),
        })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        // A process that has ended already is a zombie until `wait` below, so its start time can still be read.
        let start_time = proc::stat(pid).map_or(0, |stat| stat.start_time);
        let record = ProcessRecord { pid, start_time, ..record };
        let (sender, ended) = watch::channel(None);
        self.supervisor.spawn(format!("worker/process/{}", launch.task.id), async move {
            let reason = match child.wait().await {
                Ok(status) => exit::reason(status),
                Err(error) => format!("cannot be waited for: {error}"),
            };
            // What the process has left running in its group would be in the way of the next start.
            exit::signal_group(pid, Signal::KILL);
            let last = logs::last_line(&log, 200).map(|line| format!(": {line}")).unwrap_or_default();
            sender.send_replace(Some(format!("{reason}{last}")));
        });
        let running = Running { record: record.clone(), ended };
        self.running.lock().insert(launch.task.id.clone(), running.clone());
        save(record).await?;
        Ok(running)
    }
}

/// SIGTERM to a process and its group, and SIGKILL to what is there after the grace.
async fn end_group(mut running: Running) -> Result<(), EngineError> {
    let group = running.record.pid;
    exit::signal_group(group, Signal::TERM);
    if tokio::time::timeout(GRACE, running.ended.wait_for(Option::is_some)).await.is_ok() {
        return Ok(());
    }
    exit::signal_group(group, Signal::KILL);
    let killed = tokio::time::timeout(GRACE, running.ended.wait_for(Option::is_some)).await;
    if killed.is_err() && proc::group_exists(group) {
        return Err(EngineError::Failed(format!("process {group} does not end, not even when it is killed")));
    }
    Ok(())
}

/// Runs a blocking start on a thread that ends afterwards, since it changes attributes of its thread.
async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("task-start".to_owned()).spawn(move || {
        let _inside = runtime.enter();
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(|_| io::Error::other("the starting thread ended"))?
}

/// Keeps every log within its size.
async fn rotate_logs(
    state: Arc<StateDirectory>,
    running: Arc<Mutex<HashMap<String, Running>>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(ROTATE_EVERY) => {}
        }
        let files: Vec<PathBuf> = running.lock().keys().map(|task_id| state.of(task_id).join(LOG_FILE)).collect();
        tokio::task::spawn_blocking(move || {
            for file in files {
                if let Err(error) = logs::rotate(&file, logs::ROTATE_AT) {
                    tracing::warn!(file = %file.display(), %error, "a log cannot be rotated");
                }
            }
        })
        .await?;
    }
}

#[async_trait]
impl Engine for ProcessEngine {
    fn kind(&self) -> &'static str {
        "process"
    }

    fn languages(&self) -> Vec<String> {
        [Language::Python, Language::JavaScript]
            .into_iter()
            .filter(|language| language.interpreters().iter().any(|name| spawn::find(name, None).is_some()))
            .map(|language| language.name().to_owned())
            .collect()
    }

    fn survives_worker(&self) -> bool {
        false
    }

    async fn ensure(&self, launch: &Launch, progress: Progress<'_>) -> Result<Instance, EngineError> {
        if let Some(running) = self.find(&launch.task.id) {
            if running.record.fingerprint == launch.fingerprint {
                return Ok(self.instance(&launch.task.id, &running, true));
            }
            self.stop(&launch.task.id).await?;
        }
        if launch.cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        progress(TaskState::Starting);
        let running = self.start(launch).await?;
        Ok(self.instance(&launch.task.id, &running, false))
    }

    async fn is_listening(&self, instance: &Instance) -> bool {
        let Some((_, port)) = instance.endpoint.rsplit_once(':') else { return false };
        let Ok(port) = port.parse::<u16>() else { return false };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let reached = connects(loopback).await
            || match tokio::net::lookup_host((self.host.trim_matches(['[', ']']), port)).await {
                Ok(mut addresses) => match addresses.next() {
                    Some(address) if address != loopback => connects(address).await,
                    _ => false,
                },
                Err(_) => false,
            };
        if !reached {
            return false;
        }
        let directory = self.state.of(&instance.task_id).display().to_string();
        let group = instance.handle.split(':').next().and_then(|pid| pid.parse().ok()).unwrap_or_default();
        let listener = tokio::task::spawn_blocking(move || proc::listener_of(port, group, &directory)).await.unwrap_or(Listener::Unknown);
        listener != Listener::Foreign
    }

    fn watch(&self, instance: &Instance) -> BoxStream<'static, Observed> {
        let ended = self
            .running
            .lock()
            .get(&instance.task_id)
            .filter(|running| running.handle() == instance.handle)
            .map(|running| running.ended.clone());
        let Some(mut ended) = ended else {
            return stream::once(async { Observed::Ended("ended".to_owned()) }).boxed();
        };
        stream::once(async move {
            match ended.wait_for(Option::is_some).await {
                Ok(reason) => Observed::Ended(reason.clone().unwrap_or_default()),
                Err(_) => Observed::Ended("ended while the worker shut down".to_owned()),
            }
        })
        .boxed()
    }

    async fn stop(&self, task_id: &str) -> Result<(), EngineError> {
        if let Some(running) = self.find(task_id) {
            end_group(running).await?;
        }
        self.running.lock().remove(task_id);
        // Whoever left the group, as daemons do, still carries the mark.
        let directory = self.state.of(task_id);
        let rest = tokio::task::spawn_blocking(move || exit::kill_all(&proc::marked(&directory)));
        rest.await.map_err(|error| EngineError::Failed(error.to_string()))
    }

    async fn list_mine(&self) -> Result<Vec<Owned>, EngineError> {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || {
            proc::marked_leaders(state.tasks())
                .into_iter()
                .filter_map(|(stat, mark)| {
                    // The id is in the record; without one the directory is all that is known, and that is enough to end it.
                    let task_id = match files::read::<TaskRecord>(&Path::new(&mark).join(TASK_FILE)) {
                        Ok(Some(record)) => record.task.id,
                        _ => {
                            tracing::warn!(pid = stat.pid, directory = mark, "a process without a record is ended");
                            exit::signal_group(stat.pid, Signal::KILL);
                            return None;
                        }
                    };
                    Some(Owned { task_id, handle: format!("{}:{}", stat.pid, stat.start_time) })
                })
                .collect()
        })
        .await
        .map_err(|error| EngineError::Failed(error.to_string()))
    }

    async fn prefetch(&self, image: &str) -> Result<(), EngineError> {
        tracing::debug!(image, "not fetched: this worker runs processes");
        Ok(())
    }

    async fn logs(&self, task_id: &str, range: LogRange) -> Result<LogStream, EngineError> {
        if !self.state.of(task_id).is_dir() {
            return Err(EngineError::Unknown(task_id.to_owned()));
        }
        logs::read(self.state.of(task_id).join(LOG_FILE), range).await
    }
}

async fn connects(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_)))
}
