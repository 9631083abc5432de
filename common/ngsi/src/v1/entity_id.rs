//! Which entities are meant.

use serde::Serialize;
use smol_str::SmolStr;

use crate::object::{FlexBool, decode_object};

/// An entity, or with `is_pattern` or without `id` a filter on entities (NGSI-10 `EntityId`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct EntityId {
    /// The exact type; empty for any.
    #[serde(rename = "type", skip_serializing_if = "SmolStr::is_empty")]
    pub entity_type: SmolStr,
    /// Whether `id` is an unanchored regular expression.
    #[serde(rename = "isPattern", skip_serializing_if = "std::ops::Not::not")]
    pub is_pattern: bool,
    /// The id or its pattern.
    pub id: SmolStr,
}

decode_object!(EntityId { "id" => id, "type" => entity_type, "isPattern" => is_pattern as FlexBool });
