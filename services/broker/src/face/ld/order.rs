//! `orderBy`: the order of the entities of an answer (ETSI GS CIM 009, clause 4.23).

use std::cmp::Ordering;

use fogflow_ngsi::context::Context;
use fogflow_ngsi::{Attribute, Entity, Json, Name};

use super::call::Call;
use super::reply::Fault;
use crate::state::SharedEntity;

/// Keys, the most important one first.
pub(super) struct Order(Vec<Key>);

struct Key {
    names: Vec<Name>,
    descending: bool,
}

/// What is compared: numbers before texts, and what an entity lacks after both.
#[derive(PartialEq, PartialOrd)]
enum Rank {
    Number(f64),
    Text(String),
    Missing,
}

impl Order {
    /// From the parameter, as `name;desc,speed.observedAt`.
    pub(super) fn of(call: &Call, context: &Context) -> Result<Option<Self>, Fault> {
        let Some(text) = call.params.get("orderBy") else { return Ok(None) };
        let mut keys = Vec::new();
        for part in text.split(',') {
            let (path, direction) = part.split_once(';').unwrap_or((part, "asc"));
            let descending = match direction {
                "asc" => false,
                "desc" => true,
                other => return Err(Fault::bad(format!("orderBy: `{other}` is neither asc nor desc"))),
            };
            if path.is_empty() {
                return Err(Fault::bad("orderBy: a name is missing"));
            }
            keys.push(Key { names: path.split('.').map(|name| context.expand(name)).collect(), descending });
        }
        Ok(Some(Order(keys)))
    }

    /// Sorts entities; equal ones stay in their order.
    pub(super) fn sort(&self, entities: &mut [SharedEntity]) {
        entities.sort_by(|a, b| {
            let by_key = |key: &Key| {
                let order = key.rank(a).partial_cmp(&key.rank(b)).unwrap_or(Ordering::Equal);
                if key.descending { order.reverse() } else { order }
            };
            self.0.iter().map(by_key).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
    }
}

impl Key {
    fn rank(&self, entity: &Entity) -> Rank {
        let Some((first, rest)) = self.names.split_first() else { return Rank::Missing };
        if rest.is_empty() {
            match first.as_str() {
                "id" => return Rank::Text(entity.id.to_string()),
                "type" => return entity.types.first().map_or(Rank::Missing, |name| Rank::Text(name.as_str().to_owned())),
                "createdAt" => return Rank::Number(entity.created_at.0 as f64),
                "modifiedAt" => return Rank::Number(entity.modified_at.0 as f64),
                _ => {}
            }
        }
        entity.instances(first).next().map_or(Rank::Missing, |attribute| inside(attribute, rest))
    }
}

fn inside(attribute: &Attribute, names: &[Name]) -> Rank {
    let Some((next, rest)) = names.split_first() else { return of_value(&attribute.value) };
    match next.as_str() {
        "createdAt" => return Rank::Number(attribute.created_at.0 as f64),
        "modifiedAt" => return Rank::Number(attribute.modified_at.0 as f64),
        "observedAt" => {
            let time = attribute.detail.as_ref().and_then(|detail| detail.observed_at);
            return time.map_or(Rank::Missing, |time| Rank::Number(time.0 as f64));
        }
        _ => {}
    }
    attribute.attributes().iter().find(|inner| inner.name == *next).map_or(Rank::Missing, |inner| inside(inner, rest))
}

fn of_value(value: &Json) -> Rank {
    match (value.as_f64(), value.as_str()) {
        (Some(number), _) => Rank::Number(number),
        (None, Some(text)) => Rank::Text(text.into_owned()),
        (None, None) => Rank::Text(value.as_text().to_owned()),
    }
}
