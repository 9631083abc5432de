//! The effect of an action on an entity: a pure function.

mod reconcile;
#[cfg(test)]
mod tests;

use fogflow_ngsi::{Attribute, Detail, Entity, Json, Name, Timestamp};
use serde_json::Value;

use crate::change::Names;
use crate::command::{Action, AttributeSelector, Effect, LD_NULL, Refusal};
pub use reconcile::reconcile;

/// What an action makes of an entity.
#[derive(Debug)]
pub struct Merged {
    /// The new state; `None` if the entity is deleted.
    pub after: Option<Entity>,
    /// What happened.
    pub effect: Effect,
    /// Attributes that the action wrote or removed.
    pub written: Names,
    /// Attributes that it left alone.
    pub skipped: Vec<Name>,
}

/// Applies `action` to the state `current` at time `now`.
///
/// # Errors
/// [`Refusal::NotFound`], [`Refusal::AlreadyExists`], [`Refusal::NoSuchAttribute`] as the action demands.
pub fn merge(current: Option<&Entity>, action: &Action, now: Timestamp) -> Result<Merged, Refusal> {
    match (action, current) {
        (Action::Create(_), Some(_)) => Err(Refusal::AlreadyExists),
        (Action::Create(entity) | Action::Upsert { patch: entity, .. } | Action::Replace { entity, create: true }, None) => {
            Ok(created(entity, now))
        }
        (Action::Reconcile(theirs), None) => {
            Ok(Merged { written: names(theirs), after: Some(theirs.clone()), effect: Effect::Created, skipped: Vec::new() })
        }
        (_, None) => Err(Refusal::NotFound),
        (Action::Reconcile(theirs), Some(mine)) => {
            let after = reconcile(mine, theirs);
            Ok(Merged { written: names(&after), after: Some(after), effect: Effect::Updated, skipped: Vec::new() })
        }
        (Action::GiveAway(at), Some(current)) if current.modified_at != *at => Err(Refusal::AlreadyExists),
        (Action::Replace { entity, .. }, Some(current)) => Ok(replaced(current, entity, now)),
        (Action::Upsert { patch, merge_metadata }, Some(current)) => {
            let rule = if *merge_metadata { Rule::MergeMetadata } else { Rule::Replace };
            let mut writer = Writer::new(current, patch, now);
            if !patch.types.is_empty() {
                writer.after.types.clone_from(&patch.types);
            }
            writer.scopes(patch);
            for attribute in &patch.attributes {
                writer.write(attribute, rule);
            }
            Ok(writer.finish())
        }
        (Action::Append { patch, overwrite }, Some(current)) => {
            let mut writer = Writer::new(current, patch, now);
            writer.add_types(patch);
            if *overwrite {
                writer.scopes(patch);
            } else {
                writer.add_scopes(patch);
            }
            for attribute in &patch.attributes {
                if !overwrite && writer.find(attribute).is_some() {
                    writer.skipped.push(attribute.name.clone());
                } else {
                    writer.write(attribute, Rule::Replace);
                }
            }
            Ok(writer.finish())
        }
        (Action::Update { patch, partial }, Some(current)) => {
            let rule = if *partial { Rule::Partial } else { Rule::Replace };
            update(current, patch, rule, now)
        }
        (Action::ReplaceAttributes(patch), Some(current)) => update(current, patch, Rule::Replace, now),
        (Action::Merge(patch), Some(current)) => {
            let mut writer = Writer::new(current, patch, now);
            writer.add_types(patch);
            writer.scopes(patch);
            for attribute in &patch.attributes {
                if attribute.value.as_text() == LD_NULL {
                    writer.remove(&AttributeSelector {
                        name: attribute.name.clone(),
                        dataset_id: attribute.dataset_id().map(Into::into),
                        all: false,
                    });
                } else {
                    writer.write(attribute, Rule::MergePatch);
                }
            }
            Ok(writer.finish())
        }
        (Action::DeleteAttributes(selectors), Some(current)) => {
            let mut writer = Writer::new(current, current, now);
            for selector in selectors {
                if !writer.remove(selector) {
                    writer.skipped.push(selector.name.clone());
                }
            }
            if writer.written.is_empty() { Err(Refusal::NoSuchAttribute) } else { Ok(writer.finish()) }
        }
        (Action::Delete | Action::GiveAway(_), Some(current)) => Ok(Merged {
            after: None,
            effect: Effect::Deleted,
            written: current.attributes.iter().map(|attribute| attribute.name.clone()).collect(),
            skipped: Vec::new(),
        }),
    }
}

fn update(current: &Entity, patch: &Entity, rule: Rule, now: Timestamp) -> Result<Merged, Refusal> {
    let mut writer = Writer::new(current, patch, now);
    writer.add_types(patch);
    for attribute in &patch.attributes {
        if writer.find(attribute).is_some() {
            writer.write(attribute, rule);
        } else {
            writer.skipped.push(attribute.name.clone());
        }
    }
    if writer.written.is_empty() && !writer.skipped.is_empty() { Err(Refusal::NoSuchAttribute) } else { Ok(writer.finish()) }
}

fn created(entity: &Entity, now: Timestamp) -> Merged {
    let mut after = entity.clone();
    after.created_at = now;
    after.modified_at = now;
    let mut attributes: Vec<Attribute> = Vec::with_capacity(after.attributes.len());
    for mut attribute in after.attributes {
        stamp(&mut attribute, now);
        match attributes.iter_mut().find(|existing| existing.same_instance(&attribute)) {
            Some(existing) => *existing = attribute,
            None => attributes.push(attribute),
        }
    }
    attributes.shrink_to_fit();
    after.attributes = attributes;
    Merged { effect: Effect::Created, written: names(&after), skipped: Vec::new(), after: Some(after) }
}

fn replaced(current: &Entity, entity: &Entity, now: Timestamp) -> Merged {
    let mut merged = created(entity, now);
    let mut written = merged.written;
    for old in &current.attributes {
        push(&mut written, &old.name);
    }
    if let Some(after) = &mut merged.after {
        after.created_at = current.created_at;
        if after.types.is_empty() {
            after.types.clone_from(&current.types);
        }
        for attribute in &mut after.attributes {
            if let Some(old) = current.attributes.iter().find(|old| old.same_instance(attribute)) {
                attribute.created_at = old.created_at;
            }
        }
    }
    Merged { effect: Effect::Updated, written, ..merged }
}

fn names(entity: &Entity) -> Names {
    let mut names = Names::new();
    for attribute in &entity.attributes {
        push(&mut names, &attribute.name);
    }
    names
}

fn push(names: &mut Names, name: &Name) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// How an attribute is written over one that exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Replace,
    MergeMetadata,
    Partial,
    MergePatch,
}

/// An entity in the course of being changed.
struct Writer {
    after: Entity,
    written: Names,
    skipped: Vec<Name>,
    now: Timestamp,
}

impl Writer {
    fn new(current: &Entity, patch: &Entity, now: Timestamp) -> Self {
        let mut attributes = Vec::with_capacity(current.attributes.len() + usize::from(patch.attributes.len() > current.attributes.len()));
        attributes.extend(current.attributes.iter().cloned());
        let after = Entity {
            id: current.id.clone(),
            types: current.types.clone(),
            attributes,
            scopes: current.scopes.clone(),
            created_at: current.created_at,
            modified_at: now,
        };
        Writer { after, written: Names::new(), skipped: Vec::new(), now }
    }

    fn find(&self, attribute: &Attribute) -> Option<usize> {
        self.after.attributes.iter().position(|existing| existing.same_instance(attribute))
    }

    fn add_types(&mut self, patch: &Entity) {
        for name in &patch.types {
            if !self.after.types.contains(name) {
                self.after.types.push(name.clone());
            }
        }
    }

    fn scopes(&mut self, patch: &Entity) {
        if !patch.scopes.is_empty() {
            self.after.scopes.clone_from(&patch.scopes);
        }
    }

    fn add_scopes(&mut self, patch: &Entity) {
        for scope in &patch.scopes {
            if !self.after.scopes.contains(scope) {
                self.after.scopes.push(scope.clone());
            }
        }
    }

    fn write(&mut self, attribute: &Attribute, rule: Rule) {
        push(&mut self.written, &attribute.name);
        match self.find(attribute) {
            Some(index) => {
                if let Some(existing) = self.after.attributes.get_mut(index) {
                    overwrite(existing, attribute, rule, self.now);
                }
            }
            None => {
                let mut new = attribute.clone();
                stamp(&mut new, self.now);
                self.after.attributes.push(new);
            }
        }
    }

    fn remove(&mut self, selector: &AttributeSelector) -> bool {
        let before = self.after.attributes.len();
        self.after.attributes.retain(|attribute| {
            let hit = attribute.name == selector.name
                && (selector.all || (!attribute.domain && attribute.dataset_id() == selector.dataset_id.as_deref()));
            !hit
        });
        let removed = self.after.attributes.len() < before;
        if removed {
            push(&mut self.written, &selector.name);
        }
        removed
    }

    fn finish(mut self) -> Merged {
        self.after.attributes.shrink_to_fit();
        Merged { after: Some(self.after), effect: Effect::Updated, written: self.written, skipped: self.skipped }
    }
}

fn overwrite(existing: &mut Attribute, new: &Attribute, rule: Rule, now: Timestamp) {
    let keep = rule == Rule::Partial || rule == Rule::MergePatch;
    if !(keep && new.value.is_null()) {
        existing.value = match rule {
            Rule::MergePatch if existing.kind == new.kind => merge_json(&existing.value, &new.value),
            _ => new.value.clone(),
        };
        existing.kind = new.kind;
    }
    if new.value_type.is_some() || rule == Rule::Replace {
        existing.value_type.clone_from(&new.value_type);
    }
    existing.modified_at = now;
    if rule == Rule::Replace {
        existing.detail.clone_from(&new.detail);
        for sub in existing.detail.iter_mut().flat_map(|detail| &mut detail.attributes) {
            stamp(sub, now);
        }
    } else if let Some(detail) = &new.detail {
        merge_detail(existing.detail.get_or_insert_default(), detail, rule, now);
    }
}

fn merge_detail(existing: &mut Detail, new: &Detail, rule: Rule, now: Timestamp) {
    if new.observed_at.is_some() {
        existing.observed_at = new.observed_at;
    }
    if new.unit_code.is_some() {
        existing.unit_code.clone_from(&new.unit_code);
    }
    if new.object_type.is_some() {
        existing.object_type.clone_from(&new.object_type);
    }
    for sub in &new.attributes {
        let position = existing.attributes.iter().position(|old| old.same_instance(sub));
        if rule == Rule::MergePatch && sub.value.as_text() == LD_NULL {
            if let Some(index) = position {
                existing.attributes.remove(index);
            }
            continue;
        }
        match position.and_then(|index| existing.attributes.get_mut(index)) {
            Some(old) => overwrite(old, sub, if rule == Rule::MergePatch { rule } else { Rule::Replace }, now),
            None => {
                let mut sub = sub.clone();
                stamp(&mut sub, now);
                existing.attributes.push(sub);
            }
        }
    }
}

/// JSON merge-patch (RFC 7396) with NGSI-LD's null; anything but two objects is a plain replacement.
fn merge_json(old: &Json, new: &Json) -> Json {
    if !(old.is_object() && new.is_object()) {
        return new.clone();
    }
    let mut target = old.to_value();
    patch_value(&mut target, new.to_value());
    Json::from(&target)
}

fn patch_value(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.as_str() == Some("urn:ngsi-ld:null") {
                    target.shift_remove(&name);
                } else {
                    patch_value(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

fn stamp(attribute: &mut Attribute, now: Timestamp) {
    attribute.created_at = now;
    attribute.modified_at = now;
    for sub in attribute.detail.iter_mut().flat_map(|detail| &mut detail.attributes) {
        stamp(sub, now);
    }
}
