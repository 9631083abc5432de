//! Where entities are, and the areas that scopes draw. Coordinates are (longitude, latitude) in degrees, WGS 84;
//! distances are great-circle metres; polygons are plane figures on longitude and latitude, border included.

use fogflow_ngsi::geometry::{distance, parse};
use fogflow_ngsi::query::{GeoQuery, Georel};
use fogflow_ngsi::{Attribute, Json, Kind, Name};
use geo::{BoundingRect, Geometry, LineString, MapCoordsInPlace, Point, Polygon, Rect, coord};

use crate::model::LOCATION;

/// A box on longitude and latitude that crosses no antimeridian.
pub type Bounds = Rect<f64>;

/// The mean radius of the earth, in metres (IUGG), as the distances of `fogflow_ngsi::geometry` use it.
const EARTH_RADIUS: f64 = 6_371_008.8;

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
            Location::Shape(shape) => shape.bounding_rect().unwrap_or_else(|| Rect::new(coord! {x: 0.0, y: 0.0}, coord! {x: 0.0, y: 0.0})),
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
        query.geometry = unwrap(query.geometry);
        let crosses = query.geometry.bounding_rect().is_some_and(|bounds| bounds.max().x > 180.0);
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
        match (self.query.georel, &self.query.geometry) {
            (Georel::Near { max: Some(radius), .. }, Geometry::Point(centre)) => Some(around(*centre, radius)),
            (Georel::Near { .. } | Georel::Disjoint, _) => None,
            (_, geometry) => {
                let bounds = geometry.bounding_rect()?;
                Some(split(bounds.min().x, bounds.min().y, bounds.max().x, bounds.max().y))
            }
        }
    }
}

/// The boxes that hold everything within `radius` metres: wider in degrees of longitude the further from the equator.
#[must_use]
pub fn around(centre: Point<f64>, radius: f64) -> Vec<Bounds> {
    // A little wider than exact, so that rounding never loses an entity on the rim.
    let angle = (radius / EARTH_RADIUS) * 1.0001 + 1e-9;
    let (south, north) = (centre.y() - angle.to_degrees(), centre.y() + angle.to_degrees());
    let ratio = angle.sin() / centre.y().to_radians().cos();
    if south <= -90.0 || north >= 90.0 || angle >= std::f64::consts::FRAC_PI_2 || ratio >= 1.0 {
        return vec![Rect::new(coord! {x: -180.0, y: south.max(-90.0)}, coord! {x: 180.0, y: north.min(90.0)})];
    }
    let width = ratio.asin().to_degrees();
    split(centre.x() - width, south, centre.x() + width, north)
}

/// A box that may reach over ±180°, as one or two that do not.
fn split(west: f64, south: f64, east: f64, north: f64) -> Vec<Bounds> {
    let part = |west: f64, east: f64| Rect::new(coord! {x: west, y: south}, coord! {x: east, y: north});
    if east - west >= 360.0 {
        vec![part(-180.0, 180.0)]
    } else if west < -180.0 {
        vec![part(west + 360.0, 180.0), part(-180.0, east)]
    } else if east > 180.0 {
        vec![part(west, 180.0), part(-180.0, east - 360.0)]
    } else {
        vec![part(west, east)]
    }
}

/// A geometry of which two neighbouring points are more than 180° apart means the short way round: its western part is
/// moved to the east of 180°.
fn unwrap(geometry: Geometry<f64>) -> Geometry<f64> {
    match &geometry {
        Geometry::Polygon(polygon) if jumps(polygon.exterior()) => shift_west(geometry),
        Geometry::LineString(line) if jumps(line) => shift_west(geometry),
        _ => geometry,
    }
}

fn jumps(line: &LineString<f64>) -> bool {
    line.lines().any(|edge| edge.dx().abs() > 180.0)
}

fn shift_west(mut geometry: Geometry<f64>) -> Geometry<f64> {
    geometry.map_coords_in_place(|at| {
        if at.x < 0.0 {
            coord! {x: at.x + 360.0, y: at.y}
        } else {
            at
        }
    });
    geometry
}

#[cfg(test)]
mod tests {
    use fogflow_ngsi::v1::decode_domain_metadata;
    use geo::Intersects;

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

    #[test]
    fn boxes_around_a_circle_hold_it_also_near_the_poles_and_the_antimeridian() {
        for (latitude, longitude) in [(0.0, 0.0), (60.0, 179.99), (89.9, 10.0), (-89.999, -180.0)] {
            let centre = Point::new(longitude, latitude);
            let boxes = around(centre, 50_000.0);
            for bearing in 0..36 {
                let rim = geo::Destination::destination(&geo::Haversine, centre, f64::from(bearing) * 10.0, 49_999.0);
                assert!(boxes.iter().any(|bounds| bounds.intersects(&rim)), "{rim:?} is outside of {boxes:?}");
            }
        }
    }
}
