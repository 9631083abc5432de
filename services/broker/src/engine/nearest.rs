//! `nearby`: the entities of this broker that are closest, without looking at all of them.

use fogflow_ngsi::bounds::around;
use fogflow_ngsi::geometry::distance;
use fogflow_ngsi::v1::Scope;
use geo::Point;

use super::query::reach;
use super::{Engine, Query};
use crate::identity::Identity;
use crate::restriction::location;
use crate::state::Record;

/// The first circle that is searched, in metres; each further one is four times as wide.
const FIRST_RADIUS: f64 = 100.0;
/// More than half the way round the earth.
const EVERYWHERE: f64 = 21_000_000.0;

impl Engine {
    /// Those entities of this broker that can be in the answer to a query with one `nearby` scope: all that pass the filter
    /// within a circle that holds as many as are asked for. `None` if a scan is the better way.
    pub(super) fn closest_here(&self, identity: &Identity, query: &Query) -> Option<Vec<Record>> {
        let mut nearby = query.restriction.scopes.iter().filter_map(|scope| match scope {
            Scope::Nearby { latitude, longitude, limit } => Some((Point::new(*longitude, *latitude), *limit)),
            _ => None,
        });
        let (centre, limit) = nearby.next().filter(|_| nearby.next().is_none() && query.filter.ids().is_none())?;
        let (state, tenant) = (&self.inner.state, &identity.tenant);
        let reach = reach(&query.filter);
        let mut radius = FIRST_RADIUS;
        while radius < EVERYWHERE {
            let ring = state.narrowed(tenant, &reach, &around(centre, radius))?;
            let mut found = Vec::new();
            state.visit(tenant, &ring, |record| {
                // The corners of the boxes lie outside of the circle; what is there may not be among the closest.
                let is_in = location(&record.entity).is_some_and(|place| distance(centre, &place) <= radius);
                if is_in && query.filter.matches(&record.path, &record.entity) {
                    found.push(record);
                }
                true
            });
            if found.len() >= limit {
                return Some(found);
            }
            radius *= 4.0;
        }
        None
    }
}
