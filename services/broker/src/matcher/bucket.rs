//! The subscriptions of one place in the index, split by the attribute that they depend on.

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_ngsi::{Entity, Name};
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::SharedWatch;
use crate::change::Names;

#[derive(Debug)]
pub(super) struct Bucket<T> {
    /// Told of every change.
    always: Vec<SharedWatch<T>>,
    /// The entity must have the attribute; filed under the first of those that it must have.
    having: HashMap<Name, Vec<SharedWatch<T>>, RandomState>,
    /// The write must name the attribute; filed under each of those that are watched.
    writing: HashMap<Name, Vec<SharedWatch<T>>, RandomState>,
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Bucket { always: Vec::new(), having: HashMap::default(), writing: HashMap::default() }
    }
}

impl<T> Bucket<T> {
    pub(super) fn insert(&mut self, watch: &SharedWatch<T>) {
        let subscription = &watch.subscription;
        if !subscription.watched.is_empty() {
            for name in &subscription.watched {
                add(self.writing.entry(name.clone()).or_default(), watch);
            }
        } else if let Some(name) = subscription.required.first() {
            add(self.having.entry(name.clone()).or_default(), watch);
        } else {
            add(&mut self.always, watch);
        }
    }

    /// Takes a subscription out; says whether the bucket is empty now.
    pub(super) fn remove(&mut self, watch: &SharedWatch<T>) -> bool {
        let gone = |list: &mut Vec<SharedWatch<T>>| {
            list.retain(|other| !Arc::ptr_eq(other, watch));
            list.is_empty()
        };
        gone(&mut self.always);
        for name in watch.subscription.watched.iter() {
            if self.writing.get_mut(name).is_some_and(gone) {
                self.writing.remove(name);
            }
        }
        if let Some(name) = watch.subscription.required.first()
            && self.having.get_mut(name).is_some_and(gone)
        {
            self.having.remove(name);
        }
        self.always.is_empty() && self.having.is_empty() && self.writing.is_empty()
    }

    pub(super) fn candidates<'a>(&'a self, subject: &Entity, written: &Names, found: &mut SmallVec<[&'a SharedWatch<T>; 8]>) {
        found.extend(&self.always);
        if !self.having.is_empty() {
            found.extend(subject.attributes.iter().filter_map(|attribute| self.having.get(&attribute.name)).flatten());
        }
        if !self.writing.is_empty() {
            found.extend(written.iter().filter_map(|name| self.writing.get(name)).flatten());
        }
    }
}

fn add<T>(list: &mut Vec<SharedWatch<T>>, watch: &SharedWatch<T>) {
    if !list.iter().rev().take(1).any(|last| Arc::ptr_eq(last, watch)) {
        list.push(Arc::clone(watch));
    }
}
