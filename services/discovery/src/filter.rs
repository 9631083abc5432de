//! Which registrations a discovery query or an availability subscription selects, compiled once.
//!
//! A registration matches when any entity filter matches, and every attribute is registered, and every scope holds
//! (NGSI-9 `discoverContextAvailability`, as FogFlow extends it). Types are compared exactly, id
//! patterns are unanchored and run in linear time.

use fogflow_ngsi::query::{self, StringQuery};
use fogflow_ngsi::v1::availability::{DiscoverContextAvailabilityRequest, SubscribeContextAvailabilityRequest};
use fogflow_ngsi::v1::{EntityId, Restriction, Scope};
use fogflow_ngsi::{Name, Tenant};
use regex::Regex;
use smol_str::SmolStr;

use crate::geometry::{Area, Nearby};
use crate::model::Registration;

/// What an id must be.
#[derive(Clone, Debug)]
pub enum IdFilter {
    /// Anything.
    Any,
    /// This id.
    Exact(SmolStr),
    /// An id in which this expression is found somewhere.
    Pattern(Regex),
}

/// One of the alternatives of a filter.
#[derive(Clone, Debug)]
pub struct EntityFilter {
    /// The id.
    pub id: IdFilter,
    /// The type, compared exactly; `None` for any.
    pub entity_type: Option<Name>,
}

/// A whole filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this tenant's entities.
    pub tenant: Tenant,
    /// Only entities of this service path; `None` for any.
    pub path: Option<SmolStr>,
    /// The alternatives; without any, nothing matches.
    pub entities: Vec<EntityFilter>,
    /// Attribute names that must all be registered.
    pub attributes: Vec<Name>,
    /// Areas that the entity's location must all satisfy; an entity without a location does not.
    pub areas: Vec<Area>,
    /// Comparisons with the metadata, which must all hold.
    pub string_queries: Vec<StringQuery>,
    /// Take only the entities nearest to a point.
    pub nearby: Option<Nearby>,
}

impl EntityFilter {
    /// From the three fields of an NGSI `EntityId`; `None` if it can match nothing (neither id nor type nor pattern).
    ///
    /// # Errors
    /// If the id is a pattern that is too long, too large or not a regular expression.
    pub fn compile(id: &str, entity_type: &str, is_pattern: bool) -> Result<Option<Self>, String> {
        let entity_type = (!entity_type.is_empty()).then(|| Name::new(entity_type));
        let id = match (id, is_pattern) {
            ("" | ".*" | "^.*$", true) => IdFilter::Any,
            (text, true) => IdFilter::Pattern(query::pattern(text).map_err(|error| error.within("id").to_string())?),
            ("", false) if entity_type.is_none() => return Ok(None),
            ("", false) => IdFilter::Any,
            (id, false) => IdFilter::Exact(SmolStr::new(id)),
        };
        Ok(Some(EntityFilter { id, entity_type }))
    }

    /// Whether id and type fit.
    #[must_use]
    pub fn matches(&self, registration: &Registration) -> bool {
        self.entity_type.as_ref().is_none_or(|name| registration.types().any(|own| own == name))
            && match &self.id {
                IdFilter::Any => true,
                IdFilter::Exact(id) => *id == registration.key.id,
                IdFilter::Pattern(pattern) => pattern.is_match(&registration.key.id),
            }
    }
}

impl Filter {
    /// From a discovery query of a tenant.
    ///
    /// # Errors
    /// A sentence that names the member that is wrong.
    pub fn of_query(request: &DiscoverContextAvailabilityRequest, tenant: Tenant) -> Result<Self, String> {
        let filter = Self::compile(tenant, &request.entities, &request.attributes, &request.restriction)?;
        Ok(Filter { path: Some(request.service_path.clone()).filter(|path| !path.is_empty()), ..filter })
    }

    /// From an availability subscription, which names its tenant.
    ///
    /// # Errors
    /// A sentence that names the member that is wrong.
    pub fn of_subscription(request: &SubscribeContextAvailabilityRequest) -> Result<Self, String> {
        Self::compile(Tenant(request.tenant.clone()), &request.entities, &request.attributes, &request.restriction)
    }

    fn compile(tenant: Tenant, entities: &[EntityId], attributes: &[SmolStr], restriction: &Restriction) -> Result<Self, String> {
        let mut filter = Filter { tenant, attributes: attributes.iter().map(|name| Name::new(name)).collect(), ..Filter::default() };
        for entity in entities {
            filter.entities.extend(EntityFilter::compile(&entity.id, &entity.entity_type, entity.is_pattern)?);
        }
        for scope in &restriction.scopes {
            match scope {
                Scope::Circle { latitude, longitude, radius } => filter.areas.push(Area::circle(*latitude, *longitude, *radius)),
                Scope::Polygon(vertices) => filter.areas.push(Area::polygon(vertices)),
                Scope::SimpleGeolocation { north_west, south_east } => filter.areas.push(Area::between(*north_west, *south_east)),
                Scope::Nearby { latitude, longitude, limit } => {
                    filter.nearby = Some(Nearby { centre: geo::Point::new(*longitude, *latitude), limit: (*limit).max(1) });
                }
                Scope::StringQuery(query) if query.as_str().trim().is_empty() => {
                    return Err("stringQuery: is empty; it must be of the form name=value".to_owned());
                }
                Scope::StringQuery(query) => filter.string_queries.push(query.clone()),
                Scope::Point { .. } | Scope::Other { .. } => {}
            }
        }
        if restriction.restriction_type.eq_ignore_ascii_case("ld") || !restriction.geo_rel.is_empty() {
            filter.areas.push(Area::geo_query(&restriction.geometry, &restriction.coordinates, &restriction.geo_rel)?);
        }
        Ok(filter)
    }

    /// Whether the registration satisfies everything but `nearby`, which only a comparison with others can decide.
    #[must_use]
    pub fn matches(&self, registration: &Registration) -> bool {
        self.tenant == registration.key.tenant
            && self.path.as_ref().is_none_or(|path| *path == registration.key.path)
            && self.entities.iter().any(|entity| entity.matches(registration))
            && self.attributes.iter().all(|name| registration.has_attribute(name))
            && self.string_queries.iter().all(|query| query.matches(registration.metadata.iter()))
            && (self.areas.is_empty()
                || registration.location.as_ref().is_some_and(|location| self.areas.iter().all(|area| area.holds(location))))
            && (self.nearby.is_none() || registration.location.is_some())
    }
}
