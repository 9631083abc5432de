//! Subscriptions of v1.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode as Http};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::v1::{
    SubscribeContextRequest, SubscribeContextResponse, Subscriber, UnsubscribeContextRequest, UnsubscribeContextResponse,
};
use fogflow_ngsi::{Json, Name, Timestamp};
use serde_json::Value;
use smol_str::SmolStr;

use super::filter::selectors;
use super::reply::{self, Malformed};
use crate::engine::{Engine, Shown};
use crate::identity::Identity;
use crate::subscription::{Face, Format, Subscription, Target};

pub(super) async fn subscribe(
    State(engine): State<Engine>,
    identity: Identity,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Malformed> {
    let request = SubscribeContextRequest::decode(&body)?;
    let (duration, throttling) = (request.duration.clone(), request.throttling.clone());
    let subscription = canonical(request, &engine, &identity, &headers)?;
    Ok(match engine.subscribe(subscription).await {
        Ok(id) => {
            let mut response = SubscribeContextResponse::created(&id);
            response.response.duration = duration;
            response.response.throttling = throttling;
            reply::json(Http::OK, &response)
        }
        Err(refused) => reply::error_code(refused.status(), &refused.to_string()),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The form that `Destination` asks for; upstream knew these names in different releases.
fn format(destination: &str) -> Format {
    match destination.to_ascii_lowercase().as_str() {
        "ngsiv2" | "orion-broker" => Format::V2,
        "ngsi-ld" | "ngsild-broker" | "scorpio-broker" => Format::LdUpsert,
        _ => Format::V1,
    }
}

fn canonical(
    mut request: SubscribeContextRequest,
    engine: &Engine,
    identity: &Identity,
    headers: &HeaderMap,
) -> Result<Subscription, Malformed> {
    let destination = text(headers, "destination");
    let format = format(destination);
    let mut target = Target { url: request.reference.clone(), format, ..Target::default() };
    if format == Format::LdUpsert && !identity.tenant.is_default() {
        target.headers.push((SmolStr::new_static("NGSILD-Tenant"), identity.tenant.0.clone()));
    }
    let mut subscription = Subscription::new(Face::V1, identity.tenant.clone(), target);
    subscription.path = identity.scope();
    subscription.entities = selectors(&request.entities);
    subscription.attributes = request.attributes.iter().map(|name| Name::new(name)).collect();
    subscription.required.clone_from(&subscription.attributes);
    subscription.restriction = request.restriction.clone();
    subscription.internal = identity.origin.internal;
    subscription.correlator.clone_from(&identity.origin.correlator);
    let on_change = request.notify_conditions.iter().filter(|condition| condition.condition_type.eq_ignore_ascii_case("ONCHANGE"));
    subscription.watched = on_change.flat_map(|condition| &condition.values).map(|name| Name::new(name)).collect();
    if let Some(duration) = span(&request.duration, "duration")? {
        let length = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        subscription.expires_at = Some(Timestamp(subscription.created_at.0.saturating_add(length)));
    }
    if let Some(throttling) = span(&request.throttling, "throttling")? {
        subscription.throttling_ms = u64::try_from(throttling.as_millis()).unwrap_or(u64::MAX);
    }
    request.subscriber = Some(Subscriber {
        is_internal: identity.origin.internal,
        require_reliability: text(headers, "require-reliability") == "true",
        broker_url: engine.federation().me().url.clone(),
        notify_cache: None,
        destination_type: destination.into(),
        tenant: text(headers, "ngsild-tenant").into(),
        correlator: identity.origin.correlator.clone(),
    });
    let document = serde_json::to_value(&request).map_err(|error| Malformed(error.to_string()))?;
    subscription.document = Json::from(&document);
    Ok(subscription)
}

/// An ISO 8601 duration, or a number of seconds; `None` for an empty text.
fn span(text: &str, field: &str) -> Result<Option<Duration>, Malformed> {
    let wrong = || Malformed(format!("{field}: `{text}` is neither an ISO 8601 duration as PT5S nor a number of seconds"));
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| wrong());
    }
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    // Months and years have no fixed length; here they begin at the epoch of the calendar.
    let length = span.to_duration(jiff::civil::date(2024, 1, 1)).map_err(|_| wrong())?;
    Duration::try_from(length).map(Some).map_err(|_| wrong())
}

fn document(shown: &Shown) -> Value {
    shown.subscription.document.to_value()
}

pub(super) async fn list(State(engine): State<Engine>, identity: Identity) -> Response {
    let all = engine.subscriptions(&identity.tenant, Face::V1);
    let map: BTreeMap<SmolStr, Value> = all.iter().map(|shown| (shown.subscription.id.clone(), document(shown))).collect();
    reply::json(Http::OK, &map)
}

pub(super) async fn show(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    match engine.subscription(&identity.tenant, &id).filter(|shown| shown.subscription.face == Face::V1) {
        Some(shown) => reply::json(Http::OK, &document(&shown)),
        None => reply::error(Http::NOT_FOUND, &format!("there is no subscription {id}")),
    }
}

/// 200 also for unknown ids, as clients expect.
pub(super) async fn delete(State(engine): State<Engine>, identity: Identity, Path(id): Path<String>) -> Response {
    match engine.unsubscribe(&identity.tenant, &id).await {
        Ok(_) => Http::OK.into_response(),
        Err(refused) => reply::error_code(refused.status(), &refused.to_string()),
    }
}

pub(super) async fn unsubscribe(State(engine): State<Engine>, identity: Identity, body: Bytes) -> Result<Response, Malformed> {
    let request = UnsubscribeContextRequest::decode(&body)?;
    let id = request.subscription_id;
    let status = match engine.unsubscribe(&identity.tenant, &id).await {
        Ok(true) => fogflow_ngsi::v1::StatusCode::ok(),
        Ok(false) => reply::status(404, format!("there is no subscription {id}")),
        Err(refused) => return Ok(reply::error_code(refused.status(), &refused.to_string())),
    };
    Ok(reply::json(Http::OK, &UnsubscribeContextResponse { subscription_id: id, status }))
}
