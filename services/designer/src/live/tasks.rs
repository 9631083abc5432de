//! The table of task instances.
//!
//! Two sources feed it. A master of ours reports its whole table with the epoch of its lease; that is the truth. Workers
//! send `TASK_UPDATE`, which is faster, and the only source beside a master of upstream. An update is merged so that a
//! task which moved keeps its row when the old worker says late that it removed it (FAULT 33).
//!
//! Deciding and changing are apart: what a report or an update makes of the rows is told as [`NewRow`]s, which replicas
//! share before each of them puts them into its table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fogflow_orchestration::{MasterReport, TaskInfo, TaskRow, TaskState, TaskUpdate};
use serde::{Deserialize, Serialize};

/// A master that reports has to be heard of within this time to count as the truth.
const REPORTS_LAST: Duration = Duration::from_secs(15);

/// A row, and the generation of the order that its worker acted on last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Slot {
    /// The row.
    pub row: TaskRow,
    /// As the worker's last update said, if it did.
    pub generation: Option<u64>,
}

/// A task's id and what its slot becomes; `None` when the task is gone.
pub(crate) type NewRow = (String, Option<Slot>);

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
    /// The ids of all rows.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.slots.keys()
    }

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

    /// A master of this epoch has reported, here or to another replica.
    pub(crate) fn heard(&mut self, epoch: u64, now: Instant) {
        self.epoch = self.epoch.max(epoch);
        self.reported = Some(now);
    }

    /// What a master's report makes of the rows.
    ///
    /// # Errors
    /// If its epoch is older than one seen.
    pub(crate) fn report(&self, report: &MasterReport) -> Result<Vec<NewRow>, OldEpoch> {
        if report.epoch < self.epoch {
            return Err(OldEpoch { newest: self.epoch });
        }
        let mut rows = Vec::new();
        for row in &report.tasks {
            let row = TaskRow { id: row.task_id.clone(), ..row.clone() };
            rows.extend(self.differing(row, None));
        }
        let gone: Vec<String> = if report.full {
            let named: std::collections::HashSet<&str> = report.tasks.iter().map(|row| row.task_id.as_str()).collect();
            self.slots.keys().filter(|id| !named.contains(id.as_str())).cloned().collect()
        } else {
            report.removed_tasks.iter().filter(|id| self.slots.contains_key(*id)).cloned().collect()
        };
        rows.extend(gone.into_iter().map(|id| (id, None)));
        Ok(rows)
    }

    /// What a worker's `TASK_UPDATE` makes of its row; `from` is the sender of the envelope, which upstream's workers rely on.
    pub(crate) fn update(&self, update: &TaskUpdate, from: &str, now: Instant) -> Option<NewRow> {
        let worker = if update.worker_id.is_empty() { from } else { &update.worker_id };
        let Some(slot) = self.slots.get(&update.task_id) else {
            // Beside a master that reports, an unknown task is one that was just removed, or not yet reported.
            if update.status == TaskState::Removed || update.task_id.is_empty() || self.is_reported(now) {
                return None;
            }
            return self.differing(merged(TaskRow::default(), update, worker), update.generation);
        };
        let is_old = matches!((update.generation, slot.generation), (Some(new), Some(known)) if new < known);
        let from_other_worker = !slot.row.worker.is_empty() && slot.row.worker != worker;
        if is_old || (from_other_worker && (update.status == TaskState::Removed || self.is_reported(now))) {
            return None;
        }
        if update.status == TaskState::Removed {
            return Some((update.task_id.clone(), None));
        }
        self.differing(merged(slot.row.clone(), update, worker), update.generation)
    }

    /// What a `TASK_INFO` (`refURL=<url>; containerID=<id>`) makes of its row: it has the endpoint.
    pub(crate) fn info(&self, info: &TaskInfo) -> Option<NewRow> {
        let url = info.info.split(';').find_map(|part| part.trim().strip_prefix("refURL="))?;
        let mut row = self.get(&info.task_id)?.clone();
        url.clone_into(&mut row.endpoint);
        self.differing(row, None)
    }

    /// The slot with this row, unless it stands so already.
    fn differing(&self, row: TaskRow, generation: Option<u64>) -> Option<NewRow> {
        let known = self.slots.get(&row.task_id);
        let generation = generation.or_else(|| known.and_then(|slot| slot.generation));
        let slot = Slot { row, generation };
        (known != Some(&slot)).then(|| (slot.row.task_id.clone(), Some(slot)))
    }

    /// Takes a row over, or forgets it; `None` if it stands so already.
    pub(crate) fn put(&mut self, (id, slot): NewRow) -> Option<TaskChange> {
        let Some(slot) = slot else { return self.slots.remove(&id).map(|_| TaskChange::Removed(id)) };
        let row = Box::new(slot.row.clone());
        let known = self.slots.insert(id, slot);
        if known.as_ref().is_some_and(|known| known.row == *row) {
            return None;
        }
        let state_changed = known.is_none_or(|known| known.row.status != row.status || known.row.worker != row.worker);
        Some(TaskChange::Put { row, state_changed })
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
