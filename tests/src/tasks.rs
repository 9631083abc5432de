//! Fog functions for tests, and the task processes that they start.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{Http, Site, wait_for};

/// A Python function that copies the number `value` of its input to an entity `Echo.<id>` of type `Echo`.
pub const ECHO: &str = r#"
def handleEntity(entity, publish):
    value = entity["attributes"].get("value", {}).get("value")
    publish({"entityId": {"id": "Echo." + entity["entityId"]["id"], "type": "Echo"},
             "attributes": {"value": {"type": "float", "value": value}}, "metadata": {}})
"#;

/// Registers an operator with this Python code and a fog function of the same name over every entity of a type.
pub async fn register_function(site: &Site, name: &str, input_type: &str, source: &str, intent: Value) {
    let http = Http::new();
    let designer = site.url("designer");
    let operator = json!([{"name": name, "description": "for a test", "parameters": [], "code": {"language": "python", "source": source}}]);
    let (status, body) = http.post(&format!("{designer}/operator"), &operator).await.expect("the designer answers");
    assert_eq!(status, StatusCode::OK, "POST /operator: {body}");
    let mut wanted = json!({"topology": name, "priority": {"exclusive": false, "level": 0}, "qos": "MIN_LATENCY",
        "geoscope": {"scopeType": "global", "scopeValue": "global"}});
    let scoped = intent.get("geoscope").is_some();
    for (key, value) in intent.as_object().into_iter().flatten() {
        wanted[key] = value.clone();
    }
    let topology = json!({"name": name, "description": "for a test", "tasks": [{"name": "main", "operator": name,
        "input_streams": [{"selected_type": input_type, "selected_attributes": [], "groupby": "EntityID", "scoped": scoped}],
        "output_streams": [{"entity_type": "Echo"}]}]});
    let function = json!([{"name": name, "topology": topology, "intent": wanted}]);
    let (status, body) = http.post(&format!("{designer}/fogfunction"), &function).await.expect("the designer answers");
    assert_eq!(status, StatusCode::OK, "POST /fogfunction: {body}");
}

/// The rows of the designer's task table, waited for until `enough` says so.
pub async fn tasks_when(site: &Site, what: &str, bound: Duration, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let http = Http::new();
    let url = format!("{}/info/task", site.url("designer"));
    wait_for(what, bound, async || {
        let rows = http.ok(&url).await?.as_array().cloned().ok_or("not a list")?;
        if enough(&rows) { Ok(rows) } else { Err(Value::from(rows).to_string()) }
    })
    .await
}

/// How many of these rows are in a state.
#[must_use]
pub fn in_state(rows: &[Value], state: &str) -> usize {
    rows.iter().filter(|row| row["Status"] == state).count()
}

/// The processes that run a task, found by the admin configuration in their environment.
#[must_use]
pub fn processes_of(task: &str) -> Vec<i32> {
    let mark = format!("\"{task}\"");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        let is_task = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable.starts_with(b"adminCfg=") && String::from_utf8_lossy(variable).contains(&mark));
        // A zombie has an empty environment, so what is found is alive.
        if is_task {
            found.push(pid);
        }
    }
    found
}
