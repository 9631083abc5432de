//! How an entity lies in the store: collection `entity`, the tenant, and an id of service path and entity id.

use bytes::Bytes;
use fogflow_ngsi::{DecodeError, Entity, EntityKey, Name, Tenant};
use fogflow_store::Key;
use serde::{Deserialize, Serialize};
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

/// What other replicas need to know of a write beside the entity; the last member of the stored form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The attributes and domain metadata that the write named.
    #[serde(rename = "n")]
    pub written: Vec<Name>,
    /// `Fiware-Correlator` of the writer.
    #[serde(rename = "c", skip_serializing_if = "SmolStr::is_empty")]
    pub correlator: SmolStr,
    /// `traceparent` of the writer.
    #[serde(rename = "t", skip_serializing_if = "SmolStr::is_empty")]
    pub trace: SmolStr,
}

/// Adds to the stored form what it was written for.
#[must_use]
pub fn annotate(stored: &Bytes, about: &About) -> Bytes {
    let (Some(entity), Ok(about)) = (stored.strip_suffix(b"}"), serde_json::to_vec(about)) else { return stored.clone() };
    let mut text = Vec::with_capacity(stored.len() + about.len() + 8);
    text.extend_from_slice(entity);
    text.extend_from_slice(b",\"w\":");
    text.extend_from_slice(&about);
    text.push(b'}');
    text.into()
}

/// What [`annotate`] added; `None` when nothing was.
#[must_use]
pub fn about(stored: &[u8]) -> Option<About> {
    #[derive(Deserialize)]
    struct Members {
        #[serde(rename = "w")]
        about: Option<About>,
    }
    serde_json::from_slice::<Members>(stored).ok()?.about
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

#[cfg(test)]
mod tests {
    use fogflow_ngsi::{Attribute, Json, Timestamp};

    use super::*;

    #[test]
    fn an_annotated_entity_reads_back_with_its_annotation() {
        let mut entity = Entity::new("e", Some("T"), Timestamp(1));
        let plain = encode(&entity);
        assert_eq!(super::about(&plain), None);
        entity.attributes.push(Attribute::property("w", Json::string("}"), Timestamp(1)));
        let about = About { written: vec!["w".into(), "b".into()], correlator: "x".into(), trace: SmolStr::default() };
        let stored = annotate(&encode(&entity), &about);
        assert_eq!(decode(&stored).unwrap(), entity);
        assert_eq!(super::about(&stored), Some(about));
    }
}
