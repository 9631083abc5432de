//! What is left at the broker when a task has ended.

use fogflow_orchestration::ScheduledTaskInstance;

use super::inputs::Inputs;
use crate::broker::{self, Broker};
use crate::contract;

/// Things still to be removed from the broker. Outputs are only removed with the task for good, not when it is paused,
/// moved, or stopped with its worker (FAULT 35); entities that a task published under ids of its own choice are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cleanup {
    inputs: bool,
    entities: bool,
    keep_outputs: bool,
}

impl Cleanup {
    /// Subscriptions and the announced service go; outputs too, unless they are kept.
    pub(crate) fn new(keep_outputs: bool) -> Self {
        Cleanup { inputs: true, entities: true, keep_outputs }
    }

    /// Tries to remove what is left; true when nothing is.
    pub(crate) async fn attempt(&mut self, broker: &Broker, task: &ScheduledTaskInstance, inputs: &mut Inputs) -> bool {
        if self.inputs && inputs.clear(task).await {
            self.inputs = false;
        }
        if self.entities {
            let service = broker::service_entity(task);
            let mut entities = Vec::new();
            if !self.keep_outputs {
                entities.extend(
                    task.outputs
                        .iter()
                        .filter(|output| !output.stream_id.is_empty())
                        .map(|output| (output.stream_id.as_str(), output.entity_type.as_str())),
                );
            }
            if !contract::service_ports(&task.parameters).is_empty() {
                entities.push((service.as_str(), "uService"));
            }
            match broker.delete_entities(task, &entities).await {
                Ok(()) => self.entities = false,
                Err(error) => tracing::debug!(task = task.id, %error, "outputs are not removed yet"),
            }
        }
        !self.inputs && !self.entities
    }
}
