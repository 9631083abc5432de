//! `nearby`: the closest matches, in order, for queries and for subscriptions.

use std::collections::BTreeSet;
use std::sync::Arc;

use fogflow_ngsi::bounds::around;

use crate::filter::Filter;
use crate::geometry::Nearby;
use crate::model::{EntityRef, Registration};

use super::{Directory, Event, EventKind, Found, Index};

/// Up to this many candidates are simply all measured.
const FEW: usize = 2048;
/// The first circle that is searched, in metres; each further one is four times as wide.
const FIRST_RADIUS: f64 = 1_000.0;
/// More than half the way round the earth.
const EVERYWHERE: f64 = 21_000_000.0;

impl Index {
    /// The `limit` closest available matches, closest first; equal distances in the order of ids.
    pub(super) fn nearest(&self, filter: &Filter, nearby: Nearby) -> Vec<Found> {
        if self.estimate(filter) <= FEW {
            return closest(self.matches(filter), nearby, f64::INFINITY);
        }
        let mut radius = FIRST_RADIUS;
        loop {
            let slots: BTreeSet<u32> = self.places.touching(&around(nearby.centre, radius)).collect();
            // The corners of the boxes lie outside of the circle; what is there may not be among the closest.
            let limit = if radius > EVERYWHERE { f64::INFINITY } else { radius };
            let found = closest(self.checked(slots, filter), nearby, limit);
            if found.len() >= nearby.limit || radius > EVERYWHERE {
                return found;
            }
            radius *= 4.0;
        }
    }

    pub(super) fn remember_nearest(&mut self, id: &str, found: &[Found]) {
        if let Some(watch) = self.watches.get_mut(id).filter(|watch| watch.filter.nearby.is_some()) {
            watch.nearest = found.iter().map(|found| found.registration.key.clone()).collect();
        }
    }

    /// Compares what a `nearby` subscription showed with what is nearest now. `changed` is the entity that moved the
    /// index, if it still matches; `before` is its last state, in case it is gone from the index altogether.
    pub(super) fn nearest_events(
        &mut self,
        id: &smol_str::SmolStr,
        changed: Option<&EntityRef>,
        before: Option<&Arc<Registration>>,
        events: &mut Vec<Event>,
    ) {
        let Some(watch) = self.watches.get(id) else { return };
        let now = self.get(&watch.filter);
        let shown = &watch.nearest;
        let left = shown.iter().filter(|key| !now.iter().any(|found| found.registration.key == **key));
        for key in left {
            let last = before.filter(|before| before.key == *key).or_else(|| self.registration(key));
            events.extend(last.map(|last| Event { subscription: id.clone(), registration: Arc::clone(last), kind: EventKind::Gone }));
        }
        for found in &now {
            let kind = match (shown.contains(&found.registration.key), changed == Some(&found.registration.key)) {
                (false, _) => EventKind::Appeared,
                (true, true) => EventKind::Changed,
                (true, false) => continue,
            };
            events.push(Event { subscription: id.clone(), registration: Arc::clone(&found.registration), kind });
        }
        self.remember_nearest(id, &now);
    }
}

fn closest(matches: Vec<Arc<Registration>>, nearby: Nearby, within: f64) -> Vec<Found> {
    let mut found: Vec<Found> = matches
        .into_iter()
        .filter_map(|registration| {
            let distance = registration.location.as_ref()?.distance(nearby.centre);
            (distance <= within).then_some(Found { registration, distance: Some(distance) })
        })
        .collect();
    found.sort_by(|a, b| {
        a.distance.partial_cmp(&b.distance).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.registration.key.cmp(&b.registration.key))
    });
    found.truncate(nearby.limit);
    found
}
