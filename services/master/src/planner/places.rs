//! Places on the globe as unit vectors, so that a distance costs a few multiplications.
//!
//! Earth radius as in `fogflow_ngsi::geometry`. A squared chord orders pairs of places as their great-circle distance does.

use fogflow_orchestration::Location;

const EARTH_RADIUS: f64 = 6_371_008.8;

/// Half way round the globe: what a worker without location is away from everything, in metres.
pub const FARTHEST: f64 = EARTH_RADIUS * std::f64::consts::PI;

/// With more distinct places than this, a task is placed by their centre, so that the work per worker stays bounded.
const EXACT_UP_TO: usize = 64;

/// A place as a unit vector.
pub type Unit = [f64; 3];

/// The unit vector of a location.
#[must_use]
pub fn unit(place: Location) -> Unit {
    let (latitude, longitude) = (place.latitude.to_radians(), place.longitude.to_radians());
    [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
}

/// The squared chord between two places: 0 to 4.
#[must_use]
pub fn chord2(a: &Unit, b: &Unit) -> f64 {
    let (x, y, z) = (a[0] - b[0], a[1] - b[1], a[2] - b[2]);
    x * x + y * y + z * z
}

/// Metres of a squared chord.
#[must_use]
pub fn metres(chord2: f64) -> f64 {
    2.0 * EARTH_RADIUS * (chord2.sqrt() / 2.0).min(1.0).asin()
}

/// The squared chord of metres.
fn chord2_of(metres: f64) -> f64 {
    let half = (metres / (2.0 * EARTH_RADIUS)).clamp(0.0, std::f64::consts::FRAC_PI_2).sin();
    4.0 * half * half
}

/// Where the inputs of a task are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    points: Vec<(Unit, u32)>,
    total: u32,
    centre: Unit,
    /// Weighted sum of metres from the centre to the points.
    spread: f64,
}

impl Places {
    /// Collects the locations of inputs, in any order.
    #[must_use]
    pub fn new(locations: impl IntoIterator<Item = Location>) -> Self {
        let mut points: Vec<(Unit, u32)> = locations.into_iter().map(|place| (unit(place), 1)).collect();
        points.sort_unstable_by(|(a, _), (b, _)| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])).then(a[2].total_cmp(&b[2])));
        points.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        let total = points.iter().map(|(_, weight)| weight).sum();
        let centre = match points.as_slice() {
            [] => [0.0; 3],
            [(only, _)] => *only,
            several => centre_of(several),
        };
        if points.len() > EXACT_UP_TO {
            points = vec![(centre, total)];
        }
        let spread = points.iter().map(|(point, weight)| f64::from(*weight) * metres(chord2(&centre, point))).sum();
        Places { points, total, centre, spread }
    }

    /// Whether no input has a location.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The sum of the distances from a worker to all inputs, in metres; to [`FARTHEST`] each when it has no location.
    #[must_use]
    pub fn sum_of_metres(&self, worker: Option<&Unit>) -> f64 {
        match (worker, self.points.as_slice()) {
            (_, []) => 0.0,
            (None, _) => f64::from(self.total) * FARTHEST,
            (Some(worker), points) => points.iter().map(|(point, weight)| f64::from(*weight) * metres(chord2(worker, point))).sum(),
        }
    }

    /// The squared chord from the centre of the inputs.
    #[must_use]
    pub fn chord2_from_centre(&self, worker: &Unit) -> f64 {
        chord2(&self.centre, worker)
    }

    /// A worker farther from the centre than this cannot have a sum below `sum`: by the triangle inequality, a sum is at least
    /// total × (distance from the centre) − spread. One metre of slack covers rounding.
    #[must_use]
    pub fn chord2_limit(&self, sum: f64) -> f64 {
        let reach = (sum + self.spread) / f64::from(self.total.max(1)) + 1.0;
        if reach >= FARTHEST { f64::INFINITY } else { chord2_of(reach) }
    }
}

/// The weighted mean direction; any of the points when they cancel out.
fn centre_of(points: &[(Unit, u32)]) -> Unit {
    let mut sum = [0.0; 3];
    for (point, weight) in points {
        for (axis, value) in sum.iter_mut().zip(point) {
            *axis += f64::from(*weight) * value;
        }
    }
    let length = sum.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
    if length < 1e-9 { points[0].0 } else { sum.map(|axis| axis / length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Location> {
        (-90.0..90.0_f64, -180.0..180.0_f64).prop_map(|(latitude, longitude)| Location { latitude, longitude })
    }

    proptest! {
        #[test]
        fn distances_agree_with_the_haversine_of_common_ngsi(a in place(), b in place()) {
            let expected = fogflow_ngsi::geometry::distance_of_points(geo::Point::new(a.longitude, a.latitude), geo::Point::new(b.longitude, b.latitude));
            let found = metres(chord2(&unit(a), &unit(b)));
            prop_assert!((expected - found).abs() < 1.0, "{expected} {found}");
        }

        #[test]
        fn nothing_beyond_the_limit_is_better(inputs in proptest::collection::vec(place(), 1..80), worker in place(), best in place()) {
            let places = Places::new(inputs);
            let limit = places.chord2_limit(places.sum_of_metres(Some(&unit(best))));
            if places.chord2_from_centre(&unit(worker)) > limit {
                prop_assert!(places.sum_of_metres(Some(&unit(worker))) >= places.sum_of_metres(Some(&unit(best))));
            }
        }
    }

    #[test]
    fn equal_places_are_counted_not_kept() {
        let here = Location { latitude: 49.0, longitude: 8.0 };
        let places = Places::new([here; 100]);
        assert_eq!(places.points.len(), 1);
        assert_eq!(places.total, 100);
        assert!(Places::new([]).is_empty());
    }
}
