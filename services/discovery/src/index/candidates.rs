//! Answering a query by the cheapest way into the index.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::filter::{Filter, IdFilter};
use crate::model::Registration;

use super::Index;

/// Below this many candidates, looking at each is cheaper than asking the R-tree.
const FEW: usize = 512;

impl Index {
    /// All available matches, without `nearby`'s limit.
    pub(super) fn matches(&self, filter: &Filter) -> Vec<Arc<Registration>> {
        if filter.entities.is_empty() {
            return Vec::new();
        }
        let boxes = filter.areas.iter().find_map(crate::geometry::Area::bounds);
        match boxes {
            Some(boxes) if self.estimate(filter) > FEW => {
                let slots: BTreeSet<u32> = self.places.touching(&boxes).collect();
                self.checked(slots, filter)
            }
            _ => self.checked(self.named(filter), filter),
        }
    }

    /// How many registrations [`Index::named`] would yield.
    pub(super) fn estimate(&self, filter: &Filter) -> usize {
        let one = |entity: &crate::filter::EntityFilter| match (&entity.id, &entity.entity_type) {
            (IdFilter::Exact(_), _) => 1,
            (_, Some(name)) => self.by_type.get(name).map_or(0, |slots| slots.len()),
            (_, None) => self.len(),
        };
        filter.entities.iter().map(one).sum()
    }

    /// The slots that the entity filters' ids and types lead to.
    fn named(&self, filter: &Filter) -> BTreeSet<u32> {
        let mut slots = BTreeSet::new();
        for entity in &filter.entities {
            match (&entity.id, &entity.entity_type) {
                (IdFilter::Exact(id), _) => {
                    slots.extend(self.by_key.with_id(&filter.tenant, id, &self.slots));
                }
                (_, Some(name)) => slots.extend(self.by_type.get(name).into_iter().flatten()),
                (_, None) => slots.extend(self.by_key.slots()),
            }
        }
        slots
    }

    /// Those of the slots that match and are available.
    pub(super) fn checked(&self, slots: impl IntoIterator<Item = u32>, filter: &Filter) -> Vec<Arc<Registration>> {
        slots
            .into_iter()
            .filter_map(|slot| Some(&self.slot(slot)?.registration))
            .filter(|registration| filter.matches(registration) && self.is_available(registration))
            .cloned()
            .collect()
    }
}
