//! What `fogflow apply` reads: documents of a kind, or upstream's `db.json`.
//!
//! A document is an object with `kind` and the fields of the object itself (or, as in Kubernetes, the fields under `spec`, the name
//! under `metadata`). `code.file` names a source file beside the manifest, which is read in place of `code.source`.

use std::path::Path;

use anyhow::Context as _;
use fogflow_chassis::UsageError;
use fogflow_client::Kind;
use serde_json::{Map, Value};

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Manifest {
    /// Documents in the order in which they have to be registered.
    Objects(Vec<Object>),
    /// A database of upstream's designer.
    Database(Value),
}

/// One document.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// Name or id, for messages; empty where the designer makes the id.
    pub(crate) name: String,
    pub(crate) body: Value,
}

/// Keys of upstream's `db.json`.
const DATABASE: [&str; 7] = ["operators", "topologies", "services", "serviceintents", "fogfunctions", "devices", "subscriptions"];

/// Reads a manifest. `shown` is the file's name for messages, `folder` where `code.file` is looked up.
pub(crate) fn parse(text: &str, shown: &str, folder: &Path) -> anyhow::Result<Manifest> {
    let documents: Vec<Value> = if text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok() {
        vec![serde_json::from_str(text)?]
    } else {
        serde_saphyr::from_multiple(text).map_err(|error| UsageError(format!("{shown}: {error}")))?
    };
    if let [Value::Object(only)] = documents.as_slice()
        && !only.contains_key("kind")
        && only.keys().any(|key| DATABASE.contains(&key.as_str()))
    {
        return Ok(Manifest::Database(Value::Object(only.clone())));
    }
    let mut objects = Vec::new();
    for document in documents {
        collect(document, shown, folder, &mut objects)?;
    }
    if objects.is_empty() {
        return Err(UsageError(format!("{shown}: no documents in it")).into());
    }
    // Operators before what uses them, topologies before their intents.
    objects.sort_by_key(|object| match object.kind {
        Kind::Operator => 0,
        Kind::Topology => 1,
        Kind::FogFunction => 2,
        Kind::ServiceIntent => 3,
        Kind::Device => 4,
        Kind::Subscription => 5,
    });
    Ok(Manifest::Objects(objects))
}

fn collect(document: Value, shown: &str, folder: &Path, objects: &mut Vec<Object>) -> anyhow::Result<()> {
    match document {
        Value::Null => Ok(()),
        Value::Array(items) => items.into_iter().try_for_each(|item| collect(item, shown, folder, objects)),
        Value::Object(mut fields) => {
            let position = objects.len() + 1;
            let Some(Value::String(word)) = fields.shift_remove("kind") else {
                return Err(UsageError(format!("{shown}: document {position} has no `kind`: {KINDS}")).into());
            };
            if word == "List" {
                return collect(fields.shift_remove("items").unwrap_or(Value::Null), shown, folder, objects);
            }
            let kind = kind_of(&word).ok_or_else(|| UsageError(format!("{shown}: unknown kind {word:?}: {KINDS}")))?;
            objects.push(object(kind, fields, shown, folder)?);
            Ok(())
        }
        other => Err(UsageError(format!("{shown}: expected an object with `kind`, found {other}")).into()),
    }
}

const KINDS: &str = "one of Operator, Topology, FogFunction, ServiceIntent, Device, Subscription";

fn kind_of(word: &str) -> Option<Kind> {
    Some(match word.to_ascii_lowercase().as_str() {
        "operator" => Kind::Operator,
        "topology" | "service" => Kind::Topology,
        "fogfunction" | "function" => Kind::FogFunction,
        "serviceintent" | "intent" => Kind::ServiceIntent,
        "device" => Kind::Device,
        "subscription" => Kind::Subscription,
        _ => return None,
    })
}

fn object(kind: Kind, mut fields: Map<String, Value>, shown: &str, folder: &Path) -> anyhow::Result<Object> {
    fields.shift_remove("apiVersion");
    if let Some(Value::Object(spec)) = fields.shift_remove("spec") {
        fields.extend(spec);
    }
    let named = if matches!(kind, Kind::Operator | Kind::Topology | Kind::FogFunction) { "name" } else { "id" };
    if kind != Kind::Device
        && let Some(Value::Object(metadata)) = fields.shift_remove("metadata")
        && let Some(name) = metadata.get("name")
    {
        fields.entry(named).or_insert_with(|| name.clone());
    }
    // A service is upstream's wrapper around a topology.
    let inner = fields.get("topology").filter(|topology| kind == Kind::Topology && topology.is_object());
    let name = inner.and_then(|topology| topology.get("name")).or_else(|| fields.get(named)).and_then(Value::as_str).unwrap_or_default();
    let name = name.to_owned();
    if name.is_empty() && named == "name" {
        return Err(UsageError(format!("{shown}: {kind:?} without a `name`")).into());
    }
    if let Some(Value::Object(code)) = fields.get_mut("code") {
        read_source(code, &name, shown, folder)?;
    }
    let body = match kind {
        Kind::Topology if inner_is_missing(&fields) => serde_json::json!({ "topology": fields }),
        Kind::FogFunction => fog_function(fields, &name),
        _ => Value::Object(fields),
    };
    Ok(Object { kind, name, body })
}

fn inner_is_missing(fields: &Map<String, Value>) -> bool {
    !fields.get("topology").is_some_and(Value::is_object)
}

/// The short form gives `tasks` at the top; the topology has the function's name, the intent is global unless it is given.
fn fog_function(mut fields: Map<String, Value>, name: &str) -> Value {
    if let Some(tasks) = fields.shift_remove("tasks") {
        let description = fields.get("description").cloned().unwrap_or_else(|| Value::String(String::new()));
        fields.entry("topology").or_insert_with(|| serde_json::json!({ "name": name, "description": description, "tasks": tasks }));
    }
    fields.entry("intent").or_insert_with(|| {
        serde_json::json!({
            "topology": name, "stype": "ASYN", "qos": "Max Throughput", "priority": { "exclusive": false, "level": 0 },
            "geoscope": { "scopeType": "global", "scopeValue": "global" }
        })
    });
    Value::Object(fields)
}

fn read_source(code: &mut Map<String, Value>, name: &str, shown: &str, folder: &Path) -> anyhow::Result<()> {
    let Some(file) = code.shift_remove("file") else { return Ok(()) };
    let file = file.as_str().ok_or_else(|| UsageError(format!("{shown}: `code.file` of {name} is not a text")))?;
    let path = folder.join(file);
    let source = std::fs::read_to_string(&path).with_context(|| format!("{shown}: the code of {name}, {}", path.display()))?;
    code.insert("source".to_owned(), Value::String(source));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str, folder: &Path) -> Vec<Object> {
        match parse(text, "test", folder).unwrap() {
            Manifest::Objects(objects) => objects,
            Manifest::Database(_) => panic!("a database"),
        }
    }

    #[test]
    fn documents_of_all_kinds_come_in_the_order_in_which_they_can_be_registered() {
        let text = "kind: ServiceIntent\ntopology: t\n---\nkind: Topology\nname: t\ntasks: []\n---\nkind: Operator\nname: o\n---\n\
                    kind: Device\nid: d\ntype: D\nmetadata: {location: {type: point}}\n---\nkind: FogFunction\nname: f\ntasks: []\n";
        let all = objects(text, Path::new("."));
        let kinds: Vec<(Kind, &str)> = all.iter().map(|object| (object.kind, object.name.as_str())).collect();
        assert_eq!(
            kinds,
            [(Kind::Operator, "o"), (Kind::Topology, "t"), (Kind::FogFunction, "f"), (Kind::ServiceIntent, ""), (Kind::Device, "d")]
        );
        assert_eq!(all[1].body["topology"]["name"], "t");
        assert_eq!(all[2].body["topology"]["name"], "f");
        assert_eq!(all[2].body["intent"]["geoscope"]["scopeType"], "global");
        assert_eq!(all[4].body["metadata"]["location"]["type"], "point");
    }

    #[test]
    fn json_and_the_form_with_spec_and_metadata_mean_the_same() {
        let plain = objects(r#"[{"kind":"Operator","name":"o","description":"d"}]"#, Path::new("."));
        let nested = objects("apiVersion: v1\nkind: Operator\nmetadata: {name: o}\nspec: {description: d}\n", Path::new("."));
        assert_eq!(plain[0].body["description"], nested[0].body["description"]);
        assert_eq!((plain[0].name.as_str(), nested[0].body["name"].as_str()), ("o", Some("o")));
    }

    #[test]
    fn code_is_read_from_the_file_beside_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f.py"), "x = 1\n").unwrap();
        let all = objects("kind: Operator\nname: o\ncode: {language: python, file: f.py}\n", folder.path());
        assert_eq!(all[0].body["code"]["source"], "x = 1\n");
        assert!(all[0].body["code"].get("file").is_none());
        let missing = parse("kind: Operator\nname: o\ncode: {file: no.py}\n", "m.yaml", folder.path()).unwrap_err();
        assert!(format!("{missing:#}").contains("m.yaml: the code of o"), "{missing:#}");
    }

    #[test]
    fn upstreams_database_is_recognised() {
        let text = r#"{"devices":{},"operators":{"o":{"name":"o"}},"topologies":{}}"#;
        assert!(matches!(parse(text, "db.json", Path::new(".")).unwrap(), Manifest::Database(_)));
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_file_and_the_reason() {
        for (text, reason) in [
            ("name: x\n", "document 1 has no `kind`"),
            ("kind: Pod\n", "unknown kind \"Pod\""),
            ("kind: Operator\n", "Operator without a `name`"),
            ("", "no documents"),
            ("just words", "expected an object"),
            ("a: [1", "m.yaml"),
        ] {
            let error = format!("{:#}", parse(text, "m.yaml", Path::new(".")).unwrap_err());
            assert!(error.contains("m.yaml") && error.contains(reason), "{text:?}: {error}");
        }
    }
}
