//! What reports, messages and notifications make of the shared tables. Nothing is changed here; see [`super::sharing`].

use std::time::Instant;

use fogflow_orchestration::{MasterProfile, MasterReport, TaskInfo, TaskUpdate};
use indexmap::IndexMap;

use super::Picture;
use super::change::{Change, Leader};
use super::entities::{Attributes, EntityRow};
use super::tasks::{NewRow, OldEpoch};

/// What a notification says of one entity; `None` when it is gone.
pub(crate) type Told = (String, Option<ToldEntity>);

/// See [`Told`].
#[derive(Clone, Debug)]
pub(crate) struct ToldEntity {
    /// Its type; empty if not told.
    pub entity_type: String,
    /// Attributes by name.
    pub attributes: Attributes,
    /// Domain metadata by name.
    pub metadata: Attributes,
}

impl Picture {
    /// A master's report.
    ///
    /// # Errors
    /// If a master with a newer lease has reported before.
    pub(crate) fn report(&self, report: &MasterReport) -> Result<Vec<Change>, OldEpoch> {
        let rows = self.tasks.report(report)?;
        let leader = Leader { master: report.master.clone(), epoch: report.epoch, version: self.leader.version };
        let mut changes = vec![Change::Leader(leader)];
        changes.extend(rows.into_iter().map(task));
        let differing = report.workers.iter().filter(|worker| self.workers.get(&worker.id) != Some(worker));
        changes.extend(differing.map(|worker| Change::Worker(worker.id.clone(), Some(Box::new(worker.clone())))));
        let differing = report.intents.iter().filter(|intent| self.intents.get(&intent.id) != Some(intent));
        changes.extend(differing.map(|intent| Change::Intent(intent.id.clone(), Some(Box::new(intent.clone())))));
        if report.full {
            let gone = self.workers.keys().filter(|id| !report.workers.iter().any(|worker| worker.id == **id));
            changes.extend(gone.map(|id| Change::Worker(id.clone(), None)));
            let gone = self.intents.keys().filter(|id| !report.intents.iter().any(|intent| intent.id == **id));
            changes.extend(gone.map(|id| Change::Intent(id.clone(), None)));
        }
        Ok(changes)
    }

    /// A `TASK_UPDATE` from the bus. Replicas take the messages of one queue in no order, so beside a master that reports
    /// the report is waited for; it follows within 50 ms.
    pub(crate) fn task_update(&self, update: &TaskUpdate, from: &str, shared: bool) -> Vec<Change> {
        let now = Instant::now();
        if shared && self.tasks.is_reported(now) {
            return Vec::new();
        }
        self.tasks.update(update, from, now).map(task).into_iter().collect()
    }

    /// A `TASK_INFO` from the bus; see [`Picture::task_update`].
    pub(crate) fn task_info(&self, info: &TaskInfo, shared: bool) -> Vec<Change> {
        if shared && self.tasks.is_reported(Instant::now()) {
            return Vec::new();
        }
        self.tasks.info(info).map(task).into_iter().collect()
    }

    /// A master that joined.
    pub(crate) fn master_joined(&self, master: &MasterProfile) -> Vec<Change> {
        let is_news = !master.id.is_empty() && self.masters.get(&master.id) != Some(master);
        is_news.then(|| Change::Master(master.id.clone(), Some(Box::new(master.clone())))).into_iter().collect()
    }

    /// A master that left.
    pub(crate) fn master_left(&self, id: &str) -> Vec<Change> {
        self.masters.contains_key(id).then(|| Change::Master(id.to_owned(), None)).into_iter().collect()
    }

    /// A notification of entities. Attributes that it does not carry stay; what the table has no room for goes.
    pub(crate) fn notification(&self, told: &[Told]) -> Vec<Change> {
        let mut rows: IndexMap<&str, Option<EntityRow>> = IndexMap::new();
        for (id, news) in told {
            let known = rows.get(id.as_str()).cloned().unwrap_or_else(|| self.entities.get(id).cloned());
            let row = news.as_ref().map(|news| known.unwrap_or_default().told(id, news));
            rows.insert(id, row);
        }
        let come = rows.iter().filter(|(id, row)| row.is_some() && self.entities.get(id).is_none()).count();
        let oldest = self.entities.surplus(come).filter(|id| !rows.contains_key(id.as_str())).map(|id| Change::Entity(id.clone(), None));
        let mut changes: Vec<Change> = oldest.collect();
        let known = rows.into_iter().filter(|(id, row)| row.is_some() || self.entities.get(id).is_some());
        changes.extend(known.map(|(id, row)| Change::Entity(id.to_owned(), row.map(Box::new))));
        changes
    }
}

fn task((id, slot): NewRow) -> Change {
    Change::Task(id, slot.map(Box::new))
}
