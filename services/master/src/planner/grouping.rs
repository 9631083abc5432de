//! Grouping: which task instances a flow has, from the entities that its input streams hold.
//!
//! Every input stream belongs to a key `<selected type>-<groupby>`; streams of the same type and grouping share one. A group
//! takes one value per key (the product of all values); it is complete, and makes one task instance, when every stream has
//! an entity with the group's value (FAULT 12). Its inputs are these entities. Everything is derived from the entities that
//! are there now, so that a deleted entity leaves nothing behind (FAULT 11).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, InputStream, ids};
use foldhash::HashMap;

use super::entity::EntityKey;
use super::flow::Flow;
use super::places::Places;
use super::scope::location_of;

/// A task instance that a flow asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// `Task.<topology>.<task>.<suffix>`
    pub id: Arc<str>,
    /// Its input entities, sorted by id and service path, each once.
    pub inputs: Vec<InputStream>,
    /// Where they are.
    pub places: Places,
}

/// What happened to an entity in one stream of a flow.
#[derive(Clone, Debug)]
pub struct StreamChange {
    /// Index of the input stream.
    pub stream: usize,
    /// The entity.
    pub entity: EntityKey,
    /// As it is now; `None` when it is gone or the selector does not take it (any more).
    pub detail: Option<Arc<EntityDetail>>,
}

/// What a change did to the instances of a flow.
#[derive(Debug)]
pub enum Regrouped {
    /// These instances are new or changed, or gone (`None`).
    Some(Vec<(Arc<str>, Option<Instance>)>),
    /// The flow crossed its limit of instances, one way or the other: take [`Grouping::instances`] as a whole.
    All,
}

/// A group: one value per key, in the order of the keys.
type Group = Vec<Arc<str>>;

/// The entities of a flow, indexed by group value.
#[derive(Debug)]
pub struct Grouping {
    flow: Arc<Flow>,
    /// Sorted by name.
    keys: Vec<Key>,
    streams: Vec<StreamIndex>,
    limit: usize,
    beyond_limit: bool,
}

#[derive(Debug)]
struct Key {
    name: String,
    streams: Vec<usize>,
}

#[derive(Debug, Default)]
struct StreamIndex {
    key: usize,
    by_value: BTreeMap<Arc<str>, BTreeMap<EntityKey, Arc<EntityDetail>>>,
    value_of: HashMap<EntityKey, Arc<str>>,
}

impl StreamIndex {
    fn remove(&mut self, entity: &EntityKey) -> Option<Arc<str>> {
        let value = self.value_of.remove(entity)?;
        if let Some(members) = self.by_value.get_mut(&value) {
            members.remove(entity);
            if members.is_empty() {
                self.by_value.remove(&value);
            }
        }
        Some(value)
    }

    fn insert(&mut self, value: Arc<str>, entity: EntityKey, detail: Arc<EntityDetail>) {
        self.value_of.insert(entity.clone(), value.clone());
        self.by_value.entry(value).or_default().insert(entity, detail);
    }
}

impl Grouping {
    /// An index without entities. A flow that would have more than `limit` instances has none.
    #[must_use]
    pub fn new(flow: Arc<Flow>, limit: usize) -> Self {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, stream) in flow.streams.iter().enumerate() {
            by_name.entry(format!("{}-{}", stream.selector.entity_type, stream.group_by.word())).or_default().push(index);
        }
        let keys: Vec<Key> = by_name.into_iter().map(|(name, streams)| Key { name, streams }).collect();
        let key_of = |stream: usize| keys.iter().position(|key| key.streams.contains(&stream)).unwrap_or_default();
        let streams = (0..flow.streams.len()).map(|stream| StreamIndex { key: key_of(stream), ..StreamIndex::default() }).collect();
        Grouping { flow, keys, streams, limit, beyond_limit: false }
    }

    /// Applies changes of entities.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = StreamChange>) -> Regrouped {
        let mut touched: BTreeSet<(usize, Arc<str>)> = BTreeSet::new();
        for StreamChange { stream, entity, detail } in changes {
            let Some(index) = self.streams.get_mut(stream) else { continue };
            let key = index.key;
            if let Some(old) = index.remove(&entity) {
                touched.insert((key, old));
            }
            if let Some(detail) = detail {
                let value = self.flow.streams[stream].group_by.value_of(&detail);
                index.insert(value.clone(), entity, detail);
                touched.insert((key, value));
            }
        }
        let beyond_limit = self.count() > self.limit;
        if beyond_limit != self.beyond_limit {
            self.beyond_limit = beyond_limit;
            return Regrouped::All;
        }
        if beyond_limit {
            return Regrouped::Some(Vec::new());
        }
        let mut groups: BTreeSet<Group> = BTreeSet::new();
        for (key, value) in touched {
            self.groups_with(Some((key, value)), &mut |group| {
                groups.insert(group);
            });
        }
        Regrouped::Some(
            groups
                .into_iter()
                .map(|group| {
                    let id = self.id_of(&group);
                    (id.clone(), self.instance(id, &group))
                })
                .collect(),
        )
    }

    /// All instances, by id.
    #[must_use]
    pub fn instances(&self) -> Vec<Instance> {
        let mut instances = Vec::new();
        if !self.beyond_limit {
            self.groups_with(None, &mut |group| instances.extend(self.instance(self.id_of(&group), &group)));
        }
        instances
    }

    /// Why there are no instances, for the intent's state; `None` when there are.
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        if self.beyond_limit {
            return Some(format!("its groups would make {} task instances; the limit is {}", self.count(), self.limit));
        }
        let empty: Vec<&str> = self
            .streams
            .iter()
            .zip(&self.flow.streams)
            .filter(|(index, _)| index.value_of.is_empty())
            .map(|(_, stream)| stream.selector.entity_type.as_str())
            .collect();
        if !empty.is_empty() {
            return Some(format!("no entity of type {} matches", empty.join(" and ")));
        }
        (self.count() == 0).then(|| "no group has an entity for every input".to_owned())
    }

    /// Values that all streams of a key have.
    fn values(&self, key: usize) -> impl Iterator<Item = &Arc<str>> {
        let (first, rest) = self.keys[key].streams.split_first().map_or((None, &[][..]), |(first, rest)| (Some(*first), rest));
        first
            .into_iter()
            .flat_map(|stream| self.streams[stream].by_value.keys())
            .filter(move |value| rest.iter().all(|&stream| self.streams[stream].by_value.contains_key(*value)))
    }

    /// How many complete groups there are.
    fn count(&self) -> usize {
        let values = |(index, key): (usize, &Key)| match key.streams.as_slice() {
            [only] => self.streams[*only].by_value.len(),
            _ => self.values(index).count(),
        };
        self.keys.iter().enumerate().map(values).fold(1, usize::saturating_mul)
    }

    /// Hands out every group whose other keys have values, with one key fixed if asked.
    fn groups_with(&self, fixed: Option<(usize, Arc<str>)>, hand_out: &mut dyn FnMut(Group)) {
        let mut choices: Vec<Vec<Arc<str>>> = Vec::with_capacity(self.keys.len());
        for key in 0..self.keys.len() {
            choices.push(match &fixed {
                Some((fixed_key, value)) if *fixed_key == key => vec![value.clone()],
                _ => self.values(key).cloned().collect(),
            });
        }
        if choices.iter().any(Vec::is_empty) {
            return;
        }
        let mut position = vec![0; choices.len()];
        loop {
            hand_out(choices.iter().zip(&position).map(|(values, &index)| values[index].clone()).collect());
            // Counts like an odometer, the last key fastest.
            let Some(turning) = (0..choices.len()).rev().find(|&key| position[key] + 1 < choices[key].len()) else { return };
            position[turning] += 1;
            position[turning + 1..].fill(0);
        }
    }

    fn id_of(&self, group: &Group) -> Arc<str> {
        let entries: Vec<ids::GroupEntry<'_>> = self.keys.iter().zip(group).map(|(key, value)| (key.name.as_str(), &**value)).collect();
        let suffix = ids::task_suffix(&self.flow.tenant, &self.flow.key.intent, &self.flow.key.task, &entries);
        ids::task_id(&self.flow.topology, &self.flow.key.task, &suffix).into()
    }

    fn instance(&self, id: Arc<str>, group: &Group) -> Option<Instance> {
        let mut inputs: BTreeMap<&EntityKey, (InputStream, &EntityDetail)> = BTreeMap::new();
        for (index, spec) in self.streams.iter().zip(&self.flow.streams) {
            for (key, entity) in index.by_value.get(&group[index.key])? {
                let attributes = &spec.selector.attributes;
                match inputs.get_mut(key) {
                    // One entity in two streams is one input with the attributes of both.
                    Some((input, _)) if attributes.is_empty() || input.attribute_list.is_empty() => input.attribute_list.clear(),
                    Some((input, _)) => {
                        input.attribute_list.extend(attributes.iter().cloned());
                        input.attribute_list.sort_unstable();
                        input.attribute_list.dedup();
                    }
                    None => {
                        let entity_type = if entity.entity_type.is_empty() { &spec.selector.entity_type } else { &entity.entity_type };
                        let input = InputStream {
                            entity_type: entity_type.clone(),
                            id: entity.id.clone(),
                            attribute_list: attributes.clone(),
                            service_path: entity.service_path.clone(),
                        };
                        inputs.insert(key, (input, entity));
                    }
                }
            }
        }
        let places = Places::new(inputs.values().filter_map(|(_, entity)| location_of(entity)));
        Some(Instance { id, inputs: inputs.into_values().map(|(input, _)| input).collect(), places })
    }
}
