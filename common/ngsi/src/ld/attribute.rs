//! Attributes, decoded from any representation (clauses 4.5.1 to 4.5.24).

use serde_json::Value;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::entity::{Mode, NULL, Rules, attribute_name, check_uri, core_member, text_member};
use crate::context::Context;
use crate::object::{Members, decode_str};
use crate::{Attribute, DecodeError, Detail, Json, Kind, Name, Timestamp, geometry};

/// How deep attributes of attributes may go.
const MAX_DEPTH: usize = 16;

/// Appends the instances of an attribute: one, or those of an array that differ in `datasetId`.
pub(super) fn decode_instances(
    name: &Name,
    raw: &RawValue,
    context: &Context,
    rules: Rules,
    out: &mut Vec<Attribute>,
) -> Result<(), DecodeError> {
    decode_at(name, raw, context, rules, MAX_DEPTH, out)
}

/// Appends what the body of a request to one attribute says. An object is the attribute or a part of it, never a value.
pub(super) fn decode_fragment(
    name: &Name,
    raw: &RawValue,
    context: &Context,
    rules: Rules,
    out: &mut Vec<Attribute>,
) -> Result<(), DecodeError> {
    if rules.mode == Mode::MergePatch && raw.get().starts_with('{') {
        let members: Members<'_> = decode_str(raw.get())?;
        if members.0.is_empty() {
            return Err(DecodeError::syntax("the object is empty"));
        }
        let says = |key: &str| matches!(core_member(key), "type" | "@type") || value_member(core_member(key)).is_some();
        if !members.0.iter().any(|(key, _)| says(key)) {
            let detail = detail(&members, context, rules, MAX_DEPTH)?;
            out.push(Attribute { detail, ..Attribute::property(name.clone(), Json::NULL, Timestamp::default()) });
            return Ok(());
        }
    }
    decode_instances(name, raw, context, rules, out)
}

fn decode_at(
    name: &Name,
    raw: &RawValue,
    context: &Context,
    rules: Rules,
    depth: usize,
    out: &mut Vec<Attribute>,
) -> Result<(), DecodeError> {
    if let Some(instances) = instances(raw.get()) {
        let first = out.len();
        for (index, instance) in instances.into_iter().enumerate() {
            let attribute = decode_one(name, instance, context, rules, depth).map_err(|error| error.within(&format!("[{index}]")))?;
            if out[first..].iter().any(|other| other.dataset_id() == attribute.dataset_id()) {
                return Err(DecodeError::data(format!("[{index}].datasetId"), "two instances have the same datasetId"));
            }
            out.push(attribute);
        }
        return Ok(());
    }
    out.push(decode_one(name, raw, context, rules, depth)?);
    Ok(())
}

/// The items of an array, if all of them are attribute instances and not just parts of one value.
fn instances(text: &str) -> Option<Vec<&RawValue>> {
    if !text.starts_with('[') {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let is_instance = |item: &&RawValue| {
        item.get().starts_with('{')
            && serde_json::from_str::<Members<'_>>(item.get()).is_ok_and(|members| {
                members.0.iter().any(|(key, value)| match core_member(key) {
                    "type" | "@type" => text_member(value).is_some_and(|name| Kind::from_name(core_member(&name)).is_some()),
                    "datasetId" => true,
                    member => value_member(member).is_some_and(|kind| kind != Kind::Property),
                })
            })
    };
    (!items.is_empty() && items.iter().all(is_instance)).then_some(items)
}

/// The kind whose value a member holds.
fn value_member(member: &str) -> Option<Kind> {
    Some(match member {
        "value" => Kind::Property,
        "object" => Kind::Relationship,
        "languageMap" => Kind::LanguageProperty,
        "json" => Kind::JsonProperty,
        "vocab" => Kind::VocabProperty,
        "valueList" => Kind::ListProperty,
        "objectList" => Kind::ListRelationship,
        _ => return None,
    })
}

fn decode_one(name: &Name, raw: &RawValue, context: &Context, rules: Rules, depth: usize) -> Result<Attribute, DecodeError> {
    let depth = depth.checked_sub(1).ok_or_else(|| DecodeError::data("", "attributes are nested too deep"))?;
    if !raw.get().starts_with('{') {
        return simplified(name, raw, rules);
    }
    let members: Members<'_> = decode_str(raw.get())?;
    let mut kind = None;
    let mut other_type = None;
    let mut values: Vec<(&'static str, Kind, &RawValue, bool)> = Vec::new();
    for (key, value) in &members.0 {
        let member = core_member(key);
        match member {
            "type" | "@type" => match text_member(value) {
                Some(text) => match Kind::from_name(core_member(&text)) {
                    Some(found) => kind = Some(found),
                    None => other_type = Some(text),
                },
                None => return Err(DecodeError::data("type", "must be a string")),
            },
            _ => {
                if let Some(found) = value_member(member) {
                    values.push((value_key(found), found, value, member.len() != key.len()));
                }
            }
        }
    }
    if kind.is_none() {
        if let Some(other) = other_type {
            // A GeoJSON geometry stands for a GeoProperty with that value (concise form).
            if geometry::type_name(&other).is_some() && members.0.iter().any(|(key, _)| key == "coordinates" || key == "geometries") {
                return geo_property(name, raw, rules);
            }
            return Err(DecodeError::data("type", format!("`{other}` is no kind of attribute")));
        }
        if values.is_empty() && !only_details(&members) {
            return if members.0.is_empty() {
                Err(DecodeError::data("", "an attribute must not be empty"))
            } else {
                Ok(Attribute::property(name.clone(), Json::from_raw(raw), Timestamp::default()))
            };
        }
    }
    let kind = match (kind, values.first()) {
        (Some(kind), _) => kind,
        (None, Some((_, Kind::Property, value, _))) if is_geometry(value.get()) => Kind::GeoProperty,
        (None, Some((_, found, _, _))) => *found,
        (None, None) => Kind::Property,
    };
    let key = value_key(kind);
    let value = values.iter().find(|(own, _, _, _)| *own == key).map(|(_, _, value, expanded)| (*value, *expanded));
    if let Some((other, _, _, _)) = values.iter().find(|(other, _, _, _)| *other != key) {
        return Err(DecodeError::data(*other, format!("a {} has no such member", kind.as_str())));
    }
    let value = match value {
        Some((value, expanded)) => decode_value(kind, value, expanded, context, rules).map_err(|error| error.within(key))?,
        None if rules.mode == Mode::MergePatch => Json::NULL,
        None => return Err(DecodeError::data(key, "is missing")),
    };
    let detail = detail(&members, context, rules, depth)?;
    Ok(Attribute { kind, value, detail, ..Attribute::property(name.clone(), Json::NULL, Timestamp::default()) })
}

fn value_key(kind: Kind) -> &'static str {
    match kind {
        Kind::Property | Kind::GeoProperty => "value",
        Kind::Relationship => "object",
        Kind::LanguageProperty => "languageMap",
        Kind::JsonProperty => "json",
        Kind::VocabProperty => "vocab",
        Kind::ListProperty => "valueList",
        Kind::ListRelationship => "objectList",
    }
}

/// Whether an object without type and value can only be an attribute of which a patch leaves the value alone.
fn only_details(members: &Members<'_>) -> bool {
    let detail = |key: &str| matches!(key, "observedAt" | "unitCode" | "datasetId" | "objectType");
    !members.0.is_empty() && members.0.iter().all(|(key, _)| detail(key))
}

/// A value alone (simplified and concise form).
fn simplified(name: &Name, raw: &RawValue, rules: Rules) -> Result<Attribute, DecodeError> {
    if raw.get() == "null" {
        return Err(DecodeError::data("", "null is no value; to delete, patch with \"urn:ngsi-ld:null\""));
    }
    no_null(raw.get(), rules)?;
    Ok(Attribute::property(name.clone(), Json::from_raw(raw), Timestamp::default()))
}

fn no_null(text: &str, rules: Rules) -> Result<(), DecodeError> {
    if !rules.mode.deletes() && !rules.lenient && text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(NULL) {
        return Err(DecodeError::data("", "`urn:ngsi-ld:null` is allowed in a patch only"));
    }
    Ok(())
}

fn is_geometry(text: &str) -> bool {
    text.starts_with('{') && geometry::parse(text).is_ok()
}

fn geo_property(name: &Name, raw: &RawValue, rules: Rules) -> Result<Attribute, DecodeError> {
    if !rules.lenient {
        geometry::parse(raw.get())?;
    }
    Ok(Attribute { kind: Kind::GeoProperty, ..Attribute::property(name.clone(), Json::from_raw(raw), Timestamp::default()) })
}

fn decode_value(kind: Kind, raw: &RawValue, expanded: bool, context: &Context, rules: Rules) -> Result<Json, DecodeError> {
    let json = if expanded { Json::from(&unwrap_expanded(&decode_str(raw.get())?)) } else { Json::from_raw(raw) };
    if rules.mode.deletes() && is_null(kind, &json) {
        return Ok(Json::string(NULL));
    }
    if json.is_null() && kind != Kind::JsonProperty {
        return Err(DecodeError::data("", "must not be null"));
    }
    no_null(json.as_text(), rules)?;
    match kind {
        Kind::Property | Kind::JsonProperty => Ok(json),
        Kind::GeoProperty => {
            // Geometries may come as GeoJSON text in a string (clause 4.7.1).
            let inner = json.as_str().and_then(|text| Json::parse(&text).ok().filter(Json::is_object));
            let json = inner.unwrap_or(json);
            match geometry::parse(json.as_text()) {
                Ok(_) => Ok(json),
                Err(_) if rules.lenient => Ok(json),
                Err(error) => Err(error),
            }
        }
        Kind::Relationship => {
            let uris = texts(&json).ok_or_else(|| DecodeError::data("", "must be a URI or an array of URIs"))?;
            if !rules.lenient {
                uris.iter().try_for_each(|uri| check_uri(uri))?;
            }
            Ok(json)
        }
        Kind::LanguageProperty => {
            let map: serde_json::Map<String, Value> =
                serde_json::from_str(json.as_text()).map_err(|_| DecodeError::data("", "must be an object from language tag to text"))?;
            let text = |value: &Value| value.is_string() || value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string));
            if let Some((tag, _)) = map.iter().find(|(_, value)| !text(value)) {
                return Err(DecodeError::data(tag, "must be a text or an array of texts"));
            }
            Ok(json)
        }
        Kind::VocabProperty => {
            let terms = texts(&json).ok_or_else(|| DecodeError::data("", "must be a term or an array of terms"))?;
            let expand = |term: &String| Value::from(context.expand(term).iri().into_owned());
            Ok(if json.is_array() { Json::from(&Value::Array(terms.iter().map(expand).collect())) } else { Json::from(&expand(&terms[0])) })
        }
        Kind::ListProperty if json.is_array() => Ok(json),
        Kind::ListProperty => Err(DecodeError::data("", "must be an array")),
        Kind::ListRelationship => list_of_uris(&json).ok_or_else(|| DecodeError::data("", "must be an array of URIs")),
    }
}

/// Whether a value says that the attribute is to be deleted (clause 4.5.0); a LanguageProperty says it in a map.
fn is_null(kind: Kind, json: &Json) -> bool {
    json.as_text() == "\"urn:ngsi-ld:null\"" || kind == Kind::LanguageProperty && json.to_value() == serde_json::json!({ "@none": NULL })
}

fn texts(json: &Json) -> Option<Vec<String>> {
    match json.as_str() {
        Some(text) => Some(vec![text.into_owned()]),
        None => serde_json::from_str(json.as_text()).ok(),
    }
}

/// `["urn:a"]`, or the longer form `[{"object": "urn:a"}]`.
fn list_of_uris(json: &Json) -> Option<Json> {
    let Value::Array(items) = json.to_value() else { return None };
    let uris: Option<Vec<Value>> = items
        .into_iter()
        .map(|item| match item {
            Value::String(_) => Some(item),
            Value::Object(mut member) => member.remove("object").filter(Value::is_string),
            _ => None,
        })
        .collect();
    Some(Json::from(&Value::Array(uris?)))
}

fn detail(members: &Members<'_>, context: &Context, rules: Rules, depth: usize) -> Result<Option<Box<Detail>>, DecodeError> {
    let mut detail = Detail::default();
    for (key, raw) in &members.0 {
        let member = core_member(key);
        let text = || text_member(raw).ok_or_else(|| DecodeError::data(member, "must be a string"));
        match member {
            "datasetId" => {
                let uri = text()?;
                if uri != "@none" {
                    if !rules.lenient {
                        check_uri(&uri).map_err(|error| error.within(member))?;
                    }
                    detail.dataset_id = Some(uri);
                }
            }
            "observedAt" => {
                let time = text()?;
                detail.observed_at = match time.as_str() {
                    NULL if rules.mode.deletes() => None,
                    time => {
                        let wrong = || DecodeError::data(member, format!("`{time}` is no ISO 8601 time in UTC"));
                        Some(parse_time(time, rules).ok_or_else(wrong)?)
                    }
                };
            }
            "unitCode" => {
                let unit = text()?;
                detail.unit_code = (unit != NULL).then_some(unit);
            }
            "objectType" => detail.object_type = Some(context.expand(&text()?)),
            "type"
            | "@type"
            | "@context"
            | "id"
            | "@id"
            | "createdAt"
            | "modifiedAt"
            | "deletedAt"
            | "instanceId"
            | "previousValue"
            | "previousObject"
            | "previousLanguageMap"
            | "previousJson"
            | "previousVocab"
            | "previousValueList"
            | "previousObjectList"
            | "entity"
            | "entityList" => {}
            member if value_member(member).is_some() => {}
            _ => {
                let name = attribute_name(key, context)?;
                decode_at(&name, raw, context, rules, depth, &mut detail.attributes).map_err(|error| error.within(key))?;
            }
        }
    }
    Ok((detail != Detail::default()).then(|| Box::new(detail)))
}

/// A time in UTC; upstream's clients leave the `Z` out.
fn parse_time(text: &str, rules: Rules) -> Option<Timestamp> {
    text.parse().ok().or_else(|| rules.lenient.then(|| format!("{text}Z").parse().ok()).flatten())
}

/// What an expanded document wraps: `[{"@value": 5}]` is 5, `[{"@id": "urn:a"}]` is `"urn:a"`, `@list` an array.
pub(super) fn unwrap_expanded(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.len() == 1 => unwrap_expanded(&items[0]),
        Value::Array(items) => Value::Array(items.iter().map(unwrap_expanded).collect()),
        Value::Object(members) => match (members.get("@value"), members.get("@id"), members.get("@list")) {
            (Some(inner), None, None) if !members.contains_key("@type") => inner.clone(),
            (Some(inner), None, None)
                if inner.is_string() && members.get("@type").and_then(Value::as_str).is_some_and(|t| t.ends_with("DateTime")) =>
            {
                inner.clone()
            }
            (None, Some(id), None) if members.len() == 1 => id.clone(),
            (None, None, Some(Value::Array(items))) => Value::Array(items.iter().map(unwrap_expanded).collect()),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

/// The texts that a Relationship or VocabProperty value consists of, for encoders.
pub(super) fn value_texts(json: &Json) -> Option<Vec<SmolStr>> {
    texts(json).map(|texts| texts.into_iter().map(SmolStr::from).collect())
}
