//! Bodies of notifications in NGSIv2 and NGSI-LD.

use std::sync::Arc;

use bytes::Bytes;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::{Entity, JsonWriter, Name, Timestamp, ld, v2};
use reqwest::header::{HeaderName, HeaderValue};
use smol_str::SmolStr;

use super::changes;
use super::request::{BODY, bare};
use crate::change::Change;
use crate::face::linked::Links;
use crate::state::State;
use crate::subscription::{Format, Subscription};

/// A body and how many of the changes are in it.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) used: usize,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Writes elements until the body is full, and at least one.
fn elements(changes: &[Arc<Change>], mut write: impl FnMut(&mut JsonWriter<'_>, &Change)) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(1024);
    let mut used = 0;
    let mut w = JsonWriter::new(&mut out);
    w.begin_array();
    let mut one = Vec::new();
    let mut size = 0;
    for change in changes {
        one.clear();
        write(&mut JsonWriter::new(&mut one), change);
        if used > 0 && size + one.len() > BODY {
            break;
        }
        size += one.len();
        used += 1;
        if let Ok(text) = std::str::from_utf8(&one) {
            w.raw(text);
        }
    }
    w.end_array();
    (out, used)
}

/// `{"subscriptionId", "data"}`; a deleted entity has no attributes.
pub(super) fn v2(subscription: &Subscription, changes: &[Arc<Change>]) -> Body {
    let format = match subscription.target.format {
        Format::V2KeyValues => v2::Format::KeyValues,
        Format::V2Values => v2::Format::Values,
        _ => v2::Format::Normalized,
    };
    let view =
        v2::View { format, attributes: &subscription.attributes, except: &subscription.except, metadata: &subscription.target.metadata };
    let (data, used) = elements(changes, |w, change| match &change.after {
        Some(entity) => v2::write_entity(w, entity, &view),
        None => v2::write_entity(w, &bare(change), &view),
    });
    let mut out = Vec::with_capacity(data.len() + 80);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.string_member("subscriptionId", &subscription.id);
    w.raw_member("data", std::str::from_utf8(&data).unwrap_or("[]"));
    w.end_object();
    let name = match format {
        v2::Format::KeyValues => "keyValues",
        v2::Format::Values => "values",
        _ => "normalized",
    };
    let headers = vec![(HeaderName::from_static("ngsiv2-attrsformat"), HeaderValue::from_static(name))];
    Body { bytes: out.into(), used, content_type: "application/json", headers }
}

fn view<'a>(subscription: &'a Subscription, context: &'a Context, datasets: &'a [&'a str]) -> ld::View<'a> {
    let format = match subscription.target.format {
        Format::LdConcise => ld::Format::Concise,
        Format::LdKeyValues => ld::Format::Simplified,
        _ => ld::Format::Normalized,
    };
    ld::View {
        sys_attrs: subscription.target.sys_attrs,
        pick: &subscription.attributes,
        omit: &subscription.except,
        lang: &subscription.target.lang,
        datasets,
        hidden: hidden(subscription),
        ..ld::View::new(context, format)
    }
}

fn hidden(subscription: &Subscription) -> ld::Hidden {
    let named = |list: &[Name], name: &str| list.iter().any(|one| one.as_str() == name);
    let hides = |name: &str| subscription.target.picks && !named(&subscription.attributes, name) || named(&subscription.except, name);
    ld::Hidden { id: hides("id"), entity_type: hides("type"), scope: hides("scope") }
}

/// A `Notification` (ETSI GS CIM 009, clause 5.3.1).
pub(super) fn ld(subscription: &Subscription, changes: &[Arc<Change>], context: &Context, state: &State) -> Body {
    let datasets: Vec<&str> = subscription.target.datasets.iter().map(SmolStr::as_str).collect();
    let view = view(subscription, context, &datasets);
    let geo = subscription.target.accept == "application/geo+json";
    let location = Name::new("location");
    let inline = subscription.target.accept == "application/ld+json";
    let find = |id: &str| state.get(&subscription.tenant, None, id).map(|record| record.entity);
    let links = Links::new(&subscription.target.join, subscription.target.join_level, &find);
    let (data, used) = elements(changes, |w, change| match &change.after {
        _ if changes::concerned(subscription, change) => changes::write(w, subscription, change, &view, inline),
        Some(entity) if !links.is_empty() => links.write(w, entity, &view, inline, &|_| None),
        Some(entity) if geo => ld::write_feature(w, entity, &view, &location, false),
        Some(entity) => ld::write_entity(w, entity, &view, inline),
        None => write_deleted(w, change, &view),
    });
    let data = std::str::from_utf8(&data).unwrap_or("[]");
    let mut out = Vec::with_capacity(data.len() + 256);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.string_member("id", &format!("urn:ngsi-ld:Notification:{}", uuid::Uuid::new_v4()));
    w.string_member("type", "Notification");
    w.string_member("subscriptionId", &subscription.id);
    w.plain_member("notifiedAt", Timestamp::now());
    w.key("data");
    if geo {
        w.begin_object();
        w.string_member("type", "FeatureCollection");
        w.raw_member("features", data);
        w.end_object();
    } else {
        w.raw(data);
    }
    if inline {
        w.key("@context");
        w.value(&context.to_value());
    }
    w.end_object();
    let headers = if inline { Vec::new() } else { link(subscription) };
    let content_type = match (inline, geo) {
        (true, _) => "application/ld+json",
        (_, true) => "application/geo+json",
        _ => "application/json",
    };
    Body { bytes: out.into(), used, content_type, headers }
}

fn link(subscription: &Subscription) -> Vec<(HeaderName, HeaderValue)> {
    let url = match subscription.target.link.as_str() {
        "" => fogflow_ngsi::context::CORE_CONTEXT_URL,
        url => url,
    };
    let value = HeaderValue::from_str(&format!("<{url}>; rel=\"http://www.w3.org/ns/json-ld#context\"; type=\"application/ld+json\""));
    value.map(|value| vec![(reqwest::header::LINK, value)]).unwrap_or_default()
}

/// What a notification shows of a deleted entity (clause 4.5.0).
fn write_deleted(w: &mut JsonWriter<'_>, change: &Change, view: &ld::View<'_>) {
    let entity = bare(change);
    w.begin_object();
    w.string_member("id", &entity.id);
    if let Some(name) = entity.types.first() {
        w.string_member("type", &view.context.compact(name));
    }
    w.plain_member("deletedAt", Timestamp::now());
    w.end_object();
}

/// Upstream's `Destination: NGSI-LD`: entities for another broker's batch upsert, or ids for its batch delete. Says which.
pub(super) fn upsert(subscription: &Subscription, changes: &[Arc<Change>]) -> (Body, &'static str) {
    let context = Context::core();
    let view = view(subscription, &context, &[]);
    let deletes = changes.first().is_some_and(|change| change.after.is_none());
    let (bytes, used) = elements(changes, |w, change| match &change.after {
        Some(entity) => write_with_uri(w, entity, &view),
        None => w.string(&uri(&bare(change))),
    });
    let body = Body { bytes: bytes.into(), used, content_type: "application/json", headers: link(subscription) };
    (body, if deletes { "/ngsi-ld/v1/entityOperations/delete" } else { "/ngsi-ld/v1/entityOperations/upsert" })
}

/// NGSI-LD brokers refuse ids that are no URIs, which most devices of FogFlow have.
fn uri(entity: &Entity) -> String {
    match ld::check_uri(&entity.id) {
        Ok(()) => entity.id.to_string(),
        Err(_) => format!("urn:ngsi-ld:{}:{}", entity.types.first().map_or("Thing", Name::as_str), entity.id),
    }
}

fn write_with_uri(w: &mut JsonWriter<'_>, entity: &Entity, view: &ld::View<'_>) {
    let uri = uri(entity);
    if uri == entity.id && !entity.types.is_empty() {
        return ld::write_entity(w, entity, view, false);
    }
    let mut entity = entity.clone();
    entity.id = uri.into();
    if entity.types.is_empty() {
        entity.types.push(Name::new("Thing"));
    }
    ld::write_entity(w, &entity, view, false);
}
