//! Availability subscriptions, found by what they could match: a registration touches only candidates.

use std::collections::{BTreeSet, HashMap};

use fogflow_ngsi::Name;
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::filter::{Filter, IdFilter};
use crate::model::{EntityRef, Registration};

/// One availability subscription as the index sees it.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) filter: Filter,
    /// What a `nearby` subscription currently shows, nearest first; unused otherwise.
    pub(crate) nearest: Vec<EntityRef>,
}

/// Subscriptions by id, and by the ids and types that their entity filters name.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: HashMap<SmolStr, Watch, RandomState>,
    by_entity: HashMap<SmolStr, BTreeSet<SmolStr>, RandomState>,
    by_type: HashMap<Name, BTreeSet<SmolStr>, RandomState>,
    /// Those that name neither an id nor a type.
    open: BTreeSet<SmolStr>,
}

impl Watches {
    pub(crate) fn insert(&mut self, id: SmolStr, filter: Filter) {
        self.remove(&id);
        for entity in &filter.entities {
            match (&entity.id, &entity.entity_type) {
                (IdFilter::Exact(entity_id), _) => self.by_entity.entry(entity_id.clone()).or_default(),
                (_, Some(name)) => self.by_type.entry(name.clone()).or_default(),
                (_, None) => &mut self.open,
            }
            .insert(id.clone());
        }
        self.all.insert(id, Watch { filter, nearest: Vec::new() });
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Watch> {
        let watch = self.all.remove(id)?;
        for entity in &watch.filter.entities {
            match (&entity.id, &entity.entity_type) {
                (IdFilter::Exact(entity_id), _) => discard(&mut self.by_entity, entity_id, id),
                (_, Some(name)) => discard(&mut self.by_type, name, id),
                (_, None) => {
                    self.open.remove(id);
                }
            }
        }
        Some(watch)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Watch> {
        self.all.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Watch> {
        self.all.get_mut(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The subscriptions that could match one of these states of an entity.
    pub(crate) fn candidates<'a>(&self, states: impl IntoIterator<Item = &'a Registration>) -> BTreeSet<SmolStr> {
        let mut found = self.open.clone();
        for state in states {
            found.extend(self.by_entity.get(&state.key.id).into_iter().flatten().cloned());
            found.extend(state.types().filter_map(|name| self.by_type.get(name)).flatten().cloned());
        }
        found
    }
}

fn discard<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<SmolStr>, RandomState>, key: &K, id: &str) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
