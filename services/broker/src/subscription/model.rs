//! The canonical subscription.

use std::time::Duration;

use fogflow_ngsi::v1::Restriction;
use fogflow_ngsi::{Json, Name, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::filter::{EntitySelector, Filter, PathScope, Selector};
use crate::restriction;

/// The face through which a subscription was made; it decides how it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Face {
    /// NGSI-10.
    #[default]
    V1,
    /// NGSIv2.
    V2,
    /// NGSI-LD.
    Ld,
}

/// The form of a notification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// NGSI-10: `POST <url>/notifyContext`.
    #[default]
    V1,
    /// NGSIv2, normalized: `POST <url>`.
    V2,
    /// NGSIv2 with `attrsFormat: keyValues`.
    V2KeyValues,
    /// NGSIv2 with `attrsFormat: values`.
    V2Values,
    /// NGSI-LD `Notification`, normalized: `POST <url>`.
    Ld,
    /// NGSI-LD `Notification` with `format: concise`.
    LdConcise,
    /// NGSI-LD `Notification` with `format: keyValues` (simplified).
    LdKeyValues,
    /// `Destination: NGSI-LD` of upstream: an array to `<url>/ngsi-ld/v1/entityOperations/upsert`; deletions go to
    /// `entityOperations/delete`.
    LdUpsert,
    /// Between our own brokers: whole changes, to `<url>/internal/notify`.
    Peer,
}

/// Where notifications go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The subscriber's URL, as it was given.
    pub url: SmolStr,
    /// The form.
    #[serde(default)]
    pub format: Format,
    /// The media type that the subscriber wants (`endpoint.accept`); empty for `application/json`.
    #[serde(default)]
    pub accept: SmolStr,
    /// Further headers (`receiverInfo`, `httpCustom.headers`, `NGSILD-Tenant`, `Link`).
    #[serde(default)]
    pub headers: Vec<(SmolStr, SmolStr)>,
    /// The user's `@context` for compaction, as JSON text; empty for the core context only.
    #[serde(default)]
    pub context: SmolStr,
    /// The URL of that context for `Link` headers; empty for the core context.
    #[serde(default)]
    pub link: SmolStr,
    /// Metadata that is sent (NGSIv2); empty for all.
    #[serde(default)]
    pub metadata: Vec<SmolStr>,
    /// Whether the attributes that are sent were picked (NGSI-LD `pick`): then `id` and `type` are sent if they are named.
    #[serde(default)]
    pub picks: bool,
    /// Whether previous values are sent (NGSI-LD `showChanges`).
    #[serde(default)]
    pub show_changes: bool,
    /// Whether linked entities are sent (NGSI-LD `join`): `inline`, `flat` or empty.
    #[serde(default)]
    pub join: SmolStr,
    /// How many links are followed.
    #[serde(default)]
    pub join_level: u8,
    /// Whether `createdAt` and `modifiedAt` are sent (NGSI-LD `sysAttrs`).
    #[serde(default)]
    pub sys_attrs: bool,
    /// `datasetId`s of the instances that are sent (NGSI-LD); empty for all.
    #[serde(default)]
    pub datasets: Vec<SmolStr>,
    /// The language to which LanguageProperties are reduced (NGSI-LD `lang`); empty for none.
    #[serde(default)]
    pub lang: SmolStr,
}

/// Which changes are told, beside the filter and the watched attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// An entity that is new.
    pub created: bool,
    /// An entity that is written.
    pub updated: bool,
    /// An entity that is deleted.
    pub deleted: bool,
    /// Only writes that change a value.
    pub only_modified: bool,
    /// What happens to single attributes (NGSI-LD `attributeCreated`, `attributeUpdated`, `attributeDeleted`).
    #[serde(default)]
    pub attributes: AttributeTrigger,
}

/// Which changes of watched attributes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeTrigger {
    /// An instance that is new.
    pub created: bool,
    /// An instance that is written again.
    pub updated: bool,
    /// An instance that is deleted, also with its entity.
    pub deleted: bool,
}

impl AttributeTrigger {
    /// Nothing.
    pub const NONE: AttributeTrigger = AttributeTrigger { created: false, updated: false, deleted: false };
}

impl Trigger {
    /// NGSI-10: everything.
    pub const ALL: Trigger =
        Trigger { created: true, updated: true, deleted: true, only_modified: false, attributes: AttributeTrigger::NONE };
    /// NGSIv2 and NGSI-LD by default: new and written entities.
    pub const WRITTEN: Trigger =
        Trigger { created: true, updated: true, deleted: false, only_modified: false, attributes: AttributeTrigger::NONE };
}

/// A subscription. Stored as it is; [`Subscription::filter`] compiles it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// The id; unique within the tenant.
    pub id: SmolStr,
    /// The tenant.
    pub tenant: Tenant,
    /// The service paths.
    #[serde(default)]
    pub path: PathScope,
    /// How it was made.
    #[serde(default)]
    pub face: Face,
    /// Alternatives, of which one must match; an empty list matches nothing.
    #[serde(default)]
    pub entities: Vec<EntitySelector>,
    /// Attributes that the entity must all have (NGSI-10 `attributes`).
    #[serde(default)]
    pub required: Vec<Name>,
    /// Only writes of one of these attributes are told; empty for any (`watchedAttributes`, `condition.attrs`, `ONCHANGE`).
    #[serde(default)]
    pub watched: Vec<Name>,
    /// NGSI-10 scopes and NGSI-LD geo queries, in NGSI-10's form.
    #[serde(default)]
    pub restriction: Restriction,
    /// `q`, in NGSI-LD's language with expanded names, whatever the face.
    #[serde(default)]
    pub q: SmolStr,
    /// `scopeQ`
    #[serde(default)]
    pub scope_q: SmolStr,
    /// The geoproperty of a geo query; empty for `location`.
    #[serde(default)]
    pub geoproperty: SmolStr,
    /// Where notifications go.
    pub target: Target,
    /// Attributes that are sent; empty for all.
    #[serde(default)]
    pub attributes: Vec<Name>,
    /// Attributes that are left out (NGSIv2 `exceptAttrs`).
    #[serde(default)]
    pub except: Vec<Name>,
    /// What is told.
    pub trigger: Trigger,
    /// Shortest time between two notifications, in milliseconds; 0 for none.
    #[serde(default)]
    pub throttling_ms: u64,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether it is paused (`status: inactive`, `isActive: false`).
    #[serde(default)]
    pub paused: bool,
    /// Whether the state at the time of subscribing is not sent.
    #[serde(default)]
    pub skip_initial: bool,
    /// `Fiware-Correlator` of the subscriber: its own writes are not told.
    #[serde(default)]
    pub correlator: SmolStr,
    /// Whether another broker placed it; such ones are not listed and stay local.
    #[serde(default)]
    pub internal: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
    /// The request in the form in which its face shows it again.
    #[serde(default)]
    pub document: Json,
}

/// Between our own brokers a subscription travels as it is stored.
impl schemars::JsonSchema for Subscription {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoredSubscription".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "required": ["id", "tenant", "target"] })
    }
}

impl Subscription {
    /// A subscription to nothing yet, for a face to fill in.
    #[must_use]
    pub fn new(face: Face, tenant: Tenant, target: Target) -> Self {
        let now = Timestamp::now();
        Subscription {
            id: SmolStr::default(),
            tenant,
            path: PathScope::Any,
            face,
            entities: Vec::new(),
            required: Vec::new(),
            watched: Vec::new(),
            restriction: Restriction::default(),
            q: SmolStr::default(),
            scope_q: SmolStr::default(),
            geoproperty: SmolStr::default(),
            target,
            attributes: Vec::new(),
            except: Vec::new(),
            trigger: if face == Face::V1 { Trigger::ALL } else { Trigger::WRITTEN },
            throttling_ms: 0,
            expires_at: None,
            paused: false,
            skip_initial: false,
            correlator: SmolStr::default(),
            internal: false,
            created_at: now,
            modified_at: now,
            document: Json::NULL,
        }
    }

    /// Compiles the conditions.
    ///
    /// # Errors
    /// A sentence for the client when a pattern or a query is wrong.
    pub fn filter(&self) -> Result<Filter, String> {
        let selectors = self.entities.iter().cloned().map(Selector::new).collect::<Result<_, _>>()?;
        let conditions = restriction::conditions(&self.restriction, &self.geoproperty, &self.q, &self.scope_q)?;
        Ok(Filter { selectors, all_attributes: self.required.clone(), any_attribute: Vec::new(), conditions, path: self.path.clone() })
    }

    /// Whether it has not been changed since it was made.
    #[must_use]
    pub fn is_as_made(&self) -> bool {
        self.created_at == self.modified_at
    }

    /// The shortest time between two notifications.
    #[must_use]
    pub fn throttling(&self) -> Duration {
        Duration::from_millis(self.throttling_ms)
    }

    /// Whether it has ended by `now`.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether notifications are sent at `now`.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> bool {
        !self.paused && !self.expired(now)
    }
}
