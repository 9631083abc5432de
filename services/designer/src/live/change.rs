//! Changes of the tables that replicas of the designer share: how they are stored and read back.

use bytes::Bytes;
use fogflow_orchestration::{IntentState, MasterProfile, WorkerProfile};
use fogflow_store::{Document, Expect, Key, MAX_KEY_BYTES, Version, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::entities::EntityRow;
use super::tasks::Slot;

/// The collections, which begin with [`crate::registry::LIVE`].
pub(crate) const COLLECTIONS: [&str; 6] = ["live-leader", "live-masters", "live-workers", "live-intents", "live-tasks", "live-entities"];
const LEADER: &str = "leader";

/// The master that reported last. Every report is stored together with it and on condition that nobody has changed it
/// since, so that of two masters the one with the older lease never has the last word, whichever replicas they talk to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Leader {
    /// Its id.
    pub master: String,
    /// The epoch of its lease.
    pub epoch: u64,
    /// The version of the document in which it was found.
    #[serde(skip)]
    pub version: Version,
}

/// What becomes of one row; `None` when it is gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// A report was taken.
    Leader(Leader),
    /// A master joined or left.
    Master(String, Option<Box<MasterProfile>>),
    /// A worker.
    Worker(String, Option<Box<WorkerProfile>>),
    /// The state of an intent.
    Intent(String, Option<Box<IntentState>>),
    /// A task instance.
    Task(String, Option<Box<Slot>>),
    /// An entity.
    Entity(String, Option<Box<EntityRow>>),
}

impl Change {
    /// The collection of its table.
    pub(super) fn collection(&self) -> &'static str {
        match self {
            Change::Leader(_) => COLLECTIONS[0],
            Change::Master(..) => COLLECTIONS[1],
            Change::Worker(..) => COLLECTIONS[2],
            Change::Intent(..) => COLLECTIONS[3],
            Change::Task(..) => COLLECTIONS[4],
            Change::Entity(..) => COLLECTIONS[5],
        }
    }

    /// The key of its row in the table.
    pub(super) fn id(&self) -> &str {
        match self {
            Change::Leader(_) => LEADER,
            Change::Master(id, _) | Change::Worker(id, _) | Change::Intent(id, _) | Change::Task(id, _) | Change::Entity(id, _) => id,
        }
    }

    /// The write that stores it; `None` for an id that no store can hold.
    pub(super) fn write(&self) -> Option<Write> {
        let (collection, id) = (self.collection(), self.id());
        if collection.len() + id.len() > MAX_KEY_BYTES || id.contains('\0') {
            tracing::warn!(collection, "an id is too long to be shared with other replicas");
            return None;
        }
        let (expect, value) = match self {
            Change::Leader(leader) => (Expect::Version(leader.version), Some(json(leader))),
            Change::Master(_, row) => (Expect::Any, row.as_ref().map(json)),
            Change::Worker(_, row) => (Expect::Any, row.as_ref().map(json)),
            Change::Intent(_, row) => (Expect::Any, row.as_ref().map(json)),
            Change::Task(_, row) => (Expect::Any, row.as_ref().map(json)),
            Change::Entity(_, row) => (Expect::Any, row.as_ref().map(json)),
        };
        Some(Write { key: Key::new(collection, "", id), expect, value })
    }

    /// Reads a stored one; `None` for a document that is none, or that cannot be read.
    pub(super) fn read(document: &Document) -> Option<Self> {
        let id = document.key.id.to_string();
        match document.key.collection.as_str() {
            "live-leader" => row::<Leader>(document)?.map(|leader| Change::Leader(Leader { version: document.version, ..*leader })),
            "live-masters" => Some(Change::Master(id, row(document)?)),
            "live-workers" => Some(Change::Worker(id, row(document)?)),
            "live-intents" => Some(Change::Intent(id, row(document)?)),
            "live-tasks" => Some(Change::Task(id, row(document)?)),
            "live-entities" => Some(Change::Entity(id, row(document)?)),
            _ => None,
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // These types always serialise: no map has a key that is not a string.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[expect(clippy::option_option, reason = "unreadable, gone, or there")]
fn row<R: DeserializeOwned>(document: &Document) -> Option<Option<Box<R>>> {
    let Some(bytes) = &document.value else { return Some(None) };
    match serde_json::from_slice(bytes) {
        Ok(row) => Some(Some(Box::new(row))),
        Err(error) => {
            tracing::error!(collection = %document.key.collection, id = %document.key.id, %error, "a shared row cannot be read and is left out");
            None
        }
    }
}
