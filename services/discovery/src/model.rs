//! What discovery knows of an entity: never its values, only who holds it, what it is made of, and where it is.

use std::sync::Arc;

use fogflow_ngsi::v1::availability::RegistrationAttribute;
use fogflow_ngsi::{Attribute, Name, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::geometry::Location;

/// What identifies a registered entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityRef {
    /// The tenant; empty for the default one.
    pub tenant: Tenant,
    /// The entity id.
    pub id: SmolStr,
    /// The service path, `/` unless a broker of ours says otherwise.
    pub path: SmolStr,
}

impl EntityRef {
    /// An entity of the service path `/`.
    #[must_use]
    pub fn new(tenant: Tenant, id: impl Into<SmolStr>) -> Self {
        EntityRef { tenant, id: id.into(), path: SmolStr::new_static(ROOT) }
    }

    /// The same on a service path; an empty one means `/`.
    #[must_use]
    pub fn at(mut self, path: &SmolStr) -> Self {
        if !path.is_empty() {
            self.path = path.clone();
        }
        self
    }

    /// The service path as it is written: `/` is left out.
    #[must_use]
    pub fn written_path(&self) -> SmolStr {
        if self.path == ROOT { SmolStr::default() } else { self.path.clone() }
    }
}

/// The service path of entities that name none.
const ROOT: &str = "/";

/// Who holds an entity: a broker known by its id, or whoever answers at a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The broker's id, if the registration named one; upstream brokers do not.
    pub broker: Option<SmolStr>,
    /// `providingApplication`, for example `http://10.0.0.5:8070/ngsi10`.
    pub url: SmolStr,
}

/// The registration of one entity.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Tenant, id and service path.
    pub key: EntityRef,
    /// The first type; empty if unknown.
    pub entity_type: Name,
    /// Further types, which entities of NGSI-LD may have.
    pub other_types: Box<[Name]>,
    /// The attribute names, in the order registered. Equal lists share one allocation.
    pub attributes: Arc<[RegistrationAttribute]>,
    /// The domain metadata, unique by name.
    pub metadata: Box<[Attribute]>,
    /// Who holds it.
    pub owner: Arc<Owner>,
    /// When it ends by itself (registration `duration`); `None` for ever.
    pub expires: Option<Timestamp>,
    /// Where it is, read from the metadata item `location`.
    pub location: Option<Location>,
}

impl PartialEq for Registration {
    /// `location` follows from `metadata`.
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.entity_type == other.entity_type
            && self.other_types == other.other_types
            && self.attributes == other.attributes
            && self.metadata == other.metadata
            && self.owner == other.owner
            && self.expires == other.expires
    }
}

impl Registration {
    /// A registration that says no more than that `owner` has the entity.
    #[must_use]
    pub fn new(key: EntityRef, entity_type: Name, owner: Arc<Owner>) -> Self {
        Registration {
            key,
            entity_type,
            other_types: Box::from([]),
            attributes: Arc::from([]),
            metadata: Box::from([]),
            owner,
            expires: None,
            location: None,
        }
    }

    /// The same with this metadata; reads the location from it.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Vec<Attribute>) -> Self {
        self.location = metadata.iter().find(|item| item.name.as_str() == LOCATION).and_then(Location::of);
        self.metadata = metadata.into_boxed_slice();
        self
    }

    /// All its types; one of an empty name if none is known.
    pub fn types(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.entity_type).chain(&self.other_types)
    }

    /// Whether an attribute of this name is registered.
    #[must_use]
    pub fn has_attribute(&self, name: &Name) -> bool {
        self.attributes.iter().any(|attribute| attribute.name == name.as_str())
    }
}

/// The metadata item that tells where an entity is.
pub const LOCATION: &str = "location";

/// The type of the entity by which a broker registers itself.
pub const BROKER_TYPE: &str = "IoTBroker";

/// Adds or replaces items by name.
#[must_use]
pub fn merge_metadata(old: &[Attribute], new: Vec<Attribute>) -> Vec<Attribute> {
    let mut merged = old.to_vec();
    for item in new {
        match merged.iter_mut().find(|present| present.name == item.name) {
            Some(present) => *present = item,
            None => merged.push(item),
        }
    }
    merged
}
