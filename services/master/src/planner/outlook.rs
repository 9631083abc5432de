//! What a plan says of an intent.

use fogflow_orchestration::IntentState;

use super::flow::IntentProblem;
use super::incremental::{FlowState, Place, Planner};

impl Planner {
    /// What became of an intent: `active` when it has a task and every task of it has a worker.
    #[must_use]
    pub fn intent_state(&self, intent: &str) -> Option<IntentState> {
        let state = |status: &str, reason: String| IntentState { id: intent.to_owned(), status: status.to_owned(), reason };
        match self.intents.get(intent)? {
            Err(IntentProblem::Pending(reason)) => return Some(state("pending", reason.clone())),
            Err(IntentProblem::Failed(reason)) => return Some(state("failed", reason.clone())),
            Ok(_) => {}
        }
        let count: usize = self.flows_of_intent(intent).map(|flow| flow.tasks.len()).sum();
        let mut without_place =
            self.unplaced.iter().filter_map(|id| self.tasks.get(id)).filter(|task| *task.flow.key.intent == *intent).peekable();
        if let Some(first) = without_place.peek() {
            let (status, reason) = match &first.place {
                Place::Impossible(reason) => ("failed", reason.clone()),
                Place::Waiting(reason) => ("pending", reason.clone()),
                Place::On { .. } => ("pending", String::new()),
            };
            return Some(state(status, format!("{} of {count} tasks have no worker: {reason}", without_place.count())));
        }
        if count == 0 {
            let lacks: Vec<String> = self.flows_of_intent(intent).filter_map(|flow| self.lack_of(flow)).collect();
            return Some(state("pending", lacks.join("; ")));
        }
        Some(state("active", String::new()))
    }

    /// Why a flow has no tasks.
    fn lack_of(&self, flow: &FlowState) -> Option<String> {
        let lack =
            if self.is_complete(&flow.flow) { flow.grouping.lacks()? } else { "discovery has not named all entities yet".to_owned() };
        Some(format!("task `{}`: {lack}", flow.flow.key.task))
    }
}
