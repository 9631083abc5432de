//! Subscriptions (ETSI GS CIM 009, clauses 6.10 and 6.11).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::subscription::{self as document, Form};
use fogflow_ngsi::{Timestamp, ld, v1};
use serde_json::{Map, Value};

use super::call::{Call, Media};
use super::entities::text;
use super::reply::{self, Fault};
use super::selection::Page;
use super::subscribe::canonical;
use crate::engine::{Engine, Refused, Shown};
use crate::face::params::percent_encoded;
use crate::subscription::Face;

fn parse(body: &[u8], call: &Call) -> Result<Map<String, Value>, Fault> {
    let fault = |error: serde_json::Error| {
        let kind = if error.is_data() { ld::ProblemType::BadRequestData } else { ld::ProblemType::InvalidRequest };
        Fault::new(kind, error.to_string())
    };
    let document: Map<String, Value> = serde_json::from_str(text(body)?).map_err(fault)?;
    if document.is_empty() {
        return Err(Fault::bad("the document is empty"));
    }
    // Upstream's answer to a document of another type.
    if call.lenient && document.get("type").is_some_and(|value| value != "Subscription") {
        return Err(Fault::with_status(StatusCode::INTERNAL_SERVER_ERROR, "type: must be `Subscription`"));
    }
    Ok(document)
}

fn form(call: &Call) -> Form {
    if call.lenient { Form::Lenient } else { Form::Whole }
}

pub(super) async fn create(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let document = document::expand(parse(&body, &call)?, &context, form(&call))?;
    let (context, link) = told_in(&engine, &call, &document, context).await?;
    let subscription = canonical(&document, &call.identity, &context, link, call.lenient)?;
    let id = match engine.subscribe(subscription.clone()).await {
        Err(Refused::AlreadyExists) if call.lenient => {
            let id = subscription.id.clone();
            engine.replace(subscription).await?;
            id
        }
        made => made?,
    };
    let mut response = reply::created(&format!("/ngsi-ld/v1/subscriptions/{}", percent_encoded(&id)));
    if call.lenient {
        *response.body_mut() = serde_json::to_vec(&v1::SubscribeContextResponse::created(&id)).unwrap_or_default().into();
    }
    Ok(response)
}

/// The context in which notifications are written, and a URL for it: that of `jsonldContext`, else that of the request.
async fn told_in(
    engine: &Engine,
    call: &Call,
    document: &Map<String, Value>,
    context: Arc<Context>,
) -> Result<(Arc<Context>, String), Fault> {
    let context = match document.get("jsonldContext") {
        Some(url) if !call.lenient => match engine.contexts().resolve(url).await {
            Ok(named) => named,
            Err(error) => return Err(Fault::bad(error.within("jsonldContext").to_string())),
        },
        _ => context,
    };
    let link = engine.contexts().link(&context).await?;
    Ok((context, link))
}

/// The document as a client sees it: its own members, and how the subscription fares.
fn shown(shown: &Shown, context: &Context, call: &Call, media: Media) -> Value {
    let subscription = &shown.subscription;
    let Value::Object(stored) = subscription.document.to_value() else { return Value::Null };
    let mut out = document::compact(&stored, context);
    out.insert("id".to_owned(), subscription.id.as_str().into());
    if !subscription.target.link.is_empty() {
        out.entry("jsonldContext").or_insert(subscription.target.link.as_str().into());
    }
    let now = Timestamp::now();
    let status = if subscription.expired(now) {
        "expired"
    } else if subscription.paused {
        "paused"
    } else {
        "active"
    };
    out.insert("status".to_owned(), status.into());
    if let Some(Value::Object(notification)) = out.get_mut("notification") {
        fare(notification, shown);
    }
    if call.params.option("sysAttrs") || call.lenient {
        out.insert("createdAt".to_owned(), subscription.created_at.to_string().into());
        out.insert("modifiedAt".to_owned(), subscription.modified_at.to_string().into());
    }
    if media == Media::JsonLd {
        out.insert("@context".to_owned(), context.to_value());
    }
    Value::Object(out)
}

fn fare(notification: &mut Map<String, Value>, shown: &Shown) {
    let history = &shown.history;
    if shown.times_sent == 0 {
        return;
    }
    notification.insert("status".to_owned(), if history.failures > 0 { "failed" } else { "ok" }.into());
    notification.insert("timesSent".to_owned(), shown.times_sent.into());
    notification.insert("timesFailed".to_owned(), history.failures.into());
    let times =
        [("lastNotification", history.last_notification), ("lastSuccess", history.last_success), ("lastFailure", history.last_failure)];
    for (name, time) in times {
        if let Some(time) = time {
            notification.insert(name.to_owned(), time.to_string().into());
        }
    }
}

fn find(engine: &Engine, call: &Call, id: &str) -> Result<Shown, Fault> {
    let found = engine.subscription(&call.identity.tenant, id).filter(|shown| shown.subscription.face == Face::Ld);
    match found {
        Some(shown) => Ok(shown),
        None => {
            if !call.lenient {
                ld::check_uri(id).map_err(|error| error.within("id"))?;
            }
            Err(Fault::not_found(format!("there is no subscription {id}")))
        }
    }
}

pub(super) async fn list(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    let page = Page::of(&call, engine.config().max_page_size)?;
    let all = engine.subscriptions(&call.identity.tenant, Face::Ld);
    if call.lenient {
        let map: Map<String, Value> =
            all.iter().map(|one| (one.subscription.id.to_string(), shown(one, &context, &call, Media::Json))).collect();
        return Ok(reply::body(StatusCode::OK, media, &context, Value::Object(map).to_string().into_bytes()));
    }
    let total = all.len();
    let on_page = all.iter().skip(page.offset).take(page.limit);
    let list = Value::Array(on_page.map(|one| shown(one, &context, &call, media)).collect());
    let mut response = reply::body(StatusCode::OK, media, &context, list.to_string().into_bytes());
    let headers = response.headers_mut();
    if page.count {
        headers.insert("ngsild-results-count", HeaderValue::from(total));
    }
    let mut turn = |offset: usize, rel: &str| {
        let query = call.params.at_offset(offset);
        reply::push_link(headers, format!("</ngsi-ld/v1/subscriptions?{query}>; rel=\"{rel}\"; type=\"{}\"", media.as_str()));
    };
    if page.offset > 0 && page.limit > 0 {
        turn(page.offset.saturating_sub(page.limit), "prev");
    }
    if page.limit > 0 && page.offset + page.limit < total {
        turn(page.offset + page.limit, "next");
    }
    Ok(response)
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let media = call.plain_media()?;
    let context = call.context(&engine).await?;
    let one = find(&engine, &call, &id)?;
    let document = shown(&one, &context, &call, media);
    Ok(reply::body(StatusCode::OK, media, &context, document.to_string().into_bytes()))
}

pub(super) async fn change(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let mut patch = document::expand(parse(&body, &call)?, &context, Form::Patch)?;
    let old = find(&engine, &call, &id)?.subscription;
    if patch.shift_remove("id").is_some_and(|given| given != id.as_str()) {
        return Err(Fault::bad("id: cannot be changed"));
    }
    let Value::Object(stored) = old.document.to_value() else { return Err(Fault::bad("the subscription has no document")) };
    let document = document::apply(&stored, patch, form(&call))?;
    // Names are shown to the subscriber as before unless the patch comes with a context of its own.
    let same = context.is_core() && !document.contains_key("jsonldContext");
    let (context, link) = told_in(&engine, &call, &document, context).await?;
    let mut new = canonical(&document, &call.identity, &context, link, call.lenient)?;
    if same {
        new.target.context.clone_from(&old.target.context);
        new.target.link.clone_from(&old.target.link);
    }
    new.id = old.id.clone();
    engine.replace(new).await?;
    Ok(reply::done())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    if let Err(fault) = find(&engine, &call, &id) {
        return if call.lenient { Ok(reply::done()) } else { Err(fault) };
    }
    engine.unsubscribe(&call.identity.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
