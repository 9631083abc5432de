//! Export and import of everything that users registered, as one document of upstream's `db.json` form.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use fogflow_orchestration::{FogFunction, Operator, ServiceIntent, Topology};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{devices, functions, intents, operators};
use crate::app::Shared;
use crate::body;
use crate::error::{ApiError, ApiResult};
use crate::records::{Device, ForwardedSubscription, Record, Service};
use crate::registry::{Action, Contents, Draft};
use crate::validate;

/// Largest document, in bytes.
pub(super) const LARGEST: usize = 64 * 1024 * 1024;

/// The form of `db.json`: what was registered, by name or id.
#[derive(Default, JsonSchema)]
#[schemars(default)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Document {
    devices: BTreeMap<String, Device>,
    subscriptions: BTreeMap<String, ForwardedSubscription>,
    operators: BTreeMap<String, Operator>,
    topologies: BTreeMap<String, Topology>,
    services: BTreeMap<String, Service>,
    #[schemars(rename = "serviceintents")]
    intents: BTreeMap<String, ServiceIntent>,
    #[schemars(rename = "fogfunctions")]
    functions: BTreeMap<String, FogFunction>,
}

/// `GET /export`
pub(super) async fn export(State(app): State<Shared>) -> Json<Value> {
    let contents = app.registry.read();
    let mut document = Map::new();
    shelf::<Device>(&contents, &mut document);
    shelf::<ForwardedSubscription>(&contents, &mut document);
    shelf::<Operator>(&contents, &mut document);
    shelf::<Topology>(&contents, &mut document);
    shelf::<Service>(&contents, &mut document);
    shelf::<ServiceIntent>(&contents, &mut document);
    shelf::<FogFunction>(&contents, &mut document);
    Json(Value::Object(document))
}

fn shelf<R: Record>(contents: &Contents, document: &mut Map<String, Value>) {
    let values: Map<String, Value> = R::shelf(contents).iter().map(|(id, value)| (id.clone(), json!(**value))).collect();
    document.insert(R::COLLECTION.to_owned(), Value::Object(values));
}

/// What became of an import.
#[derive(Serialize, JsonSchema)]
pub(super) struct Imported {
    /// How many of each kind were stored.
    imported: BTreeMap<String, usize>,
    /// What was left out.
    skipped: Vec<Skipped>,
}

/// What an import left out.
#[derive(Serialize, JsonSchema)]
struct Skipped {
    kind: String,
    id: String,
    reason: String,
}

/// `POST /import`: adds what the document holds, in place of what has the same name. What is wrong in it is left out and named in
/// the answer; the rest is stored as one write.
///
/// Operators that a topology names but nobody registered are let pass: upstream never checked them, and placing such a task fails with that reason.
pub(super) async fn import(State(app): State<Shared>, bytes: Bytes) -> ApiResult<Json<Imported>> {
    let document = match body::json(&bytes)? {
        Value::Object(document) => document,
        _ => return Err(ApiError::bad("the document has to be a JSON object like db.json")),
    };
    let known = [
        Operator::COLLECTION,
        Topology::COLLECTION,
        Service::COLLECTION,
        FogFunction::COLLECTION,
        ServiceIntent::COLLECTION,
        Device::COLLECTION,
        ForwardedSubscription::COLLECTION,
    ];
    if !document.keys().any(|key| known.contains(&key.as_str())) {
        return Err(ApiError::bad(format!("the document has none of the keys {}", known.join(", "))));
    }
    let answer = app
        .registry
        .write(|draft| {
            let mut import = Import { document: &document, draft, imported: BTreeMap::new(), skipped: Vec::new() };
            import.each(Operator::COLLECTION, |draft, _, value| {
                let operator: Operator = body::typed(value.clone(), "")?;
                validate::operator(&operator)?;
                operators::store(draft, operator, value)
            })?;
            import.each(Service::COLLECTION, |draft, _, value| {
                let mut service: Service = body::typed(value.clone(), "")?;
                validate::topology(&service.topology, |_| true)?;
                service.topology.operators.clear();
                let name = service.topology.name.clone();
                draft.put(&name, service.topology.clone())?;
                draft.put(&name, service)
            })?;
            import.each(FogFunction::COLLECTION, |draft, _, value| {
                let mut function: FogFunction = body::typed(value.clone(), "")?;
                if function.status != "disabled" {
                    "enabled".clone_into(&mut function.status);
                }
                let function = functions::complete(draft, function)?;
                validate::topology(&function.topology, |_| true)?;
                functions::store(draft, function)
            })?;
            // Most topologies came with their service or function; what is left is a topology alone.
            import.each(Topology::COLLECTION, |draft, _, value| {
                let mut topology: Topology = body::typed(value.clone(), "")?;
                validate::topology(&topology, |_| true)?;
                topology.operators.clear();
                let name = topology.name.clone();
                if draft.contents().services.contains(&name) || draft.contents().functions.contains(&name) {
                    return Ok(());
                }
                draft.put(&name, topology.clone())?;
                draft.put(&name, Service { topology, designboard: None })
            })?;
            import.each(ServiceIntent::COLLECTION, |draft, id, value| {
                let mut intent: ServiceIntent = body::typed(value.clone(), "")?;
                if intent.id.is_empty() {
                    id.clone_into(&mut intent.id);
                }
                intents::complete(&mut intent);
                validate::intent(&intent)?;
                draft.announce(&intent, Action::Add)?;
                draft.put(&intent.id.clone(), intent)
            })?;
            import.each(Device::COLLECTION, |draft, id, value| {
                let mut device: Device = body::typed(value.clone(), "")?;
                if device.id.is_empty() {
                    id.clone_into(&mut device.id);
                }
                validate::device(&device)?;
                devices::complete(&mut device);
                draft.put(&device.id.clone(), device)
            })?;
            import.each(ForwardedSubscription::COLLECTION, |draft, id, value| {
                let mut subscription: ForwardedSubscription = body::typed(value.clone(), "")?;
                validate::subscription(&subscription)?;
                if subscription.broker_subscription_id.is_empty() {
                    // Upstream's key is the broker's id of it.
                    id.clone_into(&mut subscription.broker_subscription_id);
                }
                draft.put(id, subscription)
            })?;
            Ok(Imported { imported: import.imported, skipped: import.skipped })
        })
        .await?;
    Ok(Json(answer))
}

struct Import<'a> {
    document: &'a Map<String, Value>,
    draft: &'a mut Draft,
    imported: BTreeMap<String, usize>,
    skipped: Vec<Skipped>,
}

impl Import<'_> {
    fn each(&mut self, collection: &str, store: impl Fn(&mut Draft, &str, &Value) -> ApiResult<()>) -> ApiResult<()> {
        let values = match self.document.get(collection) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Object(values)) => values,
            Some(_) => return Err(ApiError::bad(format!("{collection} has to be an object: id -> value"))),
        };
        let mut count = 0_usize;
        for (id, value) in values {
            match store(self.draft, id, value) {
                Ok(()) => count += 1,
                Err(error) => {
                    self.skipped.push(Skipped { kind: collection.to_owned(), id: id.clone(), reason: error.description });
                }
            }
        }
        self.imported.insert(collection.to_owned(), count);
        Ok(())
    }
}
