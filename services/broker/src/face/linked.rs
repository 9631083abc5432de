//! Linked entities (ETSI GS CIM 009, clause 4.5.23): entities to which relationships point, shown inside of them or beside
//! the entity that has them. Only entities of this broker are followed.

use std::collections::HashSet;

use fogflow_ngsi::ld::{self, Format, View};
use fogflow_ngsi::{Attribute, Entity, Json, JsonWriter, Kind, Name};
use serde_json::Value;
use smol_str::SmolStr;

use crate::face::ld::Projection;
use crate::state::SharedEntity;

/// Linked entities that one answer shows at most.
const MOST: usize = 1000;

/// How links are followed.
pub(crate) struct Links<'a> {
    inline: bool,
    /// How many links are followed; 0 for none.
    level: u8,
    find: &'a dyn Fn(&str) -> Option<SharedEntity>,
}

/// What is shown of the entities behind a relationship; `None` for all of it.
type Shown<'s> = &'s dyn Fn(&Name) -> Option<&'s Projection>;

impl<'a> Links<'a> {
    /// `join` is `inline`, `flat` or empty.
    pub(crate) fn new(join: &str, level: u8, find: &'a dyn Fn(&str) -> Option<SharedEntity>) -> Self {
        Links { inline: join == "inline", level: if join.is_empty() { 0 } else { level }, find }
    }

    /// Whether no link is followed.
    pub(crate) fn is_empty(&self) -> bool {
        self.level == 0
    }

    /// Whether there is a linked entity to show.
    pub(crate) fn reach(&self, entity: &Entity, view: &View<'_>) -> bool {
        entity.attributes.iter().filter(|attribute| followed(attribute, view)).any(|relationship| !self.behind(relationship).is_empty())
    }

    /// Writes an entity; in the flat form its linked entities follow it as further values.
    pub(crate) fn write(&self, w: &mut JsonWriter<'_>, entity: &Entity, view: &View<'_>, context: bool, shown: Shown<'_>) {
        let mut seen = HashSet::from([entity.id.clone()]);
        if self.inline {
            w.value(&self.embed(entity, view, context, shown, self.level, &mut seen));
            return;
        }
        ld::write_entity(w, entity, view, context);
        self.beside(w, entity, view, context, shown, self.level, &mut seen);
    }

    #[allow(clippy::too_many_arguments, reason = "what a step into a linked entity needs")]
    fn beside(
        &self,
        w: &mut JsonWriter<'_>,
        entity: &Entity,
        view: &View<'_>,
        context: bool,
        shown: Shown<'_>,
        level: u8,
        seen: &mut HashSet<SmolStr>,
    ) {
        if level == 0 {
            return;
        }
        for relationship in entity.attributes.iter().filter(|attribute| followed(attribute, view)) {
            for linked in self.behind(relationship) {
                if seen.len() > MOST || !seen.insert(linked.id.clone()) {
                    continue;
                }
                let projection = shown(&relationship.name);
                ld::write_entity(w, &linked, &narrowed(view, projection), context);
                let next = |name: &Name| projection.and_then(|projection| projection.linked(name));
                self.beside(w, &linked, &narrowed(view, projection), context, &next, level - 1, seen);
            }
        }
    }

    fn embed(&self, entity: &Entity, view: &View<'_>, context: bool, shown: Shown<'_>, level: u8, seen: &mut HashSet<SmolStr>) -> Value {
        let mut text = Vec::with_capacity(512);
        ld::write_entity(&mut JsonWriter::new(&mut text), entity, view, context);
        let mut value: Value = serde_json::from_slice(&text).unwrap_or_default();
        if level == 0 {
            return value;
        }
        for relationship in entity.attributes.iter().filter(|attribute| followed(attribute, view)) {
            let projection = shown(&relationship.name);
            let next = |name: &Name| projection.and_then(|projection| projection.linked(name));
            let mut inside = Vec::new();
            for linked in self.behind(relationship) {
                if seen.len() > MOST || seen.contains(&linked.id) {
                    continue;
                }
                // A chain of links does not come back to where it was; two chains may meet.
                seen.insert(linked.id.clone());
                inside.push(self.embed(&linked, &narrowed(view, projection), false, &next, level - 1, seen));
                seen.remove(&linked.id);
            }
            if !inside.is_empty()
                && let Some(member) = value.get_mut(view.context.compact(&relationship.name).as_ref())
            {
                put(member, relationship, inside, view.format);
            }
        }
        value
    }

    fn behind(&self, relationship: &Attribute) -> Vec<SharedEntity> {
        targets(&relationship.value).iter().filter_map(|id| (self.find)(id)).collect()
    }
}

fn followed(attribute: &Attribute, view: &View<'_>) -> bool {
    attribute.kind == Kind::Relationship
        && (view.pick.is_empty() || view.pick.contains(&attribute.name))
        && !view.omit.contains(&attribute.name)
}

fn targets(value: &Json) -> Vec<String> {
    match value.as_str() {
        Some(one) => vec![one.into_owned()],
        None => serde_json::from_str(value.as_text()).unwrap_or_default(),
    }
}

/// The view of a linked entity.
fn narrowed<'v>(view: &View<'v>, projection: Option<&'v Projection>) -> View<'v> {
    let whole = View { pick: &[], omit: &[], hidden: ld::Hidden::default(), ..*view };
    match projection {
        Some(projection) => View { pick: &projection.pick, omit: &projection.omit, hidden: projection.hidden, ..whole },
        None => whole,
    }
}

/// Puts the linked entities where the relationship shows its targets.
fn put(member: &mut Value, relationship: &Attribute, mut inside: Vec<Value>, format: Format) {
    let several = relationship.value.is_array();
    if format == Format::Simplified {
        *member = if several { Value::Array(inside) } else { inside.remove(0) };
        return;
    }
    let instances: Vec<&mut Value> = match member {
        Value::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    };
    for instance in instances {
        if instance.get("datasetId").and_then(Value::as_str) == relationship.dataset_id()
            && let Some(members) = instance.as_object_mut()
        {
            if several {
                members.insert("entityList".to_owned(), Value::Array(inside));
            } else {
                members.insert("entity".to_owned(), inside.remove(0));
            }
            return;
        }
    }
}
