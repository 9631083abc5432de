//! Subscriptions.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::v2::{AttributesFormat, Subscription as Read, apply_patch};
use fogflow_ngsi::{Json, Name, Timestamp, v1};
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::call::{Call, text};
use super::operations::selector;
use super::reply::{self, Fault};
use super::selection::Page;
use crate::engine::{Engine, Shown};
use crate::restriction;
use crate::subscription::{Face, Format, Subscription, Target, Trigger};

/// The engine's form of a document.
fn canonical(document: &Value, call: &Call) -> Result<Subscription, Fault> {
    let json = Json::from(document);
    let read = Read::read(&json, call.lenient)?;
    let format = match read.format {
        AttributesFormat::Normalized => Format::V2,
        AttributesFormat::KeyValues => Format::V2KeyValues,
        AttributesFormat::Values => Format::V2Values,
    };
    let mut headers = read.headers.clone();
    if !call.identity.tenant.is_default() {
        headers.push((SmolStr::new_static("Fiware-Service"), call.identity.tenant.0.clone()));
    }
    let target = Target { url: read.url.clone(), format, headers, metadata: read.metadata.clone(), ..Target::default() };
    let mut subscription = Subscription::new(Face::V2, call.identity.tenant.clone(), target);
    subscription.path = call.identity.scope();
    subscription.correlator.clone_from(&call.identity.origin.correlator);
    subscription.entities = read.entities.iter().map(selector).collect();
    subscription.watched = names(&read.condition_attributes);
    subscription.attributes = names(&read.attributes);
    subscription.except = names(&read.except);
    let queries: Vec<String> = read.expression.queries()?.iter().map(|query| format!("({query})")).collect();
    subscription.q = queries.join(";").into();
    match read.expression.geo() {
        Ok(geo) => subscription.restriction = geo.as_ref().map(restriction::of_geo).unwrap_or_default(),
        // A place that makes no sense, which upstream accepts, is nowhere.
        Err(_) => subscription.entities.clear(),
    }
    subscription.trigger = trigger(&read.alteration_types, call.lenient);
    subscription.throttling_ms = (read.throttling * 1000.0).clamp(0.0, 1e15) as u64;
    subscription.expires_at = read.expires;
    subscription.paused = read.paused;
    subscription.document = json;
    Ok(subscription)
}

fn names(list: &[SmolStr]) -> Vec<Name> {
    list.iter().map(|name| Name::new(name)).collect()
}

/// By default only writes that change something are told; upstream tells every write.
fn trigger(alterations: &[SmolStr], lenient: bool) -> Trigger {
    if alterations.is_empty() {
        return Trigger { only_modified: !lenient, ..Trigger::WRITTEN };
    }
    let has = |name: &str| alterations.iter().any(|one| one == name);
    Trigger {
        created: has("entityCreate") || has("entityUpdate") || has("entityChange"),
        updated: has("entityUpdate") || has("entityChange"),
        deleted: has("entityDelete"),
        only_modified: !has("entityUpdate"),
        ..Trigger::WRITTEN
    }
}

fn parse(body: &[u8], call: &Call) -> Result<Map<String, Value>, Fault> {
    call.check_json()?;
    let fault = |error: serde_json::Error| Fault::from(fogflow_ngsi::DecodeError::syntax(error.to_string()));
    let document: Value = serde_json::from_str(text(body)?).map_err(fault)?;
    match document {
        Value::Object(document) => Ok(document),
        _ => Err(Fault::bad("a subscription must be an object")),
    }
}

/// Upstream decodes into typed structures, without regard to the case of names, and answers 500 when a member has
/// another type.
fn check_upstreams_types(document: &Map<String, Value>, call: &Call) -> Result<(), Fault> {
    let entities = document.get("subject").and_then(|subject| subject.get("entities")).and_then(Value::as_array);
    let is_odd = |(name, value): (&String, &Value)| name.eq_ignore_ascii_case("isPattern") && !value.is_boolean();
    let odd = entities.into_iter().flatten().filter_map(Value::as_object).any(|entity| entity.iter().any(is_odd));
    if call.lenient && odd {
        return Err(Fault::with_status(StatusCode::INTERNAL_SERVER_ERROR, "subject.entities.isPattern: must be a boolean"));
    }
    Ok(())
}

pub(super) async fn create(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let document = parse(&body, &call)?;
    check_upstreams_types(&document, &call)?;
    let id = engine.subscribe(canonical(&Value::Object(document), &call)?).await?;
    let location = HeaderValue::try_from(format!("/v2/subscriptions/{id}")).map_err(|error| Fault::bad(error.to_string()))?;
    // Upstream's clients read the id from the body.
    let mut response = reply::json(StatusCode::CREATED, &v1::SubscribeContextResponse::created(&id));
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The document as a client sees it: its own members, and how the subscription fares.
fn document(shown: &Shown) -> Value {
    let subscription = &shown.subscription;
    let mut out = Map::new();
    out.insert("id".to_owned(), subscription.id.as_str().into());
    if let Value::Object(own) = subscription.document.to_value() {
        out.extend(own.into_iter().filter(|(name, _)| name != "id"));
    }
    let history = &shown.history;
    let status = if subscription.expired(Timestamp::now()) {
        "expired"
    } else if subscription.paused {
        "inactive"
    } else if history.failures > 0 {
        "failed"
    } else {
        "active"
    };
    out.insert("status".to_owned(), status.into());
    if let Some(Value::Object(notification)) = out.get_mut("notification") {
        notification.entry("attrsFormat").or_insert(json!("normalized"));
        if shown.times_sent > 0 {
            notification.insert("timesSent".to_owned(), shown.times_sent.into());
        }
        let times =
            [("lastNotification", history.last_notification), ("lastSuccess", history.last_success), ("lastFailure", history.last_failure)];
        for (name, time) in times {
            if let Some(time) = time {
                notification.insert(name.to_owned(), time.to_string().into());
            }
        }
        if let Some(code) = history.status {
            notification.insert("lastSuccessCode".to_owned(), code.into());
        }
        if let Some(reason) = &history.reason {
            notification.insert("lastFailureReason".to_owned(), reason.as_str().into());
        }
    }
    Value::Object(out)
}

fn find(engine: &Engine, call: &Call, id: &str) -> Result<Shown, Fault> {
    let found = engine.subscription(&call.identity.tenant, id).filter(|shown| shown.subscription.face == Face::V2);
    found.ok_or_else(|| Fault::not_found("The requested subscription has not been found. Check id"))
}

pub(super) async fn list(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let page = Page::of(&call.params, engine.config().max_page_size)?;
    let all = engine.subscriptions(&call.identity.tenant, Face::V2);
    if call.lenient {
        let map: Map<String, Value> = all.iter().map(|shown| (shown.subscription.id.to_string(), document(shown))).collect();
        return Ok(reply::json(StatusCode::OK, &map));
    }
    let shown: Vec<Value> = all.iter().skip(page.offset).take(page.limit).map(document).collect();
    let mut response = reply::json(StatusCode::OK, &shown);
    if page.count {
        response.headers_mut().insert("fiware-total-count", HeaderValue::from(all.len()));
    }
    Ok(response)
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    Ok(reply::json(StatusCode::OK, &document(&find(&engine, &call, &id)?)))
}

pub(super) async fn change(State(engine): State<Engine>, call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, Fault> {
    let patch = parse(&body, &call)?;
    let old = find(&engine, &call, &id)?.subscription;
    let Value::Object(stored) = old.document.to_value() else { return Err(Fault::bad("the subscription has no document")) };
    let mut new = canonical(&Value::Object(apply_patch(&stored, patch)), &call)?;
    new.id = old.id.clone();
    engine.replace(new).await?;
    Ok(reply::done())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    find(&engine, &call, &id)?;
    engine.unsubscribe(&call.identity.tenant, &id).await?;
    Ok(reply::done())
}

/// Upstream's way: 200 whether or not there was one.
pub(super) async fn end(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    if find(&engine, &call, &id).is_ok() {
        engine.unsubscribe(&call.identity.tenant, &id).await?;
    }
    Ok(StatusCode::OK.into_response())
}
