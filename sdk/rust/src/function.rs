//! The function: called for each entity that the task is notified of.

use serde_json::json;

use crate::task::{Entity, Publisher, TaskError};

/// Publishes the temperature of each entity in degrees Fahrenheit.
pub async fn handle(entity: Entity, publish: &Publisher) -> Result<(), TaskError> {
    let Some(celsius) = entity.value("temp").as_f64() else { return Ok(()) };
    publish.publish(json!({"attributes": {"source": entity.id(), "fahrenheit": celsius * 9.0 / 5.0 + 32.0}})).await
}
