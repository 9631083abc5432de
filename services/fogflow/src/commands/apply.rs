//! `fogflow apply`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fogflow_client::Kind;
use serde_json::Value;

use crate::manifest::{self, Manifest};
use crate::output::{complain, print};
use crate::target::Target;

pub(crate) const EXAMPLES: &str = "\
Kinds: Operator, Topology, FogFunction, ServiceIntent, Device, Subscription. Several documents are separated by ---.

  kind: Operator
  name: hello
  code: {language: python, file: function.py}
  ---
  kind: FogFunction
  name: hello
  tasks:
    - name: main
      operator: hello
      input_streams: [{selected_type: WeatherStation, groupby: EntityID}]
      output_streams: [{entity_type: Greeting}]

Examples:
  fogflow apply -f weather.yaml
  fogflow get operators -o json | fogflow apply -f -
  fogflow apply -f db.json           the database of an upstream designer";

/// Registers what the files hold, in order. What was registered before a failure stays.
pub(crate) async fn run(target: &Target, files: &[PathBuf]) -> anyhow::Result<()> {
    for file in files {
        let (text, shown, folder) = read(file)?;
        match manifest::parse(&text, &shown, &folder)? {
            Manifest::Database(database) => import(target, &database).await?,
            Manifest::Objects(objects) => {
                for object in objects {
                    let answer = target
                        .designer
                        .put(object.kind, &object.body)
                        .await
                        .with_context(|| format!("{} {} of {shown}", word(object.kind), object.name))?;
                    let id = answer.get("id").and_then(Value::as_str).unwrap_or(&object.name);
                    print(&format!("{} {id} applied\n", word(object.kind)))?;
                }
            }
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<(String, String, PathBuf)> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return Ok((text, "standard input".to_owned(), PathBuf::from(".")));
    }
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| shown.clone())?;
    let folder = file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    Ok((text, shown, folder))
}

async fn import(target: &Target, database: &Value) -> anyhow::Result<()> {
    let answer = target.designer.import(database).await?;
    let imported = answer.get("imported").and_then(Value::as_object).into_iter().flatten();
    for (kind, count) in imported {
        print(&format!("{kind}: {count} imported\n"))?;
    }
    let skipped = answer.get("skipped").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for item in skipped {
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        complain(&format!("{} {} left out: {}", text("kind"), text("id"), text("reason")));
    }
    anyhow::ensure!(skipped.is_empty(), "{} entries were left out", skipped.len());
    Ok(())
}

/// The kind as users write it.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Operator => "operator",
        Kind::Topology => "topology",
        Kind::FogFunction => "function",
        Kind::ServiceIntent => "intent",
        Kind::Device => "device",
        Kind::Subscription => "subscription",
    }
}
