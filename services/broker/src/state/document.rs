//! How an entity lies in the store: collection `entity`, the tenant, and an id of service path and entity id.

use bytes::Bytes;
use fogflow_ngsi::{DecodeError, Entity, EntityKey, Tenant};
use fogflow_store::Key;
use smol_str::{SmolStr, format_smolstr};

/// The collection of entities.
pub const ENTITIES: &str = "entity";

/// The key of an entity's document. A service path contains no space, so the first one ends it.
#[must_use]
pub fn store_key(key: &EntityKey) -> Key {
    Key { collection: SmolStr::new_static(ENTITIES), tenant: key.tenant.0.clone(), id: format_smolstr!("{} {}", key.path, key.id) }
}

/// The entity that a document's key means.
#[must_use]
pub fn entity_key(key: &Key) -> Option<EntityKey> {
    let (path, id) = key.id.split_once(' ')?;
    Some(EntityKey { tenant: Tenant(key.tenant.clone()), path: path.into(), id: id.into() })
}

/// The stored form.
#[must_use]
pub fn encode(entity: &Entity) -> Bytes {
    let mut text = Vec::with_capacity(96 + 96 * entity.attributes.len());
    entity.to_store(&mut text);
    text.into()
}

/// Reads the stored form.
///
/// # Errors
/// If the value is not an entity.
pub fn decode(value: &[u8]) -> Result<Entity, DecodeError> {
    let mut entity = Entity::from_store(value)?;
    entity.attributes.shrink_to_fit();
    Ok(entity)
}
