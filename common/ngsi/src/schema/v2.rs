//! NGSIv2.

use super::{list, schema, text, texts};

schema!(
    /// An attribute.
    struct Attribute, "V2Attribute", |_| {
    "type": "object",
    "properties": {
        "value": { "description": "Any JSON." },
        "type": { "type": "string" },
        "metadata": {
            "type": "object",
            "additionalProperties": { "type": "object", "properties": { "type": { "type": "string" }, "value": {} } },
        },
    },
});
schema!(
    /// Attributes by name; with `options=keyValues` their values.
    struct Attributes, "V2Attributes", |generator| {
    "type": "object",
    "description": "Attributes by name; with options=keyValues their values.",
    "additionalProperties": generator.subschema_for::<Attribute>(),
});
schema!(
    /// An entity.
    struct Entity, "V2Entity", |generator| {
    "type": "object",
    "required": ["id"],
    "properties": { "id": { "type": "string" }, "type": { "type": "string" } },
    "additionalProperties": generator.subschema_for::<Attribute>(),
});
schema!(
    /// Entities.
    struct Entities, "V2Entities", |generator| { "type": "array", "items": generator.subschema_for::<Entity>() });
schema!(
    /// The value of an attribute.
    struct Value, "V2Value", |_| { "description": "Any JSON, or as text/plain a number, a boolean, null or a text in quotes." });
schema!(
    /// Body of `POST /v2/op/update`.
    struct BatchUpdate, "V2BatchUpdate", |generator| {
    "type": "object",
    "required": ["actionType", "entities"],
    "properties": {
        "actionType": { "enum": ["append", "appendStrict", "update", "delete", "replace"] },
        "entities": list::<Entity>(generator),
    },
});
schema!(
    /// One alternative of the entities that are meant.
    struct Selector, "V2EntitySelector", |_| {
    "type": "object",
    "properties": {
        "id": { "type": "string" },
        "idPattern": { "type": "string" },
        "type": { "type": "string" },
        "typePattern": { "type": "string" },
    },
});
schema!(
    /// Conditions on entities.
    struct Expression, "V2Expression", |_| {
    "type": "object",
    "properties": {
        "q": { "type": "string" },
        "mq": { "type": "string" },
        "georel": { "type": "string" },
        "geometry": { "type": "string" },
        "coords": { "type": "string" },
    },
});
schema!(
    /// Body of `POST /v2/op/query`.
    struct BatchQuery, "V2BatchQuery", |generator| {
    "type": "object",
    "properties": {
        "entities": list::<Selector>(generator),
        "attrs": texts(),
        "metadata": texts(),
        "expression": generator.subschema_for::<Expression>(),
    },
});
schema!(
    /// A notification.
    struct Notification, "V2Notification", |generator| {
    "type": "object",
    "required": ["data"],
    "properties": { "subscriptionId": { "type": "string" }, "data": list::<Entity>(generator) },
});
schema!(
    /// A subscription, or the parts of one that a `PATCH` changes.
    struct Subscription, "V2Subscription", |generator| {
    "type": "object",
    "properties": {
        "description": { "type": "string" },
        "subject": {
            "type": "object",
            "properties": {
                "entities": list::<Selector>(generator),
                "condition": {
                    "type": "object",
                    "properties": {
                        "attrs": texts(),
                        "expression": generator.subschema_for::<Expression>(),
                        "alterationTypes": texts(),
                    },
                },
            },
        },
        "notification": {
            "type": "object",
            "properties": {
                "http": { "type": "object", "required": ["url"], "properties": { "url": { "type": "string" } } },
                "httpCustom": {
                    "type": "object",
                    "required": ["url"],
                    "properties": { "url": { "type": "string" }, "headers": { "type": "object", "additionalProperties": { "type": "string" } } },
                },
                "attrs": texts(),
                "exceptAttrs": texts(),
                "metadata": texts(),
                "attrsFormat": { "enum": ["normalized", "keyValues", "values"] },
            },
        },
        "throttling": { "type": "integer", "description": "Seconds." },
        "expires": text("An ISO 8601 time."),
        "status": { "enum": ["active", "inactive", "oneshot"] },
    },
});
schema!(
    /// The entry points of the interface.
    struct EntryPoints, "V2EntryPoints", |_| {
    "type": "object",
    "properties": {
        "entities_url": { "type": "string" },
        "types_url": { "type": "string" },
        "subscriptions_url": { "type": "string" },
    },
});
schema!(
    /// A type of entities.
    struct Type, "V2Type", |_| {
    "type": "object",
    "required": ["attrs", "count"],
    "properties": {
        "type": { "type": "string" },
        "attrs": { "type": "object", "additionalProperties": { "type": "object", "properties": { "types": texts() } } },
        "count": { "type": "integer" },
    },
});
schema!(
    /// Types of entities.
    struct Types, "V2Types", |generator| {
    "description": "With options=values their names.",
    "anyOf": [list::<Type>(generator), texts()],
});
