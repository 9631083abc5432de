//! The planner's working state, so that a change costs what it touches: the flows of the intents, the entities of their
//! selectors, the fleet, and where every task instance is placed. It does no I/O, reads no clock and no randomness; after
//! the same calls in the same order it holds the same plan, and [`super::plan`] is made of the same calls.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, IntentState, Operator, ServiceIntent, Topology, WorkerProfile};

use super::capability::{Artefact, artefact_for, reason_for_none};
use super::fleet::{Fleet, Wish};
use super::flow::{Flow, FlowKey, IntentProblem, Selector, flows_of};
use super::grouping::{Grouping, Instance, Regrouped, StreamChange};
use super::objective::Objective;

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
struct FlowState {
    flow: Arc<Flow>,
    grouping: Grouping,
    tasks: BTreeSet<Arc<str>>,
}

/// What of an operator runs where.
#[derive(Debug)]
struct Ability {
    artefacts: Vec<Option<Arc<Artefact>>>,
    runs_on: Vec<bool>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Planner {
    policy: Policy,
    operators: BTreeMap<String, Arc<Operator>>,
    intents: BTreeMap<String, Result<Vec<FlowKey>, IntentProblem>>,
    flows: BTreeMap<FlowKey, FlowState>,
    selectors: HashMap<Arc<str>, Arc<Selector>>,
    /// Which input streams take the entities of a selector.
    readers: HashMap<Arc<str>, Vec<(FlowKey, usize)>>,
    entities: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<EntityDetail>>>,
    workers: BTreeMap<String, WorkerProfile>,
    fleet: Fleet,
    abilities: HashMap<String, Arc<Ability>>,
    tasks: BTreeMap<Arc<str>, PlannedTask>,
    /// Where tasks without a worker were last.
    remembered: HashMap<Arc<str>, Arc<str>>,
    /// Workers on which a task failed for good.
    avoided: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Changes of entities that the flows have not seen.
    regroup: BTreeMap<FlowKey, Vec<StreamChange>>,
    /// Selectors whose entities are not all known yet: their flows lose no tasks.
    incomplete: HashSet<Arc<str>>,
    unplaced: BTreeSet<Arc<str>>,
    /// Placed tasks for which another worker may be better now.
    review: BTreeSet<Arc<str>>,
    /// Room appeared since the last settling: what waits is tried again.
    room: bool,
    /// What changed since the last settling.
    changed: BTreeSet<Arc<str>>,
    /// Intents whose state may have changed since it was last asked for.
    touched_intents: BTreeSet<Arc<str>>,
}

impl Planner {
    /// An empty plan.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Planner { policy, ..Planner::default() }
    }

    /// Takes a new registry. Flows that did not change keep their tasks; so does an intent that is sent again (FAULT 6).
    pub fn set_registry(&mut self, operators: &[Operator], topologies: &[Topology], intents: &[ServiceIntent]) {
        let operators: BTreeMap<String, Arc<Operator>> = operators.iter().map(|operator| (operator.name.clone(), Arc::new(operator.clone()))).collect();
        let by_name: HashMap<&str, &Topology> = topologies.iter().map(|topology| (topology.name.as_str(), topology)).collect();
        let changed_operators: HashSet<String> =
            operators.iter().filter(|(name, operator)| self.operators.get(*name) != Some(*operator)).map(|(name, _)| name.clone()).collect();
        let mut wanted: BTreeMap<FlowKey, Flow> = BTreeMap::new();
        self.intents.clear();
        for intent in intents {
            let flows = flows_of(intent, by_name.get(intent.topology.as_str()).copied(), &operators);
            let keys = flows.map(|flows| {
                let keys = flows.iter().map(|flow| flow.key.clone()).collect();
                wanted.extend(flows.into_iter().map(|flow| (flow.key.clone(), flow)));
                keys
            });
            self.intents.insert(intent.id.clone(), keys);
        }
        self.touched_intents.extend(self.intents.keys().map(|intent| Arc::from(intent.as_str())));
        self.operators = operators;
        let gone: Vec<FlowKey> = self.flows.keys().filter(|key| !wanted.contains_key(key)).cloned().collect();
        for key in gone {
            self.drop_flow(&key);
        }
        for (key, flow) in wanted {
            if self.flows.get(&key).is_none_or(|known| *known.flow != flow) {
                self.put_flow(flow);
            }
        }
        self.index_readers();
        if !changed_operators.is_empty() {
            self.abilities.retain(|name, _| !changed_operators.contains(name));
            let affected: Vec<Arc<str>> =
                self.tasks.iter().filter(|(_, task)| changed_operators.contains(&task.flow.operator)).map(|(id, _)| id.clone()).collect();
            for id in affected {
                self.unplace(&id);
            }
        }
    }

    /// Gives selectors that are new the entities that others of the same type know already, so that a changed geoscope keeps
    /// the tasks that it still covers. They stay incomplete until discovery has spoken.
    fn seed(&mut self, selector: &Arc<Selector>) {
        if self.entities.contains_key(&selector.id) {
            return;
        }
        let alike = self.selectors.values().filter(|other| other.tenant == selector.tenant && other.entity_type == selector.entity_type);
        let mut seeds = BTreeMap::new();
        for (id, detail) in alike.filter_map(|other| self.entities.get(&other.id)).flatten() {
            if selector.takes(detail) {
                seeds.insert(id.clone(), detail.clone());
            }
        }
        self.entities.insert(selector.id.clone(), seeds);
    }

    fn drop_flow(&mut self, key: &FlowKey) {
        self.regroup.remove(key);
        if let Some(state) = self.flows.remove(key) {
            for id in state.tasks {
                self.remove_task(&id);
            }
        }
    }

    /// Adds or replaces a flow. Tasks with the same group stay where they are: their ids are the same.
    fn put_flow(&mut self, flow: Flow) {
        let key = flow.key.clone();
        let flow = Arc::new(flow);
        let tasks = self.flows.remove(&key).map(|old| old.tasks).unwrap_or_default();
        let mut grouping = Grouping::new(flow.clone(), self.policy.instances_per_flow);
        let mut changes = Vec::new();
        for spec in &flow.streams {
            self.seed(&spec.selector);
        }
        for (stream, spec) in flow.streams.iter().enumerate() {
            for (id, detail) in self.entities.get(&spec.selector.id).into_iter().flatten() {
                if spec.selector.takes(detail) {
                    changes.push(StreamChange { stream, entity: id.clone(), detail: Some(detail.clone()) });
                }
            }
        }
        grouping.apply(changes);
        self.regroup.remove(&key);
        self.flows.insert(key.clone(), FlowState { flow, grouping, tasks });
        self.take_all_instances(&key);
    }

    fn index_readers(&mut self) {
        self.readers.clear();
        self.selectors.clear();
        for (key, state) in &self.flows {
            for (stream, spec) in state.flow.streams.iter().enumerate() {
                self.readers.entry(spec.selector.id.clone()).or_default().push((key.clone(), stream));
                self.selectors.entry(spec.selector.id.clone()).or_insert_with(|| spec.selector.clone());
            }
        }
        self.entities.retain(|selector, _| self.selectors.contains_key(selector));
        self.incomplete.retain(|selector| self.selectors.contains_key(selector));
    }

    /// Says whether all entities of a selector are known. While they are not, its flows gain tasks but lose none, and when they
    /// are, what is missing then is gone. Selectors are complete unless said otherwise.
    pub fn set_complete(&mut self, selector: &str, complete: bool) {
        let Some((selector, _)) = self.selectors.get_key_value(selector) else { return };
        let selector = selector.clone();
        if !complete {
            self.incomplete.insert(selector);
        } else if self.incomplete.remove(&selector) {
            let readers: BTreeSet<FlowKey> = self.readers.get(&selector).into_iter().flatten().map(|(key, _)| key.clone()).collect();
            for key in readers {
                let changes = self.regroup.remove(&key).unwrap_or_default();
                self.regroup_flow(&key, changes);
                self.take_all_instances(&key);
            }
        }
    }

    fn is_complete(&self, flow: &Flow) -> bool {
        self.incomplete.is_empty() || !flow.streams.iter().any(|stream| self.incomplete.contains(&stream.selector.id))
    }

    /// The selectors that the flows read.
    #[must_use]
    pub fn selectors(&self) -> &HashMap<Arc<str>, Arc<Selector>> {
        &self.selectors
    }

    /// The entities of a selector.
    #[must_use]
    pub fn entities(&self, selector: &str) -> Option<&BTreeMap<Arc<str>, Arc<EntityDetail>>> {
        self.entities.get(selector)
    }

    /// Takes what discovery says of an entity for one selector; `None` when it is gone or matches no longer.
    pub fn set_entity(&mut self, selector: &str, id: &str, detail: Option<EntityDetail>) {
        let Some((selector, spec)) = self.selectors.get_key_value(selector) else { return };
        let known = self.entities.entry(selector.clone()).or_default();
        let detail = detail.filter(|detail| spec.takes(detail)).map(Arc::new);
        if known.get(id) == detail.as_ref() {
            return;
        }
        let id: Arc<str> = id.into();
        match &detail {
            Some(detail) => known.insert(id.clone(), detail.clone()),
            None => known.remove(&id),
        };
        for (flow, stream) in self.readers.get(selector).into_iter().flatten() {
            let change = StreamChange { stream: *stream, entity: id.clone(), detail: detail.clone() };
            self.regroup.entry(flow.clone()).or_default().push(change);
        }
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
            let artefact = self.fleet.find(&worker).filter(|&index| self.fleet.has_room(index)).and_then(|index| {
                ability.artefacts[self.fleet.kind(index)].clone().map(|artefact| (index, artefact))
            });
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

    fn flows_of_intent(&self, intent: &str) -> impl Iterator<Item = &FlowState> {
        let keys = self.intents.get(intent).and_then(|flows| flows.as_ref().ok());
        keys.into_iter().flatten().filter_map(|key| self.flows.get(key))
    }

    /// What became of an intent: `active` when it has a task and every task of it has a worker.
    #[must_use]
    pub fn intent_state(&self, intent: &str) -> Option<IntentState> {
        let state = |status: &str, reason: String| IntentState { id: intent.to_owned(), status: status.to_owned(), reason };
        match self.intents.get(intent)? {
            Err(IntentProblem::Pending(reason)) => return Some(state("pending", reason.clone())),
            Err(IntentProblem::Failed(reason)) => return Some(state("failed", reason.clone())),
            Ok(_) => {}
        }
        let tasks: Vec<&Arc<str>> = self.tasks_of(intent).collect();
        let mut without_place = tasks.iter().filter(|id| self.unplaced.contains(**id)).filter_map(|id| self.tasks.get(*id)).peekable();
        if let Some(first) = without_place.peek() {
            let (status, reason) = match &first.place {
                Place::Impossible(reason) => ("failed", reason.clone()),
                Place::Waiting(reason) => ("pending", reason.clone()),
                Place::On { .. } => ("pending", String::new()),
            };
            return Some(state(status, format!("{} of {} tasks have no worker: {reason}", without_place.count(), tasks.len())));
        }
        if tasks.is_empty() {
            let lacks: Vec<String> = self
                .flows_of_intent(intent)
                .filter_map(|flow| flow.grouping.lacks().map(|lack| format!("task `{}`: {lack}", flow.flow.key.task)))
                .collect();
            return Some(state("pending", lacks.join("; ")));
        }
        Some(state("active", String::new()))
    }

    /// Brings the plan up to date with everything that was said since the last time, and returns the tasks that are new,
    /// changed, moved or gone.
    pub fn settle(&mut self) -> BTreeSet<Arc<str>> {
        for (key, changes) in std::mem::take(&mut self.regroup) {
            self.regroup_flow(&key, changes);
        }
        loop {
            self.place_waiting();
            if !self.improve() {
                break;
            }
        }
        let changed = std::mem::take(&mut self.changed);
        self.touched_intents.extend(changed.iter().filter_map(|id| self.tasks.get(id)).map(|task| task.flow.key.intent.clone()));
        changed
    }

    /// Intents whose state may have changed since this was asked for last.
    pub fn take_touched_intents(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched_intents)
    }

    /// The first settling of a new leader: tasks go where they were, and nothing moves to a better place yet.
    pub fn settle_first(&mut self) {
        for (key, changes) in std::mem::take(&mut self.regroup) {
            self.regroup_flow(&key, changes);
        }
        self.room = true;
        self.place_waiting();
        self.review.clear();
        self.forget_unknown();
    }

    fn regroup_flow(&mut self, key: &FlowKey, changes: Vec<StreamChange>) {
        let Some(flow) = self.flows.get(key).map(|state| state.flow.clone()) else { return };
        let complete = self.is_complete(&flow);
        self.touched_intents.insert(key.intent.clone());
        let Some(state) = self.flows.get_mut(key) else { return };
        match state.grouping.apply(changes) {
            Regrouped::All => self.take_all_instances(key),
            Regrouped::Some(instances) => {
                for (id, instance) in instances {
                    match instance {
                        Some(instance) => self.put_instance(key, instance),
                        None if complete => {
                            if let Some(state) = self.flows.get_mut(key)
                                && state.tasks.remove(&id)
                            {
                                self.remove_task(&id);
                            }
                        }
                        None => {}
                    }
                }
            }
        }
    }

    fn take_all_instances(&mut self, key: &FlowKey) {
        let Some(state) = self.flows.get(key) else { return };
        let instances = state.grouping.instances();
        let wanted: BTreeSet<&Arc<str>> = instances.iter().map(|instance| &instance.id).collect();
        let gone: Vec<Arc<str>> = state.tasks.iter().filter(|id| !wanted.contains(id) && self.is_complete(&state.flow)).cloned().collect();
        for id in gone {
            if let Some(state) = self.flows.get_mut(key) {
                state.tasks.remove(&id);
            }
            self.remove_task(&id);
        }
        for instance in instances {
            self.put_instance(key, instance);
        }
    }

    fn put_instance(&mut self, key: &FlowKey, instance: Instance) {
        let Some(state) = self.flows.get_mut(key) else { return };
        let id = instance.id.clone();
        let flow = state.flow.clone();
        state.tasks.insert(id.clone());
        let Some(task) = self.tasks.get_mut(&id) else {
            let place = Place::Waiting(String::new());
            self.tasks.insert(id.clone(), PlannedTask { flow, instance: Arc::new(instance), place });
            self.unplaced.insert(id.clone());
            self.changed.insert(id);
            return;
        };
        let other_flow = !Arc::ptr_eq(&task.flow, &flow);
        if !other_flow && *task.instance == instance {
            return;
        }
        let (moved, old) = (task.instance.places != instance.places, task.flow.clone());
        task.instance = Arc::new(instance);
        task.flow = flow.clone();
        self.changed.insert(id.clone());
        if old.operator != flow.operator {
            self.unplace_as(&id, &old);
        } else if other_flow {
            if let Some(index) = self.tasks.get(&id).and_then(PlannedTask::worker).and_then(|worker| self.fleet.find(worker)) {
                self.fleet.remove(index, old.exclusive, old.level);
                self.fleet.add(index, flow.exclusive, flow.level);
            }
        }
        if (moved || other_flow) && !self.unplaced.contains(&id) {
            self.review.insert(id);
        }
    }

    fn remove_task(&mut self, id: &Arc<str>) {
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

    fn unplace(&mut self, id: &Arc<str>) {
        if let Some(flow) = self.tasks.get(id).map(|task| task.flow.clone()) {
            self.unplace_as(id, &flow);
        }
    }

    /// Takes a task off its worker, where it is counted as of `flow`.
    fn unplace_as(&mut self, id: &Arc<str>, flow: &Flow) {
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

    fn by_priority(&self, mut ids: Vec<Arc<str>>) -> Vec<Arc<str>> {
        // Stable: equal priorities stay in the order of their ids.
        ids.sort_by_key(|id| self.tasks.get(id).map(|task| (!task.flow.exclusive, std::cmp::Reverse(task.flow.level))));
        ids
    }

    /// Places what has no worker: first where it was, then by its objective; exclusive tasks and high levels first.
    fn place_waiting(&mut self) {
        let retry = std::mem::take(&mut self.room);
        let waiting = self.unplaced.iter().filter(|id| retry || self.changed.contains(*id)).cloned().collect();
        let mut strangers = Vec::new();
        for id in self.by_priority(waiting) {
            let remembered = self.remembered.get(&id).and_then(|worker| self.fleet.find(worker));
            let avoided = |index: usize| self.avoided.get(&id).is_some_and(|workers| workers.contains(self.fleet.id(index)));
            match remembered.filter(|&index| self.fleet.has_room(index) && !avoided(index)) {
                Some(index) if self.place(&id, index) => {}
                _ => strangers.push(id),
            }
        }
        // Operators for which no worker had room: room only shrinks while tasks are placed.
        let mut full: HashSet<String> = HashSet::new();
        for id in strangers {
            let Some(flow) = self.tasks.get(&id).map(|task| task.flow.clone()) else { continue };
            if full.contains(&flow.operator) {
                self.leave_waiting(&id, &flow);
                continue;
            }
            match self.best_for(&id, None) {
                Some(choice) => {
                    self.place(&id, choice.worker);
                }
                None => {
                    // Better where it failed than nowhere.
                    let last_resort: Vec<usize> =
                        self.avoided.get(&id).into_iter().flatten().filter_map(|worker| self.fleet.find(worker)).filter(|&worker| self.fleet.has_room(worker)).collect();
                    if !last_resort.into_iter().any(|worker| self.place(&id, worker)) {
                        if !self.avoided.contains_key(&id) {
                            full.insert(flow.operator.clone());
                        }
                        self.leave_waiting(&id, &flow);
                    }
                }
            }
        }
    }

    /// Puts a task on a worker if it can run there.
    fn place(&mut self, id: &Arc<str>, index: usize) -> bool {
        let Some(flow) = self.tasks.get(id).map(|task| task.flow.clone()) else { return false };
        let kind = self.fleet.kind(index);
        let Some(artefact) = self.ability(&flow.operator).artefacts[kind].clone() else { return false };
        let worker = self.fleet.id(index).clone();
        let Some(task) = self.tasks.get_mut(id) else { return false };
        task.place = Place::On { worker, artefact };
        self.fleet.add(index, flow.exclusive, flow.level);
        self.unplaced.remove(id);
        self.remembered.remove(id);
        self.changed.insert(id.clone());
        // Placed at the best there was; only a task that pauses others, or is paused, may find better when all are placed.
        if flow.exclusive || self.fleet.is_paused_on(index, false, 0) {
            self.review_all();
        }
        true
    }

    fn leave_waiting(&mut self, id: &Arc<str>, flow: &Flow) {
        let place = if self.fleet.is_empty() {
            Place::Waiting("no worker is alive".to_owned())
        } else {
            let ability = self.ability(&flow.operator);
            let able = self.fleet.count_of_kinds(&ability.runs_on);
            if able > 0 {
                Place::Waiting(format!("all {able} workers that can run operator `{}` are full", flow.operator))
            } else {
                let unknown = Operator { name: flow.operator.clone(), ..Operator::default() };
                let operator = self.operators.get(&flow.operator).map_or(&unknown, |operator| &**operator);
                Place::Impossible(reason_for_none(operator, self.fleet.kinds().iter()))
            }
        };
        if let Some(task) = self.tasks.get_mut(id)
            && task.place != place
        {
            task.place = place;
            self.changed.insert(id.clone());
        }
    }

    fn best_for(&mut self, id: &Arc<str>, current: Option<usize>) -> Option<super::fleet::Choice> {
        let task = self.tasks.get(id)?;
        let (flow, instance) = (task.flow.clone(), task.instance.clone());
        let ability = self.ability(&flow.operator);
        let mut except: Vec<usize> = current.into_iter().collect();
        except.extend(self.avoided.get(id).into_iter().flatten().filter_map(|worker| self.fleet.find(worker)));
        let wish = Wish {
            objective: flow.objective,
            places: &instance.places,
            exclusive: flow.exclusive,
            level: flow.level,
            runs_on: &ability.runs_on,
            except: &except,
        };
        self.fleet.choose(&wish)
    }

    fn ability(&mut self, operator: &str) -> Arc<Ability> {
        if let Some(known) = self.abilities.get(operator) {
            return known.clone();
        }
        let artefact = |kind| self.operators.get(operator).and_then(|operator| artefact_for(operator, kind)).map(Arc::new);
        let artefacts: Vec<Option<Arc<Artefact>>> = self.fleet.kinds().iter().map(artefact).collect();
        let runs_on = artefacts.iter().map(Option::is_some).collect();
        let ability = Arc::new(Ability { artefacts, runs_on });
        self.abilities.insert(operator.to_owned(), ability.clone());
        ability
    }

    /// Moves reviewed tasks to better workers. Each move lowers, in this order: tasks on workers where they failed, tasks that
    /// pause one another, metres (by the minimum gain at least); so it comes to an end. Returns whether anything moved.
    fn improve(&mut self) -> bool {
        let mut moved = false;
        for id in std::mem::take(&mut self.review) {
            let Some(task) = self.tasks.get(&id) else { continue };
            let Some(current) = task.worker().and_then(|worker| self.fleet.find(worker)) else { continue };
            let (flow, instance) = (task.flow.clone(), task.instance.clone());
            let failed_here = self.avoided.get(&id).is_some_and(|workers| workers.contains(self.fleet.id(current)));
            let paused_here = self.fleet.is_paused_on(current, flow.exclusive, flow.level);
            let may_be_nearer = flow.objective == Objective::MinLatency && !instance.places.is_empty();
            if !failed_here && !paused_here && !may_be_nearer {
                continue;
            }
            let Some(best) = self.best_for(&id, Some(current)) else { continue };
            let nearer = || {
                let gain = self.fleet.metres(current, &instance.places).saturating_sub(best.metres);
                may_be_nearer && gain > 0 && gain >= self.policy.migration_gain_metres
            };
            if failed_here || (!best.conflict && (paused_here || nearer())) {
                self.fleet.remove(current, flow.exclusive, flow.level);
                moved |= self.place(&id, best.worker);
            }
        }
        if moved {
            // Each move left room behind.
            self.room = true;
            self.review_all();
        }
        moved
    }
}
