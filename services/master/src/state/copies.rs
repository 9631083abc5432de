//! The copies of task instances: which worker was told to run which task, and what it reports.
//!
//! Commands are differences between the plan and what a worker was told ([`Copies::commands_for`]); a command counts as told
//! only when the bus has taken it ([`Copies::told`]). What a worker reports can take a telling back, and the difference is
//! there again: a lost message, a restarted worker and the normal case are one path.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_orchestration::{DesiredTasks, FlowInfo, InputStream, ScheduledTaskInstance, TaskState, TaskUpdate, WorkerTasks};

use super::workers::Workers;

/// A report may have been on its way while a command was sent; contradictions younger than this prove nothing. For workers that do not
/// say what they have heard.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// A command that is not heard for so long does not come any more.
const LOST: Duration = Duration::from_secs(60);
/// How often `failed` outweighs `running` before a worker is given up for a task.
const FAILURES: u32 = 3;

/// A command to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `ADD_TASK`
    Add(Box<ScheduledTaskInstance>),
    /// `REMOVE_TASK`
    Remove(Box<ScheduledTaskInstance>),
    /// `ADD_INPUT`
    AddInput(FlowInfo),
    /// `REMOVE_INPUT`
    RemoveInput(FlowInfo),
    /// `DESIRED_TASKS`
    Whole(Box<DesiredTasks>),
}

/// What the plan says of a task.
#[derive(Clone, Debug)]
pub enum Intended {
    /// It shall run on a worker.
    On(Box<ScheduledTaskInstance>),
    /// It is asked for, but no worker can have it.
    Nowhere,
    /// Nobody asks for it.
    Gone,
}

/// One task on one worker.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub(super) told: Option<Told>,
    /// What the worker says; `None` until it says something.
    pub observed: Option<TaskUpdate>,
    pub(super) removal: Option<Instant>,
    failures: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) task: Arc<ScheduledTaskInstance>,
    pub(super) at: Instant,
}

impl Told {
    fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= age
    }
}

impl Copy {
    /// The message that the worker was told last.
    #[must_use]
    pub fn told_task(&self) -> Option<&Arc<ScheduledTaskInstance>> {
        self.told.as_ref().map(|told| &told.task)
    }

    fn state(&self) -> Option<TaskState> {
        self.observed.as_ref().map(|update| update.status)
    }

    /// Whether it does its work, or would if an exclusive task let it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state(), Some(TaskState::Running | TaskState::Paused))
    }
}

/// What a report showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Tasks whose copies changed: to be compared with the plan, and shown.
    pub touched: BTreeSet<Arc<str>>,
    /// Whether the worker needs its whole set.
    pub differs: bool,
    /// Tasks that failed for good on this worker.
    pub given_up: Vec<Arc<str>>,
}

/// All copies by task and worker.
#[derive(Debug, Default)]
pub struct Copies {
    by_task: BTreeMap<Arc<str>, BTreeMap<String, Copy>>,
    by_worker: BTreeMap<String, BTreeSet<Arc<str>>>,
    generation: u64,
}

impl Copies {
    /// The copies of a task.
    pub fn of_task(&self, task: &str) -> impl Iterator<Item = (&String, &Copy)> {
        self.by_task.get(task).into_iter().flatten()
    }

    /// The tasks that a worker has or was told to have.
    pub fn of_worker(&self, worker: &str) -> impl Iterator<Item = &Arc<str>> {
        self.by_worker.get(worker).into_iter().flatten()
    }

    /// One copy.
    #[must_use]
    pub fn get(&self, task: &str, worker: &str) -> Option<&Copy> {
        self.by_task.get(task)?.get(worker)
    }

    /// Ids of all tasks with copies.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_task.keys()
    }

    /// Where a task is, as far as is known: running before reported before told; on alive workers only if there are any.
    #[must_use]
    pub fn whereabouts(&self, task: &str, workers: &Workers) -> Option<&str> {
        let rank = |worker: &str, copy: &Copy| {
            (workers.is_alive(worker), copy.is_up(), copy.observed.is_some(), copy.told.as_ref().map(|told| told.at))
        };
        let copies = self.by_task.get(task)?.iter().filter(|(_, copy)| copy.removal.is_none());
        copies.max_by_key(|(worker, copy)| rank(worker, copy)).map(|(worker, _)| worker.as_str())
    }

    fn entry(&mut self, task: &Arc<str>, worker: &str) -> &mut Copy {
        self.by_worker.entry(worker.to_owned()).or_default().insert(task.clone());
        self.by_task.entry(task.clone()).or_default().entry(worker.to_owned()).or_default()
    }

    fn drop_copy(&mut self, task: &str, worker: &str) {
        if let Some(copies) = self.by_task.get_mut(task) {
            copies.remove(worker);
            if copies.is_empty() {
                self.by_task.remove(task);
            }
        }
        if let Some(tasks) = self.by_worker.get_mut(worker) {
            tasks.remove(task);
            if tasks.is_empty() {
                self.by_worker.remove(worker);
            }
        }
    }

    /// What an earlier start of this master told a worker.
    pub fn restore(&mut self, task: ScheduledTaskInstance, now: Instant) {
        self.generation = self.generation.max(task.generation.unwrap_or(0));
        let id: Arc<str> = task.id.as_str().into();
        let worker = task.worker_id.clone();
        self.entry(&id, &worker).told = Some(Told { task: Arc::new(task), at: now });
    }

    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// `TASK_UPDATE`. Returns whether anything changed, and whether the worker is given up for the task.
    pub fn update(&mut self, task: &Arc<str>, worker: &str, update: TaskUpdate) -> (bool, bool) {
        if update.status == TaskState::Removed {
            let Some(copy) = self.by_task.get(task).and_then(|copies| copies.get(worker)) else { return (false, false) };
            // It was told anew since: this is the end of what it had before.
            let told = copy.told.as_ref().filter(|_| copy.removal.is_none()).and_then(|told| told.task.generation);
            if update.generation.zip(told).is_some_and(|(ended, told)| ended < told) {
                return (false, false);
            }
            self.drop_copy(task, worker);
            return (true, false);
        }
        let copy = self.entry(task, worker);
        let changed = copy.observed.as_ref() != Some(&update);
        let before = copy.failures;
        match update.status {
            TaskState::Failed => copy.failures += 1,
            TaskState::Running => copy.failures = copy.failures.saturating_sub(1),
            _ => {}
        }
        let given_up = before < FAILURES && copy.failures >= FAILURES;
        copy.observed = Some(update);
        (changed, given_up)
    }

    /// Whether an update says nothing that is not known, of a copy with which all is well: so nearly all do in a full report.
    fn is_known(&self, worker: &str, update: &TaskUpdate) -> bool {
        let is_steady = matches!(update.status, TaskState::Running | TaskState::Paused);
        let as_told = |copy: &Copy| copy.told.as_ref().is_some_and(|told| told.task.generation == update.generation);
        is_steady
            && self
                .get(&update.task_id, worker)
                .is_some_and(|copy| copy.observed.as_ref() == Some(update) && copy.failures == 0 && copy.removal.is_none() && as_told(copy))
    }

    /// `WORKER_TASKS`: every task that a worker has.
    pub fn report(&mut self, report: WorkerTasks, epoch: u64, now: Instant) -> Observed {
        let mut observed = Observed { differs: report.epoch < epoch, ..Observed::default() };
        let worker = report.worker_id;
        let heard = report.generation.filter(|_| report.epoch == epoch);
        // A worker that has much to do hears a command late; then the report is no answer to it.
        let has_heard = |told: &Told| match (heard, told.task.generation) {
            (Some(heard), Some(generation)) if told.task.epoch == Some(epoch) => generation <= heard || told.is_older_than(LOST, now),
            _ => told.is_older_than(IN_FLIGHT, now),
        };
        let reported: HashSet<&str> = report.tasks.iter().map(|update| update.task_id.as_str()).collect();
        let missing: Vec<Arc<str>> = self.of_worker(&worker).filter(|id| !reported.contains(&***id)).cloned().collect();
        for update in report.tasks {
            if self.is_known(&worker, &update) {
                continue;
            }
            let id: Arc<str> = update.task_id.as_str().into();
            let generation = update.generation;
            let (changed, given_up) = self.update(&id, &worker, update);
            if changed {
                observed.touched.insert(id.clone());
            }
            if given_up {
                observed.given_up.push(id.clone());
            }
            let Some(copy) = self.get(&id, &worker) else { continue };
            match &copy.told {
                None => {
                    observed.touched.insert(id);
                    observed.differs = true;
                }
                Some(told) if copy.removal.is_none() && generation != told.task.generation && has_heard(told) => observed.differs = true,
                Some(_) => {
                    if copy.removal.is_some() {
                        observed.touched.insert(id);
                    }
                }
            }
        }
        for id in missing {
            let settled = self.get(&id, &worker).is_some_and(|copy| {
                copy.told.as_ref().is_none_or(has_heard) && copy.removal.is_none_or(|at| now.saturating_duration_since(at) >= IN_FLIGHT)
            });
            if settled {
                self.drop_copy(&id, &worker);
                observed.touched.insert(id);
            }
        }
        observed
    }

    /// Whatever a worker was told, it has forgotten (an upstream worker that starts has nothing).
    pub fn forget_worker(&mut self, worker: &str) -> Vec<Arc<str>> {
        let tasks: Vec<Arc<str>> = self.of_worker(worker).cloned().collect();
        for task in &tasks {
            self.drop_copy(task, worker);
        }
        tasks
    }

    /// The bus has taken a command.
    pub fn told(&mut self, worker: &str, command: &Command, now: Instant) -> Vec<Arc<str>> {
        match command {
            Command::Add(task) => {
                let id: Arc<str> = task.id.as_str().into();
                self.told_add(&id, (**task).clone(), now);
                vec![id]
            }
            Command::Remove(task) => {
                let id: Arc<str> = task.id.as_str().into();
                if self.get(&id, worker).is_some() {
                    self.entry(&id, worker).removal = Some(now);
                }
                vec![id]
            }
            Command::AddInput(flow) => self.told_inputs(flow, now, |inputs, input| {
                inputs.retain(|known| !input.names(known));
                inputs.push(input);
                inputs.sort_unstable_by(|a, b| (&a.id, &a.service_path).cmp(&(&b.id, &b.service_path)));
            }),
            Command::RemoveInput(flow) => self.told_inputs(flow, now, |inputs, input| inputs.retain(|known| !input.names(known))),
            Command::Whole(desired) => {
                let kept: BTreeSet<&str> = desired.tasks.iter().map(|task| task.id.as_str()).collect();
                let others: Vec<Arc<str>> = self.of_worker(worker).filter(|id| !kept.contains(&***id)).cloned().collect();
                for id in &others {
                    self.entry(id, worker).removal = Some(now);
                }
                let mut touched = others;
                for task in &desired.tasks {
                    let id: Arc<str> = task.id.as_str().into();
                    self.told_add(&id, ScheduledTaskInstance { worker_id: worker.to_owned(), ..task.clone() }, now);
                    touched.push(id);
                }
                touched
            }
        }
    }

    pub(super) fn told_add(&mut self, id: &Arc<str>, task: ScheduledTaskInstance, now: Instant) {
        let worker = task.worker_id.clone();
        let copy = self.entry(id, &worker);
        if copy.removal.take().is_some() {
            copy.observed = None;
        }
        copy.told = Some(Told { task: Arc::new(task), at: now });
    }

    fn told_inputs(&mut self, flow: &FlowInfo, now: Instant, change: impl FnOnce(&mut Vec<InputStream>, InputStream)) -> Vec<Arc<str>> {
        let id: Arc<str> = flow.task_instance_id.as_str().into();
        if let Some(told) = &mut self.entry(&id, &flow.worker_id).told {
            let mut task = (*told.task).clone();
            change(&mut task.inputs, flow.input_stream.clone());
            task.generation = flow.generation;
            task.epoch = flow.epoch;
            *told = Told { task: Arc::new(task), at: now };
        }
        vec![id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 1;

    fn told(copies: &mut Copies, id: &str, generation: u64, now: Instant) {
        let task = ScheduledTaskInstance {
            id: id.to_owned(),
            worker_id: "w".to_owned(),
            epoch: Some(EPOCH),
            generation: Some(generation),
            ..ScheduledTaskInstance::default()
        };
        copies.told("w", &Command::Add(Box::new(task)), now);
    }

    fn report(generation: Option<u64>) -> WorkerTasks {
        WorkerTasks { worker_id: "w".to_owned(), epoch: EPOCH, generation, tasks: Vec::new() }
    }

    #[test]
    fn what_a_busy_worker_has_not_heard_yet_is_not_told_again() {
        let (mut copies, begun) = (Copies::default(), Instant::now());
        told(&mut copies, "heard", 4, begun);
        told(&mut copies, "on its way", 5, begun);
        let observed = copies.report(report(Some(4)), EPOCH, begun + Duration::from_secs(20));
        assert_eq!(observed.touched, BTreeSet::from(["heard".into()]), "it was heard, and is not there: forgotten");
        assert!(copies.get("on its way", "w").is_some());
        let observed = copies.report(report(Some(4)), EPOCH, begun + LOST);
        assert_eq!(observed.touched, BTreeSet::from(["on its way".into()]), "it does not come any more");
    }

    #[test]
    fn a_report_shows_what_is_new_and_only_that() {
        let (mut copies, begun) = (Copies::default(), Instant::now());
        let update = |id: &str, status, generation| TaskUpdate {
            task_id: id.to_owned(),
            worker_id: "w".to_owned(),
            status,
            generation: Some(generation),
            ..TaskUpdate::default()
        };
        let reported = |tasks: Vec<TaskUpdate>| WorkerTasks { tasks, ..report(Some(2)) };
        told(&mut copies, "a", 1, begun);
        told(&mut copies, "b", 2, begun);
        let all = || vec![update("a", TaskState::Running, 1), update("b", TaskState::Starting, 2)];
        assert_eq!(copies.report(reported(all()), EPOCH, begun).touched, BTreeSet::from(["a".into(), "b".into()]));
        assert_eq!(copies.report(reported(all()), EPOCH, begun), Observed::default(), "the same again");
        let changed = vec![update("a", TaskState::Running, 1), update("b", TaskState::Running, 2)];
        assert_eq!(copies.report(reported(changed), EPOCH, begun).touched, BTreeSet::from(["b".into()]));
        told(&mut copies, "a", 3, begun);
        let newer = || WorkerTasks { generation: Some(3), ..reported(all()) };
        assert!(copies.report(newer(), EPOCH, begun).differs, "it has heard 3 and has 1");
        let without = WorkerTasks { tasks: vec![update("b", TaskState::Starting, 2)], ..report(Some(3)) };
        assert_eq!(copies.report(without, EPOCH, begun).touched, BTreeSet::from(["a".into()]), "it is gone");
        assert!(copies.get("a", "w").is_none());
    }

    #[test]
    fn of_a_worker_that_does_not_say_what_it_has_heard_a_second_is_enough() {
        let (mut copies, begun) = (Copies::default(), Instant::now());
        told(&mut copies, "a", 4, begun);
        assert!(copies.report(report(None), EPOCH, begun + IN_FLIGHT / 2).touched.is_empty());
        assert_eq!(copies.report(report(None), EPOCH, begun + IN_FLIGHT).touched.len(), 1);
    }
}
