//! The core `@context` (ETSI GS CIM 009, annex B), as a table of our own.
//!
//! The table holds every term that the specification's data types, parameters and notifications use. Its terms are
//! protected: a user's context cannot give them another meaning (clause 5.5.7).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Coercion, Container};

const NGSI_LD: &str = "https://uri.etsi.org/ngsi-ld/";
const GEOJSON: &str = "https://purl.org/geojson/vocab#";

/// One term of the core context.
pub(super) struct CoreTerm {
    pub(super) term: &'static str,
    base: &'static str,
    local: &'static str,
    pub(super) coercion: Coercion,
    pub(super) container: Container,
}

impl CoreTerm {
    pub(super) fn iri(&self) -> String {
        format!("{}{}", self.base, self.local)
    }
}

const fn term(base: &'static str, term: &'static str, local: &'static str, coercion: Coercion, container: Container) -> CoreTerm {
    CoreTerm { term, base, local, coercion, container }
}

/// Terms of the NGSI-LD vocabulary whose local name is the term itself, and whose values are plain.
const PLAIN: &[&str] = &[
    "Attribute",
    "AttributeList",
    "ContextSourceIdentity",
    "ContextSourceNotification",
    "ContextSourceRegistration",
    "Date",
    "DateTime",
    "EntityType",
    "EntityTypeInfo",
    "EntityTypeList",
    "ExecutionResult",
    "GeoProperty",
    "JsonProperty",
    "LanguageProperty",
    "ListProperty",
    "ListRelationship",
    "Notification",
    "OptionsResult",
    "Property",
    "Relationship",
    "Subscription",
    "TemporalProperty",
    "Time",
    "VocabProperty",
    "accept",
    "attributeCount",
    "attributeDetails",
    "cacheDuration",
    "contextSourceAlias",
    "contextSourceInfo",
    "contextSourceUptime",
    "cooldown",
    "csf",
    "data",
    "deleteAll",
    "detail",
    "distinctCount",
    "endpoint",
    "entities",
    "entity",
    "entityCount",
    "error",
    "errors",
    "format",
    "geoQ",
    "geoproperty",
    "georel",
    "idPattern",
    "information",
    "isActive",
    "join",
    "joinLevel",
    "jsonKeys",
    "key",
    "lang",
    "lastFailure",
    "lastNotification",
    "lastSuccess",
    "localOnly",
    "location",
    "management",
    "managementInterval",
    "mode",
    "notification",
    "notificationTrigger",
    "notifierInfo",
    "observationInterval",
    "observationSpace",
    "omit",
    "onlyIds",
    "operationSpace",
    "operations",
    "pick",
    "q",
    "receiverInfo",
    "refreshRate",
    "registrationName",
    "scope",
    "scopeQ",
    "showChanges",
    "splitEntities",
    "status",
    "subscriptionName",
    "success",
    "sysAttrs",
    "temporalQ",
    "throttling",
    "timeInterval",
    "timeout",
    "timeproperty",
    "timerel",
    "timesFailed",
    "timesSent",
    "title",
    "totalCount",
    "triggerReason",
    "unchanged",
    "unitCode",
    "updated",
    "uri",
    "valueType",
    "notUpdated",
    "attributeName",
    "reason",
];

/// Terms whose values are URIs.
const IDS: &[&str] =
    &["containedBy", "datasetId", "entityId", "entityIds", "instanceId", "notifyTo", "registrationId", "subscriptionId", "tenant"];

/// Terms whose values are terms.
const VOCABS: &[&str] = &[
    "attributeNames",
    "attributeTypes",
    "attributes",
    "attrs",
    "objectType",
    "propertyNames",
    "relationshipNames",
    "typeList",
    "typeName",
    "typeNames",
    "watchedAttributes",
];

/// Terms whose values are points in time.
const TIMES: &[&str] = &[
    "contextSourceTimeAt",
    "createdAt",
    "deletedAt",
    "endAt",
    "endTimeAt",
    "expiresAt",
    "modifiedAt",
    "notifiedAt",
    "observedAt",
    "startAt",
    "timeAt",
];

/// Aggregation results (clause 4.5.19), which are lists.
const AGGREGATES: &[&str] = &["avg", "max", "min", "stddev", "sum", "sumsq"];

/// Terms with a mapping of their own.
const SPECIAL: &[CoreTerm] = &[
    term("http://purl.org/dc/terms/", "description", "description", Coercion::None, Container::None),
    term(NGSI_LD, "value", "hasValue", Coercion::None, Container::None),
    term(NGSI_LD, "values", "hasValues", Coercion::None, Container::List),
    term(NGSI_LD, "object", "hasObject", Coercion::Id, Container::None),
    term(NGSI_LD, "objects", "hasObjects", Coercion::Id, Container::List),
    term(NGSI_LD, "languageMap", "hasLanguageMap", Coercion::None, Container::Language),
    term(NGSI_LD, "languageMaps", "hasLanguageMaps", Coercion::None, Container::List),
    term(NGSI_LD, "json", "hasJSON", Coercion::Json, Container::None),
    term(NGSI_LD, "jsons", "jsons", Coercion::None, Container::List),
    term(NGSI_LD, "vocab", "hasVocab", Coercion::Vocab, Container::None),
    term(NGSI_LD, "vocabs", "hasVocabs", Coercion::Vocab, Container::List),
    term(NGSI_LD, "valueList", "hasValueList", Coercion::None, Container::List),
    term(NGSI_LD, "valueLists", "hasValueLists", Coercion::None, Container::List),
    term(NGSI_LD, "objectList", "hasObjectList", Coercion::Id, Container::List),
    term(NGSI_LD, "objectLists", "hasObjectLists", Coercion::Id, Container::List),
    term(NGSI_LD, "entityList", "entityList", Coercion::None, Container::List),
    term(NGSI_LD, "previousValue", "hasPreviousValue", Coercion::None, Container::None),
    term(NGSI_LD, "previousObject", "hasPreviousObject", Coercion::Id, Container::None),
    term(NGSI_LD, "previousLanguageMap", "hasPreviousLanguageMap", Coercion::None, Container::Language),
    term(NGSI_LD, "previousJson", "hasPreviousJson", Coercion::Json, Container::None),
    term(NGSI_LD, "previousVocab", "hasPreviousVocab", Coercion::Vocab, Container::None),
    term(NGSI_LD, "previousValueList", "hasPreviousValueList", Coercion::None, Container::List),
    term(NGSI_LD, "previousObjectList", "hasPreviousObjectList", Coercion::Id, Container::List),
    term(NGSI_LD, "contextSourceExtras", "contextSourceExtras", Coercion::Json, Container::None),
    term(NGSI_LD, "dataset", "hasDataset", Coercion::None, Container::Index),
    term(GEOJSON, "Feature", "Feature", Coercion::None, Container::None),
    term(GEOJSON, "FeatureCollection", "FeatureCollection", Coercion::None, Container::None),
    term(GEOJSON, "GeometryCollection", "GeometryCollection", Coercion::None, Container::None),
    term(GEOJSON, "LineString", "LineString", Coercion::None, Container::None),
    term(GEOJSON, "MultiLineString", "MultiLineString", Coercion::None, Container::None),
    term(GEOJSON, "MultiPoint", "MultiPoint", Coercion::None, Container::None),
    term(GEOJSON, "MultiPolygon", "MultiPolygon", Coercion::None, Container::None),
    term(GEOJSON, "Point", "Point", Coercion::None, Container::None),
    term(GEOJSON, "Polygon", "Polygon", Coercion::None, Container::None),
    term(GEOJSON, "bbox", "bbox", Coercion::None, Container::List),
    term(GEOJSON, "coordinates", "coordinates", Coercion::None, Container::List),
    term(GEOJSON, "features", "features", Coercion::None, Container::Set),
    term(GEOJSON, "geometry", "geometry", Coercion::None, Container::None),
    term(GEOJSON, "properties", "properties", Coercion::None, Container::None),
];

/// The prefixes of the core context, for compact IRIs as `ngsi-ld:x`.
pub(super) const PREFIXES: [(&str, &str); 2] = [("ngsi-ld", NGSI_LD), ("geojson", GEOJSON)];

/// The IRI of a prefix of the core context.
pub(super) fn prefix_iri(prefix: &str) -> Option<&'static str> {
    PREFIXES.iter().find(|(term, _)| *term == prefix).map(|(_, iri)| *iri)
}

/// Whether the core context defines a term, so that no other context can.
pub(super) fn is_protected(term: &str) -> bool {
    matches!(term, "id" | "type") || prefix_iri(term).is_some() || iri_of(term).is_some()
}

/// All terms.
pub(super) fn terms() -> impl Iterator<Item = CoreTerm> {
    let same = |names: &'static [&'static str], coercion: Coercion, container: Container| {
        names.iter().map(move |name| term(NGSI_LD, name, name, coercion, container))
    };
    let special = SPECIAL.iter().map(|s| term(s.base, s.term, s.local, s.coercion, s.container));
    same(PLAIN, Coercion::None, Container::None)
        .chain(same(IDS, Coercion::Id, Container::None))
        .chain(same(VOCABS, Coercion::Vocab, Container::None))
        .chain(same(TIMES, Coercion::DateTime, Container::None))
        .chain(same(AGGREGATES, Coercion::None, Container::List))
        .chain(special)
}

struct Table {
    by_term: HashMap<&'static str, String, foldhash::fast::RandomState>,
    by_iri: HashMap<String, &'static str, foldhash::fast::RandomState>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    by_term: terms().map(|term| (term.term, term.iri())).collect(),
    by_iri: terms().map(|term| (term.iri(), term.term)).collect(),
});

/// The IRI of a core term.
pub(crate) fn iri_of(term: &str) -> Option<Cow<'static, str>> {
    TABLE.by_term.get(term).map(|iri| Cow::Borrowed(iri.as_str()))
}

/// The core term of an IRI.
pub(crate) fn term_of(iri: &str) -> Option<&'static str> {
    TABLE.by_iri.get(iri).copied()
}

/// Whether a URL is that of a core context, of any version: it is built in and never fetched.
#[must_use]
pub fn is_core_context(url: &str) -> bool {
    let path = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    path.strip_prefix("uri.etsi.org/ngsi-ld/").is_some_and(|path| path.contains("ngsi-ld-core-context"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn each_term_and_each_iri_is_there_once() {
        assert_eq!(TABLE.by_term.len(), terms().count());
        assert_eq!(TABLE.by_iri.len(), terms().count());
    }

    #[test]
    fn a_core_term_is_one_name_in_all_faces() {
        assert_eq!(Name::new("https://uri.etsi.org/ngsi-ld/location"), Name::new("location"));
        assert_eq!(Name::new("location").iri(), "https://uri.etsi.org/ngsi-ld/location");
        assert_eq!(Name::new("https://uri.etsi.org/ngsi-ld/default-context/temp"), Name::new("temp"));
        let odd = Name::new("https://uri.etsi.org/ngsi-ld/default-context/location");
        assert_eq!(odd.iri(), "https://uri.etsi.org/ngsi-ld/default-context/location");
    }

    #[test]
    fn every_version_of_the_core_context_is_known_by_its_url() {
        assert!(is_core_context("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.3.jsonld"));
        assert!(is_core_context("http://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"));
        assert!(!is_core_context("https://example.org/ngsi-ld-core-context.jsonld"));
    }
}
