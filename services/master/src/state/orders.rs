//! What workers have to be told: the difference between the plan and what they were told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_orchestration::{DockerImage, OutputStream, ScheduledTaskInstance, ids};

use super::copies::{self, Command, Intended};
use super::{Order, State};
use crate::planner::capability::{WorkerKind, artefact_for, image_reference};
use crate::planner::{Artefact, Place, PlannedTask};

/// A worker's whole set is sent at most once in this time.
const WHOLE_SET_PAUSE: Duration = Duration::from_secs(1);
/// How long after a change of room, or after a new leader has opened, all tasks are reviewed for better workers.
pub(super) const REVIEW_AFTER: Duration = Duration::from_secs(1);

impl State {
    /// Brings the plan up to date and says what workers have to be told.
    pub fn reconcile(&mut self, now: Instant) -> BTreeMap<String, Vec<Order>> {
        let Some(epoch) = self.epoch() else { return BTreeMap::new() };
        if !self.bus_is_there {
            return BTreeMap::new();
        }
        if !self.open && !self.try_open(now) {
            return BTreeMap::new();
        }
        let changed = self.planner.settle();
        if changed.iter().any(|id| !self.planner.tasks().contains_key(id)) {
            // Room appeared; others may be better off there.
            self.review_at.get_or_insert(now + REVIEW_AFTER);
        }
        for id in changed.iter().filter(|id| self.failed.contains(*id)).cloned().collect::<Vec<_>>() {
            self.note_failure(&id);
        }
        self.reported.rows.extend(changed.iter().cloned());
        self.published.rows.extend(changed.iter().cloned());
        self.dirty.extend(changed);
        for intent in self.planner.take_touched_intents() {
            self.refresh_intent(&intent);
        }
        let mut commands: BTreeMap<String, Vec<Command>> = BTreeMap::new();
        for id in std::mem::take(&mut self.dirty) {
            let intended = self.intended(&id);
            for (worker, command) in self.copies.commands_for(&id, &intended, &self.workers, epoch, now) {
                if self.workers.is_alive(&worker) {
                    commands.entry(worker).or_default().push(command);
                }
            }
            if !self.is_settled(&id, &intended) {
                self.unsettled.insert(id);
            }
        }
        self.replace_by_whole_sets(&mut commands, epoch, now);
        let mut orders: BTreeMap<String, Vec<Order>> =
            commands.into_iter().map(|(worker, commands)| (worker, commands.into_iter().map(Order::Task).collect())).collect();
        self.add_prefetches(&mut orders);
        orders
    }

    /// The bus has taken an order, or has not: then it is derived again.
    pub fn ordered(&mut self, worker: &str, order: &Order, taken: bool, now: Instant) {
        match order {
            Order::Task(command) if taken => {
                if matches!(command, Command::Whole(_)) {
                    self.whole_sent.insert(worker.to_owned(), now);
                }
                let touched = self.copies.told(worker, command, now);
                self.unsettled.extend(touched.iter().cloned());
                self.unsaved.extend(touched);
            }
            Order::Task(Command::Whole(_)) => {
                self.differing.insert(worker.to_owned());
                let tasks: Vec<Arc<str>> = self.copies.of_worker(worker).cloned().collect();
                self.unsettled.extend(tasks);
            }
            Order::Task(Command::Add(task) | Command::Remove(task)) => {
                self.unsettled.insert(task.id.as_str().into());
            }
            Order::Task(Command::AddInput(flow) | Command::RemoveInput(flow)) => {
                self.unsettled.insert(flow.task_instance_id.as_str().into());
            }
            Order::Prefetch(image) if !taken => {
                self.prefetched.remove(&(worker.to_owned(), image_reference(image)));
                self.prefetch_due = true;
            }
            Order::Prefetch(_) => {}
        }
    }

    fn intended(&self, id: &Arc<str>) -> Intended {
        match self.planner.tasks().get(id) {
            None => Intended::Gone,
            Some(task) => match &task.place {
                Place::On { worker, artefact } => Intended::On(Box::new(self.message(task, worker, artefact))),
                Place::Impossible(_) | Place::Waiting(_) => Intended::Nowhere,
            },
        }
    }

    /// The message that tells a worker about a task.
    fn message(&self, task: &PlannedTask, worker: &str, artefact: &Artefact) -> ScheduledTaskInstance {
        let flow = &task.flow;
        let suffix = ids::suffix_of(&task.instance.id);
        let output = |(index, entity_type): (usize, &String)| OutputStream {
            entity_type: entity_type.clone(),
            stream_id: ids::output_id(entity_type, suffix, index + 1),
            annotations: None,
        };
        let operator = self.planner.operator(&flow.operator);
        let mut message = ScheduledTaskInstance {
            id: task.instance.id.to_string(),
            topology_name: flow.topology.clone(),
            task_name: flow.key.task.to_string(),
            service_intent_id: flow.key.intent.to_string(),
            operator_name: flow.operator.clone(),
            parameters: operator.map(|operator| operator.parameters.clone()).unwrap_or_default(),
            kubernetes: operator.and_then(|operator| operator.kubernetes.clone()),
            worker_id: worker.to_owned(),
            is_exclusive: flow.exclusive,
            priority_level: flow.level,
            status: "scheduled".to_owned(),
            inputs: task.instance.inputs.clone(),
            outputs: flow.outputs.iter().enumerate().map(output).collect(),
            tenant: (!flow.tenant.is_empty()).then(|| flow.tenant.clone()),
            ..ScheduledTaskInstance::default()
        };
        match artefact {
            Artefact::Image(image) => message.docker_image.clone_from(image),
            Artefact::Executable(executable) => message.executable = Some(executable.clone()),
            Artefact::Code(code) => message.code = Some(code.clone()),
        }
        message
    }

    /// Whether nothing is outstanding about a task.
    fn is_settled(&self, id: &Arc<str>, intended: &Intended) -> bool {
        let alive = || self.copies.of_task(id).filter(|(worker, _)| self.workers.is_alive(worker));
        match intended {
            Intended::On(task) => {
                let mut copies = alive();
                copies
                    .next()
                    .is_some_and(|(worker, copy)| *worker == task.worker_id && copy.observed.is_some() && copy.told_task().is_some())
                    && copies.next().is_none()
            }
            Intended::Nowhere | Intended::Gone => alive().next().is_none(),
        }
    }

    fn replace_by_whole_sets(&mut self, commands: &mut BTreeMap<String, Vec<Command>>, epoch: u64, now: Instant) {
        let mut due: BTreeSet<String> = commands
            .iter()
            .filter(|(worker, commands)| self.copies.whole_set_is_shorter(worker, commands.len()))
            .map(|(worker, _)| worker.clone())
            .collect();
        let rested = |sent: &HashMap<String, Instant>, worker: &str| {
            sent.get(worker).is_none_or(|at| now.saturating_duration_since(*at) >= WHOLE_SET_PAUSE)
        };
        let differing: Vec<String> = self.differing.iter().filter(|worker| rested(&self.whole_sent, worker)).cloned().collect();
        due.extend(differing);
        if due.is_empty() {
            return;
        }
        let mut planned = self.planned_on(&due);
        for worker in due {
            self.differing.remove(&worker);
            let ours = self.workers.get(&worker).is_some_and(|known| known.alive && !known.is_upstream());
            if !ours {
                continue;
            }
            let wanted = planned.remove(&worker).unwrap_or_default();
            let planner = &self.planner;
            let copies = &self.copies;
            // Some(true): runs elsewhere. Some(false): shall run elsewhere, does not yet. None: nobody asks for it.
            let elsewhere: HashMap<Arc<str>, bool> = copies
                .of_worker(&worker)
                .filter_map(|id| {
                    let target = planner.tasks().get(id)?.worker()?;
                    Some((id.clone(), copies.get(id, target).is_some_and(copies::Copy::is_up)))
                })
                .collect();
            if let Some(desired) = self.copies.whole_set(&worker, wanted, epoch, |id| elsewhere.get(id).copied()) {
                commands.insert(worker, vec![Command::Whole(Box::new(desired))]);
            }
        }
    }

    /// The messages of all tasks that are planned on these workers.
    fn planned_on(&self, workers: &BTreeSet<String>) -> HashMap<String, Vec<ScheduledTaskInstance>> {
        let mut planned: HashMap<String, Vec<ScheduledTaskInstance>> = HashMap::new();
        for task in self.planner.tasks().values() {
            if let Place::On { worker, artefact } = &task.place
                && workers.contains(&**worker)
            {
                planned.entry(worker.to_string()).or_default().push(self.message(task, worker, artefact));
            }
        }
        planned
    }

    fn add_prefetches(&mut self, orders: &mut BTreeMap<String, Vec<Order>>) {
        if !std::mem::take(&mut self.prefetch_due) {
            return;
        }
        let Some(registry) = self.registry.clone() else { return };
        for profile in self.workers.alive() {
            let kind = WorkerKind::of(profile);
            for operator in &registry.operators {
                for image in operator.dockerimages.iter().filter(|image| image.prefetched) {
                    let reference = image_reference(image);
                    let fits = artefact_for(operator, &kind) == Some(Artefact::Image(reference.clone()));
                    if fits && self.prefetched.insert((profile.id.clone(), reference)) {
                        let image = DockerImage { operator_name: operator.name.clone(), ..image.clone() };
                        orders.entry(profile.id.clone()).or_default().push(Order::Prefetch(image));
                    }
                }
            }
        }
    }
}
