//! Types, and the entry points of the interface.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use fogflow_ngsi::Name;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::reply::{self, Fault};
use super::selection::Page;
use crate::engine::Engine;
use crate::filter::{EntitySelector, Filter};

pub(super) async fn entry_points() -> Response {
    reply::json(
        StatusCode::OK,
        &json!({
            "entities_url": "/v2/entities", "types_url": "/v2/types", "subscriptions_url": "/v2/subscriptions",
        }),
    )
}

/// The attributes of a type with the types that their values have, and how many entities there are.
fn describe(engine: &Engine, call: &Call, name: &Name) -> Value {
    let selector = EntitySelector { types: vec![name.clone()], ..EntitySelector::default() };
    let mut count = 0_usize;
    let mut attributes: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    // A selector without patterns always compiles.
    let filter = Filter { path: call.identity.scope(), ..Filter::of([selector]).unwrap_or_default() };
    engine.visit(&call.identity, &filter, |record| {
        count += 1;
        for attribute in &record.entity.attributes {
            let own = attribute.value_type.as_deref().unwrap_or(attribute.kind.as_str());
            attributes.entry(attribute.name.clone()).or_default().insert(own.to_owned());
        }
        true
    });
    let attributes: Map<String, Value> =
        attributes.into_iter().map(|(name, types)| (name.as_str().to_owned(), json!({ "types": types }))).collect();
    json!({ "attrs": attributes, "count": count })
}

pub(super) async fn list(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let page = Page::of(&call.params, engine.config().max_page_size)?;
    let mut names: Vec<Name> = engine.types(&call.identity.tenant).into_iter().map(|(name, _)| name).collect();
    names.sort();
    let total = names.len();
    let shown = names.iter().skip(page.offset).take(page.limit);
    let values: Vec<Value> = if call.params.option("values") {
        shown.map(|name| name.as_str().into()).collect()
    } else {
        shown
            .map(|name| {
                let mut value = describe(&engine, &call, name);
                value["type"] = name.as_str().into();
                value
            })
            .collect()
    };
    let mut response = reply::json(StatusCode::OK, &values);
    if page.count {
        response.headers_mut().insert("fiware-total-count", HeaderValue::from(total));
    }
    Ok(response)
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(name): Path<String>) -> Result<Response, Fault> {
    let value = describe(&engine, &call, &Name::new(&name));
    if value["count"] == 0 {
        return Err(Fault::not_found("The requested type has not been found. Check type"));
    }
    Ok(reply::json(StatusCode::OK, &value))
}
