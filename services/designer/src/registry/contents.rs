//! The contents of the registry: one shelf per kind, cheap to copy (shelves are shared until one is changed).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fogflow_orchestration::{FogFunction, Operator, ServiceIntent, Topology};
use fogflow_store::{Document, Sequence, Version};

use crate::records::{BrokerRemoval, Device, ForwardedSubscription, OutgoingMessage, Record, Service};

/// A stored value with its place in the store.
#[derive(Clone, Debug)]
pub(crate) struct Entry<R> {
    /// Version of the document.
    pub version: Version,
    /// Sequence of the commit that wrote it.
    pub sequence: Sequence,
    /// The value.
    pub value: Arc<R>,
}

/// All values of one kind by id.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<R>(Arc<BTreeMap<String, Entry<R>>>);

impl<R> Default for Shelf<R> {
    fn default() -> Self {
        Shelf(Arc::new(BTreeMap::new()))
    }
}

impl<R: Clone> Shelf<R> {
    /// The value of this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<R>> {
        self.0.get(id).map(|entry| &entry.value)
    }

    /// The value of this id with its place in the store.
    pub(crate) fn entry(&self, id: &str) -> Option<&Entry<R>> {
        self.0.get(id)
    }

    /// Whether there is one.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Ids and values in the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Arc<R>)> {
        self.0.iter().map(|(id, entry)| (id, &entry.value))
    }

    /// Entries in the order of ids.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&String, &Entry<R>)> {
        self.0.iter()
    }

    /// The values in the order of ids.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<R>> {
        self.0.values().map(|entry| &entry.value)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn map_mut(&mut self) -> &mut BTreeMap<String, Entry<R>> {
        Arc::make_mut(&mut self.0)
    }
}

/// The collections, in the order in which they are loaded.
pub(super) const COLLECTIONS: [&str; 9] = [
    Operator::COLLECTION,
    Topology::COLLECTION,
    Service::COLLECTION,
    ServiceIntent::COLLECTION,
    FogFunction::COLLECTION,
    Device::COLLECTION,
    ForwardedSubscription::COLLECTION,
    OutgoingMessage::COLLECTION,
    BrokerRemoval::COLLECTION,
];

/// Whether a master's plan depends on this collection.
pub(super) fn is_planned(collection: &str) -> bool {
    [Operator::COLLECTION, Topology::COLLECTION, ServiceIntent::COLLECTION, FogFunction::COLLECTION].contains(&collection)
}

/// Whether the cloud broker has to follow this collection.
pub(super) fn is_kept_at_broker(collection: &str) -> bool {
    [Device::COLLECTION, ForwardedSubscription::COLLECTION, BrokerRemoval::COLLECTION].contains(&collection)
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    /// Operators by name.
    pub operators: Shelf<Operator>,
    /// Topologies by name, those of fog functions included.
    pub topologies: Shelf<Topology>,
    /// Services by name of their topology.
    pub services: Shelf<Service>,
    /// Intents by id, without those of fog functions.
    pub intents: Shelf<ServiceIntent>,
    /// Fog functions by name.
    pub functions: Shelf<FogFunction>,
    /// Devices by entity id.
    pub devices: Shelf<Device>,
    /// Forwarded subscriptions by our own id.
    pub subscriptions: Shelf<ForwardedSubscription>,
    /// Messages that the bus has not taken yet.
    pub outbox: Shelf<OutgoingMessage>,
    /// What the cloud broker has still to lose.
    pub removals: Shelf<BrokerRemoval>,
    /// Deletions newer than the position in the feed: an older write of the same document, met there later, is no news.
    removed: HashMap<(&'static str, String), Sequence>,
}

impl Contents {
    /// Takes over a document; `false` if it is no news.
    pub(super) fn apply(&mut self, document: &Document) -> bool {
        match document.key.collection.as_str() {
            Operator::COLLECTION => self.apply_as::<Operator>(document),
            Topology::COLLECTION => self.apply_as::<Topology>(document),
            Service::COLLECTION => self.apply_as::<Service>(document),
            ServiceIntent::COLLECTION => self.apply_as::<ServiceIntent>(document),
            FogFunction::COLLECTION => self.apply_as::<FogFunction>(document),
            Device::COLLECTION => self.apply_as::<Device>(document),
            ForwardedSubscription::COLLECTION => self.apply_as::<ForwardedSubscription>(document),
            OutgoingMessage::COLLECTION => self.apply_as::<OutgoingMessage>(document),
            BrokerRemoval::COLLECTION => self.apply_as::<BrokerRemoval>(document),
            _ => false,
        }
    }

    fn apply_as<R: Record>(&mut self, document: &Document) -> bool {
        let id = document.key.id.to_string();
        let known = R::shelf(self).entry(&id).map(|entry| entry.sequence);
        let removed = self.removed.get(&(R::COLLECTION, id.clone())).copied();
        if known.into_iter().chain(removed).any(|sequence| sequence >= document.sequence) {
            return false;
        }
        let Some(bytes) = &document.value else {
            let had = R::shelf_mut(self).map_mut().remove(&id).is_some();
            self.removed.insert((R::COLLECTION, id), document.sequence);
            return had;
        };
        match serde_json::from_slice::<R>(bytes) {
            Ok(value) => {
                self.removed.remove(&(R::COLLECTION, id.clone()));
                let entry = Entry { version: document.version, sequence: document.sequence, value: Arc::new(value) };
                R::shelf_mut(self).map_mut().insert(id, entry);
                true
            }
            Err(error) => {
                tracing::error!(collection = R::COLLECTION, %id, %error, "a stored document cannot be read and is left out");
                false
            }
        }
    }

    /// Forgets deletions up to this position of the feed.
    pub(super) fn forget_removals_until(&mut self, position: Sequence) {
        self.removed.retain(|_, sequence| *sequence > position);
    }

    /// Names of topologies and functions that run this operator.
    pub(crate) fn users_of_operator(&self, operator: &str) -> Vec<String> {
        self.topologies
            .iter()
            .filter(|(_, topology)| topology.tasks.iter().any(|task| task.operator == operator))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Intents that ask for something now: the stored ones, and those of enabled fog functions.
    pub(crate) fn active_intents(&self) -> impl Iterator<Item = &ServiceIntent> {
        let of_functions = self.functions.values().filter(|function| function.status == "enabled").map(|function| &function.intent);
        self.intents.values().map(Arc::as_ref).chain(of_functions)
    }
}
