//! Entities, written in each of NGSI-LD's representations.

use serde_json::Value;

use super::attribute::value_texts;
use crate::context::Context;
use crate::writer::JsonWriter;
use crate::{Attribute, Entity, Json, Kind, Name};

/// The representation (clauses 4.5.4, 4.5.1 and 4.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Every attribute as an object with its type.
    #[default]
    Normalized,
    /// As short as it can be without loss.
    Concise,
    /// Values only (`options=keyValues` or `format=simplified`).
    Simplified,
}

/// Members of an entity that are no attributes, and whether they are left out (`pick` and `omit`, clause 4.21).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// `id`
    pub id: bool,
    /// `type`
    pub entity_type: bool,
    /// `scope`
    pub scope: bool,
}

/// What of an entity is written, and how.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What compacts names.
    pub context: &'a Context,
    /// The representation.
    pub format: Format,
    /// Whether `createdAt` and `modifiedAt` are written.
    pub sys_attrs: bool,
    /// Attributes to write; empty for all.
    pub pick: &'a [Name],
    /// Attributes to leave out.
    pub omit: &'a [Name],
    /// Instances to write by `datasetId`, `@none` for the default one; empty for all.
    pub datasets: &'a [&'a str],
    /// The members beside the attributes that are left out.
    pub hidden: Hidden,
    /// The languages to which LanguageProperties are reduced, the preferred one first, `*` for any; empty for none.
    pub lang: &'a str,
}

impl<'a> View<'a> {
    /// Everything but the times.
    #[must_use]
    pub fn new(context: &'a Context, format: Format) -> Self {
        View { context, format, sys_attrs: false, pick: &[], omit: &[], datasets: &[], hidden: Hidden::default(), lang: "" }
    }

    fn shows(&self, entity: &Entity, attribute: &Attribute) -> bool {
        (self.pick.is_empty() || self.pick.contains(&attribute.name))
            && !self.omit.contains(&attribute.name)
            && (self.datasets.is_empty() || self.datasets.contains(&attribute.dataset_id().unwrap_or("@none")))
            && (!attribute.domain || entity.instances(&attribute.name).next().is_none())
    }
}

/// Writes an entity. `context` says whether the `@context` member is written into it.
pub fn write_entity(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>, context: bool) {
    w.begin_object();
    if !view.hidden.id {
        w.string_member("id", &entity.id);
    }
    if !view.hidden.entity_type {
        write_types(w, entity, view);
    }
    write_head(w, entity, view);
    write_attributes(w, entity, view);
    if context {
        w.key("@context");
        w.value(&view.context.to_value());
    }
    w.end_object();
}

fn write_types(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>) {
    w.key("type");
    match entity.types.as_slice() {
        [one] => w.string(&view.context.compact(one)),
        several => {
            w.begin_array();
            several.iter().for_each(|name| w.string(&view.context.compact(name)));
            w.end_array();
        }
    }
}

fn write_head(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>) {
    match entity.scopes.as_slice() {
        [] => {}
        _ if view.hidden.scope => {}
        [one] => w.string_member("scope", one),
        several => {
            w.key("scope");
            w.begin_array();
            several.iter().for_each(|scope| w.string(scope));
            w.end_array();
        }
    }
    if view.sys_attrs {
        w.plain_member("createdAt", entity.created_at);
        w.plain_member("modifiedAt", entity.modified_at);
    }
}

fn write_attributes(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>) {
    let shown = |attribute: &&Attribute| view.shows(entity, attribute);
    // Only by their `datasetId` can there be several instances of one; nearly no entity has any.
    let several = entity.attributes.iter().any(|attribute| attribute.dataset_id().is_some());
    for (index, attribute) in entity.attributes.iter().enumerate().filter(|(_, attribute)| shown(attribute)) {
        // The instances of an attribute need not stand together; they are written where the first one stands.
        if several && entity.attributes[..index].iter().any(|earlier| earlier.name == attribute.name && shown(&earlier)) {
            continue;
        }
        w.key(&view.context.compact(&attribute.name));
        let mut others =
            entity.attributes[index + 1..].iter().filter(|other| several && other.name == attribute.name).filter(shown).peekable();
        if others.peek().is_none() {
            write_instances(w, &[attribute], view);
        } else {
            let instances: Vec<&Attribute> = std::iter::once(attribute).chain(others).collect();
            write_instances(w, &instances, view);
        }
    }
}

/// Writes the value of an attribute's member: one instance, or several.
fn write_instances(w: &mut JsonWriter<'_>, instances: &[&Attribute], view: &View<'_>) {
    match (instances, view.format) {
        ([one], Format::Simplified) if one.dataset_id().is_none() || view.datasets.len() == 1 => write_simplified(w, one, view),
        (several, Format::Simplified) => {
            w.begin_object();
            w.key("dataset");
            w.begin_object();
            for instance in several {
                w.key(instance.dataset_id().unwrap_or("@none"));
                write_simplified(w, instance, view);
            }
            w.end_object();
            w.end_object();
        }
        ([one], _) => write_attribute(w, one, view),
        (several, _) => {
            w.begin_array();
            several.iter().for_each(|instance| write_attribute(w, instance, view));
            w.end_array();
        }
    }
}

fn write_simplified(w: &mut JsonWriter<'_>, attribute: &Attribute, view: &View<'_>) {
    let wrapper = match attribute.kind {
        Kind::Property | Kind::GeoProperty | Kind::Relationship => return w.raw(attribute.value.as_text()),
        Kind::LanguageProperty => match in_language(attribute, view.lang) {
            Some((text, _)) => return w.value(&text),
            None => "languageMap",
        },
        Kind::JsonProperty => "json",
        Kind::VocabProperty => "vocab",
        Kind::ListProperty => "valueList",
        Kind::ListRelationship => "objectList",
    };
    w.begin_object();
    w.key(wrapper);
    write_value(w, attribute, view);
    w.end_object();
}

/// The text of a LanguageProperty in the language that is asked for, else in one that it has, with its tag.
fn in_language(attribute: &Attribute, lang: &str) -> Option<(Value, String)> {
    if lang.is_empty() {
        return None;
    }
    let Value::Object(map) = attribute.value.to_value() else { return None };
    // `en-GB,de;q=0.5` as in Accept-Language: the order is that of preference.
    let wanted = lang.split(',').map(|tag| tag.split(';').next().unwrap_or_default().trim());
    for tag in wanted {
        let short = tag.split('-').next().unwrap_or_default();
        let found = map.get_key_value(tag).or_else(|| map.get_key_value(short));
        let found = found.or_else(|| map.iter().find(|(have, _)| have.eq_ignore_ascii_case(tag)));
        if let Some((tag, text)) = found {
            return Some((text.clone(), tag.clone()));
        }
    }
    let fallback = map.get_key_value("@none").or_else(|| map.get_key_value("en")).or_else(|| map.iter().next());
    fallback.map(|(tag, text)| (text.clone(), tag.clone()))
}

/// Writes one attribute instance, normalized or concise as the view says.
pub fn write_attribute(w: &mut JsonWriter<'_>, attribute: &Attribute, view: &View<'_>) {
    let concise = view.format == Format::Concise;
    let reduced = if attribute.kind == Kind::LanguageProperty { in_language(attribute, view.lang) } else { None };
    let bare = attribute.detail.is_none() && !view.sys_attrs;
    let is_plain = match attribute.kind {
        Kind::Property => !attribute.value.is_object() && !attribute.value.is_array(),
        Kind::GeoProperty => true,
        _ => false,
    };
    if concise && bare && is_plain {
        return w.raw(attribute.value.as_text());
    }
    w.begin_object();
    let kind = if reduced.is_some() { Kind::Property } else { attribute.kind };
    if !concise {
        w.string_member("type", kind.as_str());
    }
    match &reduced {
        Some((text, tag)) => {
            w.key("value");
            w.value(text);
            w.string_member("lang", tag);
        }
        None => {
            w.key(match attribute.kind {
                Kind::Property | Kind::GeoProperty => "value",
                Kind::Relationship => "object",
                Kind::LanguageProperty => "languageMap",
                Kind::JsonProperty => "json",
                Kind::VocabProperty => "vocab",
                Kind::ListProperty => "valueList",
                Kind::ListRelationship => "objectList",
            });
            write_value(w, attribute, view);
        }
    }
    write_details(w, attribute, view);
    w.end_object();
}

fn write_details(w: &mut JsonWriter<'_>, attribute: &Attribute, view: &View<'_>) {
    if let Some(detail) = &attribute.detail {
        if let Some(object_type) = &detail.object_type {
            w.string_member("objectType", &view.context.compact(object_type));
        }
        if let Some(unit_code) = &detail.unit_code {
            w.string_member("unitCode", unit_code);
        }
        if let Some(observed_at) = detail.observed_at {
            w.plain_member("observedAt", observed_at);
        }
        if let Some(dataset_id) = &detail.dataset_id {
            w.string_member("datasetId", dataset_id);
        }
    }
    if view.sys_attrs {
        w.plain_member("createdAt", attribute.created_at);
        w.plain_member("modifiedAt", attribute.modified_at);
    }
    let inner = attribute.attributes();
    for (index, first) in inner.iter().enumerate() {
        if inner[..index].iter().any(|earlier| earlier.name == first.name) {
            continue;
        }
        w.key(&view.context.compact(&first.name));
        let instances: Vec<&Attribute> = inner[index..].iter().filter(|other| other.name == first.name).collect();
        let whole = View { pick: &[], omit: &[], datasets: &[], ..*view };
        write_instances(w, &instances, &whole);
    }
}

fn write_value(w: &mut JsonWriter<'_>, attribute: &Attribute, view: &View<'_>) {
    let iris = if attribute.kind == Kind::VocabProperty { value_texts(&attribute.value) } else { None };
    let Some(iris) = iris else { return w.raw(attribute.value.as_text()) };
    let shown = |iri: &str| view.context.compact(&Name::new(iri)).into_owned();
    if attribute.value.is_array() {
        w.begin_array();
        iris.iter().for_each(|iri| w.string(&shown(iri)));
        w.end_array();
    } else {
        iris.iter().for_each(|iri| w.string(&shown(iri)));
    }
}

/// Writes an entity as a GeoJSON Feature (clause 4.5.16), placed by its attribute `geometry`, `location` by default.
pub fn write_feature(w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>, geometry: &Name, context: bool) {
    w.begin_object();
    w.string_member("id", &entity.id);
    w.string_member("type", "Feature");
    let place = entity.attributes.iter().find(|attribute| attribute.name == *geometry && attribute.kind == Kind::GeoProperty);
    w.raw_member("geometry", place.map_or(Json::NULL.as_text(), |place| place.value.as_text()));
    w.key("properties");
    w.begin_object();
    if !view.hidden.entity_type {
        write_types(w, entity, view);
    }
    write_head(w, entity, view);
    write_attributes(w, entity, view);
    w.end_object();
    if context {
        w.key("@context");
        w.value(&view.context.to_value());
    }
    w.end_object();
}

/// Writes entities as a GeoJSON FeatureCollection (clause 4.5.17).
pub fn write_feature_collection<'a>(
    w: &mut JsonWriter<'_>,
    entities: impl IntoIterator<Item = &'a Entity>,
    view: &View<'_>,
    geometry: &Name,
    context: bool,
) {
    w.begin_object();
    w.string_member("type", "FeatureCollection");
    w.key("features");
    w.begin_array();
    for entity in entities {
        write_feature(w, entity, view, geometry, false);
    }
    w.end_array();
    if context {
        w.key("@context");
        w.value(&view.context.to_value());
    }
    w.end_object();
}
