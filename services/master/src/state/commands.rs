//! The commands that make a worker's copies what the plan wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_orchestration::{DesiredTasks, FlowInfo, InputStream, ScheduledTaskInstance};

use super::copies::{Command, Copies, Copy, Intended};
use super::workers::{Worker, Workers};

/// Our workers get an unanswered removal again after this time, upstream's after the longer one (FAULT 8: they lose a
/// removal that comes while they start the task).
const REPEAT_OURS: Duration = Duration::from_secs(3);
const REPEAT_UPSTREAM: Duration = Duration::from_secs(10);
/// An upstream worker that never answered an `ADD_TASK` gets it again after this time.
const REPEAT_ADD_UPSTREAM: Duration = Duration::from_secs(20);
/// From this number of commands to one of our workers on, its whole set may be sent instead.
const WHOLE_SET_FROM: usize = 32;

impl Copies {
    /// What has to be said about a task now.
    pub fn commands_for(
        &mut self,
        id: &Arc<str>,
        intended: &Intended,
        workers: &Workers,
        epoch: u64,
        now: Instant,
    ) -> Vec<(String, Command)> {
        let mut commands = Vec::new();
        let target = match intended {
            Intended::On(task) => {
                commands.extend(
                    self.commands_to_target(id, task, workers, epoch, now).into_iter().map(|command| (task.worker_id.clone(), command)),
                );
                Some(task.worker_id.as_str())
            }
            Intended::Nowhere | Intended::Gone => None,
        };
        // Make before break: another copy stays until the wanted one is up.
        let wanted_is_up = target.is_none_or(|worker| self.get(id, worker).is_some_and(Copy::is_up));
        if wanted_is_up {
            let others: Vec<String> =
                self.of_task(id).filter(|(worker, _)| Some(worker.as_str()) != target).map(|(worker, _)| worker.clone()).collect();
            for worker in others.into_iter().filter(|worker| workers.is_alive(worker)) {
                let repeat = if is_upstream(workers, &worker) { REPEAT_UPSTREAM } else { REPEAT_OURS };
                let Some(copy) = self.get(id, &worker) else { continue };
                if copy.removal.is_some_and(|at| now.saturating_duration_since(at) < repeat) {
                    continue;
                }
                let removal = ScheduledTaskInstance {
                    generation: Some(self.next_generation()),
                    epoch: Some(epoch),
                    worker_id: worker.clone(),
                    keep_outputs: target.is_some(),
                    ..self.names_of(id, &worker, intended)
                };
                commands.push((worker, Command::Remove(Box::new(removal))));
            }
        }
        commands
    }

    /// Who the task is, for `REMOVE_TASK`.
    fn names_of(&self, id: &Arc<str>, worker: &str, intended: &Intended) -> ScheduledTaskInstance {
        let told = self.get(id, worker).and_then(Copy::told_task).map(|task| &**task);
        let named = match intended {
            Intended::On(task) => Some(&**task),
            Intended::Nowhere | Intended::Gone => told,
        };
        let observed = self.get(id, worker).and_then(|copy| copy.observed.as_ref());
        match (named, observed) {
            (Some(task), _) => ScheduledTaskInstance {
                id: task.id.clone(),
                topology_name: task.topology_name.clone(),
                task_name: task.task_name.clone(),
                service_intent_id: task.service_intent_id.clone(),
                operator_name: task.operator_name.clone(),
                is_exclusive: task.is_exclusive,
                priority_level: task.priority_level,
                tenant: task.tenant.clone(),
                ..ScheduledTaskInstance::default()
            },
            (None, Some(update)) => ScheduledTaskInstance {
                id: id.to_string(),
                topology_name: update.topology_name.clone(),
                task_name: update.task_name.clone(),
                service_intent_id: update.service_intent_id.clone(),
                ..ScheduledTaskInstance::default()
            },
            (None, None) => ScheduledTaskInstance { id: id.to_string(), ..ScheduledTaskInstance::default() },
        }
    }

    fn commands_to_target(
        &mut self,
        id: &Arc<str>,
        task: &ScheduledTaskInstance,
        workers: &Workers,
        epoch: u64,
        now: Instant,
    ) -> Vec<Command> {
        let worker = task.worker_id.as_str();
        let upstream = is_upstream(workers, worker);
        let copy = self.get(id, worker).cloned().unwrap_or_default();
        let add = |copies: &mut Self| vec![Command::Add(Box::new(copies.stamped(task, epoch)))];
        if copy.removal.is_some() {
            return add(self);
        }
        let Some(told) = &copy.told else {
            if upstream && copy.observed.is_some() {
                // It runs there since before this master: another ADD_TASK would start a second container (FAULT 6).
                let adopted = self.stamped(task, epoch);
                self.told_add(id, adopted, now);
                return Vec::new();
            }
            return add(self);
        };
        if !same_but_inputs(&told.task, task) {
            let mut commands = add(self);
            if upstream {
                // It would start a second container beside the first.
                let removal =
                    ScheduledTaskInstance { id: id.to_string(), worker_id: worker.to_owned(), ..ScheduledTaskInstance::default() };
                commands.insert(0, Command::Remove(Box::new(removal)));
            }
            return commands;
        }
        if upstream && copy.observed.is_none() && now.saturating_duration_since(told.at) > REPEAT_ADD_UPSTREAM {
            return add(self);
        }
        let told_inputs = told.task.inputs.clone();
        self.input_commands(id, worker, &told_inputs, &task.inputs, epoch)
    }

    fn stamped(&mut self, task: &ScheduledTaskInstance, epoch: u64) -> ScheduledTaskInstance {
        ScheduledTaskInstance { generation: Some(self.next_generation()), epoch: Some(epoch), ..task.clone() }
    }

    fn input_commands(&mut self, id: &Arc<str>, worker: &str, told: &[InputStream], wanted: &[InputStream], epoch: u64) -> Vec<Command> {
        if told == wanted {
            return Vec::new();
        }
        let flow = |copies: &mut Self, input_stream: InputStream| FlowInfo {
            input_stream,
            task_instance_id: id.to_string(),
            worker_id: worker.to_owned(),
            generation: Some(copies.next_generation()),
            epoch: Some(epoch),
        };
        let wanted_set: BTreeSet<&InputStream> = wanted.iter().collect();
        let told_set: BTreeSet<&InputStream> = told.iter().collect();
        let mut commands = Vec::new();
        for gone in told_set.difference(&wanted_set) {
            commands.push(Command::RemoveInput(flow(self, (*gone).clone())));
        }
        for new in wanted_set.difference(&told_set) {
            commands.push(Command::AddInput(flow(self, (*new).clone())));
        }
        commands
    }

    /// Whether so many commands to a worker are better replaced by its whole set.
    #[must_use]
    pub fn whole_set_is_shorter(&self, worker: &str, commands: usize) -> bool {
        commands >= WHOLE_SET_FROM && commands * 2 >= self.of_worker(worker).count()
    }

    /// The whole set of one of our workers: what it shall run, and what it still has to run until it runs elsewhere. `None` when
    /// it runs something that it must go on with but that cannot be described (an earlier master began to move it).
    pub fn whole_set(
        &mut self,
        worker: &str,
        wanted: Vec<ScheduledTaskInstance>,
        epoch: u64,
        is_up_elsewhere: impl Fn(&str) -> Option<bool>,
    ) -> Option<DesiredTasks> {
        let mut tasks: BTreeMap<String, ScheduledTaskInstance> = BTreeMap::new();
        for task in wanted {
            let told = self.get(&task.id, worker).filter(|copy| copy.removal.is_none()).and_then(Copy::told_task);
            let generation = told
                .filter(|told| told.epoch == Some(epoch) && told.inputs == task.inputs && same_but_inputs(told, &task))
                .and_then(|told| told.generation);
            let generation = generation.unwrap_or_else(|| self.next_generation());
            tasks.insert(task.id.clone(), ScheduledTaskInstance { generation: Some(generation), epoch: Some(epoch), ..task });
        }
        let mut moved = Vec::new();
        for id in self.of_worker(worker) {
            if tasks.contains_key(&**id) {
                continue;
            }
            match is_up_elsewhere(id) {
                Some(true) => moved.push(id.to_string()),
                Some(false) => {
                    let told = self.get(id, worker).filter(|copy| copy.removal.is_none())?.told_task()?;
                    tasks.insert(id.to_string(), (**told).clone());
                }
                None => {}
            }
        }
        let generation = self.next_generation();
        Some(DesiredTasks { worker_id: worker.to_owned(), epoch, generation, tasks: tasks.into_values().collect(), moved })
    }
}

fn is_upstream(workers: &Workers, worker: &str) -> bool {
    workers.get(worker).is_some_and(Worker::is_upstream)
}

/// Whether two messages ask for the same but for inputs and numbering.
fn same_but_inputs(a: &ScheduledTaskInstance, b: &ScheduledTaskInstance) -> bool {
    a.service_intent_id == b.service_intent_id
        && a.operator_name == b.operator_name
        && a.docker_image == b.docker_image
        && a.executable == b.executable
        && a.code == b.code
        && a.kubernetes == b.kubernetes
        && a.parameters == b.parameters
        && a.is_exclusive == b.is_exclusive
        && a.priority_level == b.priority_level
        && a.outputs == b.outputs
        && a.tenant == b.tenant
}
