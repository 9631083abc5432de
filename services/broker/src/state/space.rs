//! The entities of one tenant in memory, with their indexes.
//!
//! A record is replaced whole (`Arc<Entity>`), so a reader that has taken one keeps a consistent view without a lock.
//! Records live in numbered slots; the indexes by type and attribute are ordered sets of slots, which lets a long scan
//! let go of the lock and come back to where it was. The table by id keeps slot numbers only, the ids stand in the records:
//! with millions of entities a second copy of each would cost more than the rest of the indexes.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::Arc;

use fogflow_ngsi::bounds::Bounds;
use fogflow_ngsi::{Entity, Name};
use fogflow_store::{Sequence, Version};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::places::Places;

/// Below this many candidates, looking at each is cheaper than asking where they are.
const FEW: usize = 512;
/// An area with more than one in so many of the candidates does not narrow a scan enough: the scan may end early.
const NARROW: usize = 4;
/// Most slots that are gathered while writers wait.
const GATHERED: usize = 262_144;

type Map<K, V> = HashMap<K, V, RandomState>;

/// An entity as it is stored.
#[derive(Clone, Debug)]
pub struct Record {
    /// The entity.
    pub entity: Arc<Entity>,
    /// Its service path.
    pub path: SmolStr,
    /// The store's version of its document.
    pub version: Version,
    /// The commit that wrote it.
    pub sequence: Sequence,
}

/// Where a scan looks.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Every entity.
    All,
    /// Entities of one of these types.
    Types(Vec<Name>),
    /// Entities that have an attribute of one of these names.
    Attributes(Vec<Name>),
    /// Entities in these slots, in ascending order.
    Slots(Vec<u32>),
}

/// The entities of one tenant.
#[derive(Debug, Default)]
pub struct Space {
    slots: Vec<Option<Record>>,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    hasher: RandomState,
    by_type: Map<Name, BTreeSet<u32>>,
    by_attribute: Map<Name, BTreeSet<u32>>,
    pub(super) places: Places,
    /// The last commit that was applied here.
    pub applied: Sequence,
}

impl Space {
    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entity with this id and path; any path if `None`.
    #[must_use]
    pub fn get(&self, path: Option<&str>, id: &str) -> Option<&Record> {
        let on_path = self.slots_of(id).filter(|(_, record)| path.is_none_or(|path| record.path == path));
        on_path.min_by_key(|(slot, _)| *slot).map(|(_, record)| record)
    }

    /// All entities with this id, one per service path.
    pub fn with_id<'a>(&'a self, id: &str) -> impl Iterator<Item = &'a Record> + use<'a> {
        let mut found: SmallVec<[(u32, &Record); 2]> = self.slots_of(id).collect();
        found.sort_unstable_by_key(|(slot, _)| *slot);
        found.into_iter().map(|(_, record)| record)
    }

    /// The slots with an id, in no order. The service path is not hashed, so that all paths of an id lie together.
    fn slots_of<'a, 'b>(&'a self, id: &'b str) -> impl Iterator<Item = (u32, &'a Record)> + use<'a, 'b> {
        let found = self.by_id.iter_hash(self.hasher.hash_one(id));
        found.filter_map(|slot| Some((*slot, self.record(*slot)?))).filter(move |(_, record)| record.entity.id == id)
    }

    fn record(&self, slot: u32) -> Option<&Record> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn slot_of(&self, path: &str, id: &str) -> Option<u32> {
        self.slots_of(id).find(|(_, record)| record.path == path).map(|(slot, _)| slot)
    }

    /// Up to `limit` records of `reach` in slot order, beginning at `from`; and where to go on, if there may be more.
    #[must_use]
    pub fn page(&self, reach: &Reach, from: u32, limit: usize) -> (Vec<Record>, Option<u32>) {
        let sets: Vec<&BTreeSet<u32>> = match reach {
            Reach::All => return self.page_all(from, limit),
            Reach::Types(names) => names.iter().filter_map(|name| self.by_type.get(name)).collect(),
            Reach::Attributes(names) => names.iter().filter_map(|name| self.by_attribute.get(name)).collect(),
            Reach::Slots(slots) => {
                let rest = slots.get(slots.partition_point(|slot| *slot < from)..).unwrap_or_default();
                return (rest.iter().take(limit).filter_map(|slot| self.record(*slot).cloned()).collect(), rest.get(limit).copied());
            }
        };
        let range = (Bound::Included(from), Bound::Unbounded);
        let mut slots: Vec<u32> = sets.iter().flat_map(|set| set.range(range).take(limit + 1)).copied().collect();
        if sets.len() > 1 {
            slots.sort_unstable();
            slots.dedup();
        }
        let next = slots.get(limit).copied();
        slots.truncate(limit);
        (slots.into_iter().filter_map(|slot| self.record(slot).cloned()).collect(), next)
    }

    fn page_all(&self, from: u32, limit: usize) -> (Vec<Record>, Option<u32>) {
        let start = (from as usize).min(self.slots.len());
        let end = start.saturating_add(limit).min(self.slots.len());
        let records = self.slots.get(start..end).unwrap_or_default().iter().flatten().cloned().collect();
        (records, if end < self.slots.len() { u32::try_from(end).ok() } else { None })
    }

    /// How many records `reach` has at most.
    #[must_use]
    pub fn count(&self, reach: &Reach) -> usize {
        let sum =
            |index: &Map<Name, BTreeSet<u32>>, names: &[Name]| names.iter().filter_map(|name| index.get(name)).map(BTreeSet::len).sum();
        match reach {
            Reach::All => self.len(),
            Reach::Types(names) => sum(&self.by_type, names),
            Reach::Attributes(names) => sum(&self.by_attribute, names),
            Reach::Slots(slots) => slots.len(),
        }
    }

    /// The slots of all entities that may be in one of the boxes, in order, if these are far fewer than `reach` has.
    pub(super) fn narrowed(&self, reach: &Reach, boxes: &[Bounds]) -> Option<Vec<u32>> {
        let count = self.count(reach);
        (count > FEW).then(|| self.places.near(boxes, (count / NARROW).min(GATHERED)))?
    }

    /// Distinct types with the number of entities that have them.
    pub fn types(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.by_type.iter().map(|(name, slots)| (name, slots.len()))
    }

    /// Distinct attribute names with the number of entities that have them.
    pub fn attributes(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.by_attribute.iter().map(|(name, slots)| (name, slots.len()))
    }

    /// Puts a record in the place of an older one.
    pub fn put(&mut self, record: Record) {
        self.applied = self.applied.max(record.sequence);
        if let Some(slot) = self.slot_of(&record.path, &record.entity.id) {
            let Some(place) = self.slots.get_mut(slot as usize) else { return };
            let new = Arc::clone(&record.entity);
            if let Some(old) = place.replace(record) {
                self.reindex(slot, Some(&old.entity), Some(&new));
            }
            return;
        }
        let entity = Arc::clone(&record.entity);
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = Some(record);
                }
                slot
            }
            None => {
                self.slots.push(Some(record));
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |slot: &u32| slots.get(*slot as usize).and_then(Option::as_ref).map_or(0, |record| hasher.hash_one(&*record.entity.id));
        self.by_id.insert_unique(hasher.hash_one(&*entity.id), slot, hash);
        self.reindex(slot, None, Some(&entity));
    }

    /// Removes the entity.
    pub fn remove(&mut self, path: &str, id: &str, sequence: Sequence) {
        self.applied = self.applied.max(sequence);
        let Some(slot) = self.slot_of(path, id) else { return };
        let Some(old) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.free.push(slot);
        if let Ok(entry) = self.by_id.find_entry(self.hasher.hash_one(id), |present| *present == slot) {
            entry.remove();
        }
        self.reindex(slot, Some(&old.entity), None);
    }

    fn reindex(&mut self, slot: u32, old: Option<&Entity>, new: Option<&Entity>) {
        let types = |entity: Option<&Entity>| entity.map(|entity| entity.types.clone()).unwrap_or_default();
        if old.map(|entity| &entity.types) != new.map(|entity| &entity.types) {
            move_slot(&mut self.by_type, slot, types(old).iter(), types(new).iter());
        }
        let same_names = match (old, new) {
            (Some(old), Some(new)) => {
                old.attributes.len() == new.attributes.len()
                    && old.attributes.iter().zip(&new.attributes).all(|(old, new)| old.name == new.name)
            }
            _ => false,
        };
        if !same_names {
            let names = |entity: Option<&Entity>| -> Vec<Name> {
                entity.map(|entity| entity.attributes.iter().map(|attribute| attribute.name.clone()).collect()).unwrap_or_default()
            };
            move_slot(&mut self.by_attribute, slot, names(old).iter(), names(new).iter());
        }
        self.places.update(slot, old, new);
    }
}

fn move_slot<'a>(
    index: &mut Map<Name, BTreeSet<u32>>,
    slot: u32,
    old: impl Iterator<Item = &'a Name>,
    new: impl Iterator<Item = &'a Name>,
) {
    for name in old {
        if let Some(slots) = index.get_mut(name) {
            slots.remove(&slot);
            if slots.is_empty() {
                index.remove(name);
            }
        }
    }
    for name in new {
        match index.get_mut(name) {
            Some(slots) => {
                slots.insert(slot);
            }
            None => {
                index.insert(name.clone(), BTreeSet::from([slot]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_ngsi::{Attribute, Json, Timestamp};

    fn record(id: &str, kind: &str, attributes: &[&str], sequence: u64) -> Record {
        let mut entity = Entity::new(id, Some(kind), Timestamp(1));
        entity.attributes = attributes.iter().map(|name| Attribute::property(*name, Json::NULL, Timestamp(1))).collect();
        Record { entity: Arc::new(entity), path: "/".into(), version: sequence, sequence }
    }

    fn ids(records: &[Record]) -> Vec<&str> {
        records.iter().map(|record| record.entity.id.as_str()).collect()
    }

    fn all(space: &Space, reach: &Reach) -> Vec<Record> {
        space.page(reach, 0, usize::MAX - 1).0
    }

    #[test]
    fn indexes_follow_a_change_of_type_and_attributes() {
        let mut space = Space::default();
        space.put(record("a", "Car", &["speed"], 1));
        space.put(record("a", "Truck", &["load"], 2));
        assert!(all(&space, &Reach::Types(vec!["Car".into()])).is_empty());
        assert_eq!(ids(&all(&space, &Reach::Types(vec!["Truck".into()]))), ["a"]);
        assert!(all(&space, &Reach::Attributes(vec!["speed".into()])).is_empty());
        assert_eq!(ids(&all(&space, &Reach::Attributes(vec!["load".into()]))), ["a"]);
        assert_eq!(space.applied, 2);
    }

    #[test]
    fn one_id_on_two_service_paths_is_two_entities() {
        let mut space = Space::default();
        space.put(record("a", "Car", &[], 1));
        space.put(Record { path: "/other".into(), ..record("a", "Van", &[], 2) });
        assert_eq!(space.len(), 2);
        space.remove("/", "a", 3);
        assert_eq!(space.get(None, "a").map(|record| record.path.as_str()), Some("/other"));
        assert!(space.get(Some("/"), "a").is_none());
    }

    #[test]
    fn an_id_on_many_paths_is_found_in_the_order_of_arrival_and_on_each() {
        let mut space = Space::default();
        let paths: Vec<SmolStr> = (0..50).map(|number| SmolStr::from(format!("/{number}"))).collect();
        for (number, path) in paths.iter().enumerate() {
            space.put(Record { path: path.clone(), ..record("a", "Car", &[], number as u64 + 1) });
            space.put(record(&format!("other{number}"), "Car", &[], number as u64 + 1));
        }
        let found = |space: &Space| space.with_id("a").map(|record| record.path.clone()).collect::<Vec<_>>();
        assert_eq!(found(&space), paths);
        space.remove("/0", "a", 100);
        assert_eq!(found(&space), paths[1..]);
        assert_eq!(space.get(None, "a").map(|record| &record.path), Some(&paths[1]));
        assert_eq!(space.get(Some("/7"), "a").map(|record| &record.path), Some(&paths[7]));
        assert!(space.get(Some("/0"), "a").is_none() && space.get(None, "b").is_none());
    }

    #[test]
    fn pages_of_a_union_of_types_show_each_entity_once() {
        let mut space = Space::default();
        for number in 0..10 {
            space.put(record(&format!("e{number}"), if number % 2 == 0 { "A" } else { "B" }, &[], number + 1));
        }
        let reach = Reach::Types(vec!["A".into(), "B".into()]);
        let (mut from, mut seen) = (0, Vec::new());
        loop {
            let (records, next) = space.page(&reach, from, 3);
            seen.extend(records.iter().map(|record| record.entity.id.to_string()));
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen, (0..10).map(|number| format!("e{number}")).collect::<Vec<_>>());
    }
}
