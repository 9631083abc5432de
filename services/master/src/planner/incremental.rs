//! The planner's working state, so that a change costs what it touches: the flows of the intents, the entities of their
//! selectors, the fleet, and where every task instance is placed. It does no I/O, reads no clock and no randomness; after
//! the same calls in the same order it holds the same plan, and [`super::plan`] is made of the same calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, Operator, WorkerProfile};
use foldhash::{HashMap, HashSet};

use super::capability::Artefact;
use super::entity::EntityKey;
use super::fleet::Fleet;
use super::flow::{Flow, FlowKey, IntentProblem, Selector};
use super::grouping::{Grouping, Instance, StreamChange};

/// Numbers that a plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A task moves to a nearer worker only if the sum of the distances to its inputs shrinks by at least this many metres:
    /// above the noise of position sensors, so that nothing swings to and fro.
    pub migration_gain_metres: u64,
    /// A flow with more complete groups than this makes no tasks at all and says so: grouping two large streams by id asks
    /// for their product, which nobody means.
    pub instances_per_flow: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { migration_gain_metres: 100, instances_per_flow: 100_000 }
    }
}

/// A task instance and where it shall be.
#[derive(Clone, Debug)]
pub struct PlannedTask {
    /// Its flow.
    pub flow: Arc<Flow>,
    /// Its inputs.
    pub instance: Arc<Instance>,
    /// Where.
    pub place: Place,
}

/// Where a task instance shall be.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// On a worker.
    On {
        /// The worker.
        worker: Arc<str>,
        /// What it runs there.
        artefact: Arc<Artefact>,
    },
    /// No worker can run it, whatever its load: the reason.
    Impossible(String),
    /// No worker has room now: the reason. Tried again with every change of room.
    Waiting(String),
}

impl PlannedTask {
    /// The worker, if it has one.
    #[must_use]
    pub fn worker(&self) -> Option<&Arc<str>> {
        match &self.place {
            Place::On { worker, .. } => Some(worker),
            Place::Impossible(_) | Place::Waiting(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct FlowState {
    pub(super) flow: Arc<Flow>,
    pub(super) grouping: Grouping,
    pub(super) tasks: HashSet<Arc<str>>,
}

/// What of an operator runs where.
#[derive(Debug)]
pub(super) struct Ability {
    pub(super) artefacts: Vec<Option<Arc<Artefact>>>,
    pub(super) runs_on: Vec<bool>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Planner {
    pub(super) policy: Policy,
    pub(super) operators: BTreeMap<String, Arc<Operator>>,
    pub(super) intents: BTreeMap<String, Result<Vec<FlowKey>, IntentProblem>>,
    pub(super) flows: BTreeMap<FlowKey, FlowState>,
    pub(super) selectors: BTreeMap<Arc<str>, Arc<Selector>>,
    /// Which input streams take the entities of a selector.
    pub(super) readers: HashMap<Arc<str>, Vec<(FlowKey, usize)>>,
    pub(super) entities: HashMap<Arc<str>, BTreeMap<EntityKey, Arc<EntityDetail>>>,
    pub(super) workers: BTreeMap<String, WorkerProfile>,
    pub(super) fleet: Fleet,
    pub(super) abilities: HashMap<String, Arc<Ability>>,
    pub(super) tasks: BTreeMap<Arc<str>, PlannedTask>,
    /// Where tasks without a worker were last.
    pub(super) remembered: HashMap<Arc<str>, Arc<str>>,
    /// Workers on which a task failed for good.
    pub(super) avoided: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Changes of entities that the flows have not seen.
    pub(super) regroup: BTreeMap<FlowKey, Vec<StreamChange>>,
    /// Selectors whose entities are not all known yet: their flows lose no tasks.
    pub(super) incomplete: HashSet<Arc<str>>,
    pub(super) unplaced: HashSet<Arc<str>>,
    /// Placed tasks for which another worker may be better now.
    pub(super) review: HashSet<Arc<str>>,
    /// Any placed task may be better off elsewhere now.
    pub(super) review_everything: bool,
    /// Room appeared since the last settling: what waits is tried again.
    pub(super) room: bool,
    /// What changed since the last settling.
    pub(super) changed: HashSet<Arc<str>>,
    /// Intents whose state may have changed since it was last asked for.
    pub(super) touched_intents: BTreeSet<Arc<str>>,
}

impl Planner {
    /// An empty plan.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Planner { policy, ..Planner::default() }
    }

    /// The selectors that the flows read.
    #[must_use]
    pub fn selectors(&self) -> &BTreeMap<Arc<str>, Arc<Selector>> {
        &self.selectors
    }

    /// The entities of a selector.
    #[must_use]
    pub fn entities(&self, selector: &str) -> Option<&BTreeMap<EntityKey, Arc<EntityDetail>>> {
        self.entities.get(selector)
    }

    /// Takes the alive workers. Tasks of a worker that is gone, can no longer run them or has less capacity than tasks lose
    /// their place (FAULT 3).
    pub fn set_workers(&mut self, workers: BTreeMap<String, WorkerProfile>) {
        if self.workers == workers {
            return;
        }
        self.workers = workers;
        self.fleet = Fleet::new(self.workers.values());
        self.abilities.clear();
        self.room = true;
        for id in self.by_priority(self.tasks.keys().cloned().collect()) {
            let Some(task) = self.tasks.get(&id) else { continue };
            let Some(worker) = task.worker().cloned() else { continue };
            let flow = task.flow.clone();
            let ability = self.ability(&flow.operator);
            let artefact = self
                .fleet
                .find(&worker)
                .filter(|&index| self.fleet.has_room(index))
                .and_then(|index| ability.artefacts[self.fleet.kind(index)].clone().map(|artefact| (index, artefact)));
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            match artefact {
                Some((index, artefact)) => {
                    self.fleet.add(index, task.flow.exclusive, task.flow.level);
                    let place = Place::On { worker, artefact };
                    if task.place != place {
                        task.place = place;
                        self.changed.insert(id.clone());
                    }
                    self.review.insert(id);
                }
                None => {
                    task.place = Place::Waiting(format!("worker {worker} is gone or has no room"));
                    self.remembered.insert(id.clone(), worker);
                    self.unplaced.insert(id.clone());
                    self.changed.insert(id);
                }
            }
        }
    }

    /// Says where a task was before this planner knew it, so that it is placed there again if it can.
    pub fn remember(&mut self, task: &str, worker: &str) {
        if self.tasks.get(task).is_none_or(|planned| planned.worker().is_none()) {
            self.remembered.insert(task.into(), worker.into());
        }
    }

    /// Takes every task off its worker; each is placed there again unless [`Planner::remember`] says otherwise. For a new leader,
    /// whose plan may be older than what another leader did meanwhile.
    pub fn forget_places(&mut self) {
        let placed: Vec<Arc<str>> = self.tasks.keys().filter(|id| !self.unplaced.contains(*id)).cloned().collect();
        for id in placed {
            self.unplace(&id);
        }
    }

    /// Forgets where tasks were that no flow asks for.
    pub fn forget_unknown(&mut self) {
        self.remembered.retain(|task, _| self.tasks.contains_key(task));
    }

    /// Says that a task failed for good on a worker: it goes elsewhere if anything else can run it.
    pub fn avoid(&mut self, task: &str, worker: &str) {
        let Some((id, _)) = self.tasks.get_key_value(task) else { return };
        let id = id.clone();
        self.avoided.entry(id.clone()).or_default().insert(worker.into());
        self.review.insert(id);
    }

    /// Marks every placed task, so that the next settling looks for a better worker for each of them.
    pub fn review_all(&mut self) {
        self.review.extend(self.tasks.keys().filter(|id| !self.unplaced.contains(*id)).cloned());
    }

    /// All tasks by id.
    #[must_use]
    pub fn tasks(&self) -> &BTreeMap<Arc<str>, PlannedTask> {
        &self.tasks
    }

    /// All tasks by id, when nothing else of the plan is wanted.
    #[must_use]
    pub fn into_tasks(self) -> BTreeMap<Arc<str>, PlannedTask> {
        self.tasks
    }

    /// Ids of the intents.
    pub fn intent_ids(&self) -> impl Iterator<Item = &str> {
        self.intents.keys().map(String::as_str)
    }

    /// An operator.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&Arc<Operator>> {
        self.operators.get(name)
    }

    /// How full a worker is planned to be: tasks, and how many it may have.
    #[must_use]
    pub fn load_of(&self, worker: &str) -> Option<(u32, u32)> {
        self.fleet.find(worker).map(|index| self.fleet.load(index))
    }

    /// The tasks of an intent.
    pub fn tasks_of(&self, intent: &str) -> impl Iterator<Item = &Arc<str>> {
        self.flows_of_intent(intent).flat_map(|state| &state.tasks)
    }

    pub(super) fn flows_of_intent(&self, intent: &str) -> impl Iterator<Item = &FlowState> {
        let keys = self.intents.get(intent).and_then(|flows| flows.as_ref().ok());
        keys.into_iter().flatten().filter_map(|key| self.flows.get(key))
    }

    pub(super) fn remove_task(&mut self, id: &Arc<str>) {
        let Some(task) = self.tasks.remove(id) else { return };
        if let Some(index) = task.worker().and_then(|worker| self.fleet.find(worker)) {
            self.fleet.remove(index, task.flow.exclusive, task.flow.level);
            self.room = true;
        }
        self.touched_intents.insert(task.flow.key.intent.clone());
        self.unplaced.remove(id);
        self.review.remove(id);
        self.remembered.remove(id);
        self.avoided.remove(id);
        self.changed.insert(id.clone());
    }

    pub(super) fn unplace(&mut self, id: &Arc<str>) {
        if let Some(flow) = self.tasks.get(id).map(|task| task.flow.clone()) {
            self.unplace_as(id, &flow);
        }
    }

    /// Takes a task off its worker, where it is counted as of `flow`.
    pub(super) fn unplace_as(&mut self, id: &Arc<str>, flow: &Flow) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if let Some(worker) = task.worker().cloned() {
            if let Some(index) = self.fleet.find(&worker) {
                self.fleet.remove(index, flow.exclusive, flow.level);
            }
            self.remembered.insert(id.clone(), worker);
            task.place = Place::Waiting(String::new());
        }
        self.room = true;
        self.review.remove(id);
        self.unplaced.insert(id.clone());
        self.changed.insert(id.clone());
    }
}
