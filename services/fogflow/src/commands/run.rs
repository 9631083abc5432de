//! `fogflow run`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use fogflow_chassis::UsageError;
use fogflow_client::{Context, Kind};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::commands::apply::word;
use crate::manifest::{self, Manifest, Object};
use crate::output::print;
use crate::target::{ServerArgs, Target};

/// Time between two looks at tasks and results.
const LOOK: Duration = Duration::from_millis(500);
/// Lines that wait for a slow terminal.
const LINES: usize = 256;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The folder that `fogflow new function` made
    folder: PathBuf,
    /// Unregister the function at the end
    #[arg(long)]
    rm: bool,
    /// Register it and end
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Registers the folder's function, then prints what its tasks write and what they publish, until interrupted.
pub(crate) async fn run(args: &RunArgs) -> anyhow::Result<()> {
    let target = args.server.open()?;
    let objects = read(&args.folder)?;
    for object in &objects {
        target.designer.put(object.kind, &object.body).await.with_context(|| format!("{} {}", word(object.kind), object.name))?;
    }
    let function = Function::of(&objects).ok_or_else(|| UsageError("function.yaml has no FogFunction".to_owned()))?;
    print(&format!(
        "{} is registered; its input: {}, its output: {}\n",
        function.name,
        function.inputs.join(", "),
        function.outputs.join(", ")
    ))?;
    if args.detach {
        return Ok(());
    }
    let interrupted = tokio::select! {
        outcome = follow(&target, &function) => { outcome?; false }
        _ = tokio::signal::ctrl_c() => true,
    };
    if args.rm {
        for object in objects.iter().rev() {
            target.designer.delete(object.kind, &object.name).await?;
        }
        print(&format!("\n{} is unregistered\n", function.name))?;
    } else if interrupted {
        print(&format!("\n{name} goes on; to end it: fogflow delete function {name}\n", name = function.name))?;
    }
    Ok(())
}

/// What is to be followed.
#[derive(Debug, PartialEq)]
struct Function {
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Function {
    fn of(objects: &[Object]) -> Option<Self> {
        let object = objects.iter().find(|object| object.kind == Kind::FogFunction)?;
        let tasks = object.body.pointer("/topology/tasks").and_then(Value::as_array)?;
        let words = |streams: &str, name: &str| {
            let streams = tasks.iter().filter_map(|task| task.get(streams).and_then(Value::as_array)).flatten();
            streams.filter_map(|stream| stream.get(name).and_then(Value::as_str)).map(str::to_owned).collect()
        };
        Some(Function {
            name: object.name.clone(),
            inputs: words("input_streams", "selected_type"),
            outputs: words("output_streams", "entity_type"),
        })
    }
}

fn read(folder: &Path) -> anyhow::Result<Vec<Object>> {
    let path = folder.join("function.yaml");
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| UsageError(format!("{shown}: {error}; `fogflow new function NAME` makes such a folder")))?;
    match manifest::parse(&text, &shown, folder)? {
        Manifest::Objects(objects) => Ok(objects),
        Manifest::Database(_) => Err(UsageError(format!("{shown}: a database is no function")).into()),
    }
}

async fn follow(target: &Target, function: &Function) -> anyhow::Result<()> {
    let (lines, mut printed) = mpsc::channel::<String>(LINES);
    let mut followed: BTreeSet<String> = BTreeSet::new();
    let mut results: BTreeSet<String> = BTreeSet::new();
    let mut told = String::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            Some(line) = printed.recv() => print(&line)?,
            _ = look.tick() => {
                let rows = target.designer.info("task").await?;
                let state = state(&rows, function);
                if state != told {
                    print(&format!("{state}\n"))?;
                    told = state;
                }
                for id in tasks(&rows, function) {
                    // A log exists once the task has been started.
                    if !followed.contains(&id) && let Ok(log) = target.designer.logs(&id, Some(20), true).await {
                        followed.insert(id.clone());
                        tokio::spawn(copy(log, id, lines.clone()));
                    }
                }
                for line in new_results(target, function, &mut results).await? {
                    print(&line)?;
                }
            }
        }
    }
}

/// One line about the tasks, or what is missing for the first one.
fn state(rows: &Value, function: &Function) -> String {
    let states: Vec<String> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row.get("TopologyName").and_then(Value::as_str) == Some(&function.name))
        .map(|row| {
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{} {} {}", text("TaskID"), text("Status"), text("Reason")).trim_end().to_owned()
        })
        .collect();
    if states.is_empty() {
        return format!("no task yet: it starts with the first entity of type {}", function.inputs.join(", "));
    }
    states.join("\n")
}

fn tasks(rows: &Value, function: &Function) -> Vec<String> {
    let of_function = |row: &&Value| row.get("TopologyName").and_then(Value::as_str) == Some(function.name.as_str());
    rows.as_array().into_iter().flatten().filter(of_function).filter_map(|row| row.get("TaskID")?.as_str().map(str::to_owned)).collect()
}

async fn copy(mut log: fogflow_client::TextStream, id: String, lines: mpsc::Sender<String>) {
    let mut rest = String::new();
    while let Some(Ok(part)) = log.next().await {
        rest.push_str(&String::from_utf8_lossy(&part));
        while let Some((line, tail)) = rest.split_once('\n') {
            if lines.send(format!("{id} | {line}\n")).await.is_err() {
                return;
            }
            rest = tail.to_owned();
        }
    }
}

/// Entities of the output types that changed since the last look.
async fn new_results(target: &Target, function: &Function, known: &mut BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let entities = target.broker.entities(&Context::default()).await?;
    let of_outputs = entities.iter().filter(|entity| {
        let entity_type = entity.pointer("/entityId/type").and_then(Value::as_str).unwrap_or_default();
        function.outputs.iter().any(|output| output == entity_type)
    });
    let current: BTreeSet<String> = of_outputs.map(|entity| format!("result | {entity}\n")).collect();
    let fresh = current.difference(known).cloned().collect();
    *known = current;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_followed_by_the_name_of_its_topology_and_its_output_types() {
        let text = "kind: FogFunction\nname: f\ntasks: [{name: main, operator: o, input_streams: [{selected_type: A}], output_streams: [{entity_type: B}]}]";
        let Manifest::Objects(objects) = manifest::parse(text, "t", Path::new(".")).unwrap() else { panic!("no objects") };
        let function = Function::of(&objects).unwrap();
        assert_eq!(function, Function { name: "f".to_owned(), inputs: vec!["A".to_owned()], outputs: vec!["B".to_owned()] });
        let rows = serde_json::json!([{"TaskID": "T.f", "TopologyName": "f", "Status": "running"}, {"TaskID": "T.g", "TopologyName": "g"}]);
        assert_eq!(tasks(&rows, &function), ["T.f"]);
        assert_eq!(state(&rows, &function), "T.f running");
        assert_eq!(state(&serde_json::json!([]), &function), "no task yet: it starts with the first entity of type A");
    }
}
