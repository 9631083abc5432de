//! The actor of one task.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_orchestration::{ScheduledTaskInstance, TaskState};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::cleanup::Cleanup;
use super::inputs::Inputs;
use super::report::Reporter;
use super::restart::{Failures, RestartPolicy};
use super::{Desired, Goal};
use crate::broker::Broker;
use crate::contract;
use crate::engine::{Engine, EngineError, Instance, Launch, Observed};
use crate::files::StateDirectory;
use crate::records::Records;
use crate::settings::Settings;

/// Between two attempts at something that the broker or the engine refuses.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
const POLL_LISTENING: Duration = Duration::from_millis(50);
/// How long the broker may hold up the end of a task.
const FAREWELL: Duration = Duration::from_secs(3);
/// After this long without a broker the remains of a removed task are given up.
const CLEANUP_LIMIT: Duration = Duration::from_secs(3600);

/// What an actor needs of its worker.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) broker: Broker,
    pub(crate) state: Arc<StateDirectory>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) settings: Arc<Settings>,
}

/// Runs one task until it is removed or the worker ends.
pub(crate) struct Actor {
    around: Surroundings,
    policy: RestartPolicy,
    desired: watch::Receiver<Desired>,
    reporter: Reporter,
    inputs: Inputs,
    /// `traceparent` of the order that brought the task, until the first start has taken it up.
    trace: Option<String>,
}

/// Why a run came to an end.
enum End {
    /// The wish changed: another goal, or another program.
    Unwanted,
    /// The instance ended or never came up, after having been up for this long.
    Failed { reason: String, ran: Duration, unrunnable: bool },
}

/// How an instance that listened came to an end.
enum Served {
    /// The engine put another one in its place.
    Replaced(Instance),
    Over(End),
}

impl Actor {
    pub(crate) fn new(
        around: Surroundings,
        desired: watch::Receiver<Desired>,
        reporter: Reporter,
        inputs: Inputs,
        trace: Option<String>,
    ) -> Self {
        Actor { policy: around.settings.restart, around, desired, reporter, inputs, trace }
    }

    /// Makes the task what it shall be, until `finish` agrees that it is gone or the worker ends. `finish` answers false
    /// when the task is wanted again.
    pub(crate) async fn run(mut self, finish: impl Fn() -> bool + Send) {
        let mut failures = Failures::default();
        loop {
            let Desired { task, goal } = self.desired.borrow_and_update().clone();
            match goal {
                Goal::Run => self.keep_running(&task, &mut failures).await,
                Goal::Pause(reason) => self.pause(&task, &reason).await,
                Goal::Remove { keep_outputs } => {
                    if self.remove(&task, keep_outputs).await && finish() {
                        return;
                    }
                }
                Goal::Detach => return self.detach(&task, finish).await,
            }
        }
    }

    /// Starts the task, attends to it, starts it again when it ends; returns when the wish has changed.
    async fn keep_running(&mut self, task: &Arc<ScheduledTaskInstance>, failures: &mut Failures) {
        let fingerprint = contract::fingerprint(task);
        // A task that counts as failed stays so in the reports until it is up.
        let mut is_failed = false;
        loop {
            match self.run_once(task, &fingerprint, !is_failed).await {
                End::Unwanted => return,
                End::Failed { reason, ran, unrunnable } => {
                    failures.note(&self.policy, ran);
                    let delay = if unrunnable { self.policy.longest } else { failures.delay(&self.policy) };
                    let task = Arc::clone(&self.desired.borrow().task);
                    is_failed = unrunnable || failures.is_failed(&self.policy);
                    if is_failed {
                        self.reporter.state(&task, TaskState::Failed, reason);
                    } else {
                        self.reporter.state(&task, TaskState::Starting, format!("{reason}; it is started again"));
                    }
                    // What is left of it must not be in the way; if it cannot be removed now, the next start tries again.
                    if let Err(error) = self.around.engine.stop(&task.id).await {
                        tracing::debug!(task = task.id, %error, "what is left of it cannot be removed");
                    }
                    if tokio::time::timeout(delay, wish_changes(&mut self.desired, &fingerprint)).await.is_ok() {
                        return;
                    }
                    self.reporter.restarted();
                }
            }
        }
    }

    async fn run_once(&mut self, task: &Arc<ScheduledTaskInstance>, fingerprint: &str, with_progress: bool) -> End {
        let cancel = CancellationToken::new();
        let launch = Launch {
            task: Arc::clone(task),
            fingerprint: fingerprint.to_owned(),
            directory: self.around.state.of(&task.id),
            cancel: cancel.clone(),
        };
        let reporter = &self.reporter;
        let progress = |state| {
            if with_progress {
                reporter.state(task, state, "");
            }
        };
        // From here until the task is up; of later starts no trace tells.
        let span = fogflow_chassis::continued("start task", "worker", self.trace.take().as_deref());
        let started = {
            let ensure = self.around.engine.ensure(&launch, &progress).instrument(span.clone());
            tokio::pin!(ensure);
            tokio::select! {
                started = &mut ensure => started,
                () = wish_changes(&mut self.desired, fingerprint) => {
                    cancel.cancel();
                    let _ = ensure.await;
                    return End::Unwanted;
                }
            }
        };
        match started {
            Ok(instance) => self.attend(instance, fingerprint, span).await,
            Err(EngineError::Cancelled) => End::Unwanted,
            Err(error) => {
                End::Failed { unrunnable: matches!(error, EngineError::Unrunnable(_)), reason: error.to_string(), ran: Duration::ZERO }
            }
        }
    }

    /// Attends to a started instance, and to those that the engine puts in its place.
    async fn attend(&mut self, mut instance: Instance, fingerprint: &str, mut starting: Span) -> End {
        let mut events = self.around.engine.watch(&instance);
        loop {
            self.reporter.endpoint(&instance.endpoint);
            if let Some(end) = self.wait_until_listening(&mut instance, fingerprint, &mut events).await {
                return end;
            }
            match self.serve(&instance, fingerprint, &mut events, &mut starting).await {
                Served::Replaced(next) => {
                    self.reporter.restarted();
                    self.report(TaskState::Starting, "it was started again".to_owned());
                    instance = next;
                }
                Served::Over(end) => return end,
            }
        }
    }

    /// Subscribes the inputs of an instance that listens, and watches it.
    async fn serve(
        &mut self,
        instance: &Instance,
        fingerprint: &str,
        events: &mut BoxStream<'static, Observed>,
        starting: &mut Span,
    ) -> Served {
        let up_since = Instant::now();
        let mut announced = false;
        let mut informed = instance.adopted && self.reporter.subscribe().borrow().status == TaskState::Running;
        let mut trouble = None;
        let mut phase = None;
        let mut retry = RETRY;
        let mut next_check = self.next_check();
        let ended = |reason| Served::Over(End::Failed { reason, ran: up_since.elapsed(), unrunnable: false });
        loop {
            let Desired { task, goal } = self.desired.borrow_and_update().clone();
            if goal != Goal::Run || contract::fingerprint(&task) != fingerprint {
                return Served::Over(End::Unwanted);
            }
            let mut failures = self.inputs.reconcile(&task, instance).instrument(starting.clone()).await;
            if !announced {
                match self.announce(&task).await {
                    Ok(()) => announced = true,
                    Err(error) => failures.push(error),
                }
            }
            let waiting = failures.first().cloned();
            if let Some((state, reason)) = phase.clone() {
                self.reporter.state(&task, state, reason);
            } else if waiting.is_none() && !informed {
                informed = true;
                *starting = Span::none();
                self.reporter.state(&task, TaskState::Running, "");
                self.reporter.up(&task, &instance.endpoint, &instance.handle);
            } else {
                let state = if informed { TaskState::Running } else { TaskState::Starting };
                self.reporter.state(&task, state, trouble.clone().or_else(|| waiting.clone()).unwrap_or_default());
            }
            let again = waiting.is_some() || self.inputs.has_obsolete();
            retry = if again { (retry * 2).min(RETRY_LONGEST) } else { RETRY };
            tokio::select! {
                event = events.next() => match event {
                    Some(Observed::Trouble(reason)) => trouble = Some(reason),
                    Some(Observed::Phase(state, reason)) => phase = Some((state, reason)),
                    Some(Observed::Recovered) => (trouble, phase) = (None, None),
                    Some(Observed::Replaced(next)) => return Served::Replaced(next),
                    Some(Observed::Ended(reason)) => return ended(reason),
                    None => return ended("it ended".to_owned()),
                },
                changed = self.desired.changed() => if changed.is_err() { return Served::Over(End::Unwanted) },
                () = tokio::time::sleep(retry), if again => {}
                () = tokio::time::sleep_until(next_check) => {
                    let task = Arc::clone(&self.desired.borrow().task);
                    self.inputs.are_lost(&task).await;
                    next_check = self.next_check();
                }
            }
        }
    }

    /// When to look at the broker next; not all tasks at once.
    fn next_check(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.around.settings.subscription_check.mul_f64(rand::random_range(0.5..1.0))
    }

    /// Waits until an instance, or what the engine puts in its place, listens. Time counts while it is starting, not while
    /// the engine waits for a place or an image.
    async fn wait_until_listening(
        &mut self,
        instance: &mut Instance,
        fingerprint: &str,
        events: &mut BoxStream<'static, Observed>,
    ) -> Option<End> {
        let engine = Arc::clone(&self.around.engine);
        let limit = self.policy.start_limit;
        let mut late = Some(tokio::time::Instant::now() + limit);
        loop {
            let listening = async {
                while !engine.is_listening(instance).await {
                    tokio::time::sleep(POLL_LISTENING).await;
                }
            };
            let is_late = async {
                match late {
                    Some(late) => tokio::time::sleep_until(late).await,
                    None => std::future::pending().await,
                }
            };
            let reason = tokio::select! {
                () = listening => return None,
                () = is_late => format!("it does not listen on {} after {} s", instance.endpoint, limit.as_secs()),
                event = events.next() => match event {
                    Some(Observed::Trouble(reason)) => {
                        self.report(TaskState::Starting, reason);
                        continue;
                    }
                    Some(Observed::Phase(state, reason)) => {
                        late = (state == TaskState::Starting).then(|| tokio::time::Instant::now() + limit);
                        self.report(state, reason);
                        continue;
                    }
                    Some(Observed::Replaced(next)) => {
                        if !instance.handle.is_empty() {
                            self.reporter.restarted();
                        }
                        self.reporter.endpoint(&next.endpoint);
                        late = Some(tokio::time::Instant::now() + limit);
                        *instance = next;
                        continue;
                    }
                    Some(Observed::Recovered) => continue,
                    Some(Observed::Ended(reason)) => reason,
                    None => "it ended".to_owned(),
                },
                () = wish_changes(&mut self.desired, fingerprint) => return Some(End::Unwanted),
            };
            return Some(End::Failed { reason, ran: Duration::ZERO, unrunnable: false });
        }
    }

    fn report(&self, state: TaskState, reason: String) {
        let task = Arc::clone(&self.desired.borrow().task);
        self.reporter.state(&task, state, reason);
    }

    async fn announce(&self, task: &ScheduledTaskInstance) -> Result<(), String> {
        let Some(port) = contract::service_ports(&task.parameters).first().copied() else { return Ok(()) };
        let settings = &self.around.settings;
        let announced = self.around.broker.announce_service(task, &settings.service_ip, port, settings.location).await;
        announced.map_err(|error| format!("its service is not announced: {error}"))
    }

    async fn pause(&mut self, task: &ScheduledTaskInstance, reason: &str) {
        if !self.stop_instance(&task.id).await {
            return;
        }
        self.reporter.state(task, TaskState::Paused, reason);
        let mut cleanup = Cleanup::new(true);
        let mut retry = RETRY;
        while !cleanup.attempt(&self.around.broker, task, &mut self.inputs).await {
            if tokio::time::timeout(retry, self.desired.changed()).await.is_ok() {
                return;
            }
            retry = (retry * 2).min(RETRY_LONGEST);
        }
        let _ = self.desired.changed().await;
    }

    /// Ends the task, then cleans up at the broker. False when it is wanted again before all is clean; subscriptions that
    /// are left then are cancelled by the next run.
    async fn remove(&mut self, task: &ScheduledTaskInstance, keep_outputs: bool) -> bool {
        if !self.stop_instance(&task.id).await {
            return false;
        }
        self.reporter.state(task, TaskState::Removed, "");
        let began = Instant::now();
        let mut cleanup = Cleanup::new(keep_outputs);
        let mut retry = RETRY;
        while !cleanup.attempt(&self.around.broker, task, &mut self.inputs).await {
            if began.elapsed() > CLEANUP_LIMIT {
                tracing::warn!(task = task.id, "subscriptions or outputs are left at the broker, which does not answer");
                break;
            }
            match tokio::time::timeout(retry, self.desired.changed()).await {
                Ok(Ok(())) => return false,
                Ok(Err(_)) => return true,
                Err(_) => retry = (retry * 2).min(RETRY_LONGEST),
            }
        }
        true
    }

    /// The worker ends. What survives it stays as it is, subscriptions and all, for the next one to adopt.
    async fn detach(&mut self, task: &ScheduledTaskInstance, finish: impl Fn() -> bool) {
        if self.around.engine.survives_worker() {
            return;
        }
        if let Err(error) = self.around.engine.stop(&task.id).await {
            tracing::warn!(task = task.id, %error, "cannot be stopped; the next start takes it up");
            return;
        }
        let mut cleanup = Cleanup::new(true);
        let clean = tokio::time::timeout(FAREWELL, cleanup.attempt(&self.around.broker, task, &mut self.inputs)).await;
        if matches!(clean, Ok(true)) {
            finish();
        }
    }

    /// Stops the instance, as often as it takes. False when the worker ends before that.
    async fn stop_instance(&mut self, task_id: &str) -> bool {
        let mut retry = RETRY;
        while let Err(error) = self.around.engine.stop(task_id).await {
            tracing::warn!(task = task_id, %error, "cannot be stopped; trying again");
            let detached = self.desired.wait_for(|desired| desired.goal == Goal::Detach);
            if tokio::time::timeout(retry, detached).await.is_ok() {
                return false;
            }
            retry = (retry * 2).min(RETRY_LONGEST);
        }
        true
    }
}

/// Returns once the task shall no longer run, or shall run as something else. Changed inputs do not matter here.
async fn wish_changes(desired: &mut watch::Receiver<Desired>, fingerprint: &str) {
    // A closed channel means that the table is gone: the worker ends.
    let _ = desired.wait_for(|desired| desired.goal != Goal::Run || contract::fingerprint(&desired.task) != fingerprint).await;
}
