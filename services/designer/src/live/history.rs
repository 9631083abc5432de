//! The last numbers of entities, so that a chart that is opened has a past.

use std::collections::{BTreeMap, HashMap, VecDeque};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::Attributes;

/// Entities with a history; beyond it, the one longest without a change is forgotten.
const ENTITIES: usize = 200;
/// Attributes per entity.
const ATTRIBUTES: usize = 8;
/// Points per attribute.
const POINTS: usize = 150;

/// Times in seconds since 1970 and the values at them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Series {
    /// Ascending.
    pub(crate) times: Vec<f64>,
    /// As many.
    pub(crate) values: Vec<f64>,
}

#[derive(Default)]
struct Past {
    /// Key in `by_age`.
    tick: u64,
    points: IndexMap<String, VecDeque<(f64, f64)>>,
}

#[derive(Default)]
pub(super) struct History {
    pasts: HashMap<String, Past>,
    by_age: BTreeMap<u64, String>,
    tick: u64,
}

impl History {
    /// Adds the numbers of a notification that came at `time` (seconds since 1970).
    pub(super) fn add(&mut self, entity: &str, attributes: &Attributes, time: f64) {
        let mut numbers = attributes.iter().filter_map(|(name, item)| Some((name, item.value.as_f64()?))).peekable();
        if numbers.peek().is_none() {
            return;
        }
        self.tick += 1;
        let past = self.pasts.entry(entity.to_owned()).or_default();
        self.by_age.remove(&past.tick);
        past.tick = self.tick;
        self.by_age.insert(self.tick, entity.to_owned());
        for (name, value) in numbers {
            if !past.points.contains_key(name) && past.points.len() == ATTRIBUTES {
                continue;
            }
            let points = past.points.entry(name.clone()).or_default();
            if points.len() == POINTS {
                points.pop_front();
            }
            points.push_back((time, value));
        }
        if self.pasts.len() > ENTITIES
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.pasts.remove(&oldest);
        }
    }

    /// Forgets an entity.
    pub(super) fn remove(&mut self, entity: &str) {
        if let Some(past) = self.pasts.remove(entity) {
            self.by_age.remove(&past.tick);
        }
    }

    /// The series of an entity by attribute.
    pub(super) fn of(&self, entity: &str) -> IndexMap<String, Series> {
        let series = |points: &VecDeque<(f64, f64)>| Series {
            times: points.iter().map(|(time, _)| *time).collect(),
            values: points.iter().map(|(_, value)| *value).collect(),
        };
        self.pasts
            .get(entity)
            .map(|past| past.points.iter().map(|(name, points)| (name.clone(), series(points))).collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::records::TypedValue;

    fn attributes(items: &[(&str, serde_json::Value)]) -> Attributes {
        items.iter().map(|(name, value)| ((*name).to_owned(), TypedValue { value: value.clone(), ..Default::default() })).collect()
    }

    #[test]
    fn numbers_are_kept_and_nothing_else() {
        let mut history = History::default();
        history.add("e", &attributes(&[("n", json!(1)), ("text", json!("x"))]), 10.0);
        history.add("e", &attributes(&[("n", json!(2.5))]), 11.0);
        history.add("text only", &attributes(&[("text", json!("x"))]), 11.0);
        assert_eq!(history.of("e")["n"], Series { times: vec![10.0, 11.0], values: vec![1.0, 2.5] });
        assert_eq!(history.of("e").len(), 1);
        assert!(history.of("text only").is_empty());
        history.remove("e");
        assert!(history.of("e").is_empty());
    }

    #[test]
    fn entities_attributes_and_points_are_bounded() {
        let mut history = History::default();
        for n in 0..ENTITIES + 5 {
            history.add(&format!("e{n}"), &attributes(&[("n", json!(n))]), 0.0);
        }
        assert_eq!((history.pasts.len(), history.by_age.len()), (ENTITIES, ENTITIES));
        assert!(history.of("e0").is_empty());
        for n in 0..POINTS + 5 {
            history.add("long", &attributes(&[("n", json!(n))]), 0.0);
        }
        assert_eq!(history.of("long")["n"].values.first(), Some(&5.0));
        for n in 0..ATTRIBUTES + 5 {
            history.add("wide", &attributes(&[(&format!("a{n}"), json!(n))]), 0.0);
        }
        assert_eq!(history.of("wide").len(), ATTRIBUTES);
    }
}
