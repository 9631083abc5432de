//! Batch operations: `op/update`, `op/query`, `op/notify`.

use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::decode::{Rules, decode_entity};
use crate::object::{decode, decode_object};
use crate::query::{Dialect, GeoQuery, Query, pattern};
use crate::{DecodeError, Entity, Name, Timestamp};

/// What `op/update` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionType {
    /// Create, or write the given attributes.
    Append,
    /// Create, or add attributes that do not exist.
    AppendStrict,
    /// Write attributes that exist.
    Update,
    /// Replace all attributes.
    Replace,
    /// Delete the attributes, or the entity if none is given.
    Delete,
}

/// The body of `POST /v2/op/update`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchUpdate {
    /// What to do.
    pub action: ActionType,
    /// The entities.
    pub entities: Vec<Entity>,
}

#[derive(serde::Deserialize)]
struct Wire<'a> {
    #[serde(default, rename = "actionType")]
    action: Option<SmolStr>,
    #[serde(borrow, default, alias = "data")]
    entities: Option<Vec<&'a RawValue>>,
    #[serde(default, rename = "subscriptionId")]
    subscription_id: Option<SmolStr>,
}

fn decode_all(list: &[&RawValue], rules: Rules, field: &str, now: Timestamp) -> Result<Vec<Entity>, DecodeError> {
    let one = |(index, raw): (usize, &&RawValue)| {
        decode_entity(raw.get(), rules, now).map_err(|error| error.within(&format!("{field}[{index}]")))
    };
    list.iter().enumerate().map(one).collect()
}

impl BatchUpdate {
    /// Decodes a body; the action also in the spelling of NGSI-10 (`APPEND_STRICT`).
    ///
    /// # Errors
    /// If a member is missing or wrong; the error names it.
    pub fn decode(body: &[u8], rules: Rules, now: Timestamp) -> Result<Self, DecodeError> {
        let wire: Wire<'_> = decode(body)?;
        let action = wire.action.ok_or_else(|| DecodeError::data("actionType", "is missing"))?;
        let action = match action.to_ascii_lowercase().replace('_', "").as_str() {
            "append" => ActionType::Append,
            "appendstrict" => ActionType::AppendStrict,
            "update" => ActionType::Update,
            "replace" => ActionType::Replace,
            "delete" => ActionType::Delete,
            _ => return Err(DecodeError::data("actionType", "must be append, appendStrict, update, delete or replace")),
        };
        let list = wire.entities.ok_or_else(|| DecodeError::data("entities", "is missing"))?;
        Ok(BatchUpdate { action, entities: decode_all(&list, rules, "entities", now)? })
    }
}

/// The body of `POST /v2/op/notify` and `POST /v2/notify`: a notification of another broker, to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Notify {
    /// The subscription at the sender.
    pub subscription_id: SmolStr,
    /// The entities.
    pub entities: Vec<Entity>,
}

impl Notify {
    /// Decodes a body.
    ///
    /// # Errors
    /// If `data` is missing or an element of it is wrong; the error names it.
    pub fn decode(body: &[u8], rules: Rules, now: Timestamp) -> Result<Self, DecodeError> {
        let wire: Wire<'_> = decode(body)?;
        let list = wire.entities.ok_or_else(|| DecodeError::data("data", "is missing"))?;
        Ok(Notify { subscription_id: wire.subscription_id.unwrap_or_default(), entities: decode_all(&list, rules, "data", now)? })
    }
}

/// Which entities are meant. `id` excludes `id_pattern`, `entity_type` excludes `type_pattern`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntitySelector {
    /// The exact id.
    pub id: Option<SmolStr>,
    /// A pattern on the id.
    pub id_pattern: Option<SmolStr>,
    /// The exact type.
    pub entity_type: Option<SmolStr>,
    /// A pattern on the type.
    pub type_pattern: Option<SmolStr>,
}

decode_object!(EntitySelector {
    "id" => id,
    "idPattern" => id_pattern,
    "type" => entity_type,
    "typePattern" => type_pattern,
});

impl EntitySelector {
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        if self.id.is_some() && self.id_pattern.is_some() {
            return Err(DecodeError::data("idPattern", "goes not with id"));
        }
        if self.entity_type.is_some() && self.type_pattern.is_some() {
            return Err(DecodeError::data("typePattern", "goes not with type"));
        }
        for (field, text) in [("idPattern", &self.id_pattern), ("typePattern", &self.type_pattern)] {
            if let Some(text) = text {
                pattern(text).map_err(|error| error.within(field))?;
            }
        }
        Ok(())
    }
}

/// Conditions on attributes, metadata and place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expression {
    /// Conditions on attributes.
    pub q: SmolStr,
    /// Conditions on metadata.
    pub mq: SmolStr,
    /// The relation to a place.
    pub georel: SmolStr,
    /// The kind of the place.
    pub geometry: SmolStr,
    /// Its positions.
    pub coords: SmolStr,
}

decode_object!(Expression { "q" => q, "mq" => mq, "georel" => georel, "geometry" => geometry, "coords" => coords });

impl Expression {
    /// The conditions on attributes and metadata.
    ///
    /// # Errors
    /// If `q` or `mq` is not understood; the error names it.
    pub fn queries(&self) -> Result<Vec<Query>, DecodeError> {
        let short = |term: &str| Name::new(term);
        let parts = [("q", &self.q, Dialect::V2), ("mq", &self.mq, Dialect::V2Metadata)];
        let given = parts.into_iter().filter(|(_, text, _)| !text.is_empty());
        given.map(|(field, text, dialect)| Query::parse(text, dialect, &short).map_err(|error| error.within(field))).collect()
    }

    /// The condition on the place.
    ///
    /// # Errors
    /// If `georel`, `geometry` or `coords` is missing while another is given, or is wrong; the error names it.
    pub fn geo(&self) -> Result<Option<GeoQuery>, DecodeError> {
        let parts = [("georel", &self.georel), ("geometry", &self.geometry), ("coords", &self.coords)];
        if parts.iter().all(|(_, text)| text.is_empty()) {
            return Ok(None);
        }
        if let Some((field, _)) = parts.iter().find(|(_, text)| text.is_empty()) {
            return Err(DecodeError::data(*field, "is missing; georel, geometry and coords go together"));
        }
        GeoQuery::parse_v2(&self.georel, &self.geometry, &self.coords).map(Some)
    }
}

/// The body of `POST /v2/op/query`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchQuery {
    /// Alternatives, of which one must match; empty for all entities.
    pub entities: Vec<EntitySelector>,
    /// Attributes to return; older clients call it `attributes`.
    pub attributes: Vec<SmolStr>,
    /// Conditions that must hold.
    pub expression: Expression,
    /// Metadata to return.
    pub metadata: Vec<SmolStr>,
}

decode_object!(BatchQuery {
    "entities" => entities,
    "attrs" | "attributes" => attributes,
    "expression" => expression,
    "metadata" => metadata,
});

impl BatchQuery {
    /// Decodes a body.
    ///
    /// # Errors
    /// If a member is wrong; the error names it.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let query: Self = decode(body)?;
        for (index, selector) in query.entities.iter().enumerate() {
            selector.check().map_err(|error| error.within(&format!("entities[{index}]")))?;
        }
        Ok(query)
    }
}
