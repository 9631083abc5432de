//! Elements, written straight into the reply.

use smol_str::SmolStr;

use super::attribute::type_of_kind;
use super::element::ContextElement;
use super::metadata::write_place;
use super::status::StatusCode;
use super::update::UpdateAction;
use crate::writer::JsonWriter;
use crate::{Attribute, Entity, Json, Kind, Name};

/// The outcome of one element of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementResult {
    /// The entity id.
    pub id: SmolStr,
    /// Its type as far as known.
    pub entity_type: SmolStr,
    /// What became of it.
    pub status: StatusCode,
}

/// Appends a `ContextElement`; `attributes` selects attributes by name, empty means all. Domain metadata is always shown.
pub fn encode_element(out: &mut Vec<u8>, entity: &Entity, attributes: &[Name]) {
    write_element(&mut JsonWriter::new(out), entity, attributes);
}

/// Appends an array of elements, as `GET /ngsi10/entity` answers.
pub fn encode_elements<'a>(out: &mut Vec<u8>, entities: impl IntoIterator<Item = &'a Entity>) {
    let mut w = JsonWriter::new(out);
    w.begin_array();
    for entity in entities {
        write_element(&mut w, entity, &[]);
    }
    w.end_array();
}

/// Appends a `ContextAttribute`.
pub fn encode_attribute(out: &mut Vec<u8>, attribute: &Attribute) {
    write_attribute(&mut JsonWriter::new(out), attribute);
}

/// Appends an `UpdateContextRequest`.
pub fn encode_update_request<'a>(
    out: &mut Vec<u8>,
    action: &UpdateAction,
    correlator: &str,
    entities: impl IntoIterator<Item = &'a Entity>,
) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    w.key("contextElements");
    w.begin_array();
    for entity in entities {
        write_element(&mut w, entity, &[]);
    }
    w.end_array();
    w.string_member("updateAction", action.as_str());
    if !correlator.is_empty() {
        w.string_member("Correlator", correlator);
    }
    w.end_object();
}

/// Appends a `NotifyContextRequest`. An entity without attributes tells of its deletion.
pub fn encode_notification<'a>(
    out: &mut Vec<u8>,
    subscription: &str,
    originator: &str,
    attributes: &[Name],
    entities: impl IntoIterator<Item = &'a Entity>,
) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    w.string_member("subscriptionId", subscription);
    w.string_member("originator", originator);
    write_element_responses(&mut w, attributes, entities);
    w.end_object();
}

/// Appends a `QueryContextResponse`. `contextResponses` is always there, also when nothing was found: Python clients
/// index it without asking.
pub fn encode_query_response<'a>(
    out: &mut Vec<u8>,
    attributes: &[Name],
    entities: impl IntoIterator<Item = &'a Entity>,
    error_code: &StatusCode,
) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    write_element_responses(&mut w, attributes, entities);
    w.key("errorCode");
    w.value(error_code);
    w.end_object();
}

/// Appends an `UpdateContextResponse` with a status for each element.
pub fn encode_update_response(out: &mut Vec<u8>, results: &[ElementResult], error_code: &StatusCode) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    w.key("contextResponses");
    w.begin_array();
    for result in results {
        w.begin_object();
        w.key("contextElement");
        w.begin_object();
        write_entity_id(&mut w, &result.id, &result.entity_type);
        w.end_object();
        w.key("statusCode");
        write_status(&mut w, &result.status);
        w.end_object();
    }
    w.end_array();
    w.key("errorCode");
    write_status(&mut w, error_code);
    w.end_object();
}

fn write_element_responses<'a>(w: &mut JsonWriter<'_>, attributes: &[Name], entities: impl IntoIterator<Item = &'a Entity>) {
    w.key("contextResponses");
    w.begin_array();
    for entity in entities {
        w.begin_object();
        w.key("contextElement");
        write_element(w, entity, attributes);
        w.raw_member("statusCode", r#"{"code":200,"reasonPhrase":"OK"}"#);
        w.end_object();
    }
    w.end_array();
}

fn write_status(w: &mut JsonWriter<'_>, status: &StatusCode) {
    w.begin_object();
    w.key("code");
    w.integer(i64::from(status.code));
    if !status.reason_phrase.is_empty() {
        w.string_member("reasonPhrase", &status.reason_phrase);
    }
    if !status.details.is_empty() {
        w.string_member("details", &status.details);
    }
    w.end_object();
}

fn write_entity_id(w: &mut JsonWriter<'_>, id: &str, entity_type: &str) {
    w.key("entityId");
    w.begin_object();
    if !entity_type.is_empty() {
        w.string_member("type", entity_type);
    }
    w.string_member("id", id);
    w.end_object();
}

/// Writes a `ContextElement`, as [`encode_element`].
pub fn write_element(w: &mut JsonWriter<'_>, entity: &Entity, attributes: &[Name]) {
    w.begin_object();
    write_entity_id(w, &entity.id, entity.types.first().map_or("", Name::as_str));
    let (mut any_attribute, mut any_domain) = (false, false);
    for attribute in &entity.attributes {
        if is_domain(attribute) {
            any_domain = true;
        } else if (attributes.is_empty() || attributes.contains(&attribute.name)) && entity.is_main_instance(attribute) {
            if !any_attribute {
                any_attribute = true;
                w.key("attributes");
                w.begin_array();
            }
            write_attribute(w, attribute);
        }
    }
    if any_attribute {
        w.end_array();
    }
    if any_domain {
        w.key("domainMetadata");
        w.begin_array();
        for attribute in entity.attributes.iter().filter(|attribute| is_domain(attribute)) {
            write_metadata(w, attribute);
        }
        w.end_array();
    }
    w.end_object();
}

fn is_domain(attribute: &Attribute) -> bool {
    (attribute.domain || attribute.kind == Kind::GeoProperty) && attribute.dataset_id().is_none()
}

fn write_attribute(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    w.begin_object();
    w.string_member("name", attribute.name.as_str());
    if attribute.kind == Kind::GeoProperty {
        write_place(w, attribute);
    } else {
        write_type(w, attribute);
        w.raw_member("value", attribute.value.as_text());
    }
    if let Some(detail) = &attribute.detail
        && (detail.observed_at.is_some() || detail.unit_code.is_some() || !detail.attributes.is_empty())
    {
        w.key("metadata");
        w.begin_array();
        if let Some(observed_at) = detail.observed_at {
            w.begin_object();
            w.string_member("name", "observedAt");
            w.string_member("type", "dateTime");
            w.plain_member("value", observed_at);
            w.end_object();
        }
        if let Some(unit_code) = &detail.unit_code {
            w.begin_object();
            w.string_member("name", "unitCode");
            w.string_member("type", "string");
            w.string_member("value", unit_code);
            w.end_object();
        }
        for inner in &detail.attributes {
            write_attribute(w, inner);
        }
        w.end_array();
    }
    w.end_object();
}

/// Writes a `ContextMetadata` of an entity or of a registration.
pub fn write_metadata(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    w.begin_object();
    w.string_member("name", attribute.name.as_str());
    if attribute.kind == Kind::GeoProperty {
        write_place(w, attribute);
    } else {
        write_type(w, attribute);
        w.raw_member("value", attribute.value.as_text());
    }
    w.end_object();
}

/// The type as v1 or v2 gave it; what was written through NGSI-LD gets the v1 name of its kind, or of its JSON type.
fn write_type(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    let value_type = match &attribute.value_type {
        Some(own) => own,
        None => type_of_kind(attribute.kind).or_else(|| type_of_value(&attribute.value)).unwrap_or_default(),
    };
    if !value_type.is_empty() {
        w.string_member("type", value_type);
    }
}

fn type_of_value(value: &Json) -> Option<&'static str> {
    match value.as_text().as_bytes().first()? {
        b'"' => Some("string"),
        b't' | b'f' => Some("boolean"),
        b'{' | b'[' => Some("object"),
        b'n' => None,
        _ => Some("float"),
    }
}

impl ContextElement {
    /// Appends this element.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_element(out, &self.entity, &[]);
    }
}
