//! Locations in an R-tree.

use fogflow_ngsi::bounds::Bounds;
use rstar::{AABB, RTree, RTreeObject};

use crate::geometry::Location;

/// The box around one entity's location.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    low: [f64; 2],
    high: [f64; 2],
    slot: u32,
}

impl Place {
    fn new(location: &Location, slot: u32) -> Self {
        let bounds = location.bounds();
        Place { low: bounds.min().into(), high: bounds.max().into(), slot }
    }
}

impl RTreeObject for Place {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.low, self.high)
    }
}

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Places {
    tree: RTree<Place>,
}

impl Places {
    pub(crate) fn insert(&mut self, location: &Location, slot: u32) {
        self.tree.insert(Place::new(location, slot));
    }

    pub(crate) fn remove(&mut self, location: &Location, slot: u32) {
        self.tree.remove(&Place::new(location, slot));
    }

    /// The slots whose boxes touch one of these.
    pub(crate) fn touching<'a>(&'a self, boxes: &'a [Bounds]) -> impl Iterator<Item = u32> + 'a {
        boxes.iter().flat_map(|bounds| {
            let envelope = AABB::from_corners(bounds.min().into(), bounds.max().into());
            self.tree.locate_in_envelope_intersecting(&envelope).map(|place| place.slot)
        })
    }
}
