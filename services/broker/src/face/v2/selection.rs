//! Which entities are meant and how they are shown.

use fogflow_ngsi::v2::{Expression, Format, View};
use fogflow_ngsi::{Entity, Name};
use smol_str::SmolStr;

use super::call::Call;
use super::reply::Fault;
use crate::engine;
use crate::face::params::Params;
use crate::filter::{EntitySelector, Filter};
use crate::restriction;

/// How entities are shown.
pub(super) struct Shape {
    format: Format,
    attributes: Vec<Name>,
    metadata: Vec<SmolStr>,
}

impl Shape {
    /// From parameters.
    pub(super) fn of(params: &Params) -> Self {
        let format = match () {
            () if params.option("keyValues") => Format::KeyValues,
            () if params.option("values") => Format::Values,
            () if params.option("unique") => Format::Unique,
            () => Format::Normalized,
        };
        Shape {
            format,
            attributes: params.list("attrs").into_iter().map(Name::new).collect(),
            metadata: params.list("metadata").into_iter().map(SmolStr::new).collect(),
        }
    }

    /// As the parameters say, with what a body adds.
    pub(super) fn with(mut self, attributes: &[SmolStr], metadata: &[SmolStr]) -> Self {
        self.attributes.extend(attributes.iter().map(|name| Name::new(name)));
        self.metadata.extend(metadata.iter().cloned());
        self
    }

    pub(super) fn view(&self) -> View<'_> {
        View { format: self.format, attributes: &self.attributes, metadata: &self.metadata, ..View::default() }
    }

    /// Whether an entity has one of the attributes that are asked for.
    pub(super) fn concerns(&self, entity: &Entity) -> bool {
        let builtin = |name: &Name| matches!(name.as_str(), "*" | "dateCreated" | "dateModified");
        self.attributes.is_empty()
            || self.attributes.iter().any(|name| builtin(name) || entity.attributes.iter().any(|attribute| attribute.name == *name))
    }
}

/// Which part of the result.
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: usize,
    pub(super) count: bool,
}

/// Entities on a page when a client does not say.
const PAGE: usize = 20;

impl Page {
    pub(super) fn of(params: &Params, most: usize) -> Result<Self, Fault> {
        let limit = params.number("limit").map_err(Fault::bad)?.unwrap_or(PAGE);
        if limit == 0 || limit > most {
            return Err(Fault::bad(format!("limit: must be from 1 to {most}")));
        }
        let offset = params.number("offset").map_err(Fault::bad)?.unwrap_or(0);
        Ok(Page { offset, limit, count: params.option("count") })
    }
}

/// The selectors of parameters `id`, `idPattern`, `type` and `typePattern`.
pub(super) fn selectors(params: &Params) -> Result<Vec<EntitySelector>, Fault> {
    for (one, other) in [("id", "idPattern"), ("type", "typePattern")] {
        if params.get(one).is_some() && params.get(other).is_some() {
            return Err(Fault::bad(format!("Incompatible parameters: {one}, {other}")));
        }
    }
    for name in ["id", "idPattern", "type", "typePattern", "q", "mq"] {
        if params.get(name) == Some("") {
            return Err(Fault::bad(format!("Empty right-hand-side for URI param /{name}/")));
        }
    }
    let one = |id: Option<&str>| EntitySelector {
        id: id.map(SmolStr::new),
        id_pattern: params.get("idPattern").map(SmolStr::new),
        types: params.list("type").into_iter().map(Name::new).collect(),
        type_pattern: params.get("typePattern").map(SmolStr::new),
        type_query: None,
    };
    let ids = params.list("id");
    Ok(if ids.is_empty() { vec![one(None)] } else { ids.into_iter().map(|id| one(Some(id))).collect() })
}

/// The conditions that parameters name.
pub(super) fn expression(params: &Params) -> Expression {
    let text = |name: &str| SmolStr::new(params.get(name).unwrap_or_default());
    Expression { q: text("q"), mq: text("mq"), georel: text("georel"), geometry: text("geometry"), coords: text("coords") }
}

/// The engine's query.
pub(super) fn query(
    call: &Call,
    selectors: Vec<EntitySelector>,
    expression: &Expression,
    attributes: Vec<Name>,
    page: &Page,
) -> Result<engine::Query, Fault> {
    let mut filter = Filter::of(selectors).map_err(Fault::bad)?;
    filter.any_attribute = attributes.into_iter().filter(|name| !matches!(name.as_str(), "*" | "dateCreated" | "dateModified")).collect();
    filter.conditions.extend(expression.queries()?.into_iter().map(restriction::attributes));
    let geo = expression.geo()?;
    let restricted = geo.as_ref().map(restriction::of_geo).unwrap_or_default();
    filter.conditions.extend(geo.map(restriction::geo));
    Ok(engine::Query {
        restriction: restricted,
        offset: page.offset,
        limit: page.limit,
        count: page.count,
        local: call.params.option("skipForwarding"),
        ..engine::Query::all(filter)
    })
}
