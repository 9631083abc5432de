//! The table of a worker's tasks: takes commands, decides what shall run, and tells the actors.
//!
//! A command is applied in three steps: the table changes (in memory, at once), the change is put on disk, then the
//! actors are told ([`TaskTable::apply`]). Only after that the message may be acknowledged. Commands are applied one
//! after the other; every command may come twice.

mod early;
mod fence;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fogflow_chassis::Supervisor;
use fogflow_orchestration::{DesiredTasks, FlowInfo, ScheduledTaskInstance, TaskUpdate, WorkerTasks};
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use self::early::EarlyInputs;
use self::fence::{Fence, Stamp};
use crate::desired::{Decision, Top, decide};
use crate::files::{self, Phase, TaskRecord};
use crate::metrics::Metrics;
use crate::task::actor::{Actor, Surroundings};
use crate::task::inputs::Inputs;
use crate::task::report::{Outgoing, Reporter};
use crate::task::{Desired, Goal};

/// Records written at a time.
const WRITES: usize = 16;

/// A command of a master.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `ADD_TASK`
    Add(ScheduledTaskInstance),
    /// `REMOVE_TASK`
    Remove(ScheduledTaskInstance),
    /// `ADD_INPUT`
    AddInput(FlowInfo),
    /// `REMOVE_INPUT`
    RemoveInput(FlowInfo),
    /// `DESIRED_TASKS`
    Whole(DesiredTasks),
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It changed something.
    Changed,
    /// Everything was as it says already.
    Unchanged,
    /// It is older than one that was obeyed.
    Stale,
    /// The worker ends; the command is for the next one.
    Closing,
}

struct Entry {
    task: Arc<ScheduledTaskInstance>,
    /// Set once it is to be removed: whether its outputs stay.
    leaving: Option<bool>,
    desired: watch::Sender<Desired>,
    status: watch::Receiver<TaskUpdate>,
    /// What the actor is started with, until it is.
    idle: Option<Idle>,
}

struct Idle {
    wish: watch::Receiver<Desired>,
    reporter: Reporter,
    /// `traceparent` of the order that brought the task.
    trace: Option<String>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    fence: Fence,
    early: EarlyInputs,
    /// Tasks whose record on disk is older than what is known here.
    unsaved: BTreeSet<String>,
    /// Tasks whose actors have not been told what is known here.
    untold: BTreeSet<String>,
    /// On what the decisions depend that the actors were told.
    top: Option<Top>,
    closing: bool,
}

impl Inner {
    /// A task is another than what is on disk and what its actor knows.
    fn touch(&mut self, id: String) {
        self.untold.insert(id.clone());
        self.unsaved.insert(id);
    }
}

/// The table.
pub(crate) struct TaskTable {
    inner: Mutex<Inner>,
    around: Surroundings,
    supervisor: Supervisor,
    outbox: mpsc::Sender<Outgoing>,
    metrics: Metrics,
}

impl TaskTable {
    pub(crate) fn new(around: Surroundings, supervisor: Supervisor, outbox: mpsc::Sender<Outgoing>, metrics: Metrics) -> Arc<Self> {
        Arc::new(TaskTable { inner: Mutex::default(), around, supervisor, outbox, metrics })
    }

    /// Takes up what an earlier start of this worker left: tasks with a record are adopted or started, what runs without
    /// one is ended (FAULT 4).
    ///
    /// # Errors
    /// When the records cannot be read: then nothing may be ended.
    pub(crate) async fn restore(self: &Arc<Self>) -> std::io::Result<()> {
        let records = self.around.records.tasks().await?;
        {
            let mut inner = self.inner.lock();
            for record in records {
                let leaving = match record.phase {
                    Phase::Wanted => None,
                    Phase::Leaving => Some(false),
                    Phase::LeavingKeepOutputs => Some(true),
                };
                self.insert(&mut inner, record.task, leaving);
            }
        }
        self.sweep().await;
        self.tell();
        Ok(())
    }

    /// Ends what the engine runs for this worker although the table does not know it.
    pub(crate) async fn sweep(&self) {
        let owned = match self.around.engine.list_mine().await {
            Ok(owned) => owned,
            Err(error) => return tracing::warn!(%error, "what this worker runs cannot be listed; that is tried again later"),
        };
        for stray in owned {
            // Looked up for each anew: a task may have come while others were ended.
            if self.inner.lock().entries.contains_key(&stray.task_id) {
                continue;
            }
            tracing::warn!(task = stray.task_id, handle = stray.handle, "nobody knows this task any more; it is ended");
            if let Err(error) = self.around.engine.stop(&stray.task_id).await {
                tracing::warn!(task = stray.task_id, %error, "it cannot be ended");
            }
        }
    }

    /// Applies a command. Nobody else learns of it before [`TaskTable::settle`].
    pub(crate) fn apply(&self, command: Command) -> Applied {
        let mut inner = self.inner.lock();
        if inner.closing {
            return Applied::Closing;
        }
        match command {
            Command::Add(task) => self.add(&mut inner, task, true),
            Command::Remove(task) => remove(&mut inner, &task),
            Command::AddInput(flow) => add_input(&mut inner, flow),
            Command::RemoveInput(flow) => remove_input(&mut inner, &flow),
            Command::Whole(desired) => self.whole(&mut inner, desired),
        }
    }

    /// When this returns, what was applied is on disk and the actors know.
    pub(crate) async fn settle(self: &Arc<Self>) -> std::io::Result<()> {
        self.save().await?;
        self.tell();
        Ok(())
    }

    /// Writes every record that is not on disk yet, also one that an earlier command could not write.
    async fn save(&self) -> std::io::Result<()> {
        let unsaved: Vec<String> = self.inner.lock().unsaved.iter().cloned().collect();
        let write = async |task_id: String| {
            let record = record_of(&self.inner.lock(), &task_id);
            if let Some(record) = record {
                self.around.records.save_task(record).await?;
            }
            self.inner.lock().unsaved.remove(&task_id);
            Ok(())
        };
        let writes: Vec<_> = unsaved.into_iter().map(write).collect();
        stream::iter(writes).buffer_unordered(WRITES).try_collect().await
    }

    fn add(&self, inner: &mut Inner, mut task: ScheduledTaskInstance, with_early: bool) -> Applied {
        if task.id.is_empty() {
            tracing::warn!("a task without an id is not taken");
            return Applied::Unchanged;
        }
        if !inner.fence.admit(&task.id, Stamp { epoch: task.epoch, generation: task.generation }) {
            return Applied::Stale;
        }
        if with_early {
            for input in inner.early.take(&task.id) {
                if !task.inputs.contains(&input) {
                    task.inputs.push(input);
                }
            }
        }
        let id = task.id.clone();
        match inner.entries.get_mut(&id) {
            Some(entry) if entry.leaving.is_none() && *entry.task == task => return Applied::Unchanged,
            Some(entry) => {
                entry.leaving = None;
                entry.task = Arc::new(task);
            }
            None => self.insert(inner, task, None),
        }
        inner.touch(id);
        Applied::Changed
    }

    /// A master's whole set. What it does not name goes; outputs of tasks that moved stay, since they are written
    /// elsewhere by now.
    fn whole(&self, inner: &mut Inner, desired: DesiredTasks) -> Applied {
        if !inner.fence.admit_full(&desired) {
            return Applied::Stale;
        }
        let wanted: HashSet<&str> = desired.tasks.iter().map(|task| task.id.as_str()).collect();
        let is_surplus = |(id, entry): &(&String, &Entry)| entry.leaving.is_none() && !wanted.contains(id.as_str());
        let surplus: Vec<String> = inner.entries.iter().filter(is_surplus).map(|(id, _)| id.clone()).collect();
        let mut changed = !surplus.is_empty();
        for id in surplus {
            if let Some(entry) = inner.entries.get_mut(&id) {
                entry.leaving = Some(desired.moved.contains(&id));
            }
            inner.touch(id);
        }
        for mut task in desired.tasks {
            task.epoch = task.epoch.or(Some(desired.epoch));
            changed |= self.add(inner, task, false) == Applied::Changed;
        }
        if changed { Applied::Changed } else { Applied::Unchanged }
    }

    /// Adds an entry; [`TaskTable::tell`] starts its actor.
    fn insert(&self, inner: &mut Inner, task: ScheduledTaskInstance, leaving: Option<bool>) {
        let id = task.id.clone();
        let task = Arc::new(task);
        let (desired, wish) = watch::channel(Desired { task: Arc::clone(&task), goal: Goal::Run });
        let worker_id = self.around.settings.worker_id.clone();
        let reporter = Reporter::new(worker_id, &task, self.outbox.clone(), self.metrics.dropped_reports.clone());
        let status = reporter.subscribe();
        let idle = Some(Idle { wish, reporter, trace: fogflow_chassis::current_traceparent() });
        inner.untold.insert(id.clone());
        inner.entries.insert(id, Entry { task, leaving, desired, status, idle });
    }

    fn start(self: &Arc<Self>, id: &str, Idle { wish, reporter, trace }: Idle) {
        let (table, around, id) = (Arc::clone(self), self.around.clone(), id.to_owned());
        self.supervisor.spawn(format!("worker/task/{id}"), async move {
            let inputs = Inputs::load(around.broker.clone(), Arc::clone(&around.records), &id).await;
            Actor::new(around, wish, reporter, inputs, trace).run(|| table.finish(&id)).await;
        });
    }

    /// Called by an actor that has ended its task. False if the task is wanted again.
    fn finish(self: &Arc<Self>, task_id: &str) -> bool {
        let aside = {
            let mut inner = self.inner.lock();
            let Some(entry) = inner.entries.get(task_id) else { return true };
            if entry.leaving.is_none() && !inner.closing {
                return false;
            }
            inner.entries.remove(task_id);
            self.around.state.discard(task_id)
        };
        let (table, id) = (Arc::clone(self), task_id.to_owned());
        self.supervisor.spawn("worker/forget-task", async move {
            let is_unwanted = || !table.inner.lock().entries.contains_key(&id);
            table.around.records.forget(&id, &is_unwanted).await;
        });
        if let Some(aside) = aside {
            // A large directory takes its time; nothing waits for it.
            self.supervisor.spawn("worker/remove-directory", async move {
                let _ = tokio::task::spawn_blocking(move || files::remove_tree(&aside)).await;
            });
        }
        true
    }

    /// Decides anew about the tasks that were touched, or about all when what they depend on is another; tells the actors what
    /// changed, and starts those that are new.
    fn tell(self: &Arc<Self>) {
        let mut inner = self.inner.lock();
        let Inner { entries, untold, top, closing, .. } = &mut *inner;
        let now = Top::of(entries.values().filter(|entry| entry.leaving.is_none()).map(|entry| &*entry.task));
        let touched = std::mem::take(untold);
        if *closing || now != *top {
            *top = now;
            entries.iter_mut().for_each(|(id, entry)| self.tell_one(id, entry, top.as_ref(), *closing));
        } else {
            for id in touched {
                if let Some(entry) = entries.get_mut(&id) {
                    self.tell_one(&id, entry, top.as_ref(), false);
                }
            }
        }
        self.metrics.tasks.set(i64::try_from(entries.len()).unwrap_or(i64::MAX));
    }

    fn tell_one(self: &Arc<Self>, id: &str, entry: &mut Entry, top: Option<&Top>, closing: bool) {
        let goal = match (closing, entry.leaving) {
            (true, _) => Goal::Detach,
            (false, Some(keep_outputs)) => Goal::Remove { keep_outputs },
            (false, None) => match decide(&entry.task, top) {
                Decision::Pause(reason) => Goal::Pause(reason),
                Decision::Run => Goal::Run,
            },
        };
        let desired = Desired { task: Arc::clone(&entry.task), goal };
        entry.desired.send_if_modified(|current| {
            let changed = *current != desired;
            *current = desired;
            changed
        });
        if let Some(idle) = entry.idle.take() {
            self.start(id, idle);
        }
    }

    /// Tells every actor that the worker ends, and waits until none is left or `limit` is over. Tasks that survive the
    /// worker are left as they are.
    pub(crate) async fn close(self: &Arc<Self>, limit: std::time::Duration) {
        self.inner.lock().closing = true;
        self.tell();
        let ended = async {
            // An actor drops its end of the channel when it returns.
            let senders: Vec<watch::Sender<Desired>> = self.inner.lock().entries.values().map(|entry| entry.desired.clone()).collect();
            for sender in senders {
                sender.closed().await;
            }
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("some tasks did not end in time; the next start takes them up");
        }
    }

    /// How many tasks there are, running or not.
    pub(crate) fn workload(&self) -> u32 {
        u32::try_from(self.inner.lock().entries.values().filter(|entry| entry.leaving.is_none()).count()).unwrap_or(u32::MAX)
    }

    /// The full report for the master.
    pub(crate) fn report(&self) -> WorkerTasks {
        let inner = self.inner.lock();
        let mut tasks: Vec<TaskUpdate> = inner
            .entries
            .values()
            .filter(|entry| entry.leaving.is_none())
            .map(|entry| {
                let mut update = entry.status.borrow().clone();
                // What the worker has been told, also while the actor is still acting on something earlier.
                update.generation = entry.task.generation;
                update
            })
            .collect();
        tasks.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        let (worker_id, fence) = (self.around.settings.worker_id.clone(), &inner.fence);
        WorkerTasks { worker_id, epoch: fence.epoch(), generation: fence.heard(), tasks }
    }

    /// One task with its state.
    pub(crate) fn get(&self, task_id: &str) -> Option<(Arc<ScheduledTaskInstance>, TaskUpdate)> {
        self.inner.lock().entries.get(task_id).map(|entry| (Arc::clone(&entry.task), entry.status.borrow().clone()))
    }

    /// Every task with its state, by id; also those that are being removed.
    pub(crate) fn list(&self) -> Vec<(Arc<ScheduledTaskInstance>, TaskUpdate)> {
        let mut list: Vec<_> =
            self.inner.lock().entries.values().map(|entry| (Arc::clone(&entry.task), entry.status.borrow().clone())).collect();
        list.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        list
    }
}

fn remove(inner: &mut Inner, task: &ScheduledTaskInstance) -> Applied {
    if !inner.fence.admit(&task.id, Stamp { epoch: task.epoch, generation: task.generation }) {
        return Applied::Stale;
    }
    inner.early.take(&task.id);
    match inner.entries.get_mut(&task.id) {
        Some(entry) if entry.leaving != Some(task.keep_outputs) => {
            entry.leaving = Some(task.keep_outputs);
            // The report of the removal carries the removal's own generation (FAULT 33).
            let mut last = (*entry.task).clone();
            last.generation = task.generation.or(last.generation);
            entry.task = Arc::new(last);
            inner.touch(task.id.clone());
            Applied::Changed
        }
        _ => Applied::Unchanged,
    }
}

fn add_input(inner: &mut Inner, flow: FlowInfo) -> Applied {
    let id = flow.task_instance_id;
    if !inner.fence.admit(&id, Stamp { epoch: flow.epoch, generation: flow.generation }) {
        return Applied::Stale;
    }
    let Some(entry) = inner.entries.get_mut(&id).filter(|entry| entry.leaving.is_none()) else {
        inner.early.keep(&id, flow.input_stream);
        return Applied::Changed;
    };
    if entry.task.inputs.contains(&flow.input_stream) && flow.generation.is_none_or(|generation| entry.task.generation == Some(generation))
    {
        return Applied::Unchanged;
    }
    let mut task = (*entry.task).clone();
    task.generation = flow.generation.or(task.generation);
    if !task.inputs.contains(&flow.input_stream) {
        task.inputs.push(flow.input_stream);
    }
    entry.task = Arc::new(task);
    inner.touch(id);
    Applied::Changed
}

/// An input of a task that is not known is nothing to remove (FAULT 9: upstream's worker died of it).
fn remove_input(inner: &mut Inner, flow: &FlowInfo) -> Applied {
    let id = &flow.task_instance_id;
    if !inner.fence.admit(id, Stamp { epoch: flow.epoch, generation: flow.generation }) {
        return Applied::Stale;
    }
    inner.early.forget(id, &flow.input_stream);
    let Some(entry) = inner.entries.get_mut(id) else { return Applied::Unchanged };
    let mut task = (*entry.task).clone();
    task.inputs.retain(|input| !flow.input_stream.names(input));
    task.generation = flow.generation.or(task.generation);
    if *entry.task == task {
        return Applied::Unchanged;
    }
    entry.task = Arc::new(task);
    inner.touch(id.clone());
    Applied::Changed
}

fn record_of(inner: &Inner, task_id: &str) -> Option<TaskRecord> {
    let entry = inner.entries.get(task_id)?;
    let phase = match entry.leaving {
        None => Phase::Wanted,
        Some(false) => Phase::Leaving,
        Some(true) => Phase::LeavingKeepOutputs,
    };
    Some(TaskRecord { task: (*entry.task).clone(), phase })
}
