//! Queries (ETSI GS CIM 009, clauses 6.4.3.2 and 6.23).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::{JsonWriter, ld};
use serde_json::{Map, Value};

use super::call::{Call, Media};
use super::entities::text;
use super::reply::{self, Fault};
use super::selection::{Page, Selection, Shape};
use crate::engine::{Engine, Found};

pub(super) async fn get(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let media = call.media()?;
    let context = call.context(&engine).await?;
    let page = Page::of(&call, engine.config().max_page_size)?;
    let shape = Shape::of(&call, &context)?;
    let query = Selection::of(&call, &context)?.query(page)?;
    call.check_tenant(&engine)?;
    let found = engine.query(&call.identity, query).await;
    if call.lenient && found.entities.is_empty() {
        return Err(Fault::not_found("no entity matches"));
    }
    Ok(answer(&call, found, page, &shape, &context, media, "/ngsi-ld/v1/entities"))
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
    let selected = document.get("attrs").or_else(|| document.get("pick")).and_then(Value::as_array);
    // Upstream selects entities by attributes but shows them whole.
    if !call.lenient {
        shape.attributes.extend(selected.into_iter().flatten().filter_map(Value::as_str).map(|name| context.expand(name)));
    }
    let query = Selection::of_body(&document, &call, &context)?.query(page)?;
    call.check_tenant(&engine)?;
    let found = engine.query(&call.identity, query).await;
    Ok(answer(&call, found, page, &shape, &context, media, "/ngsi-ld/v1/entityOperations/query"))
}

fn answer(call: &Call, mut found: Found, page: Page, shape: &Shape, context: &Context, media: Media, path: &str) -> Response {
    let more = found.entities.len() > page.limit;
    found.entities.truncate(page.limit);
    let datasets = shape.datasets();
    let view = shape.view(context, &datasets);
    let mut out = Vec::with_capacity(64 + 512 * found.entities.len());
    let mut w = JsonWriter::new(&mut out);
    let entities = found.entities.iter().map(AsRef::as_ref);
    if media == Media::GeoJson {
        ld::write_feature_collection(&mut w, entities, &view, &shape.geometry, false);
    } else {
        w.begin_array();
        for entity in entities {
            ld::write_entity(&mut w, entity, &view, media == Media::JsonLd);
        }
        w.end_array();
    }
    let mut response = reply::body(StatusCode::OK, media, context, "", out);
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
