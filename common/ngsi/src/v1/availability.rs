//! NGSI-9: which broker has which entity.
//!
//! The members are upstream's; those that ours add are optional and ignored by upstream's programs.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::attribute::Item;
use super::encode::write_metadata;
use super::entity_id::EntityId;
use super::scope::Restriction;
use super::status::StatusCode;
use crate::object::{FlexText, decode, decode_object};
use crate::writer::JsonWriter;
use crate::{Attribute, DecodeError};

macro_rules! decodable {
    ($($name:ident),*) => {$(
        impl $name {
            /// Decodes a body.
            ///
            /// # Errors
            /// If the body is no JSON, a member has a wrong JSON type, or a scope is wrong; the error names the member.
            pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
                decode(body)
            }
        }
    )*};
}

decodable!(
    RegisterContextRequest,
    RegisterContextResponse,
    DiscoverContextAvailabilityRequest,
    DiscoverContextAvailabilityResponse,
    SubscribeContextAvailabilityRequest,
    SubscribeContextAvailabilityResponse,
    NotifyContextAvailabilityRequest,
    EntityRegistration,
    Heartbeat,
    HeartbeatResponse
);

/// Domain metadata on the wire of NGSI-9.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContextMetadata(pub Vec<Attribute>);

impl ContextMetadata {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for ContextMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<Item>::deserialize(deserializer)?;
        Ok(ContextMetadata(items.into_iter().map(|item| item.into_domain_metadata(&mut Vec::new())).collect()))
    }
}

struct MetadataItem<'a>(&'a Attribute);

impl Serialize for MetadataItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::new();
        write_metadata(&mut JsonWriter::new(&mut text), self.0);
        serde_json::from_slice::<&serde_json::value::RawValue>(&text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Serialize for ContextMetadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in &self.0 {
            list.serialize_element(&MetadataItem(item))?;
        }
        list.end()
    }
}

/// An attribute as discovery knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegistrationAttribute {
    /// The name.
    pub name: SmolStr,
    /// The type; may be empty.
    #[serde(rename = "type", skip_serializing_if = "SmolStr::is_empty")]
    pub attribute_type: SmolStr,
    /// Whether it is domain metadata.
    #[serde(rename = "isDomain")]
    pub is_domain: bool,
    /// Its metadata.
    #[serde(skip_serializing_if = "ContextMetadata::is_empty")]
    pub metadata: ContextMetadata,
}

decode_object!(RegistrationAttribute {
    "name" => name,
    "type" => attribute_type,
    "isDomain" => is_domain,
    "metadata" => metadata,
});

/// What one provider has of some entities.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContextRegistration {
    /// The entities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<EntityId>,
    /// Their attributes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<RegistrationAttribute>,
    /// Their domain metadata.
    #[serde(rename = "contextMetadata", skip_serializing_if = "ContextMetadata::is_empty")]
    pub metadata: ContextMetadata,
    /// The provider's URL, as `http://host:8070/ngsi10`.
    #[serde(rename = "providingApplication")]
    pub providing_application: SmolStr,
    /// The tenant (ours); empty for the default tenant.
    #[serde(rename = "Tenant", skip_serializing_if = "SmolStr::is_empty")]
    pub tenant: SmolStr,
    /// The service path (ours); empty for `/`.
    #[serde(rename = "ServicePath", skip_serializing_if = "SmolStr::is_empty")]
    pub service_path: SmolStr,
    /// Further types of the entities (ours), which NGSI-LD allows and `EntityId` has no place for.
    #[serde(rename = "otherTypes", skip_serializing_if = "Vec::is_empty")]
    pub other_types: Vec<SmolStr>,
    /// In notifications (ours): the id of the broker that provides it.
    #[serde(rename = "brokerId", skip_serializing_if = "SmolStr::is_empty")]
    pub broker_id: SmolStr,
}

decode_object!(ContextRegistration {
    "entities" => entities,
    "attributes" => attributes,
    "contextMetadata" | "metadata" => metadata,
    "providingApplication" => providing_application,
    "Tenant" => tenant,
    "ServicePath" => service_path,
    "otherTypes" => other_types,
    "brokerId" => broker_id,
});

/// An entity that a broker no longer has (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemovedEntity {
    /// The entity id.
    pub id: SmolStr,
    /// The tenant; empty for the default tenant.
    #[serde(rename = "Tenant", skip_serializing_if = "SmolStr::is_empty")]
    pub tenant: SmolStr,
    /// The service path; empty for `/`.
    #[serde(rename = "ServicePath", skip_serializing_if = "SmolStr::is_empty")]
    pub service_path: SmolStr,
}

decode_object!(RemovedEntity { "id" => id, "Tenant" => tenant, "ServicePath" => service_path });

/// The place of a request in a full re-registration, or of a notification in the snapshot after subscribing (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Snapshot {
    /// The first request.
    Begin,
    /// One between the first and the last.
    Part,
    /// The last: what none of them named is gone. One without a beginning (a notification repeated because its answer was
    /// lost) only adds.
    End,
    /// The only one: first and last in one. Used in notifications.
    Whole,
}

/// The body of `POST /ngsi9/registerContext`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegisterContextRequest {
    /// What is provided.
    #[serde(rename = "contextRegistrations")]
    pub registrations: Vec<ContextRegistration>,
    /// An ISO 8601 duration; has no effect.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// Echoed in the reply.
    #[serde(rename = "registrationId", skip_serializing_if = "SmolStr::is_empty")]
    pub registration_id: SmolStr,
    /// The id of the broker (ours).
    #[serde(rename = "brokerId", skip_serializing_if = "SmolStr::is_empty")]
    pub broker_id: SmolStr,
    /// The start of the broker (ours); 0 from upstream.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// Part of a full re-registration (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// What is no longer provided (ours); applied before `registrations`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedEntity>,
}

decode_object!(RegisterContextRequest {
    "contextRegistrations" => registrations,
    "duration" => duration as FlexText,
    "registrationId" => registration_id,
    "brokerId" => broker_id,
    "generation" => generation,
    "snapshot" => snapshot,
    "removed" => removed,
});

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The reply to `registerContext`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RegisterContextResponse {
    /// The granted duration.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// The id that was sent, or a new one.
    #[serde(rename = "registrationId")]
    pub registration_id: SmolStr,
    /// 200 when it was applied.
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
    /// Whether the broker shall register everything again (ours).
    #[serde(rename = "registrationsWanted", skip_serializing_if = "std::ops::Not::not")]
    pub registrations_wanted: bool,
    /// Entities of a full re-registration that another live broker has taken over in the meantime; they were left to it (ours).
    #[serde(rename = "ownedElsewhere", skip_serializing_if = "Vec::is_empty")]
    pub owned_elsewhere: Vec<RemovedEntity>,
}

decode_object!(RegisterContextResponse {
    "duration" => duration as FlexText,
    "registrationId" => registration_id,
    "errorCode" => error_code,
    "registrationsWanted" => registrations_wanted,
    "ownedElsewhere" => owned_elsewhere,
});

/// The body of `POST /ngsi9/discoverContextAvailability`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiscoverContextAvailabilityRequest {
    /// Filters, of which one must match.
    pub entities: Vec<EntityId>,
    /// Attributes that must all be registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SmolStr>,
    /// Further conditions, which must all hold.
    #[serde(skip_serializing_if = "Restriction::is_empty")]
    pub restriction: Restriction,
    /// The tenant (ours).
    #[serde(rename = "Tenant", skip_serializing_if = "SmolStr::is_empty")]
    pub tenant: SmolStr,
    /// Only entities of this service path (ours); empty for those of any.
    #[serde(rename = "ServicePath", skip_serializing_if = "SmolStr::is_empty")]
    pub service_path: SmolStr,
}

decode_object!(DiscoverContextAvailabilityRequest {
    "entities" => entities,
    "attributes" => attributes,
    "restriction" => restriction,
    "Tenant" => tenant,
    "ServicePath" => service_path,
});

/// A registration with a status.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ContextRegistrationResponse {
    /// The registration.
    #[serde(rename = "contextRegistration")]
    pub registration: ContextRegistration,
    /// 200
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
}

decode_object!(ContextRegistrationResponse { "contextRegistration" => registration, "errorCode" => error_code });

impl From<ContextRegistration> for ContextRegistrationResponse {
    fn from(registration: ContextRegistration) -> Self {
        ContextRegistrationResponse { registration, error_code: StatusCode::ok() }
    }
}

/// The reply to `discoverContextAvailability`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiscoverContextAvailabilityResponse {
    /// What was found.
    #[serde(rename = "contextRegistrationResponses")]
    pub responses: Vec<ContextRegistrationResponse>,
    /// 200
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
}

decode_object!(DiscoverContextAvailabilityResponse {
    "contextRegistrationResponses" => responses,
    "errorCode" => error_code,
});

/// The body of `POST /ngsi9/subscribeContextAvailability`, and what `GET /ngsi9/subscription` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeContextAvailabilityRequest {
    /// Filters, of which one must match.
    pub entities: Vec<EntityId>,
    /// Attributes that must all be registered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SmolStr>,
    /// The URL that is notified, used as it is.
    pub reference: SmolStr,
    /// An ISO 8601 duration; echoed.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// Further conditions, which must all hold.
    #[serde(skip_serializing_if = "Restriction::is_empty")]
    pub restriction: Restriction,
    /// Upstream's clients leave it out and the server fills it in; ours give it to create or replace.
    #[serde(rename = "subscriptionId", skip_serializing_if = "SmolStr::is_empty")]
    pub subscription_id: SmolStr,
    /// The tenant (ours).
    #[serde(rename = "Tenant", skip_serializing_if = "SmolStr::is_empty")]
    pub tenant: SmolStr,
}

decode_object!(SubscribeContextAvailabilityRequest {
    "entities" => entities,
    "attributes" => attributes,
    "reference" => reference,
    "duration" => duration as FlexText,
    "restriction" => restriction,
    "subscriptionId" => subscription_id,
    "Tenant" => tenant,
});

/// The reply to `subscribeContextAvailability`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeContextAvailabilityResponse {
    /// The id; note its name, which differs from the request's.
    #[serde(rename = "subscribeId")]
    pub subscribe_id: SmolStr,
    /// The duration of the request.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// 200
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
}

decode_object!(SubscribeContextAvailabilityResponse {
    "subscribeId" => subscribe_id,
    "duration" => duration as FlexText,
    "errorCode" => error_code,
});

/// The body that discovery posts to the reference of an availability subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NotifyContextAvailabilityRequest {
    /// The subscription.
    #[serde(rename = "subscribeId")]
    pub subscribe_id: SmolStr,
    /// The entities, by provider.
    #[serde(rename = "contextRegistrationResponses")]
    pub responses: Vec<ContextRegistrationResponse>,
    /// Its code is the action: 201 initial, 301 new or changed, 410 gone.
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
    /// Grows with each notification of the subscription (ours); 0 from upstream.
    #[serde(skip_serializing_if = "is_zero")]
    pub sequence: u64,
    /// With 201: which part of the complete list it is (ours). What a complete list does not name does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

decode_object!(NotifyContextAvailabilityRequest {
    "subscribeId" => subscribe_id,
    "contextRegistrationResponses" => responses,
    "errorCode" => error_code,
    "sequence" => sequence,
    "snapshot" => snapshot,
});

/// The output of `GET /ngsi9/registration/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EntityRegistration {
    /// The entity id.
    #[serde(rename = "ID")]
    pub id: SmolStr,
    /// The entity type.
    #[serde(rename = "Type")]
    pub entity_type: SmolStr,
    /// The attributes by name.
    #[serde(rename = "AttributesList")]
    pub attributes: indexmap::IndexMap<SmolStr, RegistrationAttribute>,
    /// The domain metadata by name.
    #[serde(rename = "MetadataList")]
    pub metadata: MetadataList,
    /// The provider's URL.
    #[serde(rename = "ProvidingApplication")]
    pub providing_application: SmolStr,
    /// The id of the broker (ours).
    #[serde(rename = "BrokerId", skip_serializing_if = "SmolStr::is_empty")]
    pub broker_id: SmolStr,
    /// Whether that broker is alive (ours).
    #[serde(rename = "Alive", skip_serializing_if = "Option::is_none")]
    pub alive: Option<bool>,
}

decode_object!(EntityRegistration {
    "ID" => id,
    "Type" => entity_type,
    "AttributesList" => attributes,
    "MetadataList" => metadata,
    "ProvidingApplication" => providing_application,
    "BrokerId" => broker_id,
    "Alive" => alive,
});

/// Domain metadata as a JSON object by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetadataList(pub Vec<Attribute>);

impl Serialize for MetadataList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|item| (item.name.as_str(), MetadataItem(item))))
    }
}

impl<'de> Deserialize<'de> for MetadataList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = indexmap::IndexMap::<SmolStr, Item>::deserialize(deserializer)?;
        Ok(MetadataList(items.into_values().map(|item| item.into_domain_metadata(&mut Vec::new())).collect()))
    }
}

/// The body of `POST /ngsi9/broker/heartbeat`, also in the spelling of the years 2019 to 2022.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heartbeat {
    /// The broker id.
    pub id: SmolStr,
    /// The broker's URL.
    #[serde(rename = "myURL")]
    pub my_url: SmolStr,
    /// The start of the broker (ours); 0 from upstream.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: u64,
}

decode_object!(Heartbeat { "id" | "BID" => id, "myURL" => my_url, "generation" => generation });

/// The reply to a heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeartbeatResponse {
    /// Upstream's only member, always null.
    #[serde(rename = "contextResponses")]
    pub context_responses: Option<()>,
    /// Which state discovery has (ours); a new one makes brokers subscribe again.
    pub epoch: SmolStr,
    /// Whether the broker shall register everything again (ours).
    #[serde(rename = "registrationsWanted")]
    pub registrations_wanted: bool,
}

decode_object!(HeartbeatResponse { "epoch" => epoch, "registrationsWanted" => registrations_wanted });
