//! Entities, attributes and metadata, decoded.

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::place;
use super::syntax::{check_name, check_value};
use crate::object::{Members, decode_str};
use crate::{Attribute, DecodeError, Detail, Entity, Json, Kind, Name, Timestamp};

/// How a body is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Attributes are bare values (`options=keyValues`).
    pub key_values: bool,
    /// The body is a set of attributes: `id` and `type` may be absent.
    pub fragment: bool,
    /// Accept what upstream accepts: characters that the specification forbids.
    pub lenient: bool,
}

/// Decodes an entity, or a set of attributes; times become `now`. An entity without a type is a `Thing`.
///
/// # Errors
/// If the text is no JSON object, or a member is missing or wrong; the error names it.
pub fn decode_entity(text: &str, rules: Rules, now: Timestamp) -> Result<Entity, DecodeError> {
    let members: Members<'_> = decode_str(text)?;
    let mut entity = Entity::new("", None, Timestamp::default());
    entity.attributes.reserve(members.0.len());
    for (key, raw) in &members.0 {
        match key.as_ref() {
            "id" => entity.id = name_member("id", raw, rules)?,
            "type" => {
                let name = name_member("type", raw, rules)?;
                entity.types = std::iter::once(Name::new(&name)).collect();
            }
            // The broker sets these.
            "dateCreated" | "dateModified" => {}
            _ => entity.attributes.push(attribute(key, raw, rules).map_err(|error| error.within(key))?),
        }
    }
    if !rules.fragment {
        if entity.id.is_empty() {
            return Err(DecodeError::data("id", "is missing"));
        }
        if entity.types.is_empty() {
            entity.types.push(Name::new("Thing"));
        }
    }
    entity.stamp(now);
    Ok(entity)
}

/// Decodes the body of a request to one attribute into a fragment with just that.
///
/// # Errors
/// As [`decode_entity`].
pub fn decode_attribute(name: &str, text: &str, rules: Rules, now: Timestamp) -> Result<Entity, DecodeError> {
    let raw: &RawValue = decode_str(text)?;
    let mut entity = Entity::new("", None, now);
    entity.attributes.push(attribute(name, raw, rules)?);
    entity.stamp(now);
    Ok(entity)
}

/// Reads the body of `PUT …/attrs/{name}/value`: JSON, or as `text/plain` a quoted text, number, `true`, `false` or `null`.
///
/// # Errors
/// If it is none of these, or JSON that is neither object nor array.
pub fn decode_value(body: &[u8], plain: bool, rules: Rules) -> Result<Json, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| DecodeError::syntax(format!("not valid UTF-8: {error}")))?;
    let json = Json::parse(text.trim()).map_err(|error| DecodeError::syntax(format!("not a value: {error}")))?;
    if plain == (json.is_object() || json.is_array()) {
        return Err(DecodeError::data("", "objects and arrays are sent as application/json, other values as text/plain"));
    }
    if !rules.lenient {
        check_value("value", &json)?;
    }
    Ok(json)
}

fn name_member(field: &str, raw: &RawValue, rules: Rules) -> Result<SmolStr, DecodeError> {
    let text: SmolStr = serde_json::from_str(raw.get()).map_err(|_| DecodeError::data(field, "must be a string"))?;
    if !rules.lenient {
        check_name(field, &text)?;
    }
    Ok(text)
}

fn attribute(name: &str, raw: &RawValue, rules: Rules) -> Result<Attribute, DecodeError> {
    if !rules.lenient || name.is_empty() {
        check_name("", name)?;
    }
    if rules.key_values {
        return finish(name, Json::from_raw(raw), None, None, rules);
    }
    if !raw.get().starts_with('{') {
        return Err(DecodeError::data("", "must be an object with `value`, `type` and `metadata`"));
    }
    let members: Members<'_> = decode_str(raw.get())?;
    let (mut value, mut value_type, mut detail) = (Json::NULL, None, None);
    for (key, raw) in &members.0 {
        match key.as_ref() {
            "value" => value = Json::from_raw(raw),
            "type" => value_type = Some(name_member("type", raw, rules)?),
            "metadata" => detail = metadata(raw, rules).map_err(|error| error.within("metadata"))?,
            other => return Err(DecodeError::data(other, "is no member of an attribute")),
        }
    }
    finish(name, value, value_type, detail, rules)
}

fn finish(
    name: &str,
    value: Json,
    value_type: Option<SmolStr>,
    detail: Option<Box<Detail>>,
    rules: Rules,
) -> Result<Attribute, DecodeError> {
    let value_type = value_type.unwrap_or_else(|| SmolStr::new_static(type_of(&value)));
    let mut attribute = Attribute::property(Name::new(name), value, Timestamp::default());
    attribute.detail = detail;
    if let Some(geo_json) = place::to_geo_json(&value_type, &attribute.value) {
        attribute.kind = Kind::GeoProperty;
        attribute.value = geo_json;
    } else {
        if value_type.starts_with("geo:") && !rules.lenient {
            return Err(DecodeError::data("value", format!("is no valid {value_type}")));
        }
        attribute.kind = Kind::from_name(&value_type).filter(|kind| kind.allows(&attribute.value)).unwrap_or_default();
        if !rules.lenient && value_type != "TextUnrestricted" {
            check_value("value", &attribute.value)?;
        }
    }
    attribute.value_type = Some(value_type);
    Ok(attribute)
}

/// The type that NGSIv2 gives a value whose type a client does not give.
pub(super) fn type_of(value: &Json) -> &'static str {
    match value.as_text().as_bytes().first() {
        Some(b'"') => "Text",
        Some(b't' | b'f') => "Boolean",
        Some(b'{' | b'[') => "StructuredValue",
        Some(b'n') | None => "None",
        Some(_) => "Number",
    }
}

fn metadata(raw: &RawValue, rules: Rules) -> Result<Option<Box<Detail>>, DecodeError> {
    let members: Members<'_> = decode_str(raw.get())?;
    let mut detail = Detail::default();
    for (key, raw) in &members.0 {
        if matches!(key.as_ref(), "dateCreated" | "dateModified" | "previousValue" | "actionType") {
            continue;
        }
        let item = attribute(key, raw, Rules { key_values: rules.key_values && !raw.get().starts_with('{'), ..rules });
        let item = item.map_err(|error| error.within(key))?;
        match (key.as_ref(), item.value_type.as_deref()) {
            ("observedAt", Some("DateTime" | "ISO8601")) if item.value.as_timestamp().is_some() => {
                detail.observed_at = item.value.as_timestamp()
            }
            ("unitCode", Some("Text")) => detail.unit_code = item.value.as_str().map(SmolStr::new),
            _ => detail.attributes.push(item),
        }
    }
    Ok((detail != Detail::default()).then(|| Box::new(detail)))
}
