//! `fogflow get`

use fogflow_client::{Context, Kind};
use serde_json::Value;

use crate::cli::Listed;
use crate::output::{Format, Table, rendered, show};
use crate::target::Target;

/// Lists, or shows one.
pub(crate) async fn run(target: &Target, what: Listed, name: Option<&str>, format: Format, watch: bool) -> anyhow::Result<()> {
    show(watch, format, || async {
        let items = fetch(target, what, name).await?;
        let value = match name {
            Some(name) => items.into_iter().next().ok_or_else(|| anyhow::anyhow!("there is no {name}"))?,
            None => Value::Array(items),
        };
        rendered(format, &value, |value| table(what, value))
    })
    .await
}

async fn fetch(target: &Target, what: Listed, name: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let listed = match what {
        Listed::Operators => target.designer.list(Kind::Operator).await?,
        Listed::Topologies => target.designer.topologies().await?,
        Listed::Functions => target.designer.list(Kind::FogFunction).await?,
        Listed::Intents => target.designer.list(Kind::ServiceIntent).await?,
        Listed::Devices => target.designer.list(Kind::Device).await?,
        Listed::Subscriptions => with_ids(target.designer.list(Kind::Subscription).await?),
        Listed::Tasks => target.designer.info("task").await?,
        Listed::Workers => target.designer.info("worker").await?,
        Listed::Brokers => target.designer.info("broker").await?,
        Listed::Entities => match name {
            Some(id) => return Ok(target.broker.entity(id, &Context::default()).await?.into_iter().collect()),
            None => Value::Array(target.broker.entities(&Context::default()).await?),
        },
    };
    let mut items: Vec<Value> = match listed {
        Value::Object(by_name) => by_name.into_iter().map(|(_, item)| item).collect(),
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    if let Some(name) = name {
        items.retain(|item| key(what, item) == name);
    }
    items.sort_by(|a, b| key(what, a).cmp(key(what, b)));
    Ok(items)
}

/// Subscriptions are stored without their own id.
fn with_ids(listed: Value) -> Value {
    let Value::Object(by_id) = listed else { return listed };
    let items = by_id.into_iter().map(|(id, mut item)| {
        if let Value::Object(fields) = &mut item {
            fields.entry("id").or_insert(Value::String(id));
        }
        item
    });
    Value::Array(items.collect())
}

fn key(what: Listed, item: &Value) -> &str {
    let place = match what {
        Listed::Operators | Listed::Topologies | Listed::Functions => "/name",
        Listed::Tasks => "/TaskID",
        Listed::Entities => "/entityId/id",
        Listed::Intents | Listed::Workers | Listed::Brokers | Listed::Devices | Listed::Subscriptions => "/id",
    };
    text(item, place)
}

fn text<'a>(item: &'a Value, place: &str) -> &'a str {
    item.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// Any scalar as text.
fn cell(item: &Value, place: &str) -> String {
    match item.pointer(place) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn list<'a>(item: &'a Value, place: &str) -> &'a [Value] {
    item.pointer(place).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn joined<'a>(items: impl IntoIterator<Item = &'a Value>, place: &str) -> String {
    let mut words: Vec<&str> = items.into_iter().map(|item| text(item, place)).filter(|word| !word.is_empty()).collect();
    words.dedup();
    words.join(", ")
}

fn table(what: Listed, value: &Value) -> String {
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut table = Table::new(headings(what));
    for item in items {
        table.row(cells(what, item));
    }
    table.text()
}

fn headings(what: Listed) -> &'static [&'static str] {
    match what {
        Listed::Operators => &["NAME", "RUNS", "DESCRIPTION"],
        Listed::Topologies => &["NAME", "TASKS", "DESCRIPTION"],
        Listed::Functions => &["NAME", "STATUS", "OPERATOR", "INPUT", "OUTPUT"],
        Listed::Intents => &["ID", "TOPOLOGY", "STATUS", "SCOPE", "OBJECTIVE", "REASON"],
        Listed::Tasks => &["ID", "STATUS", "WORKER", "OPERATOR", "INPUTS", "RESTARTS", "SINCE", "REASON"],
        Listed::Workers => &["ID", "ENGINE", "HARDWARE", "TASKS", "CAPACITY", "LAST HEARTBEAT"],
        Listed::Brokers => &["ID", "URL", "LAST HEARTBEAT"],
        Listed::Devices => &["ID", "TYPE", "ATTRIBUTES"],
        Listed::Subscriptions => &["ID", "TYPE", "TO", "REFERENCE"],
        Listed::Entities => &["ID", "TYPE", "ATTRIBUTES"],
    }
}

fn cells(what: Listed, item: &Value) -> Vec<String> {
    let at = |place: &str| cell(item, place);
    match what {
        Listed::Operators => vec![at("/name"), runs(item), at("/description")],
        Listed::Topologies => vec![at("/name"), joined(list(item, "/tasks"), "/name"), at("/description")],
        Listed::Functions => {
            let tasks = list(item, "/topology/tasks");
            let inputs = tasks.iter().flat_map(|task| list(task, "/input_streams"));
            let outputs = tasks.iter().flat_map(|task| list(task, "/output_streams"));
            vec![at("/name"), at("/status"), joined(tasks, "/operator"), joined(inputs, "/selected_type"), joined(outputs, "/entity_type")]
        }
        Listed::Intents => vec![at("/id"), at("/topology"), at("/status"), at("/geoscope/scopeType"), at("/qos"), at("/reason")],
        Listed::Tasks => vec![
            at("/TaskID"),
            at("/Status"),
            at("/Worker"),
            at("/Operator"),
            joined(list(item, "/Inputs"), "/ID"),
            at("/Restarts"),
            at("/Since"),
            at("/Reason"),
        ],
        Listed::Workers => {
            vec![at("/id"), at("/Engine"), at("/hardware"), at("/workload"), at("/capacity"), at("/Last_Heartbeat_Update")]
        }
        Listed::Brokers => vec![at("/id"), at("/myURL"), at("/Last_Heartbeat_Update")],
        Listed::Devices => {
            let names = item.pointer("/attributes").and_then(Value::as_object).map(|fields| fields.keys().cloned().collect::<Vec<_>>());
            vec![at("/id"), at("/type"), names.unwrap_or_default().join(", ")]
        }
        Listed::Subscriptions => vec![at("/id"), at("/entity_type"), at("/destination_broker"), at("/reference_url")],
        Listed::Entities => vec![at("/entityId/id"), at("/entityId/type"), values(item)],
    }
}

fn runs(operator: &Value) -> String {
    let mut ways = Vec::new();
    if let Some(language) = operator.pointer("/code/language").and_then(Value::as_str) {
        ways.push(format!("{language} code"));
    }
    ways.extend(list(operator, "/executables").iter().map(|executable| joined(list(executable, "/command").first(), "")));
    ways.extend(list(operator, "/dockerimages").iter().map(|image| format!("{}:{}", text(image, "/name"), text(image, "/tag"))));
    ways.join(", ")
}

fn values(entity: &Value) -> String {
    let pairs: Vec<String> =
        list(entity, "/attributes").iter().map(|attribute| format!("{}={}", text(attribute, "/name"), cell(attribute, "/value"))).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_has_as_many_cells_as_headings_also_for_an_empty_object() {
        for what in <Listed as clap::ValueEnum>::value_variants() {
            assert_eq!(headings(*what).len(), cells(*what, &json!({})).len(), "{what:?}");
        }
    }

    #[test]
    fn an_operator_shows_all_its_ways_to_run_and_an_entity_its_values() {
        let operator = json!({"name": "o", "code": {"language": "python"}, "executables": [{"command": ["node", "x.js"]}],
            "dockerimages": [{"name": "fogflow/o", "tag": "1"}]});
        assert_eq!(runs(&operator), "python code, node, fogflow/o:1");
        let entity = json!({"attributes": [{"name": "t", "value": 7.5}, {"name": "w", "value": "rain"}]});
        assert_eq!(values(&entity), "t=7.5 w=rain");
    }
}
