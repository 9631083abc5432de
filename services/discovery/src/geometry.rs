//! Where entities are, and the areas that scopes draw. Coordinates are (longitude, latitude) in degrees, WGS 84;
//! distances are great-circle metres; polygons are plane figures on longitude and latitude, border included.

use fogflow_ngsi::bounds::{Bounds, crosses_antimeridian, envelope, shift_west};
use fogflow_ngsi::geometry::{distance, parse};
use fogflow_ngsi::query::{GeoQuery, Georel};
use fogflow_ngsi::{Attribute, Json, Kind, Name};
use geo::{Geometry, LineString, Point, Polygon, Rect, coord};

use crate::model::LOCATION;

/// Where an entity is.
#[derive(Clone, Debug, PartialEq)]
pub enum Location {
    /// At a point.
    Point(Point<f64>),
    /// On or in a geometry.
    Shape(Box<Geometry<f64>>),
}

/// How far around a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearby {
    /// The point.
    pub centre: Point<f64>,
    /// How many to take.
    pub limit: usize,
}

/// A spatial condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    /// The condition. Its geometry is west of 180° unless it crosses the antimeridian; then it runs on to the east of 180°.
    query: GeoQuery,
    crosses: bool,
}

impl Location {
    /// Reads a place; a circle is where its centre is. Anything else is no location.
    #[must_use]
    pub fn of(item: &Attribute) -> Option<Self> {
        if item.kind != Kind::GeoProperty {
            return None;
        }
        Some(match parse(item.value.as_text()).ok()? {
            Geometry::Point(point) => Location::Point(point),
            shape => Location::Shape(Box::new(shape)),
        })
    }

    /// The smallest box around it.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        match self {
            Location::Point(point) => Rect::new(point.0, point.0),
            Location::Shape(shape) => envelope(shape).unwrap_or_else(|| Rect::new(coord! {x: 0.0, y: 0.0}, coord! {x: 0.0, y: 0.0})),
        }
    }

    /// Metres from a point to the nearest part of it.
    #[must_use]
    pub fn distance(&self, from: Point<f64>) -> f64 {
        match self {
            Location::Point(point) => distance(from, &Geometry::Point(*point)),
            Location::Shape(shape) => distance(from, shape),
        }
    }
}

impl Area {
    /// Within `radius` metres of a position.
    #[must_use]
    pub fn circle(latitude: f64, longitude: f64, radius: f64) -> Self {
        let centre = Geometry::Point(Point::new(longitude, latitude));
        Self::new(GeoQuery { georel: Georel::Near { max: Some(radius), min: None }, geometry: centre, geoproperty: Name::new(LOCATION) })
    }

    /// Within a polygon of (latitude, longitude), closed automatically, its border included.
    #[must_use]
    pub fn polygon(vertices: &[(f64, f64)]) -> Self {
        let ring = LineString::from_iter(vertices.iter().map(|(latitude, longitude)| coord! {x: *longitude, y: *latitude}));
        let polygon = Polygon::new(ring, Vec::new()).into();
        Self::new(GeoQuery { georel: Georel::Intersects, geometry: polygon, geoproperty: Name::new(LOCATION) })
    }

    /// Within the box between two corners, each (latitude, longitude).
    #[must_use]
    pub fn between(north_west: (f64, f64), south_east: (f64, f64)) -> Self {
        Self::polygon(&[north_west, (north_west.0, south_east.1), south_east, (south_east.0, north_west.1)])
    }

    /// An NGSI-LD geo-query: `geometry`, `coordinates` (lon, lat), and a `georel` such as `near;maxDistance==2000` or `within`.
    ///
    /// # Errors
    /// If one of the three cannot be understood.
    pub fn geo_query(geometry: &str, coordinates: &Json, georel: &str) -> Result<Self, String> {
        // The coordinates may come as JSON in a string, as in a query parameter.
        let text = coordinates.as_str().unwrap_or_else(|| coordinates.as_text().into());
        let query = GeoQuery::parse(georel, geometry, &text, Name::new(LOCATION));
        query.map(Self::new).map_err(|error| error.within("restriction").to_string())
    }

    fn new(mut query: GeoQuery) -> Self {
        let crosses = crosses_antimeridian(&query.geometry);
        if crosses {
            query.geometry = shift_west(query.geometry);
        }
        Area { query, crosses }
    }

    /// Whether an entity at this location satisfies the condition.
    #[must_use]
    pub fn holds(&self, location: &Location) -> bool {
        let place = match location {
            Location::Point(point) => Geometry::Point(*point),
            Location::Shape(shape) if self.crosses => (**shape).clone(),
            Location::Shape(shape) => return self.query.matches_geometry(shape),
        };
        self.query.matches_geometry(&if self.crosses { shift_west(place) } else { place })
    }

    /// Boxes outside of which no entity can satisfy the condition; `None` if there is no such limit.
    #[must_use]
    pub fn bounds(&self) -> Option<Vec<Bounds>> {
        self.query.bounds()
    }
}

#[cfg(test)]
mod tests {
    use fogflow_ngsi::v1::decode_domain_metadata;

    use super::*;

    fn location(kind: &str, value: &str) -> Option<Location> {
        let items = decode_domain_metadata(&format!(r#"[{{"name": "location", "type": "{kind}", "value": {value}}}]"#)).unwrap();
        Location::of(&items[0])
    }

    fn at(latitude: f64, longitude: f64) -> Location {
        Location::Point(Point::new(longitude, latitude))
    }

    fn geo_query(kind: &str, coordinates: &str, georel: &str) -> Result<Area, String> {
        Area::geo_query(kind, &Json::parse(coordinates).unwrap(), georel)
    }

    #[test]
    fn fault_33_a_circle_keeps_its_centre_and_a_point_may_be_spelled_as_one_likes() {
        let value = r#"{"centerLatitude": 49.4, "centerLongitude": 8.6, "radius": 10}"#;
        assert_eq!(location("circle", value), Some(at(49.4, 8.6)));
        assert_eq!(location("Point", r#"{"latitude": 49.4, "longitude": 8.6}"#), Some(at(49.4, 8.6)));
        assert_eq!(location("Point", r#"{"type": "Point", "coordinates": [8.6, 49.4]}"#), Some(at(49.4, 8.6)));
        assert_eq!(location("point", r#"{"latitude": 91, "longitude": 0}"#), None);
    }

    #[test]
    fn fault_4_a_polygon_query_takes_entities_at_points() {
        let square = "[[[8,49],[9,49],[9,50],[8,50],[8,49]]]";
        let relations = [
            ("within", true, false),
            ("intersects", true, false),
            ("disjoint", false, true),
            ("overlaps", false, false),
            ("equals", false, false),
        ];
        for (georel, inside, outside) in relations {
            let area = geo_query("Polygon", square, georel).unwrap();
            assert_eq!(area.holds(&at(49.4, 8.6)), inside, "{georel}");
            assert_eq!(area.holds(&at(52.5, 13.4)), outside, "{georel}");
        }
    }

    #[test]
    fn geo_queries_are_in_metres_and_longitude_first() {
        let near = |georel: &str| geo_query("Point", "[8.6, 49.4]", georel).unwrap();
        // About 1112 m to the north.
        assert!(near("near;maxDistance==1200").holds(&at(49.41, 8.6)));
        assert!(!near("near;maxDistance==1100").holds(&at(49.41, 8.6)));
        assert!(near("near;minDistance==1100").holds(&at(49.41, 8.6)));
        for bad in ["near", "near;maxDistance=5", "near;maxDistance==far", "under"] {
            assert!(geo_query("Point", "[8.6, 49.4]", bad).is_err(), "{bad} was taken");
        }
        assert!(geo_query("Polygon", "[]", "within").is_err());
    }

    #[test]
    fn a_polygon_over_the_antimeridian_takes_the_short_way() {
        let area = Area::polygon(&[(-20.0, 177.0), (-20.0, -178.0), (-15.0, -178.0), (-15.0, 177.0)]);
        assert!(area.holds(&at(-17.0, 179.0)) && area.holds(&at(-17.0, -179.0)));
        assert!(!area.holds(&at(-17.0, 0.0)) && !area.holds(&at(-17.0, 176.0)));
        assert_eq!(area.bounds().unwrap().len(), 2);
    }
}
