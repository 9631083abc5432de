//! Which subscriptions a change concerns.
//!
//! An index from what a change has (its entity's id, types, attribute names) to the subscriptions that could match; only
//! those are tested in full. So an update costs as much as the subscriptions that match it, not as those that exist:
//!
//! ```text
//! tenant -> id | type | anything -> { every change | entity has attribute N | write names attribute N } -> subscriptions
//! ```

mod bucket;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_ngsi::{Attribute, Entity, Name, Tenant};
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::change::Change;
use crate::filter::{EntitySelector, Filter};
use crate::subscription::{AttributeTrigger, Subscription, Trigger};
use bucket::Bucket;

type Map<K, V> = HashMap<K, V, RandomState>;

/// A subscription under the matcher's eyes, with what the notifier keeps for it.
#[derive(Debug)]
pub struct Watch<T> {
    /// The subscription.
    pub subscription: Arc<Subscription>,
    /// Its compiled conditions.
    pub filter: Filter,
    /// Whatever belongs to it.
    pub payload: T,
}

/// A shared [`Watch`].
pub type SharedWatch<T> = Arc<Watch<T>>;

/// The index over subscriptions.
#[derive(Debug)]
pub struct Matcher<T> {
    tenants: Map<Tenant, Index<T>>,
    watches: Map<(Tenant, SmolStr), SharedWatch<T>>,
}

#[derive(Debug)]
struct Index<T> {
    by_id: Map<SmolStr, Bucket<T>>,
    by_type: Map<Name, Bucket<T>>,
    anything: Bucket<T>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index { by_id: Map::default(), by_type: Map::default(), anything: Bucket::default() }
    }
}

impl<T> Default for Matcher<T> {
    fn default() -> Self {
        Matcher { tenants: Map::default(), watches: Map::default() }
    }
}

/// Where a selector is filed.
enum Place<'a> {
    Id(&'a SmolStr),
    Types(&'a [Name]),
    Anything,
}

fn place(selector: &EntitySelector) -> Place<'_> {
    match &selector.id {
        Some(id) => Place::Id(id),
        None if !selector.types.is_empty() => Place::Types(&selector.types),
        None => Place::Anything,
    }
}

impl<T> Matcher<T> {
    /// Files a subscription; one with the same tenant and id is replaced and returned.
    pub fn insert(&mut self, watch: SharedWatch<T>) -> Option<SharedWatch<T>> {
        let key = (watch.subscription.tenant.clone(), watch.subscription.id.clone());
        let old = self.remove(&key.0, &key.1);
        let index = self.tenants.entry(key.0.clone()).or_default();
        for selector in &watch.subscription.entities {
            match place(selector) {
                Place::Id(id) => index.by_id.entry(id.clone()).or_default().insert(&watch),
                Place::Types(types) => {
                    for name in types {
                        index.by_type.entry(name.clone()).or_default().insert(&watch);
                    }
                }
                Place::Anything => index.anything.insert(&watch),
            }
        }
        self.watches.insert(key, watch);
        old
    }

    /// Takes a subscription out.
    pub fn remove(&mut self, tenant: &Tenant, id: &str) -> Option<SharedWatch<T>> {
        let watch = self.watches.remove(&(tenant.clone(), SmolStr::new(id)))?;
        if let Some(index) = self.tenants.get_mut(tenant) {
            for selector in &watch.subscription.entities {
                match place(selector) {
                    Place::Id(id) => prune(&mut index.by_id, id, &watch),
                    Place::Types(types) => types.iter().for_each(|name| prune(&mut index.by_type, name, &watch)),
                    Place::Anything => {
                        index.anything.remove(&watch);
                    }
                }
            }
        }
        Some(watch)
    }

    /// The subscription with this id.
    #[must_use]
    pub fn get(&self, tenant: &Tenant, id: &str) -> Option<&SharedWatch<T>> {
        self.watches.get(&(tenant.clone(), SmolStr::new(id)))
    }

    /// All subscriptions.
    pub fn watches(&self) -> impl Iterator<Item = &SharedWatch<T>> {
        self.watches.values()
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Gives every subscription that the change concerns to `found`, each once.
    pub fn matching(&self, change: &Change, mut found: impl FnMut(&SharedWatch<T>)) {
        let Some(index) = self.tenants.get(&change.key.tenant) else { return };
        let Some(subject) = change.subject() else { return };
        let mut candidates: SmallVec<[&SharedWatch<T>; 8]> = SmallVec::new();
        let types = subject.types.iter().filter_map(|name| index.by_type.get(name));
        for bucket in index.by_id.get(&subject.id).into_iter().chain(types).chain([&index.anything]) {
            bucket.candidates(subject, &change.written, &mut candidates);
        }
        if candidates.len() > 1 {
            candidates.sort_unstable_by_key(|watch| Arc::as_ptr(watch) as usize);
            candidates.dedup_by(|a, b| Arc::ptr_eq(a, b));
        }
        for watch in candidates {
            if concerns(&watch.subscription, &watch.filter, change) {
                found(watch);
            }
        }
    }
}

/// Whether a change is to be told to a subscription, whatever the index says. The index only leaves out what fails here.
#[must_use]
pub fn concerns(subscription: &Subscription, filter: &Filter, change: &Change) -> bool {
    let Some(subject) = change.subject() else { return false };
    let own = !change.correlator.is_empty() && change.correlator == subscription.correlator;
    !own && !change.silent
        && (triggered(&subscription.trigger, change) || attribute_triggered(subscription, change))
        && (subscription.watched.is_empty() || change.written.iter().any(|name| subscription.watched.contains(name)))
        && filter.matches(&change.key.path, subject)
}

fn triggered(trigger: &Trigger, change: &Change) -> bool {
    match (&change.before, &change.after) {
        (_, None) => trigger.deleted,
        (None, Some(_)) => trigger.created,
        (Some(before), Some(after)) => trigger.updated && (!trigger.only_modified || modified(before, after, change)),
    }
}

/// Whether something happened to a watched attribute that the subscription wants to know.
fn attribute_triggered(subscription: &Subscription, change: &Change) -> bool {
    let wanted = subscription.trigger.attributes;
    if wanted == AttributeTrigger::NONE {
        return false;
    }
    let instances = |entity: &Option<Arc<Entity>>| -> Vec<Attribute> {
        let watched = |attribute: &&Attribute| subscription.watched.is_empty() || subscription.watched.contains(&attribute.name);
        let written = |attribute: &&Attribute| change.written.contains(&attribute.name);
        entity.iter().flat_map(|entity| entity.attributes.iter().filter(watched).filter(written)).cloned().collect()
    };
    let (before, after) = (instances(&change.before), instances(&change.after));
    let is_in = |list: &[Attribute], one: &Attribute| list.iter().any(|other| other.same_instance(one));
    wanted.created && after.iter().any(|one| !is_in(&before, one))
        || wanted.updated && after.iter().any(|one| before.iter().any(|old| old.same_instance(one) && old.modified_at != one.modified_at))
        || wanted.deleted && before.iter().any(|one| !is_in(&after, one))
}

fn modified(before: &fogflow_ngsi::Entity, after: &fogflow_ngsi::Entity, change: &Change) -> bool {
    change.written.iter().any(|name| {
        let values = |entity: &fogflow_ngsi::Entity| -> Vec<_> {
            entity.attributes.iter().filter(|attribute| attribute.name == *name).map(|attribute| attribute.value.clone()).collect()
        };
        let (old, new) = (values(before), values(after));
        old.len() != new.len() || old.iter().zip(&new).any(|(old, new)| !old.means(new))
    })
}

fn prune<K: std::hash::Hash + Eq, T>(index: &mut Map<K, Bucket<T>>, key: &K, watch: &SharedWatch<T>) {
    if let Some(bucket) = index.get_mut(key)
        && bucket.remove(watch)
    {
        index.remove(key);
    }
}
