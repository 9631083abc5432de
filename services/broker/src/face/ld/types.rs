//! What types and attributes there are (ETSI GS CIM 009, clauses 6.25 to 6.28).

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use fogflow_ngsi::Name;
use fogflow_ngsi::context::Context;
use serde_json::{Value, json};

use super::call::{Call, Media};
use super::reply::{self, Fault};
use crate::engine::Engine;
use crate::filter::{EntitySelector, Filter};

/// What is known of the entities that have some type, or some attribute.
#[derive(Default)]
struct Tally {
    entities: usize,
    /// Attributes with the kinds of their instances.
    attributes: BTreeMap<Name, BTreeSet<&'static str>>,
    types: BTreeSet<Name>,
}

fn tally(engine: &Engine, call: &Call, filter: &Filter) -> Tally {
    let mut tally = Tally::default();
    engine.visit(&call.identity, filter, |record| {
        tally.entities += 1;
        tally.types.extend(record.entity.types.iter().cloned());
        for attribute in &record.entity.attributes {
            tally.attributes.entry(attribute.name.clone()).or_default().insert(attribute.kind.as_str());
        }
        true
    });
    tally
}

fn of_type(name: &Name) -> Filter {
    let selector = EntitySelector { types: vec![name.clone()], ..EntitySelector::default() };
    // A selector without patterns always compiles.
    Filter::of([selector]).unwrap_or_default()
}

fn of_attribute(name: &Name) -> Filter {
    Filter { all_attributes: vec![name.clone()], ..Filter::everything() }
}

fn short<'a>(names: impl IntoIterator<Item = &'a Name>, context: &Context) -> Vec<String> {
    names.into_iter().map(|name| context.compact(name).into_owned()).collect()
}

fn respond(mut value: Value, media: Media, context: &Context) -> Response {
    if media == Media::JsonLd {
        let add = |value: &mut Value| {
            if let Value::Object(members) = value {
                members.insert("@context".to_owned(), context.to_value());
            }
        };
        match &mut value {
            Value::Array(items) => items.iter_mut().for_each(add),
            one => add(one),
        }
    }
    reply::body(StatusCode::OK, media, context, value.to_string().into_bytes())
}

fn list_id(kind: &str) -> String {
    format!("urn:ngsi-ld:{kind}:{}", uuid::Uuid::new_v4())
}

pub(super) async fn types(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    call.check_tenant(&engine)?;
    let mut names: Vec<Name> = engine.types(&call.identity.tenant).into_iter().map(|(name, _)| name).collect();
    names.sort();
    let value = if call.params.flag("details") {
        let detail = |name: &Name| {
            let tally = tally(&engine, &call, &of_type(name));
            json!({
                "id": name.iri(), "type": "EntityType", "typeName": context.compact(name),
                "attributeNames": short(tally.attributes.keys(), &context),
            })
        };
        Value::Array(names.iter().map(detail).collect())
    } else {
        json!({"id": list_id("EntityTypeList"), "type": "EntityTypeList", "typeList": short(&names, &context)})
    };
    Ok(respond(value, media, &context))
}

pub(super) async fn type_details(State(engine): State<Engine>, call: Call, Path(name): Path<String>) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    call.check_tenant(&engine)?;
    let expanded = context.expand(&name);
    let tally = tally(&engine, &call, &of_type(&expanded));
    if tally.entities == 0 {
        return Err(Fault::not_found(format!("there is no entity of type {name}")));
    }
    let attribute = |(name, kinds): (&Name, &BTreeSet<&str>)| json!({"id": name.iri(), "type": "Attribute", "attributeName": context.compact(name), "attributeTypes": kinds});
    let value = json!({
        "id": expanded.iri(), "type": "EntityTypeInfo", "typeName": context.compact(&expanded), "entityCount": tally.entities,
        "attributeDetails": tally.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    Ok(respond(value, media, &context))
}

pub(super) async fn attributes(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    call.check_tenant(&engine)?;
    let mut names: Vec<Name> = engine.attribute_names(&call.identity.tenant).into_iter().map(|(name, _)| name).collect();
    names.sort();
    let value = if call.params.flag("details") {
        let detail = |name: &Name| {
            let tally = tally(&engine, &call, &of_attribute(name));
            json!({
                "id": name.iri(), "type": "Attribute", "attributeName": context.compact(name),
                "typeNames": short(&tally.types, &context),
            })
        };
        Value::Array(names.iter().map(detail).collect())
    } else {
        json!({"id": list_id("AttributeList"), "type": "AttributeList", "attributeList": short(&names, &context)})
    };
    Ok(respond(value, media, &context))
}

pub(super) async fn attribute_details(State(engine): State<Engine>, call: Call, Path(name): Path<String>) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    call.check_tenant(&engine)?;
    let expanded = context.expand(&name);
    let tally = tally(&engine, &call, &of_attribute(&expanded));
    let Some(kinds) = tally.attributes.get(&expanded) else {
        return Err(Fault::not_found(format!("there is no attribute {name}")));
    };
    let value = json!({
        "id": expanded.iri(), "type": "Attribute", "attributeName": context.compact(&expanded), "attributeCount": tally.entities,
        "attributeTypes": kinds, "typeNames": short(&tally.types, &context),
    });
    Ok(respond(value, media, &context))
}
