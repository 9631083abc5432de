//! Geo queries (ETSI GS CIM 009, clause 4.10; NGSIv2, "Geographical Queries").

use ::geo::{BoundingRect, Coord, Geometry, LineString, Point, Polygon, Rect, Relate};
use smol_str::SmolStr;

use crate::bounds::{self, Bounds};
use crate::{Attribute, DecodeError, Entity, Kind, Name, geometry};

/// How the place of an entity must relate to the place of the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Georel {
    /// At a great-circle distance in metres within these bounds.
    Near {
        /// Not farther than this.
        max: Option<f64>,
        /// Not nearer than this.
        min: Option<f64>,
    },
    /// The entity is inside; its border may touch.
    Within,
    /// The query's place is inside of the entity.
    Contains,
    /// They share a position.
    Intersects,
    /// They are the same set of positions.
    Equals,
    /// They share no position.
    Disjoint,
    /// They share some positions but not all, and are of the same dimension.
    Overlaps,
}

/// A geo query.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoQuery {
    /// The relation.
    pub georel: Georel,
    /// The place that the query names.
    pub geometry: Geometry<f64>,
    /// Which attribute tells where an entity is.
    pub geoproperty: Name,
}

impl GeoQuery {
    /// Parses the four parameters of NGSI-LD; `coordinates` is JSON text.
    ///
    /// # Errors
    /// If one is wrong; the error names it (`georel`, `geometry`, `coordinates`).
    pub fn parse(georel: &str, geometry_type: &str, coordinates: &str, geoproperty: Name) -> Result<Self, DecodeError> {
        let georel = parse_georel(georel, "==")?;
        let geometry = geometry::from_parts(geometry_type, coordinates).map_err(|error| match error.field.as_str() {
            "type" => DecodeError::data("geometry", error.message),
            _ => error,
        })?;
        near_point(GeoQuery { georel, geometry, geoproperty })
    }

    /// Parses the three parameters of NGSIv2: `coords` are pairs of latitude and longitude, separated by `;`.
    ///
    /// # Errors
    /// If one is wrong; the error names it (`georel`, `geometry`, `coords`).
    pub fn parse_v2(georel: &str, geometry_type: &str, coords: &str) -> Result<Self, DecodeError> {
        let georel = parse_georel(georel, ":")?;
        let fault = |message: &str| DecodeError::data("coords", message);
        let mut positions = Vec::new();
        for pair in coords.split(';') {
            let (latitude, longitude) =
                pair.split_once(',').ok_or_else(|| fault("must be pairs `latitude,longitude`, separated by `;`"))?;
            let number = |text: &str| text.trim().parse::<f64>().map_err(|_| fault("a coordinate is no number"));
            let (y, x) = (number(latitude)?, number(longitude)?);
            if !geometry::valid_position(x, y) {
                return Err(fault("a position is off the globe"));
            }
            positions.push(Coord { x, y });
        }
        let geometry = match (geometry_type, positions.as_slice()) {
            ("point", [only]) => Geometry::Point(Point(*only)),
            ("line", [_, _, ..]) => Geometry::LineString(LineString(positions)),
            ("box", [a, b]) => Geometry::Polygon(Rect::new(*a, *b).to_polygon()),
            ("polygon", [first, _, _, .., last]) if first == last => Geometry::Polygon(Polygon::new(LineString(positions), Vec::new())),
            ("polygon", _) => return Err(fault("a polygon needs four positions, the last equal to the first")),
            ("point" | "line" | "box", _) => return Err(fault("the number of positions does not fit the geometry")),
            _ => return Err(DecodeError::data("geometry", "must be `point`, `line`, `polygon` or `box`")),
        };
        near_point(GeoQuery { georel, geometry, geoproperty: Name::new("location") })
    }

    /// Whether an entity is where it should be; one without that geoproperty is not, save for `disjoint`, which it is not
    /// either: it is nowhere.
    #[must_use]
    pub fn matches(&self, entity: &Entity) -> bool {
        entity.attributes.iter().filter(|attribute| attribute.name == self.geoproperty).any(|attribute| self.matches_attribute(attribute))
    }

    fn matches_attribute(&self, attribute: &Attribute) -> bool {
        attribute.kind == Kind::GeoProperty && geometry::parse(attribute.value.as_text()).is_ok_and(|place| self.matches_geometry(&place))
    }

    /// Boxes of which at least one touches the [`envelope`](crate::bounds::envelope) of each place that fulfils the
    /// relation; `None` if places anywhere may.
    #[must_use]
    pub fn bounds(&self) -> Option<Vec<Bounds>> {
        match (self.georel, &self.geometry) {
            (Georel::Near { max: Some(radius), .. }, Geometry::Point(centre)) => Some(bounds::around(*centre, radius)),
            (Georel::Near { .. } | Georel::Disjoint, _) => None,
            (_, geometry) => {
                let extent = geometry.bounding_rect()?;
                Some(bounds::split(extent.min().x, extent.min().y, extent.max().x, extent.max().y))
            }
        }
    }

    /// Whether a place fulfils the relation.
    #[must_use]
    pub fn matches_geometry(&self, place: &Geometry<f64>) -> bool {
        let relation = || place.relate(&self.geometry);
        match self.georel {
            Georel::Near { max, min } => {
                let Geometry::Point(from) = self.geometry else { return false };
                let metres = geometry::distance(from, place);
                max.is_none_or(|max| metres <= max) && min.is_none_or(|min| metres >= min)
            }
            Georel::Within => relation().is_coveredby(),
            Georel::Contains => relation().is_covers(),
            Georel::Intersects => relation().is_intersects(),
            // A geometry that is not valid, as a ring that crosses itself, still equals itself.
            Georel::Equals => *place == self.geometry || relation().is_equal_topo(),
            Georel::Disjoint => relation().is_disjoint(),
            Georel::Overlaps => relation().is_overlaps(),
        }
    }
}

fn near_point(query: GeoQuery) -> Result<GeoQuery, DecodeError> {
    if matches!(query.georel, Georel::Near { .. }) && !matches!(query.geometry, Geometry::Point(_)) {
        return Err(DecodeError::data("geometry", "`near` needs a point"));
    }
    Ok(query)
}

/// Parses `near;maxDistance==2000` (NGSI-LD) or `near;maxDistance:2000` (NGSIv2).
fn parse_georel(text: &str, equals: &str) -> Result<Georel, DecodeError> {
    let fault = |message: String| DecodeError::data("georel", message);
    let mut parts = text.split(';').map(str::trim);
    let relation = match parts.next().unwrap_or_default() {
        "near" => {
            let (mut max, mut min) = (None, None);
            for part in parts.by_ref() {
                let (name, value) = part.split_once(equals).ok_or_else(|| fault(format!("`{part}` must be maxDistance{equals}metres")))?;
                let metres: f64 = value.parse().map_err(|_| fault(format!("`{value}` is no number of metres")))?;
                if !metres.is_finite() || metres < 0.0 {
                    return Err(fault(format!("`{value}` is no distance")));
                }
                let bound = match name.trim() {
                    "maxDistance" => &mut max,
                    "minDistance" => &mut min,
                    other => return Err(fault(format!("`{other}` is neither maxDistance nor minDistance"))),
                };
                *bound = Some(metres);
            }
            if max.is_none() && min.is_none() {
                return Err(fault("`near` needs maxDistance or minDistance".to_owned()));
            }
            Georel::Near { max, min }
        }
        "within" | "coveredBy" => Georel::Within,
        "contains" => Georel::Contains,
        "intersects" => Georel::Intersects,
        "equals" => Georel::Equals,
        "disjoint" => Georel::Disjoint,
        "overlaps" => Georel::Overlaps,
        other => return Err(fault(format!("`{other}` is no relation"))),
    };
    match parts.next() {
        Some(extra) => Err(fault(format!("`{extra}` has no meaning here"))),
        None => Ok(relation),
    }
}

impl Georel {
    /// The NGSI-LD text.
    #[must_use]
    pub fn to_text(&self) -> SmolStr {
        let bound = |name: &str, metres: &Option<f64>| metres.map(|metres| format!(";{name}=={metres}")).unwrap_or_default();
        match self {
            Georel::Near { max, min } => format!("near{}{}", bound("maxDistance", max), bound("minDistance", min)).into(),
            Georel::Within => "within".into(),
            Georel::Contains => "contains".into(),
            Georel::Intersects => "intersects".into(),
            Georel::Equals => "equals".into(),
            Georel::Disjoint => "disjoint".into(),
            Georel::Overlaps => "overlaps".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(georel: &str, kind: &str, coordinates: &str) -> GeoQuery {
        GeoQuery::parse(georel, kind, coordinates, Name::new("location")).unwrap()
    }

    fn place(text: &str) -> Geometry<f64> {
        geometry::parse(text).unwrap()
    }

    const SQUARE: &str = "[[[0,0],[10,0],[10,10],[0,10],[0,0]]]";

    /// F 32: NGSI-LD: ids with a suffix, attribute routes that found nothing, one watched attribute kept, miles and swapped coordinates.
    #[test]
    fn distances_are_metres_and_coordinates_longitude_first() {
        let near = query("near;maxDistance==1000", "Point", "[8.6,49.4]");
        assert!(near.matches_geometry(&place(r#"{"type":"Point","coordinates":[8.605,49.4]}"#)));
        assert!(!near.matches_geometry(&place(r#"{"type":"Point","coordinates":[8.62,49.4]}"#)));
        let far = query("near;minDistance==1000", "Point", "[8.6,49.4]");
        assert!(far.matches_geometry(&place(r#"{"type":"Point","coordinates":[8.62,49.4]}"#)));
    }

    #[test]
    fn f4_a_polygon_query_against_a_point_is_answered() {
        let inside = place(r#"{"type":"Point","coordinates":[5,5]}"#);
        let border = place(r#"{"type":"Point","coordinates":[0,5]}"#);
        let outside = place(r#"{"type":"Point","coordinates":[15,5]}"#);
        let within = query("within", "Polygon", SQUARE);
        assert!(within.matches_geometry(&inside) && within.matches_geometry(&border) && !within.matches_geometry(&outside));
        assert!(query("disjoint", "Polygon", SQUARE).matches_geometry(&outside));
        assert!(query("intersects", "Polygon", SQUARE).matches_geometry(&inside));
        assert!(!query("overlaps", "Polygon", SQUARE).matches_geometry(&inside));
        assert!(!query("equals", "Polygon", SQUARE).matches_geometry(&inside));
    }

    #[test]
    fn polygons_relate_to_polygons() {
        let half = place(r#"{"type":"Polygon","coordinates":[[[5,0],[15,0],[15,10],[5,10],[5,0]]]}"#);
        let big = place(r#"{"type":"Polygon","coordinates":[[[-5,-5],[15,-5],[15,15],[-5,15],[-5,-5]]]}"#);
        let turned = place(r#"{"type":"Polygon","coordinates":[[[10,10],[0,10],[0,0],[10,0],[10,10]]]}"#);
        assert!(query("overlaps", "Polygon", SQUARE).matches_geometry(&half));
        assert!(query("contains", "Polygon", SQUARE).matches_geometry(&big));
        assert!(query("equals", "Polygon", SQUARE).matches_geometry(&turned));
    }

    #[test]
    fn v2_coordinates_are_latitude_first() {
        let near = GeoQuery::parse_v2("near;maxDistance:1000", "point", "49.4,8.6").unwrap();
        assert!(near.matches_geometry(&place(r#"{"type":"Point","coordinates":[8.605,49.4]}"#)));
        let inside = GeoQuery::parse_v2("coveredBy", "box", "0,0;10,20").unwrap();
        assert!(inside.matches_geometry(&place(r#"{"type":"Point","coordinates":[15,5]}"#)));
    }

    #[test]
    fn errors_name_the_parameter() {
        for (georel, kind, coordinates, field) in [
            ("near", "Point", "[0,0]", "georel"),
            ("near;maxDistance=5", "Point", "[0,0]", "georel"),
            ("near;maxDistance==-5", "Point", "[0,0]", "georel"),
            ("near;maxDistance==5", "Polygon", SQUARE, "geometry"),
            ("beside", "Point", "[0,0]", "georel"),
            ("within", "Circle", "[0,0]", "geometry"),
            ("within", "Polygon", "[0,0]", "coordinates"),
            ("within", "Point", "[0,100]", "coordinates"),
        ] {
            let error = GeoQuery::parse(georel, kind, coordinates, Name::new("location")).unwrap_err();
            assert_eq!(error.field, field, "{georel} {kind}");
        }
        assert_eq!(GeoQuery::parse_v2("within", "polygon", "0,0;1,1;0,0").unwrap_err().field, "coords");
    }

    proptest! {
        #[test]
        fn every_relation_of_any_two_places_is_answered(a in crate::testing::geometry(), b in crate::testing::geometry()) {
            let (a, b) = (place(a.as_text()), place(b.as_text()));
            for georel in [Georel::Within, Georel::Contains, Georel::Intersects, Georel::Equals, Georel::Disjoint, Georel::Overlaps] {
                let _ = GeoQuery { georel, geometry: b.clone(), geoproperty: Name::new("location") }.matches_geometry(&a);
            }
            let near = Georel::Near { max: Some(1.0), min: None };
            let _ = GeoQuery { georel: near, geometry: Geometry::Point(Point::new(1.0, 2.0)), geoproperty: Name::new("location") }.matches_geometry(&a);
        }
    }
}
