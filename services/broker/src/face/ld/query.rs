//! Queries (ETSI GS CIM 009, clauses 6.4.3.2 and 6.23).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::{JsonWriter, Name, ld};
use serde_json::{Map, Value};

use super::call::{Call, Media};
use super::entities::text;
use super::order::Order;
use super::reply::{self, Fault};
use super::selection::{Page, Selection, Shape};
use crate::command::{Action, AttributeSelector, Command, Refusal};
use crate::engine::{Engine, Found};

pub(super) async fn get(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let media = call.media()?;
    let context = call.context(&engine).await?;
    let page = Page::of(&call, engine.config().max_page_size)?;
    let shape = Shape::of(&call, &context)?;
    let order = Order::of(&call, &context)?;
    // What is to be ordered must be there as a whole.
    let read = if order.is_none() { page } else { Page { offset: 0, limit: usize::MAX, ..page } };
    let query = Selection::of(&call, &context)?.query(read)?;
    call.check_tenant(&engine)?;
    let mut found = engine.query(&call.identity, query).await;
    if let Some(order) = order {
        order.sort(&mut found.entities);
        found.entities = found.entities.into_iter().skip(page.offset).take(page.limit.saturating_add(1)).collect();
    }
    if call.lenient && found.entities.is_empty() {
        return Err(Fault::not_found("no entity matches"));
    }
    Ok(answer(&engine, &call, found, page, &shape, &context, media, "/ngsi-ld/v1/entities"))
}

pub(super) async fn post(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let media = call.media()?;
    let context = call.body_context(&engine, &body).await?;
    let document: Map<String, Value> = serde_json::from_str(text(&body)?).map_err(|error| {
        let kind = if error.is_data() { ld::ProblemType::BadRequestData } else { ld::ProblemType::InvalidRequest };
        Fault::new(kind, error.to_string())
    })?;
    let page = Page::of(&call, engine.config().max_page_size)?;
    let mut shape = Shape::of(&call, &context)?;
    if let Some(lang) = document.get("lang").and_then(Value::as_str) {
        shape.lang = lang.to_owned();
    }
    shape.read_join(&document)?;
    let selected = document.get("attrs").or_else(|| document.get("pick")).and_then(Value::as_array);
    // Upstream selects entities by attributes but shows them whole.
    if !call.lenient {
        shape.attributes.extend(selected.into_iter().flatten().filter_map(Value::as_str).map(|name| context.expand(name)));
    }
    let query = Selection::of_body(&document, &call, &context)?.query(page)?;
    call.check_tenant(&engine)?;
    let found = engine.query(&call.identity, query).await;
    Ok(answer(&engine, &call, found, page, &shape, &context, media, "/ngsi-ld/v1/entityOperations/query"))
}

/// Deletes the entities that match, or with `drop` or `keep` some of their attributes (clause 5.6.21).
pub(super) async fn purge(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let context = call.context(&engine).await?;
    let names = |list: &str| -> Vec<_> { call.params.list(list).into_iter().map(|name| context.expand(name)).collect() };
    let (keep, drop) = (names("keep"), names("drop"));
    if !keep.is_empty() && !drop.is_empty() {
        return Err(Fault::bad("keep: goes not with drop"));
    }
    let query = Selection::of(&call, &context)?.query(Page { offset: 0, limit: usize::MAX, count: false })?;
    let found = engine.query(&call.identity, query).await;
    let mut commands = Vec::new();
    for entity in &found.entities {
        let key = call.identity.key(&entity.id);
        if keep.is_empty() && drop.is_empty() {
            commands.push(Command { key, action: Action::Delete });
            continue;
        }
        let goes = |name: &Name| if keep.is_empty() { drop.contains(name) } else { !keep.contains(name) };
        let mut gone: Vec<Name> = entity.attributes.iter().map(|attribute| attribute.name.clone()).filter(|name| goes(name)).collect();
        gone.sort();
        gone.dedup();
        if !gone.is_empty() {
            let selectors = gone.into_iter().map(|name| AttributeSelector { name, dataset_id: None, all: true }).collect();
            commands.push(Command { key, action: Action::DeleteAttributes(selectors) });
        }
    }
    for answer in engine.write(&call.identity, commands).await {
        match answer {
            // Somebody else was faster.
            Ok(_) | Err(Refusal::NotFound | Refusal::NoSuchAttribute) => {}
            Err(refusal) => return Err(Fault::from(&refusal)),
        }
    }
    Ok(reply::done())
}

#[allow(clippy::too_many_arguments, reason = "what an answer is made of, from two handlers")]
fn answer(
    engine: &Engine,
    call: &Call,
    mut found: Found,
    page: Page,
    shape: &Shape,
    context: &Context,
    media: Media,
    path: &str,
) -> Response {
    let more = found.entities.len() > page.limit;
    found.entities.truncate(page.limit);
    found.entities.retain(|entity| shape.shows_something(entity));
    let datasets = shape.datasets();
    let view = shape.view(context, &datasets);
    let mut out = Vec::with_capacity(64 + 512 * found.entities.len());
    let mut w = JsonWriter::new(&mut out);
    let find = |id: &str| engine.get(&call.identity, id);
    let links = shape.links(&find);
    let entities = found.entities.iter().map(AsRef::as_ref);
    if media == Media::GeoJson {
        ld::write_feature_collection(&mut w, entities, &view, &shape.geometry, true);
    } else {
        w.begin_array();
        for entity in entities {
            if links.is_empty() {
                ld::write_entity(&mut w, entity, &view, media == Media::JsonLd);
            } else {
                links.write(&mut w, entity, &view, media == Media::JsonLd, &|name| shape.projection.linked(name));
            }
        }
        w.end_array();
    }
    let mut response = reply::body(StatusCode::OK, media, context, out);
    let headers = response.headers_mut();
    if let Some(total) = found.total {
        headers.insert("ngsild-results-count", HeaderValue::from(total));
    }
    // Sources that did not answer (clause 6.3.17).
    for missing in &found.missing {
        if let Ok(value) = HeaderValue::try_from(format!("199 - \"{}\"", missing.replace('"', "'"))) {
            headers.append("ngsild-warning", value);
        }
    }
    let mut turn = |offset: usize, rel: &str| {
        reply::push_link(headers, format!("<{path}?{}>; rel=\"{rel}\"; type=\"{}\"", call.params.at_offset(offset), media.as_str()));
    };
    if page.offset > 0 && page.limit > 0 {
        turn(page.offset.saturating_sub(page.limit), "prev");
    }
    if more && page.limit > 0 {
        turn(page.offset + page.limit, "next");
    }
    response
}
