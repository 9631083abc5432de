//! Two states of one entity become one.

use fogflow_ngsi::Entity;

/// Brings together two states of one entity that two brokers held for a while: per attribute the newer one wins, and
/// nothing that only one of them has is lost. Used when an owner returns whose entity was taken over.
#[must_use]
pub fn reconcile(mine: &Entity, theirs: &Entity) -> Entity {
    let mut result = mine.clone();
    for attribute in &theirs.attributes {
        match result.attributes.iter_mut().find(|existing| existing.same_instance(attribute)) {
            Some(existing) if existing.modified_at >= attribute.modified_at => {}
            Some(existing) => *existing = attribute.clone(),
            None => result.attributes.push(attribute.clone()),
        }
    }
    for name in &theirs.types {
        if result.types.is_empty() || !result.types.contains(name) {
            result.types.push(name.clone());
        }
    }
    if result.scopes.is_empty() {
        result.scopes.clone_from(&theirs.scopes);
    }
    result.created_at = result.created_at.min(theirs.created_at);
    result.modified_at = result.modified_at.max(theirs.modified_at);
    result
}
