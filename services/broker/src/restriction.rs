//! The conditions of a query or subscription beside its selectors: places, metadata, `q`.

use std::cmp::Ordering;
use std::sync::Arc;

use fogflow_ngsi::bounds::{self, Bounds};
use fogflow_ngsi::query::{Dialect, GeoQuery, Query, ScopeQuery};
use fogflow_ngsi::v1::{Restriction, Scope};
use fogflow_ngsi::{Attribute, Entity, Json, Kind, Name, geometry};
use geo::{BoundingRect, Geometry, Intersects, LineString, Point, Polygon, Rect};

use crate::filter::Condition;

/// The property that tells where an entity is, unless a query names another.
const LOCATION: &str = "location";

/// Compiles conditions. `q` is in NGSI-LD's language with expanded names, whatever the face: the faces translate it.
///
/// # Errors
/// A sentence for the client when a query cannot be understood.
pub fn conditions(restriction: &Restriction, geoproperty: &str, q: &str, scope_q: &str) -> Result<Vec<Condition>, String> {
    let mut conditions: Vec<Condition> = restriction.scopes.iter().filter_map(scope).collect();
    if !restriction.geo_rel.is_empty() {
        let property = Name::new(if geoproperty.is_empty() { LOCATION } else { geoproperty });
        let query = GeoQuery::parse(&restriction.geo_rel, &restriction.geometry, restriction.coordinates.as_text(), property);
        conditions.push(geo(query.map_err(|error| error.to_string())?));
    }
    if !q.is_empty() {
        let query = Query::parse(q, Dialect::Ld, &|name| Name::new(name)).map_err(|error| error.to_string())?;
        conditions.push(attributes(query));
    }
    if !scope_q.is_empty() {
        let query = ScopeQuery::parse(scope_q).map_err(|error| error.to_string())?;
        conditions.push(Condition::new(move |entity| query.matches(&entity.scopes)));
    }
    Ok(conditions)
}

/// The condition of a `q`.
#[must_use]
pub fn attributes(query: Query) -> Condition {
    Condition::new(move |entity| query.matches(entity))
}

/// The condition of a geo query.
#[must_use]
pub fn geo(query: GeoQuery) -> Condition {
    let boxes = (query.geoproperty.as_str() == LOCATION).then(|| query.bounds()).flatten();
    Condition::inside(boxes, move |entity| query.matches(entity))
}

/// A geo query in the form in which subscriptions keep it and discovery is told of it.
#[must_use]
pub fn of_geo(query: &GeoQuery) -> Restriction {
    let (kind, coordinates) = geometry::to_parts(&query.geometry).unwrap_or_default();
    Restriction {
        geo_rel: query.georel.to_text(),
        geometry: kind.into(),
        coordinates: Json::from(&coordinates),
        restriction_type: "ld".into(),
        ..Restriction::default()
    }
}

fn scope(scope: &Scope) -> Option<Condition> {
    match scope {
        Scope::Circle { latitude, longitude, radius } => {
            let (centre, radius) = (Point::new(*longitude, *latitude), *radius);
            // Upstream cuts both to whole metres.
            let boxes = bounds::around(centre, radius.floor() + 1.0);
            Some(at_location(Some(boxes), move |place| geometry::distance(centre, place).floor() <= radius.floor()))
        }
        Scope::Polygon(vertices) => {
            let ring: Vec<(f64, f64)> = vertices.iter().map(|(latitude, longitude)| (*longitude, *latitude)).collect();
            let polygon = Polygon::new(LineString::from(ring), Vec::new());
            Some(at_location(polygon.bounding_rect().map(|extent| vec![extent]), move |place| polygon.intersects(place)))
        }
        Scope::SimpleGeolocation { north_west, south_east } => {
            let area = Rect::new((north_west.1, south_east.0), (south_east.1, north_west.0));
            Some(at_location(Some(vec![area]), move |place| area.intersects(place)))
        }
        Scope::StringQuery(query) => {
            let query = query.clone();
            Some(Condition::new(move |entity| query.matches(entity.attributes.iter().filter(|attribute| attribute.domain))))
        }
        Scope::Point { .. } | Scope::Nearby { .. } | Scope::Other { .. } => None,
    }
}

/// A condition on where the entity is; one without a location does not meet it, nor one whose envelope touches none of the
/// boxes.
fn at_location(boxes: Option<Vec<Bounds>>, test: impl Fn(&Geometry<f64>) -> bool + Send + Sync + 'static) -> Condition {
    Condition::inside(boxes, move |entity| location(entity).is_some_and(|place| test(&place)))
}

/// Where the entity is, read from its geo attribute or domain metadata `location`.
#[must_use]
pub fn location(entity: &Entity) -> Option<Geometry<f64>> {
    entity.attributes.iter().filter(|attribute| is_location(attribute)).find_map(geometry_of)
}

/// Whether this tells where the entity is, as far as it can be read.
pub(crate) fn is_location(attribute: &Attribute) -> bool {
    attribute.kind == Kind::GeoProperty && attribute.name.as_str() == LOCATION
}

/// The value of a geo attribute.
pub(crate) fn geometry_of(attribute: &Attribute) -> Option<Geometry<f64>> {
    geometry::parse(attribute.value.as_text()).ok()
}

/// Keeps the entities that are nearest, nearest first, when a `nearby` scope asks for it. Those without a location are
/// left out.
pub fn nearest(restriction: &Restriction, entities: &mut Vec<Arc<Entity>>) {
    for scope in &restriction.scopes {
        let Scope::Nearby { latitude, longitude, limit } = scope else { continue };
        let from = Point::new(*longitude, *latitude);
        let mut ranked: Vec<(f64, Arc<Entity>)> =
            entities.drain(..).filter_map(|entity| location(&entity).map(|place| (geometry::distance(from, &place), entity))).collect();
        ranked.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
        ranked.truncate(*limit);
        entities.extend(ranked.into_iter().map(|(_, entity)| entity));
    }
}
