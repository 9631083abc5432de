//! Checking what a client sent, and expanding the names in it.

use serde_json::{Map, Value};

use super::compact::map_types;
use super::{TRIGGERS, fault, read_format, read_geo, text, texts};
use crate::context::Context;
use crate::ld::entity::check_uri;
use crate::query::{Dialect, Query, ScopeQuery, TypeQuery, pattern};
use crate::{DecodeError, Name, Timestamp};

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
