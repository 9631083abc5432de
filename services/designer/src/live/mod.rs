//! The live picture of the system, and the stream of its changes.
//!
//! Everything that changes goes through one lock: it changes the picture, takes the next generation, and appends one
//! frame to a bounded ring and to a broadcast channel. A reader that attaches under the same lock therefore misses nothing and gets
//! nothing twice: either the frames after the last one that it saw, or a snapshot of the whole picture.

mod change;
mod entities;
mod frames;
mod history;
mod intake;
mod plan;
mod sharing;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fogflow_client::BrokerRecord;
use fogflow_orchestration::{IntentState, MasterProfile, TaskRow, WorkerProfile};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::broadcast;

pub(crate) use entities::{Attributes, EntityRow};
pub(crate) use frames::Frame;
pub(crate) use history::Series;
pub(crate) use plan::{Told, ToldEntity};
pub(crate) use sharing::{SHARED, Sharing};
pub(crate) use tasks::TaskTable;

use change::Leader;
use entities::EntityTable;
use frames::Frames;
use history::History;

/// Recent events that the picture keeps.
const EVENTS: usize = 100;

/// The state of one of the node's services, as last probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceRow {
    /// `broker`, `discovery`, `designer`, `master`, `bus`, or the id of a worker.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// Whether it answered.
    pub up: bool,
    /// Whether it says that it is ready; `None` if it does not say (upstream's).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub version: String,
    /// RFC 3339 time of the last change between up and down.
    pub since: String,
    /// The last error; kept after it is up again.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub last_error: String,
}

/// Something worth telling a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// RFC 3339 time.
    pub time: String,
    /// `info`, `warning` or `error`.
    pub level: &'static str,
    /// What it is about: `task`, `service`, `worker`, `intent`, `registry`.
    pub about: &'static str,
    /// One sentence.
    pub text: String,
}

/// The tables behind the stream.
#[derive(Default)]
pub(crate) struct Picture {
    leader: Leader,
    services: BTreeMap<String, ServiceRow>,
    workers: BTreeMap<String, WorkerProfile>,
    brokers: BTreeMap<String, BrokerRecord>,
    masters: BTreeMap<String, MasterProfile>,
    intents: BTreeMap<String, IntentState>,
    tasks: TaskTable,
    entities: EntityTable,
    history: History,
    /// Services that have been up: errors before that are only a start that is not complete.
    was_up: BTreeSet<String>,
    events: VecDeque<Event>,
    registry: u64,
}

struct State {
    picture: Picture,
    frames: Frames,
}

/// See the module.
pub(crate) struct Hub {
    state: Mutex<State>,
}

/// What a new reader gets: frames to send first, and the channel of those that follow.
pub(crate) struct Attached {
    /// One snapshot, or the frames that it missed.
    pub first: Vec<Arc<Frame>>,
    /// What follows.
    pub rest: broadcast::Receiver<Arc<Frame>>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub { state: Mutex::new(State { picture: Picture::default(), frames: Frames::new() }) }
    }
}

impl Hub {
    /// Attaches a reader. `last` is the id of the last frame that it saw, if it was here before.
    pub(crate) fn attach(&self, last: Option<&str>) -> Attached {
        let state = self.state.lock();
        let rest = state.frames.subscribe();
        let first = last.and_then(|id| state.frames.after(id)).unwrap_or_else(|| vec![Arc::new(state.snapshot())]);
        Attached { first, rest }
    }

    /// Reads the picture.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Picture) -> T) -> T {
        look(&self.state.lock().picture)
    }

    /// All tasks.
    pub(crate) fn tasks(&self) -> Vec<TaskRow> {
        self.state.lock().picture.tasks.rows().cloned().collect()
    }

    /// One task.
    pub(crate) fn task(&self, id: &str) -> Option<TaskRow> {
        self.state.lock().picture.tasks.get(id).cloned()
    }

    /// All workers.
    pub(crate) fn workers(&self) -> Vec<WorkerProfile> {
        self.state.lock().picture.workers.values().cloned().collect()
    }

    /// One worker.
    pub(crate) fn worker(&self, id: &str) -> Option<WorkerProfile> {
        self.state.lock().picture.workers.get(id).cloned()
    }

    /// An entity, and the last values of its numeric attributes.
    pub(crate) fn entity_with_history(&self, id: &str) -> Option<(EntityRow, IndexMap<String, Series>)> {
        let state = self.state.lock();
        Some((state.picture.entities.get(id)?.clone(), state.picture.history.of(id)))
    }

    /// States of intents as the master reported them.
    pub(crate) fn intents(&self) -> Vec<IntentState> {
        self.state.lock().picture.intents.values().cloned().collect()
    }

    /// Masters that have shown themselves.
    pub(crate) fn masters(&self) -> Vec<MasterProfile> {
        self.state.lock().picture.masters.values().cloned().collect()
    }
}

impl State {
    fn snapshot(&self) -> Frame {
        let picture = &self.picture;
        let body = json!({
            "generation": self.frames.generation(),
            "registry": picture.registry,
            "services": picture.services.values().collect::<Vec<_>>(),
            "workers": picture.workers.values().collect::<Vec<_>>(),
            "brokers": picture.brokers.values().collect::<Vec<_>>(),
            "masters": picture.masters.values().collect::<Vec<_>>(),
            "intents": picture.intents.values().collect::<Vec<_>>(),
            "tasks": picture.tasks.rows().collect::<Vec<_>>(),
            "entities": picture.entities.newest(),
            "entitiesKept": picture.entities.len(),
            "events": &picture.events,
        });
        self.frames.frame("snapshot", body.to_string())
    }

    fn tell(&mut self, level: &'static str, about: &'static str, text: String) {
        let event = Event { time: now(), level, about, text };
        self.frames.push("event", &event);
        self.picture.events.push_back(event);
        if self.picture.events.len() > EVENTS {
            self.picture.events.pop_front();
        }
    }
}

/// Now, as RFC 3339 with milliseconds.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests;
