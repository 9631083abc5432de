//! What users see of tasks and intents.

use fogflow_orchestration::report::{TaskInput, TaskOutput};
use fogflow_orchestration::{IntentState, TaskRow, TaskState, ids};

use super::State;
use crate::planner::Place;

impl State {
    /// A task as users see it: as its worker reports it. While it moves, the copy that still does the work is shown.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<TaskRow> {
        let (id, task) = self.planner.tasks().get_key_value(id)?;
        let flow = &task.flow;
        let (target, reason) = match &task.place {
            Place::On { worker, .. } => (Some(&**worker), String::new()),
            Place::Impossible(reason) | Place::Waiting(reason) => (None, reason.clone()),
        };
        let copy_on = |worker: &str| self.copies.get(id, worker).filter(|_| self.workers.is_alive(worker));
        let other = || {
            self.copies.of_task(id).find(|(worker, copy)| self.workers.is_alive(worker) && copy.is_up()).map(|(worker, _)| worker.as_str())
        };
        let shown = match target {
            Some(worker) if copy_on(worker).is_some_and(super::copies::Copy::is_up) => Some(worker),
            Some(worker) => other().or(Some(worker)),
            None => other(),
        };
        let observed = shown.and_then(copy_on).and_then(|copy| copy.observed.as_ref());
        let suffix = ids::suffix_of(id);
        let output = |(index, entity_type): (usize, &String)| TaskOutput {
            entity_type: entity_type.clone(),
            stream_id: ids::output_id(entity_type, suffix, index + 1),
        };
        Some(TaskRow {
            task_id: id.to_string(),
            topology_name: flow.topology.clone(),
            task_name: flow.key.task.to_string(),
            service_intent_id: flow.key.intent.to_string(),
            status: observed.map_or(TaskState::Scheduled, |update| update.status),
            worker: shown.unwrap_or_default().to_owned(),
            id: id.to_string(),
            reason: observed.map(|update| update.reason.clone()).filter(|reason| !reason.is_empty()).unwrap_or(reason),
            since: observed.map(|update| update.since.clone()).unwrap_or_default(),
            endpoint: observed.map(|update| update.endpoint.clone()).unwrap_or_default(),
            restarts: observed.map(|update| update.restarts).unwrap_or_default(),
            inputs: task
                .instance
                .inputs
                .iter()
                .map(|input| TaskInput { entity_type: input.entity_type.clone(), id: input.id.clone() })
                .collect(),
            outputs: flow.outputs.iter().enumerate().map(output).collect(),
            operator: flow.operator.clone(),
        })
    }

    /// All tasks, or those of an intent. A master that does not lead shows what it hears from workers.
    #[must_use]
    pub fn rows(&self, intent: Option<&str>) -> Vec<TaskRow> {
        if !self.open {
            return self.overheard_rows(intent);
        }
        match intent {
            Some(intent) => {
                let mut rows: Vec<TaskRow> = self.planner.tasks_of(intent).filter_map(|id| self.row(id)).collect();
                rows.sort_unstable_by(|a, b| a.task_id.cmp(&b.task_id));
                rows
            }
            None => self.planner.tasks().keys().filter_map(|id| self.row(id)).collect(),
        }
    }

    fn overheard_rows(&self, intent: Option<&str>) -> Vec<TaskRow> {
        let row = |(worker, copy): (&String, &super::copies::Copy)| {
            let update = copy.observed.as_ref().filter(|update| intent.is_none_or(|intent| update.service_intent_id == intent))?;
            Some(TaskRow {
                task_id: update.task_id.clone(),
                topology_name: update.topology_name.clone(),
                task_name: update.task_name.clone(),
                service_intent_id: update.service_intent_id.clone(),
                status: update.status,
                worker: worker.clone(),
                id: update.task_id.clone(),
                reason: update.reason.clone(),
                since: update.since.clone(),
                endpoint: update.endpoint.clone(),
                restarts: update.restarts,
                ..TaskRow::default()
            })
        };
        self.copies.tasks().flat_map(|id| self.copies.of_task(id)).filter_map(row).collect()
    }

    /// The states of all intents, for display. A master that does not lead knows only which have running tasks.
    #[must_use]
    pub fn shown_intents(&self) -> Vec<IntentState> {
        if self.open {
            return self.intents.values().cloned().collect();
        }
        let running: std::collections::BTreeSet<String> =
            self.overheard_rows(None).into_iter().filter(|row| row.status == TaskState::Running).map(|row| row.service_intent_id).collect();
        let state = |id: &str| IntentState {
            id: id.to_owned(),
            status: if running.contains(id) { "active" } else { "pending" }.to_owned(),
            reason: "as seen by a master that does not lead".to_owned(),
        };
        self.planner.intent_ids().map(state).collect()
    }

    /// The states of all intents.
    pub fn intent_states(&self) -> impl Iterator<Item = &IntentState> {
        self.intents.values()
    }

    /// The state of an intent.
    #[must_use]
    pub fn intent_state(&self, id: &str) -> Option<&IntentState> {
        self.intents.get(id)
    }

    /// Works the state of an intent out again: what the planner says, and whether its tasks run.
    pub(super) fn refresh_intent(&mut self, id: &str) {
        let Some(mut state) = self.planner.intent_state(id) else { return };
        if state.status == "active" {
            let mut failed = self
                .failed
                .iter()
                .filter(|task| self.planner.tasks().get(*task).is_some_and(|task| *task.flow.key.intent == *id))
                .peekable();
            if let Some(first) = failed.peek() {
                let row = self.row(first).unwrap_or_default();
                state.status = "failed".to_owned();
                state.reason = format!("{first} failed on {}: {}", row.worker, row.reason);
                let others = failed.count() - 1;
                if others > 0 {
                    state.reason.push_str(&format!(" (and {others} more)"));
                }
            }
        }
        if self.intents.get(id) != Some(&state) {
            self.intents.insert(id.to_owned(), state);
            self.note_intent(id);
        }
    }

    pub(super) fn note_intent(&mut self, id: &str) {
        self.reported.intents.insert(id.to_owned());
        self.published.intents.insert(id.to_owned());
    }
}
