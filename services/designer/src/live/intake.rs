//! What changes the picture.

use std::collections::BTreeMap;
use std::time::Instant;

use fogflow_client::BrokerRecord;
use fogflow_orchestration::{MasterProfile, TaskState, WorkerProfile};
use serde::Serialize;
use serde_json::json;

use super::change::Change;
use super::tasks::TaskChange;
use super::{Hub, Picture, ServiceRow, State, now};
use crate::registry::Changed;

/// Entities told to browsers per step.
const TOLD_PER_STEP: usize = 100;

impl Hub {
    /// Changes the picture of this process alone.
    ///
    /// # Errors
    /// Whatever `plan` refuses.
    pub(crate) fn change<E>(&self, plan: impl FnOnce(&Picture) -> Result<Vec<Change>, E>) -> Result<(), E> {
        let mut state = self.state.lock();
        let changes = plan(&state.picture)?;
        changes.into_iter().for_each(|change| state.apply(change));
        Ok(())
    }

    /// Takes changes over, and tells readers of those that are news.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let mut state = self.state.lock();
        changes.into_iter().for_each(|change| state.apply(change));
    }

    /// The workers that a master lists; used while no master of ours reports.
    pub(crate) fn workers_listed(&self, workers: Vec<WorkerProfile>) {
        let mut state = self.state.lock();
        if state.picture.tasks.is_reported(Instant::now()) {
            return;
        }
        workers.iter().for_each(|worker| state.put_worker(worker));
        let State { picture, frames } = &mut *state;
        retain(
            &mut picture.workers,
            |id| workers.iter().any(|worker| worker.id == id),
            |id| {
                frames.push("workerRemoved", &json!({"id": id}));
            },
        );
    }

    /// A master that answered a probe.
    pub(crate) fn master_seen(&self, master: MasterProfile) {
        let mut state = self.state.lock();
        let changes = state.picture.master_joined(&master);
        changes.into_iter().for_each(|change| state.apply(change));
    }

    /// A master that no longer answers.
    pub(crate) fn master_left(&self, id: &str) {
        let mut state = self.state.lock();
        let changes = state.picture.master_left(id);
        changes.into_iter().for_each(|change| state.apply(change));
    }

    /// The brokers that discovery lists.
    pub(crate) fn brokers_listed(&self, brokers: Vec<BrokerRecord>) {
        let mut state = self.state.lock();
        let State { picture, frames } = &mut *state;
        retain(
            &mut picture.brokers,
            |id| brokers.iter().any(|broker| broker.id == id),
            |id| {
                frames.push("brokerRemoved", &json!({"id": id}));
            },
        );
        for broker in brokers {
            if state.picture.brokers.get(&broker.id) != Some(&broker) {
                state.frames.push("broker", &broker);
                state.picture.brokers.insert(broker.id.clone(), broker);
            }
        }
    }

    /// What a probe of a service found: its version and whether it is ready, or why it did not answer.
    pub(crate) fn probed(&self, name: &str, url: &str, found: Result<(String, Option<bool>), String>) {
        let mut state = self.state.lock();
        let old = state.picture.services.get(name).cloned();
        let mut row = old.clone().unwrap_or_else(|| ServiceRow { name: name.to_owned(), ..Default::default() });
        url.clone_into(&mut row.url);
        match found {
            Ok((version, ready)) => {
                row.up = true;
                if state.picture.was_up.insert(name.to_owned()) {
                    row.last_error.clear();
                }
                row.version = version;
                row.ready = ready;
            }
            Err(error) => {
                row.up = false;
                row.ready = None;
                row.last_error = error;
            }
        }
        if old.as_ref().is_none_or(|old| old.up != row.up) {
            row.since = now();
            if row.up {
                state.tell("info", "service", format!("{name} is up"));
            } else if old.is_some() {
                state.tell("error", "service", format!("{name} does not answer: {}", row.last_error));
            }
        }
        if old.as_ref() != Some(&row) {
            state.frames.push("service", &row);
            state.picture.services.insert(name.to_owned(), row);
        }
    }

    /// Forgets services that are no longer probed.
    pub(crate) fn services_kept(&self, keep: impl Fn(&str) -> bool) {
        let mut state = self.state.lock();
        let State { picture, frames } = &mut *state;
        retain(&mut picture.services, keep, |name| frames.push("serviceRemoved", &json!({"name": name})));
    }

    /// Tells readers of entities that changed. Called ten times a second: an entity is told at most as often.
    pub(crate) fn tell_entities(&self) {
        let mut state = self.state.lock();
        for row in state.picture.entities.take_untold(TOLD_PER_STEP) {
            state.frames.push("entity", &row);
        }
    }

    /// Changes of the registry.
    pub(crate) fn registry_changed(&self, changes: &[Changed], generation: u64) {
        #[derive(Serialize)]
        struct Told<'a> {
            kind: &'a str,
            id: &'a str,
            removed: bool,
            generation: u64,
        }
        let mut state = self.state.lock();
        state.picture.registry = generation;
        for change in changes.iter().filter(|change| change.collection != "outbox" && change.collection != "removals") {
            let told = Told { kind: &change.collection, id: &change.id, removed: change.removed, generation };
            state.frames.push("registry", &told);
        }
    }
}

impl State {
    /// Takes a change over, and tells readers of it if it is news.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Leader(leader) => {
                self.picture.tasks.heard(leader.epoch, Instant::now());
                self.picture.leader = leader;
            }
            Change::Master(id, Some(master)) => {
                if self.picture.masters.get(&id) != Some(&master) {
                    self.frames.push("master", &master);
                    self.picture.masters.insert(id, *master);
                }
            }
            Change::Master(id, None) => {
                if self.picture.masters.remove(&id).is_some() {
                    self.frames.push("masterRemoved", &json!({"id": id}));
                }
            }
            Change::Worker(_, Some(worker)) => self.put_worker(&worker),
            Change::Worker(id, None) => {
                if self.picture.workers.remove(&id).is_some() {
                    self.frames.push("workerRemoved", &json!({"id": id}));
                }
            }
            Change::Intent(id, Some(intent)) => {
                if self.picture.intents.get(&id) != Some(&intent) {
                    if intent.status == "failed" {
                        self.tell("error", "intent", format!("{id} failed: {}", intent.reason));
                    }
                    self.frames.push("intent", &intent);
                    self.picture.intents.insert(id, *intent);
                }
            }
            Change::Intent(id, None) => {
                if self.picture.intents.remove(&id).is_some() {
                    self.frames.push("intentRemoved", &json!({"id": id}));
                }
            }
            Change::Task(id, slot) => {
                if let Some(change) = self.picture.tasks.put((id, slot.map(|slot| *slot))) {
                    self.tell_task(change);
                }
            }
            Change::Entity(_, Some(row)) => {
                let time = jiff::Timestamp::now().as_millisecond();
                #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
                self.picture.history.add(&row.id, &row.attributes, time as f64 / 1000.0);
                self.picture.entities.put(*row);
            }
            Change::Entity(id, None) => {
                self.picture.history.remove(&id);
                if self.picture.entities.remove(&id) {
                    self.frames.push("entityRemoved", &json!({"id": id}));
                }
            }
        }
    }

    fn put_worker(&mut self, worker: &WorkerProfile) {
        let known = self.picture.workers.get(&worker.id);
        if known.is_none() {
            self.tell("info", "worker", format!("{} joined", worker.id));
        }
        if self.picture.workers.get(&worker.id) != Some(worker) {
            self.frames.push("worker", worker);
            self.picture.workers.insert(worker.id.clone(), worker.clone());
        }
    }

    fn tell_task(&mut self, change: TaskChange) {
        match change {
            TaskChange::Put { row, state_changed } => {
                if state_changed && row.status == TaskState::Failed {
                    self.tell("error", "task", format!("{} failed on {}: {}", row.task_id, row.worker, row.reason));
                } else if state_changed && row.status == TaskState::Running {
                    self.tell("info", "task", format!("{} runs on {}", row.task_id, row.worker));
                }
                self.frames.push("task", &row);
            }
            TaskChange::Removed(id) => {
                self.tell("info", "task", format!("{id} was removed"));
                self.frames.push("taskRemoved", &json!({"ID": id, "TaskID": id}));
            }
        }
    }
}

fn retain<V>(map: &mut BTreeMap<String, V>, keep: impl Fn(&str) -> bool, mut gone: impl FnMut(&str)) {
    map.retain(|id, _| {
        let kept = keep(id);
        if !kept {
            gone(id);
        }
        kept
    });
}
