//! Publishes `Worker`, `Master` and `Task` entities at this node's broker, in the shapes of upstream's first generation, so that the
//! orchestrator can be observed through the same interface as the data. Best effort: what changed is gathered, the newest state
//! is sent, and a broker that is away gets everything again when it is back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fogflow_client::{ClientError, Context};
use fogflow_ngsi::v1::{EntityId, QueryContextRequest};
use fogflow_orchestration::{Location, TaskRow, WorkerProfile};
use serde_json::{Value, json};

use crate::master::Master;

const GATHER: Duration = Duration::from_millis(300);
const RETRY_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The data comes first: thousands of tasks are published at leisure.
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
/// Entities in one request.
const BATCH: usize = 100;

/// Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>) -> anyhow::Result<()> {
    // What this master has published: to know what to delete.
    let mut published: BTreeSet<String> = BTreeSet::new();
    loop {
        if !master.wait(&master.publish_nudge, LOOK_EVERY).await || !master.pause(GATHER).await {
            return Ok(());
        }
        let changes = {
            let mut state = master.state.lock();
            if state.is_open() { Some(std::mem::take(&mut state.published)) } else { None }
        };
        let Some(changes) = changes else { continue };
        if changes.rows.is_empty() && !changes.workers && !changes.full {
            continue;
        }
        let full = changes.full;
        if let Err(error) = publish(&master, changes, &mut published).await {
            tracing::debug!(%error, full, "the broker did not take the master's entities; they are sent again");
            master.state.lock().published.full = true;
            if !master.pause(RETRY_AFTER).await {
                return Ok(());
            }
            master.publish_nudge.notify_one();
        }
    }
}

async fn publish(master: &Arc<Master>, changes: crate::state::Changes, published: &mut BTreeSet<String>) -> Result<(), ClientError> {
    let mut gone: Vec<String> = Vec::new();
    let mut elements: Vec<Value> = Vec::new();
    if changes.full {
        published.extend(left_behind(master).await?);
        elements.push(master_element(master));
    }
    {
        let state = master.state.lock();
        if changes.full || changes.workers {
            let alive: Vec<&WorkerProfile> = state.workers.alive().collect();
            gone.extend(published.iter().filter(|id| id.starts_with("Worker.") && !alive.iter().any(|worker| worker.id == **id)).cloned());
            elements.extend(alive.into_iter().map(worker_element));
        }
        if changes.full {
            let tasks = state.planner.tasks();
            gone.extend(published.iter().filter(|id| id.starts_with("Task.") && !tasks.contains_key(id.as_str())).cloned());
            elements.extend(state.rows(None).iter().map(task_element));
        } else {
            for id in &changes.rows {
                match state.row(id) {
                    Some(row) => elements.push(task_element(&row)),
                    None => gone.push(id.to_string()),
                }
            }
        }
    }
    for (number, batch) in elements.chunks(BATCH).enumerate() {
        if number > 0 && !master.pause(BETWEEN_BATCHES).await {
            return Ok(());
        }
        send(master, "UPDATE", batch).await?;
        published.extend(batch.iter().filter_map(|element| element["entityId"]["id"].as_str()).map(str::to_owned));
    }
    gone.retain(|id| published.contains(id));
    for batch in gone.chunks(BATCH) {
        let elements: Vec<Value> = batch.iter().map(|id| json!({"entityId": {"id": id, "isPattern": false}})).collect();
        send(master, "DELETE", &elements).await?;
        for id in batch {
            published.remove(id);
        }
    }
    Ok(())
}

async fn send(master: &Master, action: &str, elements: &[Value]) -> Result<(), ClientError> {
    let body = json!({"contextElements": elements, "updateAction": action}).to_string();
    master.broker.update_raw(body.into(), &Context::default()).await
}

/// Entities that an earlier leader published.
async fn left_behind(master: &Master) -> Result<BTreeSet<String>, ClientError> {
    let filter = |entity_type: &str| EntityId { entity_type: entity_type.into(), is_pattern: true, id: ".*".into() };
    let request = QueryContextRequest { entities: vec![filter("Task"), filter("Worker")], ..QueryContextRequest::default() };
    let found = master.broker.query(&request, &Context::default()).await?;
    Ok(found
        .responses
        .iter()
        .map(|response| response.element.entity.id.to_string())
        .filter(|id| id.starts_with("Task.") || id.starts_with("Worker."))
        .collect())
}

fn place(location: Location) -> Value {
    json!({"latitude": location.latitude, "longitude": location.longitude})
}

fn location_metadata(location: Location) -> Value {
    if location.is_known() { json!([{"name": "location", "type": "point", "value": place(location)}]) } else { json!([]) }
}

fn master_element(master: &Master) -> Value {
    let profile = master.profile();
    json!({
        "entityId": {"id": profile.id, "type": "Master", "isPattern": false},
        "attributes": [{"name": "agent", "type": "string", "value": profile.agent}],
        "domainMetadata": location_metadata(profile.location),
    })
}

fn worker_element(worker: &WorkerProfile) -> Value {
    json!({
        "entityId": {"id": worker.id, "type": "Worker", "isPattern": false},
        "attributes": [
            {"name": "capacity", "type": "integer", "value": worker.capacity},
            {"name": "location", "type": "object", "value": place(worker.location)},
        ],
        "domainMetadata": location_metadata(worker.location),
    })
}

fn task_element(row: &TaskRow) -> Value {
    let port = row.endpoint.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or_default();
    let text = |name: &str, value: &str| json!({"name": name, "type": "string", "value": value});
    json!({
        "entityId": {"id": row.task_id, "type": "Task", "isPattern": false},
        "attributes": [
            text("id", &row.task_id),
            text("port", port),
            text("status", row.status.as_str()),
            text("worker", &row.worker),
            text("task", &row.task_name),
            text("operator", &row.operator),
            text("service", &row.topology_name),
        ],
        "domainMetadata": [text("topology", &row.topology_name), text("worker", &row.worker)],
    })
}
