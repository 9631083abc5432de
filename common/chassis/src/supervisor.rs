//! Named background tasks whose end is always noticed.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogflow_background::Spawner;
use futures::FutureExt as _;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the end of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskClass {
    /// The process ends.
    Critical,
    /// It is started again.
    Restarting,
    /// Nothing.
    BestEffort,
}

/// A task as `/health?verbose` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TaskStatus {
    /// Its name.
    pub name: String,
    /// What its end means.
    pub class: TaskClass,
    /// `running`, `waiting` (to be started again), `ended` or `failed`.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it ended last, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// What became of the tasks at shutdown.
#[derive(Debug)]
pub struct Drained {
    /// Names of those that did not end in time and were cut off.
    pub unfinished: Vec<String>,
}

/// Spawns tasks and watches them. Clones share them.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shutdown: CancellationToken,
    failure: Arc<Failure>,
    tracker: TaskTracker,
    next: AtomicU64,
    tasks: Mutex<BTreeMap<u64, Entry>>,
    children: Mutex<Vec<Supervisor>>,
}

/// The first critical failure of the process; it cancels the root's token.
#[derive(Debug)]
struct Failure {
    root: CancellationToken,
    first: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Entry {
    status: TaskStatus,
    abort: AbortHandle,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A task that ran this long begins again with the shortest pause.
const PROVEN: Duration = Duration::from_secs(60);

impl Supervisor {
    pub(crate) fn root(shutdown: CancellationToken) -> Self {
        let failure = Arc::new(Failure { root: shutdown.clone(), first: Mutex::new(None) });
        Self::assemble(shutdown, failure)
    }

    pub(crate) fn child(&self, shutdown: CancellationToken) -> Self {
        let child = Self::assemble(shutdown, self.inner.failure.clone());
        self.inner.children.lock().push(child.clone());
        child
    }

    fn assemble(shutdown: CancellationToken, failure: Arc<Failure>) -> Self {
        Supervisor {
            inner: Arc::new(Inner {
                shutdown,
                failure,
                tracker: TaskTracker::new(),
                next: AtomicU64::new(0),
                tasks: Mutex::new(BTreeMap::new()),
                children: Mutex::new(Vec::new()),
            }),
        }
    }

    /// A task without which the process is worthless. If it ends before shutdown, in whatever way, or panics, or fails during
    /// shutdown, the process ends with a non-zero code.
    pub fn spawn_critical(&self, name: impl Into<String>, future: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.critical(name.into(), future, false);
    }

    /// A place for the tasks of a store or a bus: their failure is critical, but whoever owns them may end them at any time.
    /// `owner` goes before their names.
    #[must_use]
    pub fn spawner(&self, owner: &str) -> Spawner {
        let (this, owner) = (self.clone(), owner.to_owned());
        Spawner::new(move |name, task| {
            this.critical(format!("{owner} {name}"), async move { task.await.map_err(anyhow::Error::msg) }, true);
        })
    }

    fn critical(&self, name: String, future: impl Future<Output = anyhow::Result<()>> + Send + 'static, may_end: bool) {
        let this = self.clone();
        self.track(name.clone(), TaskClass::Critical, move |id| async move {
            let outcome = match AssertUnwindSafe(future).catch_unwind().await {
                Ok(Ok(())) if may_end || this.inner.shutdown.is_cancelled() => None,
                Ok(Ok(())) => Some("it ended although nobody asked".to_owned()),
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(panic) => Some(panic_text(panic.as_ref())),
            };
            match outcome {
                None => this.update(id, |status| status.state = "ended"),
                Some(reason) => {
                    tracing::error!(task = %name, %reason, "a critical task failed: the process ends");
                    this.update(id, |status| {
                        status.state = "failed";
                        status.last_error = Some(reason.clone());
                    });
                    this.inner.failure.first.lock().get_or_insert_with(|| format!("{name}: {reason}"));
                    this.inner.failure.root.cancel();
                }
            }
        });
    }

    /// A task that is made again when it fails or panics, after a pause of 0.1 s growing to 10 s with jitter. Ending with `Ok` ends it.
    pub fn spawn_restarting<F, Fut>(&self, name: impl Into<String>, make: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let name = name.into();
        let this = self.clone();
        self.track(name.clone(), TaskClass::Restarting, move |id| async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let began = tokio::time::Instant::now();
                // `make` itself may panic as well.
                let attempt = AssertUnwindSafe(async { make().await });
                let reason = match attempt.catch_unwind().await {
                    Ok(Ok(())) => return this.update(id, |status| status.state = "ended"),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(panic) => panic_text(panic.as_ref()),
                };
                if this.inner.shutdown.is_cancelled() {
                    return this.update(id, |status| status.state = "ended");
                }
                if began.elapsed() > PROVEN {
                    pause = FIRST_PAUSE;
                }
                let wait = pause.mul_f64(rand::random_range(0.5..1.0));
                tracing::warn!(task = %name, %reason, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a task failed and is started again");
                this.update(id, |status| {
                    status.state = "waiting";
                    status.restarts += 1;
                    status.last_error = Some(reason);
                });
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = this.inner.shutdown.cancelled() => return this.update(id, |status| status.state = "ended"),
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                this.update(id, |status| status.state = "running");
            }
        });
    }

    /// A task whose end means nothing to others. A panic is logged.
    pub fn spawn(&self, name: impl Into<String>, future: impl Future<Output = ()> + Send + 'static) {
        let name = name.into();
        let this = self.clone();
        self.track(name.clone(), TaskClass::BestEffort, move |id| async move {
            match AssertUnwindSafe(future).catch_unwind().await {
                Ok(()) => {
                    this.inner.tasks.lock().remove(&id);
                }
                Err(panic) => {
                    let reason = panic_text(panic.as_ref());
                    tracing::error!(task = %name, %reason, "a background task panicked");
                    this.update(id, |status| {
                        status.state = "failed";
                        status.last_error = Some(reason);
                    });
                }
            }
        });
    }

    /// Every task of this process and of the services within it.
    #[must_use]
    pub fn status(&self) -> Vec<TaskStatus> {
        let mut all: Vec<TaskStatus> = self.inner.tasks.lock().values().map(|entry| entry.status.clone()).collect();
        let children = self.inner.children.lock().clone();
        all.extend(children.iter().flat_map(Supervisor::status));
        all
    }

    /// Waits for all tasks, at most `grace`, after shutdown was cancelled; cuts off the rest.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let mut all = Vec::new();
        self.collect(&mut all);
        for supervisor in &all {
            supervisor.inner.tracker.close();
        }
        let ended = async {
            for supervisor in &all {
                supervisor.inner.tracker.wait().await;
            }
        };
        if tokio::time::timeout(grace, ended).await.is_ok() {
            return Drained { unfinished: Vec::new() };
        }
        let mut unfinished = Vec::new();
        for supervisor in &all {
            for entry in supervisor.inner.tasks.lock().values().filter(|entry| !entry.abort.is_finished()) {
                unfinished.push(entry.status.name.clone());
                entry.abort.abort();
            }
        }
        Drained { unfinished }
    }

    /// The first critical failure of the process, `<task>: <reason>`.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.inner.failure.first.lock().clone()
    }

    fn collect(&self, all: &mut Vec<Supervisor>) {
        all.push(self.clone());
        let children = self.inner.children.lock().clone();
        for child in &children {
            child.collect(all);
        }
    }

    fn track<F, Fut>(&self, name: String, class: TaskClass, body: F)
    where
        F: FnOnce(u64) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let status = TaskStatus { name, class, state: "running", restarts: 0, last_error: None };
        let future = body(id);
        // Held over the spawn, so that a task which ends at once finds its entry.
        let mut tasks = self.inner.tasks.lock();
        let abort = self.inner.tracker.spawn(future).abort_handle();
        tasks.insert(id, Entry { status, abort });
    }

    fn update(&self, id: u64, change: impl FnOnce(&mut TaskStatus)) {
        if let Some(entry) = self.inner.tasks.lock().get_mut(&id) {
            change(&mut entry.status);
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
