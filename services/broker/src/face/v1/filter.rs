//! From NGSI-10's `entities` to selectors.

use fogflow_ngsi::Name;
use fogflow_ngsi::v1::{EntityId, Restriction};

use super::reply::Malformed;
use crate::filter::{EntitySelector, Filter};
use crate::restriction;

/// The selectors of a list. An entry with neither id nor type that is no pattern means nothing; a type without an id
/// means all entities of that type, whether or not `isPattern` is set.
pub(super) fn selectors(entities: &[EntityId]) -> Vec<EntitySelector> {
    entities.iter().filter_map(selector).collect()
}

fn selector(entity: &EntityId) -> Option<EntitySelector> {
    let types: Vec<Name> = (!entity.entity_type.is_empty()).then(|| Name::new(&entity.entity_type)).into_iter().collect();
    let id = Some(entity.id.clone()).filter(|id| !id.is_empty());
    if id.is_none() && types.is_empty() && !entity.is_pattern {
        return None;
    }
    let (id, id_pattern) = if entity.is_pattern { (None, id) } else { (id, None) };
    Some(EntitySelector { id, id_pattern, types, ..EntitySelector::default() })
}

/// The filter of a query.
pub(super) fn filter(entities: &[EntityId], attributes: &[Name], restricted: &Restriction) -> Result<Filter, Malformed> {
    let mut filter = Filter::of(selectors(entities)).map_err(Malformed)?;
    filter.all_attributes = attributes.to_vec();
    filter.conditions = restriction::conditions(restricted, "", "", "").map_err(Malformed)?;
    Ok(filter)
}
