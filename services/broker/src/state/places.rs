//! Where the entities of one tenant are.
//!
//! A linear quadtree: the globe as a plane of longitude and latitude is halved both ways again and again, and an entity is
//! filed under the smallest square that holds its location. Keys sort in the order of a Z curve, with a square between its
//! quarters, so all that lies in a square is one range of an ordered set. An R-tree as discovery's would answer as fast, but
//! takes more than twice the memory for an entity and has to be built in bulk at start; here are millions of entities.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use fogflow_ngsi::bounds::{Bounds, envelope};
use fogflow_ngsi::{Attribute, Entity};
use geo::Coord;

use crate::restriction::{geometry_of, is_location};

/// How often the globe is halved each way: the smallest squares are some centimetres wide.
const DEPTH: u32 = 30;
/// A square with so few entities is taken whole.
const FEW: usize = 16;

/// The places of entities, which are known by their slots.
#[derive(Debug, Default)]
pub(super) struct Places {
    entries: BTreeSet<(u64, u32)>,
}

impl Places {
    /// Files a slot anew if its entity is elsewhere than before.
    pub(super) fn update(&mut self, slot: u32, old: Option<&Entity>, new: Option<&Entity>) {
        let values = |entity| locations(entity).map(|attribute: &Attribute| &attribute.value);
        if values(old).eq(values(new)) {
            return;
        }
        let (old, new) = (old.and_then(square_of), new.and_then(square_of));
        if old == new {
            return;
        }
        if let Some(square) = old {
            self.entries.remove(&(square.key(), slot));
        }
        if let Some(square) = new {
            self.entries.insert((square.key(), slot));
        }
    }

    /// The slots of all entities whose envelopes touch one of the boxes, and of some that are near them, in order; `None` if
    /// these are more than `most`.
    pub(super) fn near(&self, boxes: &[Bounds], most: usize) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        for bounds in boxes {
            let area = Area::of(bounds);
            let finest = area.finest();
            let mut open = vec![Square::GLOBE];
            while let Some(square) = open.pop() {
                if !area.touches(square) {
                    continue;
                }
                let whole = square.up <= finest || self.entries.range(square.all()).nth(FEW).is_none();
                let entries = self.entries.range(if whole { square.all() } else { square.own() });
                found.extend(entries.map(|(_, slot)| *slot).take(most + 1 - found.len()));
                if found.len() > most {
                    return None;
                }
                if !whole {
                    open.extend(square.quarters());
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

fn locations(entity: Option<&Entity>) -> impl Iterator<Item = &Attribute> {
    entity.into_iter().flat_map(|entity| &entity.attributes).filter(|attribute| is_location(attribute))
}

/// The smallest square around all of an entity's locations.
fn square_of(entity: &Entity) -> Option<Square> {
    let areas = locations(Some(entity)).filter_map(|attribute| Some(Area::of(&envelope(&geometry_of(attribute)?)?)));
    areas.reduce(Area::join).map(Square::around)
}

/// A square of the plane, `1 << up` smallest ones wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Square {
    x: u32,
    y: u32,
    up: u32,
}

impl Square {
    const GLOBE: Square = Square { x: 0, y: 0, up: DEPTH };

    fn around(area: Area) -> Self {
        // The bits that all of its positions have in common.
        let up = u32::BITS - ((area.west ^ area.east) | (area.south ^ area.north)).leading_zeros();
        Square { x: area.west >> up, y: area.south >> up, up }
    }

    /// Between the keys of its first and last two quarters.
    fn key(self) -> u64 {
        (spread(self.x) | spread(self.y) << 1) << (2 * self.up + 1) | self.half()
    }

    fn half(self) -> u64 {
        1 << (2 * self.up)
    }

    /// The range of what is filed under the square itself.
    fn own(self) -> RangeInclusive<(u64, u32)> {
        (self.key(), 0)..=(self.key(), u32::MAX)
    }

    /// The range of what is filed under the square or one inside of it.
    fn all(self) -> RangeInclusive<(u64, u32)> {
        (self.key() - (self.half() - 1), 0)..=(self.key() + (self.half() - 1), u32::MAX)
    }

    fn quarters(self) -> impl Iterator<Item = Square> {
        let quarter = move |(x, y)| Some(Square { x: self.x << 1 | x, y: self.y << 1 | y, up: self.up.checked_sub(1)? });
        [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().filter_map(quarter)
    }
}

/// A box in units of the smallest squares, all four of its sides included.
#[derive(Clone, Copy, Debug)]
struct Area {
    west: u32,
    south: u32,
    east: u32,
    north: u32,
}

impl Area {
    fn of(bounds: &Bounds) -> Self {
        let ((west, south), (east, north)) = (position(bounds.min()), position(bounds.max()));
        Area { west, south, east, north }
    }

    fn join(self, other: Self) -> Self {
        Area {
            west: self.west.min(other.west),
            south: self.south.min(other.south),
            east: self.east.max(other.east),
            north: self.north.max(other.north),
        }
    }

    fn touches(&self, square: Square) -> bool {
        let spans = |from: u32, to: u32, at: u32| from >> square.up <= at && at <= to >> square.up;
        spans(self.west, self.east, square.x) && spans(self.south, self.north, square.y)
    }

    /// The `up` of squares that need not be quartered: some of them fit into its shorter side.
    fn finest(&self) -> u32 {
        let (width, height) = (self.east - self.west, self.north - self.south);
        (width.min(height).max(width.max(height) / 64) / 16).checked_ilog2().unwrap_or(0)
    }
}

/// The smallest square that a position is in.
fn position(at: Coord<f64>) -> (u32, u32) {
    let scale = |part: f64| (part * f64::from(1 << DEPTH)).clamp(0.0, f64::from((1 << DEPTH) - 1)) as u32;
    (scale((at.x + 180.0) / 360.0), scale((at.y + 90.0) / 180.0))
}

/// Puts a zero before each bit.
fn spread(bits: u32) -> u64 {
    let step = |bits: u64, by: u32, mask: u64| (bits | bits << by) & mask;
    let bits = step(u64::from(bits), 16, 0x0000_ffff_0000_ffff);
    let bits = step(bits, 8, 0x00ff_00ff_00ff_00ff);
    let bits = step(bits, 4, 0x0f0f_0f0f_0f0f_0f0f);
    let bits = step(bits, 2, 0x3333_3333_3333_3333);
    step(bits, 1, 0x5555_5555_5555_5555)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fogflow_ngsi::v1::{Restriction, Scope};
    use fogflow_ngsi::{Json, Kind, Timestamp};
    use proptest::prelude::*;

    use super::super::{Reach, Record, Space};
    use super::*;
    use crate::filter::Filter;
    use crate::restriction;

    /// Few places are on the globe's seams unless one aims at them, and few are near to each other.
    fn position() -> impl Strategy<Value = (f64, f64)> {
        let around = |centre: f64, limit: f64| (-2.0..2.0_f64).prop_map(move |by| (centre + by).clamp(-limit, limit));
        let seam = |seams: [f64; 3], limit: f64| proptest::sample::select(seams.to_vec()).prop_flat_map(move |at| around(at, limit));
        prop_oneof![
            (-180.0..=180.0_f64, -90.0..=90.0_f64),
            (seam([-180.0, 0.0, 180.0], 180.0), seam([-90.0, 0.0, 90.0], 90.0)),
            (around(8.6, 180.0), around(49.4, 90.0)),
        ]
    }

    fn list(positions: &[(f64, f64)]) -> String {
        let texts: Vec<String> = positions.iter().map(|(x, y)| format!("[{x:?},{y:?}]")).collect();
        format!("[{}]", texts.join(","))
    }

    /// The type and the coordinates of a geometry. Shapes may be as wide as the globe and may cross themselves.
    fn geometry() -> impl Strategy<Value = (&'static str, String)> {
        let near = |(x, y): (f64, f64)| {
            proptest::collection::vec((-1.0..1.0_f64, -1.0..1.0_f64), 3..5)
                .prop_map(move |steps| steps.iter().map(|(dx, dy)| ((x + dx).clamp(-180.0, 180.0), (y + dy).clamp(-90.0, 90.0))).collect())
        };
        let corners = || prop_oneof![3 => position().prop_flat_map(near), 1 => proptest::collection::vec(position(), 3..5)];
        let ring = |mut positions: Vec<(f64, f64)>| {
            positions.extend(positions.first().copied());
            list(&positions)
        };
        prop_oneof![
            4 => position().prop_map(|(x, y)| ("Point", format!("[{x:?},{y:?}]"))),
            1 => corners().prop_map(|positions| ("MultiPoint", list(&positions))),
            1 => corners().prop_map(|positions| ("LineString", list(&positions))),
            2 => corners().prop_map(move |positions| ("Polygon", format!("[{}]", ring(positions)))),
            1 => (corners(), corners()).prop_map(move |(a, b)| ("MultiPolygon", format!("[[{}],[{}]]", ring(a), ring(b)))),
        ]
    }

    fn restriction() -> impl Strategy<Value = Restriction> {
        let radius = || prop_oneof![0.0..1000.0_f64, 1000.0..300_000.0_f64, 300_000.0..21_000_000.0_f64];
        let relation = proptest::sample::select(vec!["within", "contains", "intersects", "equals", "disjoint", "overlaps"]);
        let ld = |georel: String, geometry: &str, coordinates: &str| Restriction {
            geo_rel: georel.into(),
            geometry: geometry.into(),
            coordinates: Json::parse(coordinates).unwrap(),
            ..Restriction::default()
        };
        let v1 = |scope| Restriction { scopes: vec![scope], ..Restriction::default() };
        let turned = |(x, y): (f64, f64)| (y, x);
        prop_oneof![
            3 => (position(), radius(), any::<bool>()).prop_map(move |((x, y), radius, at_most)| {
                let bound = if at_most { "max" } else { "min" };
                ld(format!("near;{bound}Distance=={radius}"), "Point", &format!("[{x:?},{y:?}]"))
            }),
            3 => (relation, geometry()).prop_map(move |(georel, (kind, coordinates))| ld(georel.to_owned(), kind, &coordinates)),
            1 => (position(), radius()).prop_map(move |((longitude, latitude), radius)| v1(Scope::Circle { latitude, longitude, radius })),
            1 => proptest::collection::vec(position().prop_map(turned), 3..6).prop_map(move |corners| v1(Scope::Polygon(corners))),
            1 => (position(), position()).prop_map(move |(a, b)| {
                v1(Scope::SimpleGeolocation { north_west: turned(a), south_east: turned(b) })
            }),
        ]
    }

    /// An entity of this number, with as many locations as are given.
    fn entity(number: usize, places: &[(&str, String)]) -> Entity {
        let mut entity = Entity::new(&format!("e{number}"), Some("T"), Timestamp(1));
        for (kind, coordinates) in places {
            let value = Json::parse(&format!(r#"{{"type":"{kind}","coordinates":{coordinates}}}"#)).unwrap();
            let location = Attribute { kind: Kind::GeoProperty, ..Attribute::property("location", value, Timestamp(1)) };
            entity.attributes.push(location);
        }
        entity
    }

    fn put(space: &mut Space, entity: Entity) {
        space.put(Record { entity: Arc::new(entity), path: "/".into(), version: 1, sequence: 1 });
    }

    fn found(space: &Space, reach: &Reach, filter: &Filter) -> Vec<String> {
        let (records, _) = space.page(reach, 0, usize::MAX - 1);
        let matching = records.iter().filter(|record| filter.matches("/", &record.entity));
        matching.map(|record| record.entity.id.to_string()).collect()
    }

    /// Creates, moves, and takes the location away; `None` removes.
    type Step = (usize, Option<Vec<(&'static str, String)>>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let places = prop_oneof![
            8 => proptest::collection::vec(geometry(), 1..2),
            1 => proptest::collection::vec(geometry(), 0..3),
        ];
        proptest::collection::vec((0..80_usize, proptest::option::weighted(0.9, places)), 1..200)
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(steps in steps(), restrictions in proptest::collection::vec(restriction(), 1..12)) {
            let mut space = Space::default();
            for (number, places) in steps {
                match places {
                    Some(places) => put(&mut space, entity(number, &places)),
                    None => space.remove("/", &format!("e{number}"), 1),
                }
            }
            for restriction in restrictions {
                let conditions = restriction::conditions(&restriction, "", "", "").unwrap();
                let filter = Filter { conditions, ..Filter::everything() };
                let Some(boxes) = filter.boxes() else { continue };
                let narrowed = Reach::Slots(space.places.near(boxes, usize::MAX / 2).unwrap());
                prop_assert_eq!(found(&space, &narrowed, &filter), found(&space, &Reach::All, &filter), "{:?}", restriction);
            }
        }
    }

    #[test]
    fn an_area_leads_to_few_beside_those_that_are_in_it_and_nothing_stays_of_those_that_are_gone() {
        let mut space = Space::default();
        let at = |number: usize, by: f64| {
            entity(number, &[("Point", format!("[{},{}]", (number % 100) as f64 * 0.1 + by, (number / 100) as f64 * 0.1))])
        };
        for number in 0..10_000 {
            put(&mut space, at(number, 0.0));
        }
        let boxes = [Bounds::new((2.95, 2.95), (4.05, 4.05))];
        let narrowed = space.narrowed(&Reach::All, &boxes).unwrap();
        assert!((121..242).contains(&narrowed.len()), "{} for 121", narrowed.len());
        assert!(space.narrowed(&Reach::All, &[Bounds::new((0.0, 0.0), (9.0, 9.0))]).is_none(), "most of all is no less than all");
        assert!(space.narrowed(&Reach::Types(vec!["other".into()]), &boxes).is_none(), "there are fewer of that type");
        for number in 0..5_000 {
            put(&mut space, at(number, 50.0));
        }
        assert_eq!(space.places.near(&boxes, 1000), Some(Vec::new()));
        for number in 0..10_000 {
            space.remove("/", &format!("e{number}"), 1);
        }
        assert!(space.places.entries.is_empty());
    }
}
