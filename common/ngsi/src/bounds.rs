//! Boxes on longitude and latitude, by which a spatial index finds what a geo query may mean.

use geo::{BoundingRect, Geometry, LineString, MapCoordsInPlace, Point, Rect, coord};

use crate::geometry::EARTH_RADIUS;

/// A box in degrees (x: longitude, y: latitude) that crosses no antimeridian.
pub type Bounds = Rect<f64>;

/// The smallest box around a geometry; `None` around an empty one. One that is wider than half the globe may mean the
/// way over the antimeridian, so its box goes all the way round.
#[must_use]
pub fn envelope(geometry: &Geometry<f64>) -> Option<Bounds> {
    let bounds = geometry.bounding_rect()?;
    Some(if bounds.width() > 180.0 { Rect::new((-180.0, bounds.min().y), (180.0, bounds.max().y)) } else { bounds })
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
#[must_use]
pub fn split(west: f64, south: f64, east: f64, north: f64) -> Vec<Bounds> {
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

/// Whether two neighbouring points of a line or of a polygon's border are more than 180° apart: it means the short way
/// round, over the antimeridian.
#[must_use]
pub fn crosses_antimeridian(geometry: &Geometry<f64>) -> bool {
    let jumps = |line: &LineString<f64>| line.lines().any(|edge| edge.dx().abs() > 180.0);
    match geometry {
        Geometry::Polygon(polygon) => jumps(polygon.exterior()),
        Geometry::LineString(line) => jumps(line),
        _ => false,
    }
}

/// Moves what lies in the western hemisphere to the east of 180°.
#[must_use]
pub fn shift_west(mut geometry: Geometry<f64>) -> Geometry<f64> {
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
    use geo::Intersects;

    use super::*;

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

    #[test]
    fn what_may_mean_the_way_over_the_antimeridian_is_boxed_all_the_way_round() {
        let line = |west: f64, east: f64| Geometry::LineString(LineString::from(vec![(west, 1.0), (east, 2.0)]));
        assert_eq!(envelope(&line(-179.0, 179.0)), Some(Rect::new((-180.0, 1.0), (180.0, 2.0))));
        assert_eq!(envelope(&line(8.0, 9.0)), Some(Rect::new((8.0, 1.0), (9.0, 2.0))));
    }
}
