//! From registry and entities to task instances: which flows there are, what their streams hold, which groups are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, Operator, ServiceIntent, Topology, ids};
use foldhash::{HashMap, HashSet};

use super::entity::EntityKey;
use super::flow::{Flow, FlowKey, Selector, flows_of};
use super::grouping::{Grouping, Instance, Regrouped, StreamChange};
use super::incremental::{FlowState, Place, PlannedTask, Planner};

impl Planner {
    /// Takes a new registry. Flows that did not change keep their tasks; so does an intent that is sent again (FAULT 6).
    pub fn set_registry(&mut self, operators: &[Operator], topologies: &[Topology], intents: &[ServiceIntent]) {
        let operators: BTreeMap<String, Arc<Operator>> =
            operators.iter().map(|operator| (operator.name.clone(), Arc::new(operator.clone()))).collect();
        let by_name: HashMap<&str, &Topology> = topologies.iter().map(|topology| (topology.name.as_str(), topology)).collect();
        let changed_operators: HashSet<String> = operators
            .iter()
            .filter(|(name, operator)| self.operators.get(*name) != Some(*operator))
            .map(|(name, _)| name.clone())
            .collect();
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
            for (entity, detail) in self.entities.get(&spec.selector.id).into_iter().flatten() {
                if spec.selector.takes(detail) {
                    changes.push(StreamChange { stream, entity: entity.clone(), detail: Some(detail.clone()) });
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

    pub(super) fn is_complete(&self, flow: &Flow) -> bool {
        self.incomplete.is_empty() || !flow.streams.iter().any(|stream| self.incomplete.contains(&stream.selector.id))
    }

    /// Takes what discovery says of an entity for one selector; `None` when it is gone or matches no longer.
    pub fn set_entity(&mut self, selector: &str, entity: impl Into<EntityKey>, detail: Option<Arc<EntityDetail>>) {
        let entity = entity.into();
        let Some((selector, spec)) = self.selectors.get_key_value(selector) else { return };
        let known = self.entities.entry(selector.clone()).or_default();
        let detail = detail.filter(|detail| spec.takes(detail));
        if known.get(&entity) == detail.as_ref() {
            return;
        }
        match &detail {
            Some(detail) => known.insert(entity.clone(), detail.clone()),
            None => known.remove(&entity),
        };
        for (key, stream) in self.readers.get(selector).into_iter().flatten() {
            let own = self.flows.get(key).is_some_and(|state| state.publishes(&spec.entity_type, &entity.id));
            let change = StreamChange { stream: *stream, entity: entity.clone(), detail: detail.clone().filter(|_| !own) };
            self.regroup.entry(key.clone()).or_default().push(change);
        }
    }

    pub(super) fn regroup_flow(&mut self, key: &FlowKey, changes: Vec<StreamChange>) {
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
        let wanted: HashSet<&Arc<str>> = instances.iter().map(|instance| &instance.id).collect();
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
            self.disown_outputs(&flow, &id);
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
        } else if other_flow
            && let Some(index) = self.tasks.get(&id).and_then(PlannedTask::worker).and_then(|worker| self.fleet.find(worker))
        {
            self.fleet.remove(index, old.exclusive, old.level);
            self.fleet.add(index, flow.exclusive, flow.level);
        }
        if (moved || other_flow) && !self.unplaced.contains(&id) {
            self.review.insert(id);
        }
    }

    /// A new task of a flow that reads a type which it publishes: should its output be there already (after a restart), it is no
    /// input of the flow any more.
    fn disown_outputs(&mut self, flow: &Flow, task: &str) {
        for (stream, spec) in flow.streams.iter().enumerate() {
            for (index, _) in flow.outputs.iter().enumerate().filter(|(_, output)| **output == spec.selector.entity_type) {
                let output = ids::output_id(&spec.selector.entity_type, ids::suffix_of(task), index + 1);
                let entity = EntityKey::from(output.as_str());
                if self.entities.get(&spec.selector.id).is_some_and(|entities| entities.contains_key(&entity)) {
                    self.regroup.entry(flow.key.clone()).or_default().push(StreamChange { stream, entity, detail: None });
                }
            }
        }
    }
}

impl FlowState {
    /// Whether an entity is the output of one of the flow's own tasks. A flow does not read what it publishes: a function from a
    /// type to the same type would otherwise start a task for the output of each task, without end.
    fn publishes(&self, entity_type: &str, entity: &str) -> bool {
        let Some(number) = self.flow.outputs.iter().position(|output| output == entity_type) else { return false };
        let suffix = entity.strip_prefix(entity_type).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.rsplit_once('.'));
        suffix.is_some_and(|(suffix, n)| {
            n.parse::<usize>().is_ok_and(|n| n > number)
                && self.tasks.contains(ids::task_id(&self.flow.topology, &self.flow.key.task, suffix).as_str())
        })
    }
}
