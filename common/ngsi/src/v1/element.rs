//! `ContextElement`, decoded into the model in one pass.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use smol_str::SmolStr;

use super::attribute::Item;
use super::entity_id::EntityId;
use crate::object::{FlexBool, Key};
use crate::{Entity, Timestamp};

/// An entity as one element of a request carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextElement {
    /// The entity, with the attributes of this request only.
    pub entity: Entity,
    /// Whether the id is a pattern; an update cannot apply to one.
    pub is_pattern: bool,
    /// Values that are not of their declared type; one sentence each, for `statusCode.details`.
    pub mismatches: Vec<String>,
}

impl ContextElement {
    /// An element for this entity.
    #[must_use]
    pub fn new(entity: Entity) -> Self {
        ContextElement { entity, is_pattern: false, mismatches: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for ContextElement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ElementVisitor;
        impl<'de> Visitor<'de> for ElementVisitor {
            type Value = ContextElement;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a context element")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut id: Option<EntityId> = None;
                let mut flat = EntityId::default();
                let mut attributes: Vec<Item> = Vec::new();
                let mut domain: Vec<Item> = Vec::new();
                while let Some(key) = map.next_key::<Key<'de>>()? {
                    if key.is("entityId") {
                        id = map.next_value()?;
                    } else if key.is("attributes") {
                        attributes = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("domainMetadata") {
                        domain = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("id") {
                        flat.id = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("type") {
                        flat.entity_type = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else if key.is("isPattern") {
                        flat.is_pattern = map.next_value::<Option<FlexBool>>()?.unwrap_or_default().0;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(assemble(id.unwrap_or(flat), attributes, domain))
            }
        }
        deserializer.deserialize_map(ElementVisitor)
    }
}

fn assemble(id: EntityId, attributes: Vec<Item>, domain: Vec<Item>) -> ContextElement {
    let mut mismatches = Vec::new();
    let entity_type = Some(id.entity_type.as_str()).filter(|name| !name.is_empty());
    let mut entity = Entity::new("", entity_type, Timestamp::default());
    entity.id = id.id;
    entity.attributes.reserve_exact(attributes.len() + domain.len());
    for item in attributes {
        if item.name.is_empty() {
            mismatches.push("an attribute without `name` was left out".to_owned());
        } else {
            entity.attributes.push(item.into_attribute(&mut mismatches));
        }
    }
    for item in domain {
        if item.name.is_empty() {
            mismatches.push("a domain metadata item without `name` was left out".to_owned());
        } else {
            entity.attributes.push(item.into_domain_metadata(&mut mismatches));
        }
    }
    ContextElement { entity, is_pattern: id.is_pattern, mismatches }
}

impl From<&ContextElement> for EntityId {
    fn from(element: &ContextElement) -> Self {
        EntityId {
            entity_type: element.entity.types.first().map(|name| SmolStr::new(name.as_str())).unwrap_or_default(),
            is_pattern: element.is_pattern,
            id: element.entity.id.clone(),
        }
    }
}
