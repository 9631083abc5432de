//! The planner: which task instances shall run where. Pure: no I/O, no clock, no randomness.
//!
//! | Module | Idea |
//! |---|---|
//! | [`flow`] | an intent applied to a task of its topology; selectors of its inputs |
//! | [`scope`] | where an intent applies |
//! | [`grouping`] | from entities to task instances |
//! | [`EntityKey`] | what tells entities apart |
//! | [`capability`] | what of an operator runs on which worker |
//! | [`objective`], [`places`], [`fleet`] | the choice of a worker |
//! | [`incremental`] | the plan as a working state: a change costs what it touches |
//!
//! Tested properties: the same input makes the same plan; planning again moves nothing; every complete group has exactly one
//! task; no worker is above its capacity; nothing is placed where nothing of it can run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogflow_orchestration::{EntityDetail, IntentState, Operator, ServiceIntent, Topology, WorkerProfile};

pub mod capability;
mod entity;
pub mod fleet;
pub mod flow;
mod flows;
pub mod grouping;
pub mod incremental;
pub mod objective;
mod outlook;
pub mod places;
pub mod scope;
mod settle;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use capability::Artefact;
pub use entity::EntityKey;
pub use flow::{Flow, FlowKey, Selector};
pub use incremental::{Place, PlannedTask, Planner, Policy};
pub use objective::Objective;

/// Everything that a plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Numbers.
    pub policy: Policy,
    /// Registered operators.
    pub operators: Vec<Operator>,
    /// Registered topologies.
    pub topologies: Vec<Topology>,
    /// Intents, those of enabled fog functions included.
    pub intents: Vec<ServiceIntent>,
    /// Available entities by selector id (see [`Planner::selectors`]).
    pub entities: BTreeMap<Arc<str>, Vec<Arc<EntityDetail>>>,
    /// Workers that are alive.
    pub workers: Vec<WorkerProfile>,
    /// Task id to worker id, as it is now.
    pub current: BTreeMap<Arc<str>, Arc<str>>,
    /// Task id to the workers on which it failed for good.
    pub avoid: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

/// What shall be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Task instances by id.
    pub tasks: BTreeMap<Arc<str>, PlannedTask>,
    /// Tasks without a worker, and why.
    pub unplaced: BTreeMap<Arc<str>, String>,
    /// What became of each intent.
    pub intents: Vec<IntentState>,
}

/// Plans from nothing but the input.
#[must_use]
pub fn plan(desired: &Desired) -> Plan {
    let mut planner = Planner::new(desired.policy);
    planner.set_registry(&desired.operators, &desired.topologies, &desired.intents);
    planner.set_workers(desired.workers.iter().map(|worker| (worker.id.clone(), worker.clone())).collect());
    for (selector, entities) in &desired.entities {
        for entity in entities {
            planner.set_entity(selector, EntityKey::of(entity), Some(entity.clone()));
        }
    }
    for (task, worker) in &desired.current {
        planner.remember(task, worker);
    }
    planner.regroup();
    for (task, workers) in &desired.avoid {
        for worker in workers {
            planner.avoid(task, worker);
        }
    }
    planner.settle();
    let intents = planner.intent_ids().filter_map(|intent| planner.intent_state(intent)).collect();
    let reason = |task: &PlannedTask| match &task.place {
        Place::On { .. } => None,
        Place::Impossible(reason) | Place::Waiting(reason) => Some(reason.clone()),
    };
    let unplaced = planner.tasks().iter().filter_map(|(id, task)| reason(task).map(|reason| (id.clone(), reason))).collect();
    Plan { unplaced, intents, tasks: planner.into_tasks() }
}
