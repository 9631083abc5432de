//! What discovery sees of an entity.

use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::{ContextMetadata, ContextRegistration, RegistrationAttribute};
use fogflow_ngsi::{Attribute, Entity, Json, Kind, Name, Tenant, Timestamp};
use smol_str::SmolStr;

use super::Me;

/// Whether an attribute is metadata of the whole entity in the eyes of discovery.
fn is_metadata(attribute: &Attribute) -> bool {
    attribute.domain || attribute.kind == Kind::GeoProperty
}

/// Whether two states of an entity look different to discovery. Cheap when nothing of that kind has changed.
#[must_use]
pub fn view_changed(before: Option<&Entity>, after: Option<&Entity>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return before.is_some() != after.is_some() };
    before.types != after.types
        || before.attributes.len() != after.attributes.len()
        || before.attributes.iter().zip(&after.attributes).any(|(old, new)| {
            old.name != new.name
                || old.kind != new.kind
                || old.domain != new.domain
                || old.value_type != new.value_type
                || (is_metadata(new) && old.value != new.value)
        })
}

/// The registration of an entity: the full list of attributes (F 11) and all metadata.
pub(super) fn registration(tenant: &Tenant, path: &SmolStr, entity: &Entity, url: &SmolStr) -> ContextRegistration {
    let mut attributes: Vec<RegistrationAttribute> = Vec::new();
    let mut metadata = Vec::new();
    for attribute in &entity.attributes {
        if !attribute.domain && attributes.iter().all(|known| known.name != attribute.name.as_str()) {
            attributes.push(RegistrationAttribute {
                name: attribute.name.as_str().into(),
                attribute_type: attribute.value_type.clone().unwrap_or_else(|| SmolStr::new_static(attribute.kind.as_str())),
                is_domain: false,
                metadata: ContextMetadata::default(),
            });
        }
        if is_metadata(attribute) {
            metadata.push(attribute.clone());
        }
    }
    ContextRegistration {
        entities: vec![EntityId {
            entity_type: entity.types.first().map(Name::as_str).unwrap_or_default().into(),
            is_pattern: false,
            id: entity.id.clone(),
        }],
        attributes,
        metadata: ContextMetadata(metadata),
        providing_application: url.clone(),
        tenant: tenant.0.clone(),
        service_path: written(path),
        other_types: entity.types.iter().skip(1).map(|name| name.as_str().into()).collect(),
        broker_id: SmolStr::default(),
    }
}

/// A service path as discovery is told it: `/` is left out.
pub(crate) fn written(path: &SmolStr) -> SmolStr {
    if path == "/" { SmolStr::default() } else { path.clone() }
}

/// The service path that discovery tells.
pub(crate) fn read(path: SmolStr) -> SmolStr {
    if path.is_empty() { SmolStr::new_static("/") } else { path }
}

/// The entity by which a broker registers itself: devices look for the nearest one.
pub(super) fn broker(me: &Me) -> ContextRegistration {
    let (latitude, longitude) = me.location;
    let point = serde_json::json!({"type": "Point", "coordinates": [longitude, latitude]});
    let location = Attribute {
        kind: Kind::GeoProperty,
        domain: true,
        value_type: Some(SmolStr::new_static("point")),
        ..Attribute::property("location", Json::from(&point), Timestamp::now())
    };
    ContextRegistration {
        entities: vec![EntityId { entity_type: SmolStr::new_static("IoTBroker"), is_pattern: false, id: me.id.clone() }],
        attributes: Vec::new(),
        metadata: ContextMetadata(vec![location]),
        providing_application: me.url.clone(),
        ..ContextRegistration::default()
    }
}
