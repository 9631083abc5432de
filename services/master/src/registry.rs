//! Fetches the registry from the designer: when nudged, and by a timer. An upstream designer has no `/internal/registry`; its
//! intents, fog functions and topologies are read one by one, as upstream's master does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fogflow_chassis::ReadyPart;
use fogflow_client::{ClientError, Kind};
use fogflow_orchestration::{FogFunction, RegistrySnapshot, ServiceIntent, Topology, go_json};
use serde_json::Value;

use crate::master::Master;

const POLL_EVERY: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// Works until shutdown.
///
/// # Errors
/// Never; the type is that of a supervised task.
pub async fn run(master: Arc<Master>, ready: ReadyPart) -> anyhow::Result<()> {
    ready.not_ready("the registry has not been read yet");
    let mut was_there = true;
    loop {
        let fetched = match master.designer.registry().await {
            Err(error) if error.status() == Some(404) => from_upstream(&master).await,
            other => other,
        };
        let pause = match fetched {
            Ok(registry) => {
                // A designer that was away may have started anew, and knows nothing of tasks.
                master.change(|state, _| {
                    state.set_registry(registry);
                    state.reported.full |= !was_there;
                });
                master.discovery_nudge.notify_one();
                ready.ready();
                was_there = true;
                POLL_EVERY
            }
            Err(error) => {
                if std::mem::replace(&mut was_there, false) {
                    tracing::warn!(%error, "the registry cannot be read; the last one stays in force");
                }
                RETRY_AFTER
            }
        };
        if !master.wait(&master.registry_nudge, pause).await {
            return Ok(());
        }
    }
}

/// Puts a registry together from upstream's routes and the intents that were announced on the bus.
async fn from_upstream(master: &Master) -> Result<RegistrySnapshot, ClientError> {
    let stored: Vec<ServiceIntent> = values_of(master.designer.list(Kind::ServiceIntent).await?);
    let functions: Vec<FogFunction> = values_of(master.designer.list(Kind::FogFunction).await?);
    let mut intents: BTreeMap<String, ServiceIntent> = BTreeMap::new();
    for function in functions.into_iter().filter(|function| function.status != "disabled") {
        let mut intent = function.intent;
        if intent.topology.is_empty() {
            intent.topology.clone_from(&function.name);
        }
        if !intent.id.is_empty() {
            intents.insert(intent.id.clone(), intent);
        }
    }
    intents.extend(stored.into_iter().filter(|intent| intent.action != "DELETE").map(|intent| (intent.id.clone(), intent)));
    for announced in master.read(|state| state.announced().clone()).into_values() {
        if announced.action == "DELETE" {
            intents.remove(&announced.id);
        } else {
            intents.insert(announced.id.clone(), announced);
        }
    }
    let mut registry = RegistrySnapshot::default();
    let names: BTreeSet<&str> = intents.values().map(|intent| intent.topology.as_str()).collect();
    let mut seen = BTreeSet::new();
    for name in names {
        let Some(topology) = master.designer.topology(name).await?.and_then(|value| go_json::from_value::<Topology>(value).ok()) else {
            continue;
        };
        if topology.name.is_empty() {
            continue;
        }
        registry.operators.extend(topology.operators.iter().filter(|operator| seen.insert(operator.name.clone())).cloned());
        registry.topologies.push(Topology { operators: Vec::new(), ..topology });
    }
    registry.intents = intents.into_values().map(|intent| ServiceIntent { action: String::new(), ..intent }).collect();
    Ok(registry)
}

/// The values of an object, or the items of an array; what cannot be read is left out.
fn values_of<T: serde::de::DeserializeOwned>(list: Value) -> Vec<T> {
    let values: Vec<Value> = match list {
        Value::Object(object) => object.into_iter().map(|(_, value)| value).collect(),
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    values.into_iter().filter_map(|value| go_json::from_value(value).ok()).collect()
}
