//! One task instance on this worker: an actor that makes it what it shall be.
//!
//! The task table tells the actor by a [`Desired`] in a watch channel, so that only the newest wish counts, however long a
//! start takes and however many commands came meanwhile. That a removal arrives during a start is not a special case
//! (FAULT 8): the actor sees the wish change and acts on it.

pub(crate) mod actor;
pub(crate) mod cleanup;
pub(crate) mod inputs;
pub(crate) mod report;
pub(crate) mod restart;

use std::sync::Arc;

use fogflow_orchestration::ScheduledTaskInstance;

/// What shall become of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// The task as the master wants it, with all its inputs.
    pub(crate) task: Arc<ScheduledTaskInstance>,
    /// What to do with it.
    pub(crate) goal: Goal,
}

/// What to do with a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Have it run, with its inputs subscribed.
    Run,
    /// Have it stopped, its outputs kept; the reason is for people.
    Pause(String),
    /// End it and clean up.
    Remove {
        /// Leave its output entities, since it goes on elsewhere.
        keep_outputs: bool,
    },
    /// The worker ends: stop what does not survive it.
    Detach,
}
