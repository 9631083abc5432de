//! `queryContext`

use serde::Serialize;
use smol_str::SmolStr;

use super::entity_id::EntityId;
use super::scope::Restriction;
use crate::DecodeError;
use crate::object::{decode, decode_object};

/// The body of `POST /ngsi10/queryContext`, and of NGSI-9's `discoverContextAvailability`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueryContextRequest {
    /// Filters, of which one must match.
    pub entities: Vec<EntityId>,
    /// Attributes that an entity must all have, and that are returned; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SmolStr>,
    /// Further conditions, which must all hold.
    #[serde(skip_serializing_if = "Restriction::is_empty")]
    pub restriction: Restriction,
}

decode_object!(QueryContextRequest {
    "entities" => entities,
    "attributes" => attributes,
    "restriction" => restriction,
});

impl QueryContextRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// If the body is no JSON, a member has a wrong JSON type, or a scope is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}
