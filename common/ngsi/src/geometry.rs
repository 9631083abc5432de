//! GeoJSON geometries (RFC 7946) and distances on the globe.

use geo::{
    BoundingRect, Closest, ClosestPoint, Contains, Coord, Geometry, LineString, MapCoordsInPlace, MultiLineString, MultiPoint,
    MultiPolygon, Point, Polygon,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{DecodeError, bounds};

/// Mean radius of the earth in metres, as haversine distances commonly use it (IUGG).
pub(crate) const EARTH_RADIUS: f64 = 6_371_008.8;

/// A geometry collection may hold collections only so deep.
const MAX_NESTING: usize = 4;

const TYPES: [&str; 7] = ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection"];

/// The GeoJSON spelling of a geometry type that may be written in another letter case.
#[must_use]
pub fn type_name(text: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|name| name.eq_ignore_ascii_case(text))
}

/// Whether a longitude and latitude in degrees are on the globe.
#[must_use]
pub fn valid_position(longitude: f64, latitude: f64) -> bool {
    longitude.abs() <= 180.0 && latitude.abs() <= 90.0
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    coordinates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    geometries: Option<Vec<&'a RawValue>>,
}

/// Parses the text of a GeoJSON geometry object. Altitudes and foreign members are ignored.
///
/// # Errors
/// If it is no geometry object, or its coordinates make no such geometry: too few positions, a ring that is not closed,
/// or a position off the globe.
pub fn parse(text: &str) -> Result<Geometry<f64>, DecodeError> {
    parse_nested(text, MAX_NESTING)
}

fn parse_nested(text: &str, depth: usize) -> Result<Geometry<f64>, DecodeError> {
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|_| DecodeError::data("", "not a GeoJSON geometry object"))?;
    if raw.kind == "GeometryCollection" {
        let depth = depth.checked_sub(1).ok_or_else(|| DecodeError::data("geometries", "nested too deep"))?;
        let members = raw.geometries.ok_or_else(|| DecodeError::data("geometries", "missing"))?;
        let members = members.into_iter().map(|member| parse_nested(member.get(), depth)).collect::<Result<Vec<_>, _>>()?;
        return Ok(Geometry::GeometryCollection(members.into()));
    }
    let coordinates = raw.coordinates.ok_or_else(|| DecodeError::data("coordinates", "missing"))?;
    from_parts(&raw.kind, coordinates.get())
}

/// Builds a geometry from its GeoJSON type name and the text of its coordinates.
///
/// # Errors
/// As [`parse`]; the erroneous member is named `type` or `coordinates`.
pub fn from_parts(kind: &str, coordinates: &str) -> Result<Geometry<f64>, DecodeError> {
    fn read<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, DecodeError> {
        serde_json::from_str(text).map_err(|_| DecodeError::data("coordinates", format!("not the coordinates of a {what}")))
    }
    Ok(match kind {
        "Point" => Geometry::Point(Point(position(&read::<Vec<f64>>(coordinates, kind)?)?)),
        "MultiPoint" => {
            let points = positions(&read::<Vec<Vec<f64>>>(coordinates, kind)?)?;
            Geometry::MultiPoint(MultiPoint(points.into_iter().map(Point).collect()))
        }
        "LineString" => Geometry::LineString(line(&read::<Vec<Vec<f64>>>(coordinates, kind)?)?),
        "MultiLineString" => {
            let lines: Vec<Vec<Vec<f64>>> = read(coordinates, kind)?;
            Geometry::MultiLineString(MultiLineString(lines.iter().map(|points| line(points)).collect::<Result<_, _>>()?))
        }
        "Polygon" => Geometry::Polygon(polygon(&read::<Vec<Vec<Vec<f64>>>>(coordinates, kind)?)?),
        "MultiPolygon" => {
            let polygons: Vec<Vec<Vec<Vec<f64>>>> = read(coordinates, kind)?;
            Geometry::MultiPolygon(MultiPolygon(polygons.iter().map(|rings| polygon(rings)).collect::<Result<_, _>>()?))
        }
        other => return Err(DecodeError::data("type", format!("`{other}` is no GeoJSON geometry type"))),
    })
}

fn position(numbers: &[f64]) -> Result<Coord<f64>, DecodeError> {
    match numbers {
        [longitude, latitude, ..] if valid_position(*longitude, *latitude) => Ok(Coord { x: *longitude, y: *latitude }),
        [_, _, ..] => Err(DecodeError::data("coordinates", "a position is off the globe; they are [longitude, latitude] in degrees")),
        _ => Err(DecodeError::data("coordinates", "a position needs a longitude and a latitude")),
    }
}

fn positions(list: &[Vec<f64>]) -> Result<Vec<Coord<f64>>, DecodeError> {
    list.iter().map(|numbers| position(numbers)).collect()
}

fn line(list: &[Vec<f64>]) -> Result<LineString<f64>, DecodeError> {
    if list.len() < 2 {
        return Err(DecodeError::data("coordinates", "a line needs two positions"));
    }
    Ok(LineString(positions(list)?))
}

fn polygon(rings: &[Vec<Vec<f64>>]) -> Result<Polygon<f64>, DecodeError> {
    let mut lines = Vec::with_capacity(rings.len());
    for ring in rings {
        let ring = positions(ring)?;
        if ring.len() < 4 || ring.first() != ring.last() {
            return Err(DecodeError::data("coordinates", "a ring needs four positions, the last equal to the first"));
        }
        lines.push(LineString(ring));
    }
    if lines.is_empty() {
        return Err(DecodeError::data("coordinates", "a polygon needs an outer ring"));
    }
    let outer = lines.remove(0);
    Ok(Polygon::new(outer, lines))
}

/// The GeoJSON type and coordinates of a geometry; `None` for what has no coordinates of its own, as collections.
#[must_use]
pub fn to_parts(geometry: &Geometry<f64>) -> Option<(&'static str, serde_json::Value)> {
    use serde_json::{Value, json};
    let at = |c: &Coord<f64>| json!([c.x, c.y]);
    let line = |line: &LineString<f64>| Value::Array(line.0.iter().map(at).collect());
    let rings = |polygon: &Polygon<f64>| Value::Array(std::iter::once(polygon.exterior()).chain(polygon.interiors()).map(line).collect());
    Some(match geometry {
        Geometry::Point(point) => ("Point", at(&point.0)),
        Geometry::MultiPoint(points) => ("MultiPoint", points.0.iter().map(|point| at(&point.0)).collect()),
        Geometry::LineString(one) => ("LineString", line(one)),
        Geometry::MultiLineString(lines) => ("MultiLineString", lines.0.iter().map(line).collect()),
        Geometry::Polygon(polygon) => ("Polygon", rings(polygon)),
        Geometry::MultiPolygon(polygons) => ("MultiPolygon", polygons.0.iter().map(rings).collect()),
        _ => return None,
    })
}

/// The great-circle distance of two positions in metres.
#[must_use]
pub fn distance_of_points(a: Point<f64>, b: Point<f64>) -> f64 {
    let (lat_a, lat_b) = (a.y().to_radians(), b.y().to_radians());
    let (d_lat, d_lon) = (lat_b - lat_a, (b.x() - a.x()).to_radians());
    let h = (d_lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (d_lon / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS * h.sqrt().min(1.0).asin()
}

/// The shortest great-circle distance in metres from a position to any part of a geometry; 0 inside of it, infinite to an
/// empty one. A line or border with a step of more than 180° of longitude goes the short way, over the antimeridian.
#[must_use]
pub fn distance(from: Point<f64>, to: &Geometry<f64>) -> f64 {
    fn least(distances: impl Iterator<Item = f64>) -> f64 {
        distances.fold(f64::INFINITY, f64::min)
    }
    match to {
        Geometry::Point(point) => distance_of_points(from, *point),
        Geometry::MultiPoint(points) => least(points.iter().map(|point| distance_of_points(from, *point))),
        Geometry::MultiLineString(lines) => least(lines.iter().map(|line| distance_of_shape(from, line.clone().into()))),
        Geometry::MultiPolygon(polygons) => least(polygons.iter().map(|polygon| distance_of_shape(from, polygon.clone().into()))),
        Geometry::GeometryCollection(members) => least(members.iter().map(|member| distance(from, member))),
        other => distance_of_shape(from, other.clone()),
    }
}

fn distance_of_shape(from: Point<f64>, mut shape: Geometry<f64>) -> f64 {
    if bounds::crosses_antimeridian(&shape) {
        shape = bounds::shift_west(shape);
    }
    let Some(extent) = shape.bounding_rect() else { return f64::INFINITY };
    // Whole turns that bring the shape to the side of the globe where `from` is.
    let turns = ((extent.center().x - from.x()) / 360.0).round() * 360.0;
    // The nearest position is sought on a plane that is stretched like the globe is at `from`, since a degree of
    // longitude is shorter than one of latitude everywhere but at the equator.
    let stretch = from.y().to_radians().cos().max(1e-6);
    shape.map_coords_in_place(|c| Coord { x: (c.x - turns - from.x()) * stretch, y: c.y - from.y() });
    let origin = Point::new(0.0, 0.0);
    if shape.contains(&origin) {
        return 0.0;
    }
    match shape.closest_point(&origin) {
        Closest::Intersection(p) | Closest::SinglePoint(p) => {
            distance_of_points(from, Point::new(from.x() + p.x() / stretch, from.y() + p.y()))
        }
        Closest::Indeterminate => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_111_kilometres() {
        let metres = distance_of_points(Point::new(8.0, 49.0), Point::new(8.0, 50.0));
        assert!((111_000.0..111_400.0).contains(&metres), "{metres}");
    }

    #[test]
    fn coordinates_read_back() {
        for text in [
            r#"{"type":"Point","coordinates":[8.5,49.0]}"#,
            r#"{"type":"Polygon","coordinates":[[[8.0,49.0],[9.0,49.0],[9.0,50.0],[8.0,49.0]]]}"#,
        ] {
            let (kind, coordinates) = to_parts(&parse(text).unwrap()).unwrap();
            assert_eq!(serde_json::json!({"type": kind, "coordinates": coordinates}).to_string(), text);
        }
    }

    #[test]
    fn the_date_line_is_no_wall() {
        let metres = distance_of_points(Point::new(179.9, 0.0), Point::new(-179.9, 0.0));
        assert!(metres < 23_000.0, "{metres}");
        let strip = parse(r#"{"type":"Polygon","coordinates":[[[179,-1],[-179,-1],[-179,1],[179,1],[179,-1]]]}"#).unwrap();
        assert_eq!(distance(Point::new(-179.5, 0.0), &strip), 0.0);
        let metres = distance(Point::new(-178.0, 0.0), &strip);
        assert!((111_000.0..111_400.0).contains(&metres), "{metres}");
    }

    #[test]
    fn a_polygon_on_the_other_side_of_the_globe_is_far_away() {
        let square = parse(r#"{"type":"Polygon","coordinates":[[[8,-1],[10,-1],[10,1],[8,1],[8,-1]]]}"#).unwrap();
        for longitude in [-171.0, -171.5, -170.5] {
            let metres = distance(Point::new(longitude, 0.0), &square);
            assert!(metres > 19_000_000.0, "{metres} from {longitude}");
        }
    }

    #[test]
    fn distance_to_a_polygon_is_zero_inside_and_to_its_border_outside() {
        let square = parse(r#"{"type":"Polygon","coordinates":[[[8,49],[9,49],[9,50],[8,50],[8,49]]]}"#).unwrap();
        assert_eq!(distance(Point::new(8.5, 49.5), &square), 0.0);
        let metres = distance(Point::new(8.5, 51.0), &square);
        assert!((111_000.0..111_400.0).contains(&metres), "{metres}");
    }

    #[test]
    fn errors_name_the_member() {
        assert_eq!(parse(r#"{"type":"Point","coordinates":[200,0]}"#).unwrap_err().field, "coordinates");
        assert_eq!(parse(r#"{"type":"Circle","coordinates":[0,0]}"#).unwrap_err().field, "type");
        assert!(parse(r#"{"type":"Polygon","coordinates":[[[8,49],[9,49],[9,50],[8,50]]]}"#).is_err());
        assert!(parse(r#"{"type":"Polygon","coordinates":[]}"#).is_err());
        assert!(parse("[]").is_err());
    }
}
