//! Which entities a query or a subscription means: one general filter for all faces.

use std::fmt;
use std::sync::Arc;

use fogflow_ngsi::bounds::Bounds;
use fogflow_ngsi::query::TypeQuery;
use fogflow_ngsi::{Entity, Name};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::pattern::Pattern;

/// A condition on the whole entity, made from `q`, a geo query, a scope query and the like.
#[derive(Clone)]
pub struct Condition {
    test: Arc<dyn Fn(&Entity) -> bool + Send + Sync>,
    boxes: Option<Arc<[Bounds]>>,
}

impl Condition {
    /// A condition that entities anywhere may meet.
    #[must_use]
    pub fn new(test: impl Fn(&Entity) -> bool + Send + Sync + 'static) -> Self {
        Condition { test: Arc::new(test), boxes: None }
    }

    /// A condition that only entities meet of which the envelope of `location` touches one of these boxes; `None` for any.
    #[must_use]
    pub fn inside(boxes: Option<Vec<Bounds>>, test: impl Fn(&Entity) -> bool + Send + Sync + 'static) -> Self {
        Condition { test: Arc::new(test), boxes: boxes.map(Into::into) }
    }
}

/// One alternative of a filter, as a client writes it and as it is stored. All parts that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntitySelector {
    /// The exact id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SmolStr>,
    /// An unanchored regular expression on the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_pattern: Option<SmolStr>,
    /// The entity has one of these types; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<Name>,
    /// A type selection that is more than alternatives, as `Car;Electric` (ETSI GS CIM 009, clause 4.17), with expanded
    /// names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_query: Option<SmolStr>,
    /// An unanchored regular expression on the type (NGSIv2 `typePattern`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_pattern: Option<SmolStr>,
}

/// A selector that can be applied.
#[derive(Clone, Debug)]
pub struct Selector {
    /// What it was made from.
    pub spec: EntitySelector,
    id_pattern: Option<Pattern>,
    type_pattern: Option<Pattern>,
    type_query: Option<TypeQuery>,
}

impl Selector {
    /// Compiles a selector.
    ///
    /// # Errors
    /// A sentence for the client when a pattern is wrong.
    pub fn new(spec: EntitySelector) -> Result<Self, String> {
        let id_pattern = spec.id_pattern.as_deref().map(Pattern::new).transpose()?;
        let type_pattern = spec.type_pattern.as_deref().map(Pattern::new).transpose()?;
        let type_query = spec.type_query.as_deref().map(|text| TypeQuery::parse(text, &|name| Name::new(name))).transpose();
        let type_query = type_query.map_err(|error| format!("type: {error}"))?;
        Ok(Selector { spec, id_pattern, type_pattern, type_query })
    }

    /// Whether the entity is meant.
    #[must_use]
    pub fn matches(&self, entity: &Entity) -> bool {
        self.spec.id.as_ref().is_none_or(|id| *id == entity.id)
            && (self.spec.types.is_empty() || self.spec.types.iter().any(|name| entity.types.contains(name)))
            && self.type_query.as_ref().is_none_or(|query| query.matches(&entity.types))
            && self.id_pattern.as_ref().is_none_or(|pattern| pattern.is_match(&entity.id))
            && self.type_pattern.as_ref().is_none_or(|pattern| entity.types.iter().any(|name| pattern.is_match(name.as_str())))
    }
}

/// Which service paths are meant (`Fiware-ServicePath` of reads).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathScope {
    /// Every path.
    #[default]
    Any,
    /// Exactly this path.
    Exact(SmolStr),
    /// This path and all below it (`/a/#`).
    Below(SmolStr),
}

impl PathScope {
    /// Whether entities of this path are meant.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        match self {
            PathScope::Any => true,
            PathScope::Exact(exact) => exact == path,
            PathScope::Below(root) => path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// A filter that can be applied.
#[derive(Clone, Default)]
pub struct Filter {
    /// Alternatives, of which one must match. An empty list matches nothing, as NGSI-10 has it.
    pub selectors: Vec<Selector>,
    /// Attributes that the entity must all have.
    pub all_attributes: Vec<Name>,
    /// Attributes of which it must have one; empty for no such demand.
    pub any_attribute: Vec<Name>,
    /// Further conditions, which must all hold.
    pub conditions: Vec<Condition>,
    /// The service paths.
    pub path: PathScope,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("selectors", &self.selectors)
            .field("all_attributes", &self.all_attributes)
            .field("any_attribute", &self.any_attribute)
            .field("conditions", &self.conditions.len())
            .field("path", &self.path)
            .finish()
    }
}

impl Filter {
    /// A filter with these alternatives and nothing else.
    ///
    /// # Errors
    /// A sentence for the client when a pattern is wrong.
    pub fn of(selectors: impl IntoIterator<Item = EntitySelector>) -> Result<Self, String> {
        let selectors = selectors.into_iter().map(Selector::new).collect::<Result<_, _>>()?;
        Ok(Filter { selectors, ..Filter::default() })
    }

    /// A filter that every entity passes.
    #[must_use]
    pub fn everything() -> Self {
        let any = Selector { spec: EntitySelector::default(), id_pattern: None, type_pattern: None, type_query: None };
        Filter { selectors: vec![any], ..Filter::default() }
    }

    /// Whether the entity at `path` passes.
    #[must_use]
    pub fn matches(&self, path: &str, entity: &Entity) -> bool {
        self.path.contains(path)
            && self.selectors.iter().any(|selector| selector.matches(entity))
            && self.all_attributes.iter().all(|name| has(entity, name))
            && (self.any_attribute.is_empty() || self.any_attribute.iter().any(|name| has(entity, name)))
            && self.conditions.iter().all(|condition| (condition.test)(entity))
    }

    /// Boxes of which each entity that passes touches one, if there is such a limit.
    #[must_use]
    pub fn boxes(&self) -> Option<&[Bounds]> {
        self.conditions.iter().find_map(|condition| condition.boxes.as_deref())
    }

    /// The ids that are meant, if every alternative names one.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<&str>> {
        self.selectors.iter().map(|selector| selector.spec.id.as_deref()).collect()
    }

    /// The types that are meant, if every alternative names some.
    #[must_use]
    pub fn types(&self) -> Option<Vec<Name>> {
        let mut types: Vec<Name> = Vec::new();
        for selector in &self.selectors {
            if selector.spec.types.is_empty() {
                return None;
            }
            types.extend(selector.spec.types.iter().cloned());
        }
        types.sort();
        types.dedup();
        Some(types)
    }
}

fn has(entity: &Entity, name: &Name) -> bool {
    entity.attributes.iter().any(|attribute| attribute.name == *name)
}
