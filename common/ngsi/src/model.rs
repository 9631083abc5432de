//! The canonical entity: one model under three faces.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::context::core;
use crate::{Json, Timestamp};

/// Prefix of every name that no `@context` maps elsewhere (ETSI GS CIM 009, clause 5.5.7).
pub const DEFAULT_CONTEXT: &str = "https://uri.etsi.org/ngsi-ld/default-context/";

/// The name of an entity type or attribute: an IRI, short when the core context has a short form for it.
///
/// So `temperature` written through NGSI v1 or v2 is the same name as NGSI-LD's default expansion of it, `location` is the
/// core term, and a name that a user's `@context` maps elsewhere keeps its full IRI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(SmolStr);

impl Name {
    /// From an expanded IRI or a short name. The IRI of a short name becomes short: that of a core term (`location`), or
    /// one that starts with [`DEFAULT_CONTEXT`].
    #[must_use]
    pub fn new(iri: &str) -> Self {
        // Nearly all names are short, and those of v1 and v2 always are.
        if !iri.starts_with("http") {
            return Name(SmolStr::new(iri));
        }
        if let Some(term) = core::term_of(iri) {
            return Name(SmolStr::new_static(term));
        }
        // A core term in the default context is an odd name of its own; short, it would mean the core term.
        let short =
            iri.strip_prefix(DEFAULT_CONTEXT).filter(|short| !short.is_empty() && !short.contains(':') && core::iri_of(short).is_none());
        Name(SmolStr::new(short.unwrap_or(iri)))
    }

    /// The short form that v1 and v2 show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full IRI that NGSI-LD means.
    #[must_use]
    pub fn iri(&self) -> Cow<'_, str> {
        if self.0.contains(':') {
            return Cow::Borrowed(&self.0);
        }
        core::iri_of(&self.0).unwrap_or_else(|| Cow::Owned(format!("{DEFAULT_CONTEXT}{}", self.0)))
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tenant of a request; empty means the default tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(pub SmolStr);

impl Tenant {
    /// Whether this is the default tenant.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

/// What identifies an entity at a broker. The type is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityKey {
    /// `NGSILD-Tenant`, else `Fiware-Service`, else the default tenant.
    pub tenant: Tenant,
    /// `Fiware-ServicePath`; `/` by default.
    pub path: SmolStr,
    /// The entity id, as the client wrote it.
    pub id: SmolStr,
}

/// The kind of an attribute instance (ETSI GS CIM 009, clause 4.5.2 and following).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `value` is any JSON value.
    #[default]
    Property,
    /// `value` is a GeoJSON geometry.
    GeoProperty,
    /// `value` is a URI, or an array of URIs (`object`).
    Relationship,
    /// `value` is an object from language tag to text (`languageMap`).
    LanguageProperty,
    /// `value` is raw JSON that no context touches (`json`).
    JsonProperty,
    /// `value` is one or several vocabulary terms (`vocab`), expanded.
    VocabProperty,
    /// `value` is an ordered array (`valueList`).
    ListProperty,
    /// `value` is an ordered array of URIs (`objectList`).
    ListRelationship,
}

/// One instance of an attribute, or of an attribute of an attribute. Its serde form is the stored one, see [`crate::store`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The name.
    #[serde(rename = "n")]
    pub name: Name,
    /// What the value is.
    #[serde(rename = "k", default, skip_serializing_if = "Kind::is_property")]
    pub kind: Kind,
    /// Whether it came as v1 domain metadata of the entity. A domain item and an attribute may have the same name.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub domain: bool,
    /// The value, in the form that [`Kind`] tells.
    #[serde(rename = "v")]
    pub value: Json,
    /// The free type text of v1 and v2 (`float`, `Number`, `point`, …); empty if v1 gave none, `None` if it was written
    /// through NGSI-LD.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<SmolStr>,
    /// When this instance was created.
    #[serde(rename = "c", default, with = "crate::time::micros")]
    pub created_at: Timestamp,
    /// When this instance was last written.
    #[serde(rename = "m", default, with = "crate::time::micros")]
    pub modified_at: Timestamp,
    /// The parts that most attributes lack.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<Detail>>,
}

/// The less frequent parts of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// `datasetId`; instances of one attribute differ in it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub dataset_id: Option<SmolStr>,
    /// `observedAt`
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none", with = "crate::time::optional_micros")]
    pub observed_at: Option<Timestamp>,
    /// `unitCode`
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub unit_code: Option<SmolStr>,
    /// `objectType` of a Relationship.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub object_type: Option<Name>,
    /// Properties and relationships of the attribute; v1 and v2 call them metadata.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

/// An entity, whole. Its serde form is the stored one, see [`crate::store`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// The id, as the client wrote it.
    #[serde(rename = "i")]
    pub id: SmolStr,
    /// The types; empty if a v1 element had none.
    #[serde(rename = "t", default, skip_serializing_if = "SmallVec::is_empty")]
    pub types: SmallVec<[Name; 1]>,
    /// Attribute instances and domain metadata, in the order in which they first came.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// `scope` (ETSI GS CIM 009, clause 4.18).
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<SmolStr>,
    /// When the entity was created.
    #[serde(rename = "c", default, with = "crate::time::micros")]
    pub created_at: Timestamp,
    /// When the entity was last written.
    #[serde(rename = "m", default, with = "crate::time::micros")]
    pub modified_at: Timestamp,
}

impl Kind {
    /// Whether this is the default kind.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn is_property(&self) -> bool {
        *self == Kind::Property
    }

    /// The name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Property => "Property",
            Kind::GeoProperty => "GeoProperty",
            Kind::Relationship => "Relationship",
            Kind::LanguageProperty => "LanguageProperty",
            Kind::JsonProperty => "JsonProperty",
            Kind::VocabProperty => "VocabProperty",
            Kind::ListProperty => "ListProperty",
            Kind::ListRelationship => "ListRelationship",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::Property,
        Kind::GeoProperty,
        Kind::Relationship,
        Kind::LanguageProperty,
        Kind::JsonProperty,
        Kind::VocabProperty,
        Kind::ListProperty,
        Kind::ListRelationship,
    ];

    /// Whether a value has the form that this kind needs.
    #[must_use]
    pub fn allows(self, value: &Json) -> bool {
        let text_or_texts = |value: &Json| value.as_str().is_some() || serde_json::from_str::<Vec<Cow<'_, str>>>(value.as_text()).is_ok();
        match self {
            Kind::Property | Kind::JsonProperty => true,
            Kind::GeoProperty => crate::geometry::parse(value.as_text()).is_ok(),
            Kind::Relationship | Kind::VocabProperty => text_or_texts(value),
            Kind::LanguageProperty => value.is_object(),
            Kind::ListProperty => value.is_array(),
            Kind::ListRelationship => value.is_array() && text_or_texts(value),
        }
    }
}

impl Attribute {
    /// A Property with this value and no further detail.
    #[must_use]
    pub fn property(name: impl Into<Name>, value: Json, at: Timestamp) -> Self {
        Attribute {
            name: name.into(),
            kind: Kind::Property,
            domain: false,
            value,
            value_type: None,
            created_at: at,
            modified_at: at,
            detail: None,
        }
    }

    /// `datasetId`, if the instance has one.
    #[must_use]
    pub fn dataset_id(&self) -> Option<&str> {
        self.detail.as_ref()?.dataset_id.as_deref()
    }

    /// The attributes of the attribute (v1 and v2: metadata).
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        self.detail.as_ref().map_or(&[], |detail| &detail.attributes)
    }

    /// Whether both are the same slot of an entity: a write of one replaces the other.
    #[must_use]
    pub fn same_instance(&self, other: &Attribute) -> bool {
        self.name == other.name
            && self.dataset_id() == other.dataset_id()
            && (self.domain == other.domain || self.is_place() && other.is_place())
    }

    /// Whether it is a place. A place is the same slot in all faces: v1's domain metadata and NGSI-LD's GeoProperty.
    fn is_place(&self) -> bool {
        self.kind == Kind::GeoProperty
    }

    /// Sets its times, and those of its own attributes.
    pub fn stamp(&mut self, at: Timestamp) {
        self.created_at = at;
        self.modified_at = at;
        if let Some(detail) = &mut self.detail {
            detail.attributes.iter_mut().for_each(|inner| inner.stamp(at));
        }
    }
}

impl Entity {
    /// An entity without attributes.
    #[must_use]
    pub fn new(id: &str, entity_type: Option<&str>, at: Timestamp) -> Self {
        Entity {
            id: SmolStr::new(id),
            types: entity_type.into_iter().map(Name::new).collect(),
            attributes: Vec::new(),
            scopes: Vec::new(),
            created_at: at,
            modified_at: at,
        }
    }

    /// Sets all times, as of an entity that is new.
    pub fn stamp(&mut self, at: Timestamp) {
        self.created_at = at;
        self.modified_at = at;
        self.attributes.iter_mut().for_each(|attribute| attribute.stamp(at));
    }

    /// The instances of an attribute that is not domain metadata.
    pub fn instances<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a Attribute> {
        self.attributes.iter().filter(move |attribute| !attribute.domain && attribute.name == *name)
    }

    /// Whether `attribute`, which must be one of this entity's, is the instance that v1 and v2 show of its name: the
    /// default one, else the first.
    #[must_use]
    pub fn is_main_instance(&self, attribute: &Attribute) -> bool {
        let mut same_name = self.attributes.iter().filter(|other| other.domain == attribute.domain && other.name == attribute.name);
        attribute.dataset_id().is_none()
            || same_name.clone().all(|other| other.dataset_id().is_some())
                && same_name.next().is_some_and(|first| std::ptr::eq(first, attribute))
    }

    /// The v1 domain metadata.
    pub fn domain_metadata(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| attribute.domain)
    }
}
