//! Subscriptions (clause 5.2.12).
//!
//! A subscription is kept as its JSON document with expanded names, so that every member that a client gave is shown
//! again, in the names of whoever asks; [`Subscription::read`] gives the parts that a broker acts on.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::entity::check_uri;
use crate::context::Context;
use crate::query::{Dialect, GeoQuery, Query, ScopeQuery, TypeQuery, pattern};
use crate::{DecodeError, Json, Name, Timestamp};

use super::encode::Format;

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

/// Whether a document is whole or a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A new subscription.
    Whole,
    /// A new subscription as upstream's tests send it: `notification` may be absent, geo queries may make no sense.
    Lenient,
    /// A patch of one.
    Patch,
}

/// Checks a document that a client sent and expands the names in it.
///
/// # Errors
/// If a member is missing or wrong; the error names it.
pub fn expand(document: Map<String, Value>, context: &Context, form: Form) -> Result<Map<String, Value>, DecodeError> {
    let mut out = Map::new();
    for (key, value) in document {
        let removes = form == Form::Patch && (value.is_null() || value == "urn:ngsi-ld:null");
        if key == "@context" {
            continue;
        }
        let value = if removes { Value::Null } else { expand_member(&key, value, context, form).map_err(|error| error.within(&key))? };
        if value.is_null() && form != Form::Patch {
            return Err(DecodeError::data(key, "must not be null"));
        }
        out.insert(if key == "expires" { "expiresAt".to_owned() } else { key }, value);
    }
    if form != Form::Patch {
        required(&out, form)?;
    }
    Ok(out)
}

fn required(document: &Map<String, Value>, form: Form) -> Result<(), DecodeError> {
    if document.get("type").and_then(Value::as_str) != Some("Subscription") {
        return Err(DecodeError::data("type", "must be `Subscription`"));
    }
    let has = |key: &str| document.contains_key(key);
    if !has("entities") && (form == Form::Lenient || !has("watchedAttributes")) {
        return Err(DecodeError::data("entities", "entities or watchedAttributes must be given"));
    }
    if form == Form::Whole && !has("notification") {
        return Err(DecodeError::data("notification", "is missing"));
    }
    if has("timeInterval") && (has("watchedAttributes") || has("throttling")) {
        return Err(DecodeError::data("timeInterval", "goes neither with watchedAttributes nor with throttling"));
    }
    Ok(())
}

/// Applies a patch that [`expand`] checked.
///
/// # Errors
/// If what results is no subscription; the error names the member.
pub fn apply(document: &Map<String, Value>, patch: Map<String, Value>, form: Form) -> Result<Map<String, Value>, DecodeError> {
    let mut out = document.clone();
    for (key, value) in patch {
        match (value, out.get_mut(&key)) {
            (Value::Null, _) => {
                out.shift_remove(&key);
            }
            // A notification fragment changes what it names (clause 5.8.2); an endpoint is replaced whole.
            (Value::Object(fragment), Some(Value::Object(old))) if key == "notification" => old.extend(fragment),
            (value, _) => {
                out.insert(key, value);
            }
        }
    }
    required(&out, form)?;
    Ok(out)
}

/// The document with compacted names, as a client sees it.
#[must_use]
pub fn compact(document: &Map<String, Value>, context: &Context) -> Map<String, Value> {
    let names = |value: &Value| map_names(value, &|iri| context.compact(&Name::new(iri)).into_owned());
    let mut out = document.clone();
    for (key, value) in &mut out {
        match key.as_str() {
            "watchedAttributes" => *value = names(value),
            "entities" => {
                for selector in value.as_array_mut().into_iter().flatten() {
                    if let Some(types) = selector.get_mut("type") {
                        *types = compact_types(types, context);
                    }
                }
            }
            "notification" => {
                for list in ["attributes", "pick", "omit"] {
                    if let Some(value) = value.get_mut(list) {
                        *value = names(value);
                    }
                }
            }
            "q" => {
                let text = value.as_str().unwrap_or_default();
                if let Ok(query) = Query::parse(text, Dialect::Ld, &|term| Name::new(term)) {
                    *value = query.text(&|name| context.compact(name).into_owned()).into();
                }
            }
            "geoQ" => {
                if let Some(property) = value.get_mut("geoproperty") {
                    *property = names(property);
                }
            }
            _ => {}
        }
    }
    out
}

fn map_names(value: &Value, map: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(map(text)),
        Value::Array(items) => Value::Array(items.iter().map(|item| map_names(item, map)).collect()),
        other => other.clone(),
    }
}

/// Maps the names in a type selection, which may be an expression.
fn map_types(value: &Value, map: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => {
            let mut out = String::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let end = rest.find([';', ',', '|', '(', ')']).unwrap_or(rest.len());
                if end > 0 {
                    out.push_str(&if &rest[..end] == "*" { "*".to_owned() } else { map(&rest[..end]) });
                }
                let next = rest[end..].chars().next().map_or(end, |c| end + c.len_utf8());
                out.push_str(&rest[end..next]);
                rest = &rest[next..];
            }
            Value::String(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| map_types(item, map)).collect()),
        other => other.clone(),
    }
}

fn compact_types(value: &Value, context: &Context) -> Value {
    map_types(value, &|iri| context.compact(&Name::new(iri)).into_owned())
}

fn fault(message: &str) -> DecodeError {
    DecodeError::data("", message)
}

fn expand_member(key: &str, value: Value, context: &Context, form: Form) -> Result<Value, DecodeError> {
    let lenient = form == Form::Lenient;
    match key {
        "id" => text(&value).and_then(|id| if lenient { Ok(()) } else { check_uri(id) })?,
        "entities" => return expand_entities(value, context),
        "watchedAttributes" => return expand_names(&value, context),
        "q" => {
            let query = Query::parse(text(&value)?, Dialect::Ld, &|term| context.expand(term))?;
            return Ok(query.to_string().into());
        }
        "geoQ" => return expand_geo(value, context, lenient),
        "scopeQ" => drop(ScopeQuery::parse(text(&value)?)?),
        "isActive" => drop(value.as_bool().ok_or_else(|| fault("must be a boolean"))?),
        "expiresAt" | "expires" => {
            let end: Timestamp = text(&value)?.parse().map_err(|_| fault("must be an ISO 8601 time"))?;
            if !lenient && end <= Timestamp::now() {
                return Err(fault("is in the past"));
            }
        }
        "throttling" | "timeInterval" => {
            value.as_f64().filter(|seconds| *seconds > 0.0).ok_or_else(|| fault("must be a positive number of seconds"))?;
        }
        "notificationTrigger" => {
            let list = value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| fault("must be an array of texts"))?;
            for item in list {
                if !TRIGGERS.iter().any(|(name, _)| item == *name) {
                    return Err(fault(&format!("{item} is no trigger")));
                }
            }
        }
        "notification" => return expand_notification(value, context, form),
        "jsonldContext" => text(&value).and_then(check_uri)?,
        "subscriptionName" | "name" | "description" | "csf" | "lang" => drop(text(&value)?),
        _ => {}
    }
    Ok(value)
}

fn text(value: &Value) -> Result<&str, DecodeError> {
    value.as_str().filter(|text| !text.is_empty()).ok_or_else(|| fault("must be a text that is not empty"))
}

fn expand_names(value: &Value, context: &Context) -> Result<Value, DecodeError> {
    let list =
        value.as_array().filter(|list| !list.is_empty()).ok_or_else(|| fault("must be an array of attribute names that is not empty"))?;
    let names = list.iter().map(|item| Ok(Value::from(context.expand(text(item)?).as_str())));
    Ok(Value::Array(names.collect::<Result<_, DecodeError>>()?))
}

fn expand_entities(value: Value, context: &Context) -> Result<Value, DecodeError> {
    let Value::Array(mut list) = value else { return Err(fault("must be an array")) };
    if list.is_empty() {
        return Err(fault("must not be empty"));
    }
    for (index, item) in list.iter_mut().enumerate() {
        expand_selector(item, context).map_err(|error| error.within(&format!("[{index}]")))?;
    }
    Ok(Value::Array(list))
}

fn expand_selector(item: &mut Value, context: &Context) -> Result<(), DecodeError> {
    let selector = item.as_object_mut().ok_or_else(|| fault("must be an object"))?;
    let types = selector.get_mut("type").ok_or_else(|| DecodeError::data("type", "is missing"))?;
    for name in texts(types).map_err(|error| error.within("type"))? {
        TypeQuery::parse(&name, &|term| Name::new(term)).map_err(|error| error.within("type"))?;
    }
    *types = map_types(types, &|term| context.expand(term).as_str().to_owned());
    if let Some(ids) = selector.get("id") {
        texts(ids).and_then(|ids| ids.iter().try_for_each(|id| check_uri(id))).map_err(|error| error.within("id"))?;
    }
    if let Some(expression) = selector.get("idPattern") {
        text(expression).and_then(pattern).map_err(|error| error.within("idPattern"))?;
    }
    Ok(())
}

fn texts(value: &Value) -> Result<Vec<SmolStr>, DecodeError> {
    match value {
        Value::Array(items) if !items.is_empty() => items.iter().map(|item| text(item).map(SmolStr::new)).collect(),
        one => Ok(vec![text(one)?.into()]),
    }
}

fn expand_geo(mut value: Value, context: &Context, lenient: bool) -> Result<Value, DecodeError> {
    if let Some(property) = value.get_mut("geoproperty")
        && let Some(name) = property.as_str()
    {
        *property = context.expand(name).as_str().into();
    }
    match read_geo(&value) {
        Err(error) if !lenient => Err(error),
        _ => Ok(value),
    }
}

fn read_geo(value: &Value) -> Result<GeoQuery, DecodeError> {
    let member = |key: &str| value.get(key).and_then(Value::as_str).ok_or_else(|| DecodeError::data(key, "is missing or no text"));
    let coordinates = value.get("coordinates").ok_or_else(|| DecodeError::data("coordinates", "is missing"))?;
    // Coordinates may come as JSON or as JSON text in a string.
    let coordinates = coordinates.as_str().map_or_else(|| coordinates.to_string(), str::to_owned);
    let property = value.get("geoproperty").and_then(Value::as_str).filter(|name| !name.trim().is_empty()).unwrap_or("location");
    GeoQuery::parse(member("georel")?, member("geometry")?, &coordinates, Name::new(property))
}

fn expand_notification(mut value: Value, context: &Context, form: Form) -> Result<Value, DecodeError> {
    let notification = value.as_object_mut().ok_or_else(|| fault("must be an object"))?;
    for list in ["attributes", "pick", "omit"] {
        if let Some(names) = notification.get_mut(list) {
            *names = expand_names(names, context).map_err(|error| error.within(list))?;
        }
    }
    if let Some(format) = notification.get("format") {
        text(format)
            .and_then(|name| read_format(name).ok_or_else(|| fault("is no representation")))
            .map_err(|error| error.within("format"))?;
    }
    let named = |list: &str| notification.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    let (attributes, pick, omit) = (named("attributes"), named("pick"), named("omit"));
    let projects = !pick.is_empty() || !omit.is_empty();
    if projects && !attributes.is_empty() {
        return Err(DecodeError::data("attributes", "goes neither with pick nor with omit"));
    }
    if let Some(both) = pick.iter().find(|name| omit.contains(name)) {
        return Err(DecodeError::data("omit", format!("{both} is in pick as well")));
    }
    let known = |join: &Value| ["inline", "flat", "@none"].iter().any(|name| join == name);
    if notification.get("join").is_some_and(|join| !known(join)) {
        return Err(DecodeError::data("join", "must be inline, flat or @none"));
    }
    for flag in ["sysAttrs", "showChanges"] {
        if notification.get(flag).is_some_and(|value| !value.is_boolean()) {
            return Err(DecodeError::data(flag, "must be a boolean"));
        }
    }
    match notification.get("endpoint") {
        Some(endpoint) => check_endpoint(endpoint).map_err(|error| error.within("endpoint"))?,
        None if form == Form::Whole => return Err(DecodeError::data("endpoint", "is missing")),
        None => {}
    }
    // The broker counts these itself.
    for own in ["status", "timesSent", "timesFailed", "lastNotification", "lastFailure", "lastSuccess"] {
        notification.shift_remove(own);
    }
    Ok(value)
}

fn check_endpoint(endpoint: &Value) -> Result<(), DecodeError> {
    let uri = endpoint.get("uri").ok_or_else(|| DecodeError::data("uri", "is missing"))?;
    text(uri).and_then(check_uri).map_err(|error| error.within("uri"))?;
    if let Some(accept) = endpoint.get("accept") {
        let known = ["application/json", "application/ld+json", "application/geo+json"];
        if !accept.as_str().is_some_and(|accept| known.contains(&accept)) {
            return Err(DecodeError::data("accept", "must be application/json, application/ld+json or application/geo+json"));
        }
    }
    for list in ["receiverInfo", "notifierInfo"] {
        let pairs =
            endpoint.get(list).map(|pairs| pairs.as_array().ok_or_else(|| DecodeError::data(list, "must be an array"))).transpose()?;
        for pair in pairs.into_iter().flatten() {
            if !pair.get("key").is_some_and(Value::is_string) || !pair.get("value").is_some_and(Value::is_string) {
                return Err(DecodeError::data(list, "must be an array of objects with `key` and `value`"));
            }
        }
    }
    Ok(())
}

fn read_format(name: &str) -> Option<Format> {
    Some(match name {
        "normalized" => Format::Normalized,
        "concise" => Format::Concise,
        "keyValues" | "simplified" => Format::Simplified,
        _ => return None,
    })
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

    /// The coordinates of a geo query as JSON text, for conditions in another form.
    #[must_use]
    pub fn coordinates(document: &Map<String, Value>) -> Json {
        document.get("geoQ").and_then(|geo| geo.get("coordinates")).map(Json::from).unwrap_or_default()
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
