//! Typed commands: what a face asks the engine to do with one entity.
//!
//! Every face (v1, v2, NGSI-LD) decodes a request into commands; the engine answers each of them on its own, so a
//! request of many elements can succeed in parts and can say so. Commands are also what one of our brokers forwards to
//! another that owns the entity, hence the serde derives.

use std::sync::Arc;

use fogflow_ngsi::{Entity, EntityKey, Name, Timestamp};
use fogflow_store::Sequence;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The value by which NGSI-LD asks to delete something in a patch (ETSI GS CIM 009, clause 4.5.0).
pub const LD_NULL: &str = "\"urn:ngsi-ld:null\"";

/// One thing to do with one entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The entity.
    pub key: EntityKey,
    /// What to do.
    pub action: Action,
}

/// What to do with an entity. Times inside the given entities are ignored: the broker sets them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Create, or write the given attributes over the existing ones and keep the others.
    Upsert {
        /// Types replace the stored ones when there are any.
        patch: Entity,
        /// Whether the metadata of an attribute that exists is merged by name (v1) instead of replaced (v2, NGSI-LD).
        merge_metadata: bool,
    },
    /// Create; [`Refusal::AlreadyExists`] if the entity is there.
    Create(Entity),
    /// Put this entity in the place of the old one.
    Replace {
        /// The new entity.
        entity: Entity,
        /// Whether it may also be created; otherwise [`Refusal::NotFound`].
        create: bool,
    },
    /// Add attributes and types to an entity that exists.
    Append {
        /// What to add.
        patch: Entity,
        /// Whether attributes that exist are written too; otherwise they come back in [`Done::skipped`].
        overwrite: bool,
    },
    /// Write attributes that exist; others come back in [`Done::skipped`].
    Update {
        /// The attributes.
        patch: Entity,
        /// Keep what the patch does not mention: sub-attributes, unit code, and the value where the patch has `null`
        /// (ETSI GS CIM 009, clause 5.6.4). Otherwise the attribute is replaced.
        partial: bool,
    },
    /// Merge-patch (ETSI GS CIM 009, clause 5.5.12): [`LD_NULL`] deletes, objects merge, the rest replaces.
    Merge(Entity),
    /// Remove attribute instances; [`Refusal::NoSuchAttribute`] if none of them is there.
    DeleteAttributes(Vec<AttributeSelector>),
    /// Replace one attribute that exists (ETSI GS CIM 009, clause 5.6.19).
    ReplaceAttributes(Entity),
    /// Remove the entity.
    Delete,
    /// Bring together with the state of another broker that held the entity for a while: per attribute the newer wins.
    Reconcile(Entity),
    /// Drop an entity that another broker has taken over as it was at this time, without telling anybody of a deletion;
    /// [`Refusal::AlreadyExists`] if it was written since.
    GiveAway(Timestamp),
}

/// Which instances of an attribute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttributeSelector {
    /// The attribute.
    pub name: Name,
    /// The instance; `None` is the default instance.
    pub dataset_id: Option<SmolStr>,
    /// All instances, whatever their `datasetId`; domain metadata of that name included.
    pub all: bool,
}

/// What happened to the entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It did not exist before.
    Created,
    /// It was there and was written.
    Updated,
    /// It is gone.
    Deleted,
}

/// A command that was carried out; its effect is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What happened.
    pub effect: Effect,
    /// Place in the store's order of commits; 0 when another broker did it.
    pub sequence: Sequence,
    /// Attributes that were left alone, for the reason that the action names.
    pub skipped: Vec<Name>,
    /// The entity as it is now, when this broker holds it.
    #[serde(skip)]
    pub entity: Option<Arc<Entity>>,
}

/// A command that was not carried out, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The entity is not there.
    #[error("the entity is not known")]
    NotFound,
    /// The entity is there already.
    #[error("the entity exists already")]
    AlreadyExists,
    /// The entity has none of these attributes.
    #[error("the entity has no such attribute")]
    NoSuchAttribute,
    /// The command itself is wrong; says which part.
    #[error("{0}")]
    Invalid(String),
    /// The store has no space left; reads go on.
    #[error("there is no space left to store the entity")]
    Full,
    /// The store does not answer or other replicas kept winning; worth another try later.
    #[error("not stored: {0}")]
    Unavailable(String),
    /// The broker that owns the entity could not be reached; nothing was written.
    #[error("the broker that holds the entity does not answer: {0}")]
    Owner(String),
}

/// The answer to one command.
pub type Answer = Result<Done, Refusal>;

impl Action {
    /// Whether the action can make an entity that was not there.
    #[must_use]
    pub fn may_create(&self) -> bool {
        matches!(self, Action::Upsert { .. } | Action::Create(_) | Action::Replace { create: true, .. } | Action::Reconcile(_))
    }
}

impl Refusal {
    /// The HTTP status that says the same.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NotFound | Refusal::NoSuchAttribute => 404,
            Refusal::AlreadyExists => 409,
            Refusal::Invalid(_) => 400,
            Refusal::Full => 507,
            Refusal::Unavailable(_) => 503,
            Refusal::Owner(_) => 504,
        }
    }
}
