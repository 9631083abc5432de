//! One picture for all replicas of the designer.
//!
//! A report, a message of the queue, or a notification reaches one replica. What it makes of the tables is committed to
//! the store, and every replica, the one that was told included, takes it from the change feed: so all of them go
//! through the same changes in the same order. With an embedded store there is one process, and nothing is stored.

use std::sync::Arc;

use super::change::{COLLECTIONS, Change};
use super::{Hub, Picture};
use crate::error::ApiResult;
use crate::registry::{LiveNews, Registry};

/// See the module.
pub(crate) struct Sharing {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    shared: bool,
}

impl Sharing {
    /// Over this registry's store, if other processes may share it.
    pub(crate) fn new(hub: Arc<Hub>, registry: Arc<Registry>, shared: bool) -> Self {
        Sharing { hub, registry, shared }
    }

    /// Whether there may be other replicas.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Changes the picture of all replicas. `plan` may be called again when another replica was first.
    ///
    /// # Errors
    /// Whatever `plan` refuses; 503 when the store cannot take the change.
    pub(crate) async fn change(&self, plan: impl Fn(&Picture) -> ApiResult<Vec<Change>>) -> ApiResult<()> {
        if !self.shared {
            return self.hub.change(plan);
        }
        let writes = || {
            let changes = self.hub.look(&plan)?;
            Ok(changes.iter().filter_map(Change::write).collect())
        };
        self.registry.write_live(writes).await
    }
}

impl Hub {
    /// Takes over what the store says of the shared tables.
    pub(crate) fn live_changed(&self, news: &LiveNews<'_>) {
        match news {
            LiveNews::Changed(documents) => self.apply(documents.iter().filter_map(Change::read).collect()),
            LiveNews::Whole(documents) => {
                let present: Vec<Change> = documents.iter().filter_map(Change::read).collect();
                let mut changes = self.look(|picture| {
                    let named: std::collections::HashSet<(&str, &str)> =
                        present.iter().map(|change| (change.collection(), change.id())).collect();
                    picture.all_gone().into_iter().filter(|gone| !named.contains(&(gone.collection(), gone.id()))).collect::<Vec<_>>()
                });
                changes.extend(present);
                self.apply(changes);
            }
        }
    }
}

impl Picture {
    /// For every row of the shared tables the change that removes it.
    fn all_gone(&self) -> Vec<Change> {
        let masters = self.masters.keys().map(|id| Change::Master(id.clone(), None));
        let workers = self.workers.keys().map(|id| Change::Worker(id.clone(), None));
        let intents = self.intents.keys().map(|id| Change::Intent(id.clone(), None));
        let tasks = self.tasks.ids().map(|id| Change::Task(id.clone(), None));
        let entities = self.entities.ids().map(|id| Change::Entity(id.clone(), None));
        masters.chain(workers).chain(intents).chain(tasks).chain(entities).collect()
    }
}

/// The collections that replicas share.
pub(crate) const SHARED: [&str; 6] = COLLECTIONS;
