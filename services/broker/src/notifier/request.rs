//! From changes to one HTTP request in the subscriber's form.

use std::sync::Arc;

use bytes::Bytes;
use fogflow_ngsi::{Entity, JsonWriter, v1};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::form;
use crate::change::Change;
use crate::contexts::Contexts;
use crate::federation::peer;
use crate::state::State;
use crate::subscription::{Format, Subscription};

/// A request ends when its elements exceed this many bytes: common body parsers refuse more than 100 kB by default.
pub(super) const BODY: usize = 64 * 1024;

/// Header that says which update caused a notification (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Header of FIWARE; between brokers it lets the receiver spare the writer its own write.
const CORRELATOR: HeaderName = HeaderName::from_static("fiware-correlator");

/// A request to a subscriber.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `POST`, or `DELETE` where the form wants it.
    pub(super) method: Method,
    /// Where to.
    pub(super) url: Url,
    /// Headers beside those of the client.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, shared by attempts.
    pub(super) body: Bytes,
}

/// A request, the changes that it carries, and those that it does not.
pub(super) struct Built {
    pub(super) outgoing: Outgoing,
    pub(super) carried: Vec<Arc<Change>>,
    pub(super) rest: Vec<Arc<Change>>,
}

/// Builds one request from the first of the changes; nothing if the subscriber's URL cannot be used.
pub(super) fn build(subscription: &Subscription, contexts: &Contexts, state: &State, mut changes: Vec<Arc<Change>>) -> Option<Built> {
    let count = run_length(subscription, &changes);
    let mut rest = changes.split_off(count.min(changes.len()));
    let mut extra = Vec::new();
    let (url, content_type, body, used) = match subscription.target.format {
        Format::V1 => {
            let (body, used) = v1_body(subscription, &changes);
            (suffixed(&subscription.target.url, "/notifyContext")?, "application/json", body, used)
        }
        Format::Peer => {
            let (body, used) = peer_body(subscription, &changes);
            (suffixed(&subscription.target.url, peer::NOTIFY)?, "application/json", body, used)
        }
        Format::V2 | Format::V2KeyValues | Format::V2Values => {
            let body = form::v2(subscription, &changes);
            extra = body.headers;
            (Url::parse(&subscription.target.url).ok()?, body.content_type, body.bytes, body.used)
        }
        Format::Ld | Format::LdConcise | Format::LdKeyValues => {
            let body = form::ld(subscription, &changes, &contexts.at_hand(&subscription.target.context), state);
            extra = body.headers;
            (Url::parse(&subscription.target.url).ok()?, body.content_type, body.bytes, body.used)
        }
        Format::LdUpsert => {
            let (body, operation) = form::upsert(subscription, &changes);
            extra = body.headers;
            (suffixed(&subscription.target.url, operation)?, body.content_type, body.bytes, body.used)
        }
    };
    let mut unused = changes.split_off(used);
    unused.append(&mut rest);
    let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))];
    headers.append(&mut extra);
    if let Some(change) = changes.last() {
        push(&mut headers, TRACEPARENT, &change.trace);
        if subscription.internal {
            push(&mut headers, CORRELATOR, &change.correlator);
        }
    }
    for (name, value) in &subscription.target.headers {
        if let Ok(name) = HeaderName::try_from(name.as_str()) {
            push(&mut headers, name, value);
        }
    }
    Some(Built { outgoing: Outgoing { method: Method::POST, url, headers, body }, carried: changes, rest: unused })
}

fn push(headers: &mut Vec<(HeaderName, HeaderValue)>, name: HeaderName, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.push((name, value));
    }
}

/// How many of the changes one request may carry: between brokers those of one correlator; in NGSIv2 and NGSI-LD at
/// most one per entity.
fn run_length(subscription: &Subscription, changes: &[Arc<Change>]) -> usize {
    let Some(first) = changes.first() else { return 0 };
    if subscription.target.format == Format::Peer {
        return changes.len();
    }
    if subscription.internal {
        return changes.iter().take_while(|change| change.correlator == first.correlator).count();
    }
    if subscription.target.format == Format::V1 {
        return changes.len();
    }
    let mut seen = std::collections::HashSet::new();
    changes.iter().take_while(|change| change.after.is_some() == first.after.is_some() && seen.insert(&change.key)).count()
}

fn suffixed(url: &str, suffix: &str) -> Option<Url> {
    Url::parse(&format!("{}{suffix}", url.trim_end_matches('/'))).ok()
}

/// `NotifyContextRequest`; says how many of the changes fit.
fn v1_body(subscription: &Subscription, changes: &[Arc<Change>]) -> (Bytes, usize) {
    let mut out = Vec::with_capacity(1024);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.string_member("subscriptionId", &subscription.id);
    w.string_member("originator", "");
    w.key("contextResponses");
    w.begin_array();
    let (mut size, mut used) = (0, 0);
    for change in changes {
        let element = if subscription.attributes.is_empty() {
            change.v1.get_or_init(|| v1_element(change, subscription)).clone()
        } else {
            v1_element(change, subscription)
        };
        if used > 0 && size + element.len() > BODY {
            break;
        }
        size += element.len();
        used += 1;
        if let Ok(text) = std::str::from_utf8(&element) {
            w.raw(text);
        }
    }
    w.end_array();
    w.end_object();
    (out.into(), used)
}

/// Whole changes for another of our brokers; says how many of them fit.
fn peer_body(subscription: &Subscription, changes: &[Arc<Change>]) -> (Bytes, usize) {
    let mut out = Vec::with_capacity(1024);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.string_member("tenant", &subscription.tenant.0);
    w.string_member("subscription", &subscription.id);
    w.key("changes");
    w.begin_array();
    let (mut size, mut used) = (0, 0);
    for change in changes {
        let told = serde_json::to_string(&peer::Told::from(&**change)).unwrap_or_default();
        if used > 0 && size + told.len() > BODY {
            break;
        }
        size += told.len();
        used += 1;
        if !told.is_empty() {
            w.raw(&told);
        }
    }
    w.end_array();
    w.end_object();
    (out.into(), used)
}

fn v1_element(change: &Change, subscription: &Subscription) -> Bytes {
    let mut out = Vec::with_capacity(512);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.key("contextElement");
    match &change.after {
        Some(entity) => v1::write_element(&mut w, entity, &subscription.attributes),
        // A deleted entity: only what it was.
        None => v1::write_element(&mut w, &bare(change), &[]),
    }
    w.raw_member("statusCode", r#"{"code":200,"reasonPhrase":"OK"}"#);
    w.end_object();
    out.into()
}

/// A deleted entity as notifications show it: id and type.
pub(super) fn bare(change: &Change) -> Entity {
    let before = change.before.as_deref();
    let mut entity = Entity::new(&change.key.id, None, before.map(|entity| entity.modified_at).unwrap_or_default());
    if let Some(before) = before {
        entity.types.clone_from(&before.types);
    }
    entity
}
