//! One batch in the making: commands merged on the committed state, grouped by entity.
//!
//! Writes of one entity within a batch form one atomic group, because each is merged on the one before. An entity with
//! a write on its way takes no further one until that is settled: a version number alone cannot tell our own predicted
//! write from another replica's, so a later batch may not build on an unsettled one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use fogflow_ngsi::{Entity, EntityKey, Timestamp};
use fogflow_store::{Batch, Expect, Outcome, Sequence, Version, Write};
use foldhash::fast::RandomState;

use super::State;
use super::document;
use super::merge::merge;
use crate::change::{Change, Names, Origin};
use crate::command::{Action, Command, Effect, Refusal};
use fogflow_ngsi::Name;

/// One element of a job.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) command: Command,
    /// The job and the place of the answer in it.
    pub(super) job: u64,
    pub(super) place: usize,
}

/// A merged command that waits for the store.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) item: Item,
    pub(super) before: Option<Arc<Entity>>,
    pub(super) after: Option<Arc<Entity>>,
    pub(super) effect: Effect,
    pub(super) written: Names,
    pub(super) skipped: Vec<Name>,
    expect: Expect,
    value: Option<bytes::Bytes>,
}

impl Staged {
    /// The change that the write is; to be asked for once.
    pub(super) fn change(&mut self, key: &EntityKey, origin: Origin, sequence: Sequence) -> Change {
        Change {
            key: key.clone(),
            before: self.before.take(),
            after: self.after.clone(),
            written: std::mem::take(&mut self.written),
            correlator: origin.correlator,
            trace: origin.trace,
            sequence,
            silent: matches!(self.item.command.action, Action::GiveAway(_)),
            v1: OnceLock::new(),
        }
    }
}

/// The staged writes of one entity.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: EntityKey,
    pub(super) staged: Vec<Staged>,
}

/// A batch in the making.
#[derive(Debug, Default)]
pub(super) struct Staging {
    pub(super) groups: Vec<Group>,
    by_key: HashMap<EntityKey, usize, RandomState>,
    writes: usize,
}

impl Staging {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The number of writes.
    pub(super) fn len(&self) -> usize {
        self.writes
    }

    /// Merges one command on the committed state or on what is staged before it.
    pub(super) fn add(&mut self, state: &State, item: Item, now: Timestamp) -> Result<(), Box<(Item, Refusal)>> {
        let group = self.by_key.get(&item.command.key).copied();
        let last = group.and_then(|group| self.groups.get(group)).and_then(|group| group.staged.last());
        let (before, expect) = match last {
            Some(staged) => (staged.after.clone(), Expect::Any),
            None => match state.record(&item.command.key) {
                Some(record) => (Some(record.entity), Expect::Version(record.version)),
                None => (None, Expect::Absent),
            },
        };
        let merged = match merge(before.as_deref(), &item.command.action, now) {
            Ok(merged) => merged,
            Err(refusal) => return Err(Box::new((item, refusal))),
        };
        let value = merged.after.as_ref().map(document::encode);
        let key = item.command.key.clone();
        let staged = Staged {
            item,
            before,
            after: merged.after.map(Arc::new),
            effect: merged.effect,
            written: merged.written,
            skipped: merged.skipped,
            expect,
            value,
        };
        self.writes += 1;
        match group.and_then(|group| self.groups.get_mut(group)) {
            Some(group) => group.staged.push(staged),
            None => {
                self.by_key.insert(key.clone(), self.groups.len());
                self.groups.push(Group { key, staged: vec![staged] });
            }
        }
        Ok(())
    }

    /// Adds to the values what other replicas need to know, and gives the change that each write will be.
    pub(super) fn describe(&mut self, origin: impl Fn(u64) -> Origin) -> Vec<Vec<Change>> {
        let describe = |key: &EntityKey, staged: &mut Staged| {
            let origin = origin(staged.item.job);
            if let Some(value) = &mut staged.value {
                let written = staged.written.to_vec();
                let about = document::About { written, correlator: origin.correlator.clone(), trace: origin.trace.clone() };
                *value = document::annotate(value, &about);
            }
            staged.change(key, origin, 0)
        };
        self.groups.iter_mut().map(|group| group.staged.iter_mut().map(|staged| describe(&group.key, staged)).collect()).collect()
    }

    /// What the store is asked to do; takes the values out of the staged writes.
    pub(super) fn batch(&mut self) -> Batch {
        let groups = self.groups.iter_mut().map(|group| {
            let key = document::store_key(&group.key);
            let write = |staged: &mut Staged| Write { key: key.clone(), expect: staged.expect, value: staged.value.take() };
            group.staged.iter_mut().map(write).collect()
        });
        Batch { groups: groups.collect() }
    }
}

/// What the store said of one group.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Version and sequence of each write.
    Committed(Vec<(Version, u64)>),
    /// Another replica was first; carries what stands there now.
    Conflict(Option<fogflow_store::Document>),
}

/// Splits the outcomes of a batch into one verdict per group.
pub(super) fn verdicts(groups: &[Group], outcomes: Vec<Outcome>) -> Vec<Verdict> {
    let mut outcomes = outcomes.into_iter();
    groups
        .iter()
        .map(|group| {
            let mut committed = Vec::with_capacity(group.staged.len());
            let mut conflict = None;
            for outcome in outcomes.by_ref().take(group.staged.len()) {
                match outcome {
                    Outcome::Committed { version, sequence } => committed.push((version, sequence)),
                    Outcome::Conflict(document) => conflict = Some(document),
                    Outcome::GroupAborted => {}
                }
            }
            if committed.len() == group.staged.len() { Verdict::Committed(committed) } else { Verdict::Conflict(conflict.flatten()) }
        })
        .collect()
}
