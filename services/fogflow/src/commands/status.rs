//! `fogflow status`

use fogflow_client::Endpoint;
use serde_json::{Value, json};

use crate::output::{Format, Table, rendered, show};
use crate::target::Target;

/// Shows each component with its address and whether it is ready, then what runs.
pub(crate) async fn run(target: &Target, format: Format, watch: bool) -> anyhow::Result<()> {
    show(watch, format, || async {
        let picture = picture(target).await?;
        rendered(format, &picture, table)
    })
    .await
}

async fn picture(target: &Target) -> anyhow::Result<Value> {
    // The first call tells whether the node can be reached at all.
    let tasks = target.designer.info("task").await?;
    let (masters, workers, brokers) =
        tokio::try_join!(target.designer.info("master"), target.designer.info("worker"), target.designer.info("broker"))?;
    let mut components = vec![component("designer", "designer", target.designer.url(), ready(target, target.designer.url()).await)];
    let discovery = match target.discovery.status().await {
        Ok(()) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    components.push(component("discovery", "discovery", target.discovery.url(), discovery));
    for broker in items(&brokers) {
        let url = text(broker, "myURL");
        components.push(component("broker", text(broker, "id"), url, ready(target, url.trim_end_matches("/ngsi10")).await));
    }
    for master in items(&masters) {
        components.push(component("master", text(master, "id"), text(master, "agent"), ready(target, text(master, "agent")).await));
    }
    for worker in items(&workers) {
        let url = text(worker, "Url");
        // A worker of upstream has no HTTP interface: its heartbeat is what is known.
        let state = if url.is_empty() { "alive".to_owned() } else { ready(target, url).await };
        components.push(component("worker", text(worker, "id"), url, state));
    }
    let mut counts = serde_json::Map::new();
    for task in items(&tasks) {
        let place = counts.entry(text(task, "Status").to_owned()).or_insert(json!(0));
        *place = json!(place.as_u64().unwrap_or(0) + 1);
    }
    Ok(json!({ "components": components, "tasks": counts }))
}

fn component(kind: &str, id: &str, address: &str, state: String) -> Value {
    json!({ "component": kind, "id": id, "address": address, "state": state })
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `ready`, or why not.
async fn ready(target: &Target, base: &str) -> String {
    match Endpoint::new(target.http.clone(), base).ready().await {
        Ok(missing) if missing.is_empty() => "ready".to_owned(),
        Ok(missing) => missing.join("; "),
        Err(error) => error.to_string(),
    }
}

fn table(picture: &Value) -> String {
    let mut table = Table::new(&["COMPONENT", "ID", "ADDRESS", "STATE"]);
    for item in items(picture.get("components").unwrap_or(&Value::Null)) {
        table.row(["component", "id", "address", "state"].map(|name| text(item, name).to_owned()).to_vec());
    }
    let tasks = picture.get("tasks").and_then(Value::as_object);
    let counts: Vec<String> = tasks.into_iter().flatten().map(|(state, count)| format!("{count} {state}")).collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    format!("{}\ntasks: {counts}\n", table.text())
}
