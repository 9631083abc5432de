//! The fog function of the demo, in a language that this machine can run.

use std::path::Path;

use fogflow_chassis::CancellationToken;
use fogflow_client::{DesignerClient, Kind};
use serde_json::{Value, json};

use crate::commands::new::Language;
use crate::target::Target;

const NAME: &str = "anomaly";

/// Python before JavaScript; `None` when neither interpreter is installed.
pub(super) fn language_found() -> Option<Language> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)));
    if is_there("python3") {
        Some(Language::Python)
    } else if is_there("node") {
        Some(Language::Javascript)
    } else {
        None
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Registers operator and function unless they are there as they should be. A function that a user disabled stays disabled.
pub(super) async fn register(target: Target, language: Language, shutdown: CancellationToken) -> anyhow::Result<()> {
    tokio::select! {
        done = registered(&target.designer, language) => done,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn registered(designer: &DesignerClient, language: Language) -> anyhow::Result<()> {
    let operator = operator(language);
    if !is_same(designer.get(Kind::Operator, NAME).await?, &operator, &["/code", "/parameters"]) {
        designer.put(Kind::Operator, &operator).await?;
    }
    let function = fog_function();
    if !is_same(designer.get(Kind::FogFunction, NAME).await?, &function, &["/topology/tasks"]) {
        designer.put(Kind::FogFunction, &function).await?;
    }
    Ok(())
}

fn is_same(stored: Option<Value>, wanted: &Value, places: &[&str]) -> bool {
    stored.is_some_and(|stored| places.iter().all(|place| stored.pointer(place) == wanted.pointer(place)))
}

fn operator(language: Language) -> Value {
    let source = match language {
        Language::Python => include_str!("../../../../examples/operators/anomaly/function.py"),
        Language::Javascript => include_str!("../../../../examples/operators/anomaly/function.mjs"),
    };
    json!({
        "name": NAME,
        "description": "Finds measurements that are far from what was usual lately",
        "parameters": [{ "name": "threshold", "value": "3" }],
        "code": { "language": language.word(), "source": source },
    })
}

fn fog_function() -> Value {
    json!({
        "name": NAME,
        "topology": {
            "name": NAME,
            "description": "Anomalies in the measurements of each weather station",
            "tasks": [{
                "name": "main",
                "operator": NAME,
                "input_streams": [{ "selected_type": "WeatherStation", "selected_attributes": [], "groupby": "EntityID", "scoped": false }],
                "output_streams": [{ "entity_type": "Anomaly" }],
            }],
        },
        "intent": {
            "id": "ServiceIntent.demo-anomaly",
            "topology": NAME,
            "stype": "ASYN",
            "priority": { "exclusive": false, "level": 0 },
            "qos": "Max Throughput",
            "geoscope": { "scopeType": "global", "scopeValue": "global" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_orchestration::{FogFunction, Operator};

    #[test]
    fn what_the_demo_registers_is_what_the_registry_stores() {
        let operator: Operator = serde_json::from_value(operator(Language::Python)).unwrap();
        assert_eq!(operator.code.unwrap().language, "python");
        let function: FogFunction = serde_json::from_value(fog_function()).unwrap();
        // Stored and read again, it must not look changed: it would be registered again at each start.
        assert!(is_same(Some(serde_json::to_value(&function).unwrap()), &fog_function(), &["/topology/tasks"]));
        assert_eq!(function.intent.topology, function.topology.name);
    }
}
