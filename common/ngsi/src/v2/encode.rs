//! Entities, attributes and notifications, written.

use smol_str::SmolStr;

use super::decode::type_of;
use super::place;
use crate::writer::JsonWriter;
use crate::{Attribute, Entity, Kind, Name};

/// The representation (NGSIv2, "Simplified Entity Representation").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `{"type", "value", "metadata"}`
    #[default]
    Normalized,
    /// Values by name.
    KeyValues,
    /// An array of values, in the order of the attributes that were asked for.
    Values,
    /// As `Values`, without repetitions.
    Unique,
}

/// What of an entity is written, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The representation.
    pub format: Format,
    /// Attributes to write, in this order; empty or with `*` for all. `dateCreated` and `dateModified` are written only
    /// when they are named here.
    pub attributes: &'a [Name],
    /// Attributes to leave out.
    pub except: &'a [Name],
    /// Metadata to write; empty or with `*` for all.
    pub metadata: &'a [SmolStr],
}

impl View<'_> {
    fn names(&self, name: &str) -> bool {
        self.attributes.iter().any(|wanted| wanted.as_str() == name)
    }

    fn all_attributes(&self) -> bool {
        self.attributes.iter().all(|name| matches!(name.as_str(), "dateCreated" | "dateModified")) || self.names("*")
    }

    /// The attributes to write, in their order.
    fn select<'e>(&self, entity: &'e Entity) -> Vec<&'e Attribute> {
        let visible = |attribute: &&'e Attribute| {
            !self.except.contains(&attribute.name)
                && entity.is_main_instance(attribute)
                && (!attribute.domain || entity.instances(&attribute.name).next().is_none())
        };
        if self.all_attributes() {
            return entity.attributes.iter().filter(visible).collect();
        }
        let of_name = |name: &Name| entity.attributes.iter().filter(visible).find(|attribute| attribute.name == *name);
        self.attributes.iter().filter_map(of_name).collect()
    }
}

/// Writes an entity.
pub fn write_entity(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>) {
    let selected = view.select(entity);
    if matches!(view.format, Format::Values | Format::Unique) {
        return write_values(w, &selected, view.format == Format::Unique);
    }
    w.begin_object();
    w.string_member("id", &entity.id);
    w.string_member("type", entity.types.first().map_or("Thing", Name::as_str));
    for attribute in selected {
        w.key(attribute.name.as_str());
        match view.format {
            Format::KeyValues => write_value(w, attribute),
            _ => write_attribute(w, attribute, view.metadata),
        }
    }
    for (name, time) in [("dateCreated", entity.created_at), ("dateModified", entity.modified_at)] {
        if !view.names(name) {
            continue;
        }
        if view.format == Format::KeyValues {
            w.plain_member(name, time);
        } else {
            w.key(name);
            write_time(w, time);
        }
    }
    w.end_object();
}

fn write_time(w: &mut JsonWriter<'_>, time: crate::Timestamp) {
    w.begin_object();
    w.string_member("type", "DateTime");
    w.plain_member("value", time);
    w.end_object();
}

fn write_values(w: &mut JsonWriter<'_>, attributes: &[&Attribute], unique: bool) {
    w.begin_array();
    for (index, attribute) in attributes.iter().enumerate() {
        if unique && attributes[..index].iter().any(|earlier| earlier.value.means(&attribute.value)) {
            continue;
        }
        write_value(w, attribute);
    }
    w.end_array();
}

fn write_value(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    if attribute.kind == Kind::GeoProperty { place::write_value(w, attribute) } else { w.raw(attribute.value.as_text()) }
}

fn write_attribute(w: &mut JsonWriter<'_>, attribute: &Attribute, metadata: &[SmolStr]) {
    w.begin_object();
    write_type_and_value(w, attribute);
    let shown = |name: &str| metadata.is_empty() || metadata.iter().any(|wanted| wanted == name || wanted == "*");
    w.key("metadata");
    w.begin_object();
    if let Some(detail) = &attribute.detail {
        if let Some(observed_at) = detail.observed_at.filter(|_| shown("observedAt")) {
            w.key("observedAt");
            write_time(w, observed_at);
        }
        if let Some(unit_code) = detail.unit_code.as_ref().filter(|_| shown("unitCode")) {
            w.key("unitCode");
            w.begin_object();
            w.string_member("type", "Text");
            w.string_member("value", unit_code);
            w.end_object();
        }
        for inner in detail.attributes.iter().filter(|inner| shown(inner.name.as_str())) {
            w.key(inner.name.as_str());
            w.begin_object();
            write_type_and_value(w, inner);
            w.end_object();
        }
    }
    for (name, time) in [("dateCreated", attribute.created_at), ("dateModified", attribute.modified_at)] {
        // These exist only for those who ask for them by name.
        if metadata.iter().any(|wanted| wanted == name) {
            w.key(name);
            write_time(w, time);
        }
    }
    w.end_object();
    w.end_object();
}

fn write_type_and_value(w: &mut JsonWriter<'_>, attribute: &Attribute) {
    if attribute.kind == Kind::GeoProperty {
        return place::write(w, attribute);
    }
    let own = attribute.value_type.as_deref().filter(|own| !own.is_empty());
    let value_type = own.unwrap_or_else(|| match attribute.kind {
        Kind::Property => type_of(&attribute.value),
        kind => kind.as_str(),
    });
    w.string_member("type", value_type);
    w.raw_member("value", attribute.value.as_text());
}

/// Appends one attribute, as `GET …/attrs/{name}` answers.
pub fn encode_attribute(out: &mut Vec<u8>, attribute: &Attribute, metadata: &[SmolStr]) {
    write_attribute(&mut JsonWriter::new(out), attribute, metadata);
}

/// Appends the value of an attribute, as `GET …/attrs/{name}/value` answers.
pub fn encode_attribute_value(out: &mut Vec<u8>, attribute: &Attribute) {
    write_value(&mut JsonWriter::new(out), attribute);
}

/// Appends a notification.
pub fn encode_notification<'e>(out: &mut Vec<u8>, subscription: &str, entities: impl IntoIterator<Item = &'e Entity>, view: &View<'_>) {
    let mut w = JsonWriter::new(out);
    w.begin_object();
    w.string_member("subscriptionId", subscription);
    w.key("data");
    w.begin_array();
    for entity in entities {
        write_entity(&mut w, entity, view);
    }
    w.end_array();
    w.end_object();
}
