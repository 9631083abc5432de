//! Subscriptions (clause 5.2.12).
//!
//! A subscription is kept as its JSON document with expanded names, so that every member that a client gave is shown
//! again, in the names of whoever asks; [`Subscription::read`] gives the parts that a broker acts on.

mod compact;
mod expand;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::encode::Format;
use crate::query::{Dialect, GeoQuery, Query, TypeQuery};
use crate::{DecodeError, Name, Timestamp};

pub use compact::compact;
pub use expand::{Form, apply, expand};

/// One alternative of the entities that are meant (`EntitySelector`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// Exact ids, of which one must match; empty for any.
    pub ids: Vec<SmolStr>,
    /// A pattern on the id.
    pub id_pattern: Option<SmolStr>,
    /// The types.
    pub types: Option<TypeQuery>,
}

/// What makes a notification (`notificationTrigger`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// `entityCreated`
    EntityCreated,
    /// `entityUpdated`
    EntityUpdated,
    /// `entityDeleted`
    EntityDeleted,
    /// `attributeCreated`
    AttributeCreated,
    /// `attributeUpdated`
    AttributeUpdated,
    /// `attributeDeleted`
    AttributeDeleted,
}

const TRIGGERS: [(&str, Trigger); 6] = [
    ("entityCreated", Trigger::EntityCreated),
    ("entityUpdated", Trigger::EntityUpdated),
    ("entityDeleted", Trigger::EntityDeleted),
    ("attributeCreated", Trigger::AttributeCreated),
    ("attributeUpdated", Trigger::AttributeUpdated),
    ("attributeDeleted", Trigger::AttributeDeleted),
];

/// The parts of a subscription that a broker acts on.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// Its id, if the client gave one.
    pub id: Option<SmolStr>,
    /// Alternatives, of which one must match; empty for any entity.
    pub entities: Vec<Selector>,
    /// Attributes of which one must be written; empty for any.
    pub watched: Vec<Name>,
    /// Conditions on attributes.
    pub q: Option<Query>,
    /// Where the entity must be.
    pub geo: Option<GeoQuery>,
    /// In which scope it must be.
    pub scope_q: Option<SmolStr>,
    /// What makes a notification; empty for the default, `entityCreated` and `entityUpdated`.
    pub triggers: BTreeSet<Trigger>,
    /// Whether it is active.
    pub paused: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// The shortest time between notifications in seconds.
    pub throttling: Option<f64>,
    /// Notify at this interval in seconds instead of on changes.
    pub time_interval: Option<f64>,
    /// The attributes that are sent; empty for all.
    pub attributes: Vec<Name>,
    /// The attributes that are left out.
    pub omit: Vec<Name>,
    /// The representation of the entities.
    pub format: Format,
    /// Whether times are sent.
    pub sys_attrs: bool,
    /// The language for LanguageProperties; empty for none.
    pub lang: SmolStr,
    /// URL of the context with which notifications are compacted; empty for that of the request.
    pub jsonld_context: SmolStr,
    /// `datasetId`s of the instances that are sent; empty for all.
    pub datasets: Vec<SmolStr>,
    /// Whether previous values are sent.
    pub show_changes: bool,
    /// Whether `attributes` are picked, so that `id` and `type` are shown only if they are among them.
    pub picks: bool,
    /// Whether linked entities are sent: `inline`, `flat`, or empty for not.
    pub join: SmolStr,
    /// How many links are followed.
    pub join_level: u8,
    /// Where notifications go; empty in compatibility with upstream, when there is no `notification`.
    pub uri: SmolStr,
    /// `endpoint.accept`; empty for `application/json`.
    pub accept: SmolStr,
    /// Headers that are sent (`endpoint.receiverInfo`).
    pub receiver_info: Vec<(SmolStr, SmolStr)>,
}

impl Subscription {
    /// Reads the parts that a broker acts on out of an expanded document.
    ///
    /// # Errors
    /// If the document is not one that [`expand`] gave.
    pub fn read(document: &Map<String, Value>) -> Result<Self, DecodeError> {
        let string = |value: Option<&Value>| value.and_then(Value::as_str).map(SmolStr::new);
        let names = |value: Option<&Value>| -> Vec<Name> {
            value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Name::new).collect()
        };
        let none = Value::Null;
        let notification = document.get("notification").unwrap_or(&none);
        let endpoint = notification.get("endpoint").unwrap_or(&none);
        let mut attributes = names(notification.get("attributes"));
        attributes.extend(names(notification.get("pick")));
        let triggers = document.get("notificationTrigger").and_then(Value::as_array).into_iter().flatten();
        Ok(Subscription {
            id: string(document.get("id")),
            entities: document
                .get("entities")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(read_selector)
                .collect::<Result<_, _>>()?,
            watched: names(document.get("watchedAttributes")),
            q: string(document.get("q")).map(|text| Query::parse(&text, Dialect::Ld, &|term| Name::new(term))).transpose()?,
            geo: document.get("geoQ").and_then(|geo| read_geo(geo).ok()),
            scope_q: string(document.get("scopeQ")),
            triggers: triggers.filter_map(|item| TRIGGERS.iter().find(|(name, _)| item == *name).map(|(_, trigger)| *trigger)).collect(),
            paused: document.get("isActive").and_then(Value::as_bool) == Some(false),
            expires_at: string(document.get("expiresAt")).and_then(|time| time.parse().ok()),
            throttling: document.get("throttling").and_then(Value::as_f64),
            time_interval: document.get("timeInterval").and_then(Value::as_f64),
            attributes,
            omit: names(notification.get("omit")),
            format: notification.get("format").and_then(Value::as_str).and_then(read_format).unwrap_or_default(),
            sys_attrs: notification.get("sysAttrs").and_then(Value::as_bool).unwrap_or_default(),
            lang: string(document.get("lang")).unwrap_or_default(),
            jsonld_context: string(document.get("jsonldContext")).unwrap_or_default(),
            datasets: document.get("datasetId").map(texts).transpose()?.unwrap_or_default(),
            picks: notification.get("pick").is_some(),
            join: string(notification.get("join")).filter(|join| join != "@none").unwrap_or_default(),
            join_level: notification.get("joinLevel").and_then(Value::as_u64).map_or(1, |level| level.min(8) as u8),
            show_changes: notification.get("showChanges").and_then(Value::as_bool).unwrap_or_default(),
            uri: string(endpoint.get("uri")).unwrap_or_default(),
            accept: string(endpoint.get("accept")).unwrap_or_default(),
            receiver_info: endpoint
                .get("receiverInfo")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|pair| Some((string(pair.get("key"))?, string(pair.get("value"))?)))
                .collect(),
        })
    }
}

fn read_selector(item: &Value) -> Result<Selector, DecodeError> {
    let types = match item.get("type") {
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        Some(one) => one.as_str().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    Ok(Selector {
        ids: item.get("id").map(texts).transpose()?.unwrap_or_default(),
        id_pattern: item.get("idPattern").and_then(Value::as_str).map(SmolStr::new),
        types: (!types.is_empty()).then(|| TypeQuery::parse(&types, &|term| Name::new(term))).transpose()?,
    })
}

fn read_geo(value: &Value) -> Result<GeoQuery, DecodeError> {
    let member = |key: &str| value.get(key).and_then(Value::as_str).ok_or_else(|| DecodeError::data(key, "is missing or no text"));
    let coordinates = value.get("coordinates").ok_or_else(|| DecodeError::data("coordinates", "is missing"))?;
    // Coordinates may come as JSON or as JSON text in a string.
    let coordinates = coordinates.as_str().map_or_else(|| coordinates.to_string(), str::to_owned);
    let property = value.get("geoproperty").and_then(Value::as_str).filter(|name| !name.trim().is_empty()).unwrap_or("location");
    GeoQuery::parse(member("georel")?, member("geometry")?, &coordinates, Name::new(property))
}

fn read_format(name: &str) -> Option<Format> {
    Some(match name {
        "normalized" => Format::Normalized,
        "concise" => Format::Concise,
        "keyValues" | "simplified" => Format::Simplified,
        _ => return None,
    })
}

fn texts(value: &Value) -> Result<Vec<SmolStr>, DecodeError> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(|item| text(item).map(SmolStr::new)).collect(),
        one => Ok(vec![text(one)?.into()]),
    }
}

fn text(value: &Value) -> Result<&str, DecodeError> {
    value.as_str().filter(|text| !text.is_empty()).ok_or_else(|| fault("must be a text that is not empty"))
}

fn fault(message: &str) -> DecodeError {
    DecodeError::data("", message)
}
