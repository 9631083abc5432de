//! What an NGSI-LD notification shows of a change beside the new state: deleted attributes, previous values (ETSI GS CIM
//! 009, clauses 4.5.0 and 5.2.14).

use fogflow_ngsi::{Attribute, Detail, Entity, Json, JsonWriter, Kind, Name, Timestamp, ld};
use serde_json::{Map, Value, json};

use super::request::bare;
use crate::change::Change;
use crate::subscription::Subscription;

/// Whether the change has something to show that the new state lacks, and the subscriber wants to see it.
pub(super) fn concerned(subscription: &Subscription, change: &Change) -> bool {
    let wants_deleted = subscription.trigger.attributes.deleted;
    match (&change.before, &change.after) {
        (_, None) => true,
        (Some(_), Some(_)) => subscription.target.show_changes || wants_deleted && !deleted(change).is_empty(),
        (None, Some(_)) => false,
    }
}

/// Instances that were there before and are not any more.
fn deleted(change: &Change) -> Vec<&Attribute> {
    let after = change.after.as_deref().map(|entity| entity.attributes.as_slice()).unwrap_or_default();
    let before = change.before.as_deref().map(|entity| entity.attributes.as_slice()).unwrap_or_default();
    let gone = |attribute: &&Attribute| change.written.contains(&attribute.name) && !after.iter().any(|new| new.same_instance(attribute));
    before.iter().filter(gone).collect()
}

/// An instance that tells of its deletion.
fn null(old: &Attribute) -> Attribute {
    let value = match old.kind {
        Kind::LanguageProperty => Json::from(&json!({"@none": ld::NULL})),
        _ => Json::string(ld::NULL),
    };
    let detail = old.dataset_id().map(|id| Box::new(Detail { dataset_id: Some(id.into()), ..Detail::default() }));
    Attribute { value, detail, ..old.clone() }
}

/// Writes the entity of a change for which [`concerned`] is true.
pub(super) fn write(w: &mut JsonWriter<'_>, subscription: &Subscription, change: &Change, view: &ld::View<'_>, context: bool) {
    let show_changes = subscription.target.show_changes;
    let mut entity = match &change.after {
        Some(after) => Entity::clone(after),
        None => bare(change),
    };
    if let (None, Some(before)) = (&change.after, &change.before) {
        entity.created_at = before.created_at;
    }
    // Of a deleted entity only what was asked for by name is shown, or all with its previous values.
    let wanted = |name: &Name| change.after.is_some() || show_changes || subscription.watched.contains(name);
    if show_changes || subscription.trigger.attributes.deleted {
        entity.attributes.extend(deleted(change).into_iter().filter(|old| wanted(&old.name)).map(null));
    }
    let mut text = Vec::with_capacity(512);
    ld::write_entity(&mut JsonWriter::new(&mut text), &entity, view, context);
    let Ok(Value::Object(mut members)) = serde_json::from_slice::<Value>(&text) else { return w.raw("null") };
    let now = Timestamp::now().to_string();
    if change.after.is_none() {
        members.insert("deletedAt".to_owned(), now.as_str().into());
    }
    for name in &change.written {
        match members.get_mut(view.context.compact(name).as_ref()) {
            Some(Value::Array(instances)) => {
                instances.iter_mut().filter_map(Value::as_object_mut).for_each(|one| tell(one, name, change, view, show_changes, &now));
            }
            Some(Value::Object(one)) => tell(one, name, change, view, show_changes, &now),
            _ => {}
        }
    }
    w.value(&members);
}

/// Adds to one instance what it was before, and when it was deleted.
fn tell(instance: &mut Map<String, Value>, name: &Name, change: &Change, view: &ld::View<'_>, show_changes: bool, now: &str) {
    if view.format == ld::Format::Simplified {
        return;
    }
    let dataset = instance.get("datasetId").and_then(Value::as_str);
    let of =
        |entity: &Entity| entity.attributes.iter().find(|attribute| attribute.name == *name && attribute.dataset_id() == dataset).cloned();
    let old = change.before.as_deref().and_then(of);
    let new = change.after.as_deref().and_then(of);
    let Some(old) = old else { return };
    if new.is_none() && view.sys_attrs {
        instance.insert("deletedAt".to_owned(), now.into());
    }
    if !show_changes || new.is_some_and(|new| new.value.means(&old.value)) {
        return;
    }
    let key = match old.kind {
        Kind::Property | Kind::GeoProperty => "previousValue",
        Kind::Relationship => "previousObject",
        Kind::LanguageProperty => "previousLanguageMap",
        Kind::JsonProperty => "previousJson",
        Kind::VocabProperty => "previousVocab",
        Kind::ListProperty => "previousValueList",
        Kind::ListRelationship => "previousObjectList",
    };
    // Through the encoder, which compacts vocabulary terms.
    let mut text = Vec::new();
    let plain = ld::View { sys_attrs: false, lang: "", ..ld::View::new(view.context, ld::Format::Normalized) };
    ld::write_attribute(&mut JsonWriter::new(&mut text), &Attribute { detail: None, ..old }, &plain);
    if let Ok(Value::Object(written)) = serde_json::from_slice::<Value>(&text)
        && let Some((_, value)) = written.into_iter().find(|(member, _)| member != "type")
    {
        instance.insert(key.to_owned(), value);
    }
}
