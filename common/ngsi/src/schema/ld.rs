//! NGSI-LD.

use super::{list, schema, text, texts};

schema!(
    /// An `@context`: a URL, an object, or a list of these.
    struct Context, "LdContext", |_| {
    "description": "A URL, an object of terms, or a list of these; for application/ld+json only.",
    "anyOf": [{ "type": "string" }, { "type": "object" }, { "type": "array" }],
});
schema!(
    /// A document with an `@context` to be kept.
    struct HostedContext, "LdHostedContext", |generator| {
    "type": "object",
    "required": ["@context"],
    "properties": { "@context": generator.subschema_for::<Context>() },
});
schema!(
    /// An attribute.
    struct Attribute, "LdAttribute", |_| {
    "description": "Normalized as described here, concise, or with options=keyValues just the value.",
    "type": "object",
    "properties": {
        "type": { "enum": ["Property", "GeoProperty", "Relationship", "LanguageProperty", "JsonProperty", "VocabProperty",
            "ListProperty", "ListRelationship"] },
        "value": { "description": "Of a Property any JSON, of a GeoProperty a GeoJSON geometry." },
        "object": { "description": "Of a Relationship: the id of an entity, or several." },
        "languageMap": { "type": "object", "additionalProperties": { "type": "string" } },
        "observedAt": text("An ISO 8601 time."),
        "unitCode": { "type": "string" },
        "datasetId": { "type": "string", "format": "uri" },
    },
});
schema!(
    /// Attributes by name.
    struct Attributes, "LdAttributes", |generator| {
    "type": "object",
    "properties": { "@context": generator.subschema_for::<Context>() },
    "additionalProperties": generator.subschema_for::<Attribute>(),
});
schema!(
    /// An entity.
    struct Entity, "LdEntity", |generator| {
    "type": "object",
    "required": ["id", "type"],
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "id": { "type": "string", "format": "uri" },
        "type": { "anyOf": [{ "type": "string" }, texts()] },
        "scope": { "anyOf": [{ "type": "string" }, texts()] },
    },
    "additionalProperties": { "anyOf": [generator.subschema_for::<Attribute>(), list::<Attribute>(generator)] },
});
schema!(
    /// Entities.
    struct Entities, "LdEntities", |generator| { "type": "array", "items": generator.subschema_for::<Entity>() });
schema!(
    /// Ids of entities.
    struct Ids, "LdEntityIds", |_| { "type": "array", "items": { "type": "string", "format": "uri" } });
schema!(
    /// Body of a batch deletion: ids, or entities of which the id counts.
    struct Deletions, "LdDeletions", |_| {
    "type": "array",
    "items": { "anyOf": [{ "type": "string", "format": "uri" }, { "type": "object", "required": ["id"] }] },
});
schema!(
    /// What became of the entities of a batch.
    struct BatchResult, "LdBatchResult", |generator| {
    "type": "object",
    "properties": {
        "success": generator.subschema_for::<Ids>(),
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "entityId": { "type": "string" },
                    "error": generator.subschema_for::<Problem>(),
                },
            },
        },
    },
});
schema!(
    /// Problem details (RFC 7807).
    struct Problem, "LdProblem", |_| {
    "type": "object",
    "properties": {
        "type": { "type": "string", "format": "uri" },
        "title": { "type": "string" },
        "detail": { "type": "string" },
        "status": { "type": "integer" },
    },
});
schema!(
    /// One alternative of the entities that are meant.
    struct Selector, "LdEntitySelector", |_| {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": { "type": "string" },
        "id": { "anyOf": [{ "type": "string" }, texts()] },
        "idPattern": { "type": "string" },
    },
});
schema!(
    /// A geographic condition.
    struct GeoQuery, "LdGeoQuery", |_| {
    "type": "object",
    "required": ["georel", "geometry", "coordinates"],
    "properties": {
        "georel": { "type": "string" },
        "geometry": { "type": "string" },
        "coordinates": {},
        "geoproperty": { "type": "string" },
    },
});
schema!(
    /// Body of `POST /ngsi-ld/v1/entityOperations/query`.
    struct Query, "LdQuery", |generator| {
    "type": "object",
    "required": ["type"],
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "type": { "const": "Query" },
        "entities": list::<Selector>(generator),
        "attrs": texts(),
        "pick": texts(),
        "omit": texts(),
        "q": { "type": "string" },
        "geoQ": generator.subschema_for::<GeoQuery>(),
        "scopeQ": { "type": "string" },
        "lang": { "type": "string" },
    },
});
schema!(
    /// A subscription, or the parts of one that a `PATCH` changes.
    struct Subscription, "LdSubscription", |generator| {
    "type": "object",
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "id": { "type": "string", "format": "uri" },
        "type": { "const": "Subscription" },
        "entities": list::<Selector>(generator),
        "watchedAttributes": texts(),
        "q": { "type": "string" },
        "geoQ": generator.subschema_for::<GeoQuery>(),
        "scopeQ": { "type": "string" },
        "notificationTrigger": texts(),
        "isActive": { "type": "boolean" },
        "expiresAt": text("An ISO 8601 time."),
        "throttling": { "type": "number", "description": "Seconds." },
        "timeInterval": { "type": "number", "description": "Seconds." },
        "notification": {
            "type": "object",
            "required": ["endpoint"],
            "properties": {
                "attributes": texts(),
                "pick": texts(),
                "omit": texts(),
                "format": { "enum": ["normalized", "concise", "keyValues", "simplified"] },
                "sysAttrs": { "type": "boolean" },
                "showChanges": { "type": "boolean" },
                "endpoint": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": { "uri": { "type": "string", "format": "uri" }, "accept": { "type": "string" } },
                },
            },
        },
    },
});
schema!(
    /// A notification.
    struct Notification, "LdNotification", |generator| {
    "type": "object",
    "required": ["data"],
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "id": { "type": "string" },
        "type": { "const": "Notification" },
        "subscriptionId": { "type": "string" },
        "notifiedAt": text("An ISO 8601 time."),
        "data": list::<Entity>(generator),
    },
});
schema!(
    /// What became of the attributes of a request (207).
    struct UpdateResult, "LdUpdateResult", |_| {
    "description": "Only of a request that was carried out in part (207); else the answer has no body.",
    "type": "object",
    "properties": {
        "updated": texts(),
        "notUpdated": {
            "type": "array",
            "items": { "type": "object", "properties": { "attributeName": { "type": "string" }, "reason": { "type": "string" } } },
        },
    },
});
schema!(
    /// A type of entities.
    struct TypeDetails, "LdEntityTypeInfo", |generator| {
    "type": "object",
    "required": ["id", "type", "typeName"],
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "id": { "type": "string", "format": "uri" },
        "type": { "enum": ["EntityType", "EntityTypeInfo"] },
        "typeName": { "type": "string" },
        "attributeNames": texts(),
        "entityCount": { "type": "integer" },
        "attributeDetails": list::<AttributeDetails>(generator),
    },
});
schema!(
    /// The types of entities that a broker has.
    struct Types, "LdEntityTypes", |generator| {
    "description": "With details=true one object for each type.",
    "anyOf": [
        {
            "type": "object",
            "required": ["id", "type", "typeList"],
            "properties": { "id": { "type": "string" }, "type": { "const": "EntityTypeList" }, "typeList": texts() },
        },
        list::<TypeDetails>(generator),
    ],
});
schema!(
    /// An attribute of the entities that a broker has.
    struct AttributeDetails, "LdAttributeInfo", |generator| {
    "type": "object",
    "required": ["id", "type", "attributeName"],
    "properties": {
        "@context": generator.subschema_for::<Context>(),
        "id": { "type": "string", "format": "uri" },
        "type": { "const": "Attribute" },
        "attributeName": { "type": "string" },
        "attributeCount": { "type": "integer" },
        "attributeTypes": texts(),
        "typeNames": texts(),
    },
});
schema!(
    /// The attributes of the entities that a broker has.
    struct AttributeNames, "LdAttributeNames", |generator| {
    "description": "With details=true one object for each attribute.",
    "anyOf": [
        {
            "type": "object",
            "required": ["id", "type", "attributeList"],
            "properties": { "id": { "type": "string" }, "type": { "const": "AttributeList" }, "attributeList": texts() },
        },
        list::<AttributeDetails>(generator),
    ],
});
schema!(
    /// An `@context` that a broker keeps.
    struct ContextDetails, "LdContextDetails", |_| {
    "type": "object",
    "required": ["URL", "localId", "kind", "createdAt"],
    "properties": {
        "URL": { "type": "string", "format": "uri" },
        "localId": { "type": "string" },
        "kind": { "enum": ["Cached", "Hosted", "ImplicitlyCreated"] },
        "createdAt": text("An ISO 8601 time."),
        "lastUsage": text("An ISO 8601 time."),
        "numberOfHits": { "type": "integer" },
    },
});
schema!(
    /// The `@context`s that a broker keeps.
    struct Contexts, "LdContexts", |generator| {
    "description": "Their URLs; with details=true one object for each.",
    "anyOf": [{ "type": "array", "items": { "type": "string", "format": "uri" } }, list::<ContextDetails>(generator)],
});
schema!(
    /// One `@context`.
    struct ShownContext, "LdShownContext", |generator| {
    "description": "The document; with details=true what is known of it.",
    "anyOf": [generator.subschema_for::<HostedContext>(), generator.subschema_for::<ContextDetails>()],
});
