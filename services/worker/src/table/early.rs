//! Inputs that arrive before their task (upstream's masters publish the two at the same time).

use std::collections::{HashMap, VecDeque};

use fogflow_orchestration::InputStream;

/// Tasks for which inputs are kept.
const TASKS: usize = 1024;
/// Inputs kept for one task.
const INPUTS: usize = 1024;

/// Inputs that wait for their task. When a bound is reached the oldest go.
#[derive(Debug, Default)]
pub(crate) struct EarlyInputs {
    waiting: HashMap<String, VecDeque<InputStream>>,
    order: VecDeque<String>,
}

impl EarlyInputs {
    /// Keeps an input for a task that is not known yet.
    pub(crate) fn keep(&mut self, task_id: &str, input: InputStream) {
        if !self.waiting.contains_key(task_id) {
            if self.waiting.len() >= TASKS
                && let Some(oldest) = self.order.pop_front()
            {
                self.waiting.remove(&oldest);
            }
            self.order.push_back(task_id.to_owned());
        }
        let inputs = self.waiting.entry(task_id.to_owned()).or_default();
        if !inputs.contains(&input) {
            if inputs.len() >= INPUTS {
                inputs.pop_front();
            }
            inputs.push_back(input);
        }
    }

    /// Forgets what an order names.
    pub(crate) fn forget(&mut self, task_id: &str, named: &InputStream) {
        if let Some(inputs) = self.waiting.get_mut(task_id) {
            inputs.retain(|input| !named.names(input));
        }
    }

    /// Hands over what was kept for a task.
    pub(crate) fn take(&mut self, task_id: &str) -> Vec<InputStream> {
        let Some(inputs) = self.waiting.remove(task_id) else { return Vec::new() };
        self.order.retain(|id| id != task_id);
        inputs.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(id: &str) -> InputStream {
        InputStream { entity_type: "T".to_owned(), id: id.to_owned(), ..InputStream::default() }
    }

    #[test]
    fn inputs_wait_for_their_task_once_and_can_be_withdrawn() {
        let mut early = EarlyInputs::default();
        for id in ["a", "b", "a"] {
            early.keep("t", input(id));
        }
        early.forget("t", &input("b"));
        early.forget("unknown", &input("b"));
        assert_eq!(early.take("t"), [input("a")]);
        assert_eq!(early.take("t"), []);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut early = EarlyInputs::default();
        for number in 0..(TASKS + 5) {
            early.keep(&format!("t{number}"), input("a"));
        }
        assert_eq!((early.waiting.len(), early.order.len()), (TASKS, TASKS));
        assert_eq!(early.take("t0"), []);
        for number in 0..(INPUTS + 5) {
            early.keep("t9", input(&number.to_string()));
        }
        assert_eq!(early.take("t9").len(), INPUTS);
    }
}
