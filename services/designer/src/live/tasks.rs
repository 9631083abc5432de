//! The table of task instances.
//!
//! Two sources feed it. A master of ours reports its whole table with the epoch of its lease; that is the truth. Workers
//! send `TASK_UPDATE`, which is faster, and the only source beside a master of upstream. An update is merged so that a
//! task which moved keeps its row when the old worker says late that it removed it (FAULT 33).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fogflow_orchestration::{MasterReport, TaskInfo, TaskRow, TaskState, TaskUpdate};

/// A master that reports has to be heard of within this time to count as the truth.
const REPORTS_LAST: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
struct Slot {
    row: TaskRow,
    generation: Option<u64>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskChange {
    /// It is new or different.
    Put {
        /// The row.
        row: Box<TaskRow>,
        /// Whether its state is another one than before.
        state_changed: bool,
    },
    /// It is gone.
    Removed(String),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct TaskTable {
    slots: BTreeMap<String, Slot>,
    epoch: u64,
    reported: Option<Instant>,
}

/// The report comes from a master that has lost its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OldEpoch {
    /// The newest epoch seen.
    pub newest: u64,
}

impl TaskTable {
    /// All rows in the order of their ids.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &TaskRow> {
        self.slots.values().map(|slot| &slot.row)
    }

    /// One row.
    pub(crate) fn get(&self, id: &str) -> Option<&TaskRow> {
        self.slots.get(id).map(|slot| &slot.row)
    }

    /// Whether a master of ours has reported lately.
    pub(crate) fn is_reported(&self, now: Instant) -> bool {
        self.reported.is_some_and(|at| now.duration_since(at) < REPORTS_LAST)
    }

    /// Merges a master's report.
    ///
    /// # Errors
    /// If its epoch is older than one seen; nothing is changed then.
    pub(crate) fn report(&mut self, report: &MasterReport, now: Instant) -> Result<Vec<TaskChange>, OldEpoch> {
        if report.epoch < self.epoch {
            return Err(OldEpoch { newest: self.epoch });
        }
        self.epoch = report.epoch;
        self.reported = Some(now);
        let mut changes = Vec::new();
        for row in &report.tasks {
            let mut row = row.clone();
            row.id.clone_from(&row.task_id);
            self.put(row, None, &mut changes);
        }
        let gone: Vec<String> = if report.full {
            let named: std::collections::HashSet<&str> = report.tasks.iter().map(|row| row.task_id.as_str()).collect();
            self.slots.keys().filter(|id| !named.contains(id.as_str())).cloned().collect()
        } else {
            report.removed_tasks.clone()
        };
        changes.extend(gone.into_iter().filter(|id| self.slots.remove(id).is_some()).map(TaskChange::Removed));
        Ok(changes)
    }

    /// Merges a worker's `TASK_UPDATE`; `from` is the sender of the envelope, which upstream's workers rely on.
    pub(crate) fn update(&mut self, update: &TaskUpdate, from: &str, now: Instant) -> Option<TaskChange> {
        let worker = if update.worker_id.is_empty() { from } else { &update.worker_id };
        let Some(slot) = self.slots.get(&update.task_id) else {
            // Beside a master that reports, an unknown task is one that was just removed, or not yet reported.
            if update.status == TaskState::Removed || update.task_id.is_empty() || self.is_reported(now) {
                return None;
            }
            return self.put_one(merged(TaskRow::default(), update, worker), update.generation);
        };
        let is_old = matches!((update.generation, slot.generation), (Some(new), Some(known)) if new < known);
        let from_other_worker = !slot.row.worker.is_empty() && slot.row.worker != worker;
        if is_old || (from_other_worker && (update.status == TaskState::Removed || self.is_reported(now))) {
            return None;
        }
        if update.status == TaskState::Removed {
            self.slots.remove(&update.task_id);
            return Some(TaskChange::Removed(update.task_id.clone()));
        }
        self.put_one(merged(slot.row.clone(), update, worker), update.generation)
    }

    /// Takes the endpoint from a `TASK_INFO` (`refURL=<url>; containerID=<id>`).
    pub(crate) fn info(&mut self, info: &TaskInfo) -> Option<TaskChange> {
        let url = info.info.split(';').find_map(|part| part.trim().strip_prefix("refURL="))?;
        let mut row = self.get(&info.task_id)?.clone();
        url.clone_into(&mut row.endpoint);
        self.put_one(row, None)
    }

    fn put_one(&mut self, row: TaskRow, generation: Option<u64>) -> Option<TaskChange> {
        let mut changes = Vec::new();
        self.put(row, generation, &mut changes);
        changes.pop()
    }

    fn put(&mut self, row: TaskRow, generation: Option<u64>, changes: &mut Vec<TaskChange>) {
        let known = self.slots.get(&row.task_id);
        let generation = generation.or_else(|| known.and_then(|slot| slot.generation));
        if known.is_none_or(|slot| slot.row != row) {
            let state_changed = known.is_none_or(|slot| slot.row.status != row.status || slot.row.worker != row.worker);
            changes.push(TaskChange::Put { row: Box::new(row.clone()), state_changed });
        }
        self.slots.insert(row.task_id.clone(), Slot { row, generation });
    }
}

/// The row after an update. What the update leaves out stays as it was.
fn merged(mut row: TaskRow, update: &TaskUpdate, worker: &str) -> TaskRow {
    let moved = row.worker != worker;
    row.task_id.clone_from(&update.task_id);
    row.id.clone_from(&update.task_id);
    worker.clone_into(&mut row.worker);
    if moved {
        row.endpoint.clear();
        row.restarts = 0;
    }
    for (old, new) in [
        (&mut row.topology_name, &update.topology_name),
        (&mut row.task_name, &update.task_name),
        (&mut row.service_intent_id, &update.service_intent_id),
        (&mut row.endpoint, &update.endpoint),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    if row.status != update.status || moved || row.since.is_empty() {
        row.since = if update.since.is_empty() { super::now() } else { update.since.clone() };
    }
    row.status = update.status;
    row.reason.clone_from(&update.reason);
    row.restarts = row.restarts.max(update.restarts);
    row
}
