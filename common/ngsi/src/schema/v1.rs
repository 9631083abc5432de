//! NGSI-10 and NGSI-9.

use super::{list, schema, text, texts};
use crate::v1::availability::{
    ContextRegistration, ContextRegistrationResponse, DiscoverContextAvailabilityRequest, DiscoverContextAvailabilityResponse,
    EntityRegistration, Heartbeat, HeartbeatResponse, NotifyContextAvailabilityRequest, RegisterContextRequest, RegisterContextResponse,
    RegistrationAttribute, RemovedEntity, SubscribeContextAvailabilityRequest, SubscribeContextAvailabilityResponse,
};
use crate::v1::{
    ContextElement, ContextElementResponse, EntityId, NotifyContextRequest, NotifyContextResponse, QueryContextRequest,
    QueryContextResponse, Restriction, StatusCode, SubscribeContextRequest, SubscribeContextResponse, UnsubscribeContextRequest,
    UnsubscribeContextResponse, UpdateContextRequest, UpdateContextResponse,
};

schema!(EntityId, "EntityId", |_| {
    "type": "object",
    "properties": {
        "id": text("The id; with isPattern a regular expression on it."),
        "type": text("The exact type; absent or empty for any."),
        "isPattern": { "type": "boolean" },
    },
});
schema!(
    /// Metadata of an attribute or of an entity.
    struct Metadata, "ContextMetadata", |_| {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": { "type": "string" },
        "type": text("For example string, point, circle, polygon."),
        "value": { "description": "Any JSON; a point is {\"latitude\": 49.4, \"longitude\": 8.7}." },
    },
});
schema!(
    /// An attribute.
    struct ContextAttribute, "ContextAttribute", |generator| {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": { "type": "string" },
        "type": text("For example string, integer, float, boolean, object, command."),
        "value": { "description": "Any JSON." },
        "metadata": list::<Metadata>(generator),
    },
});
schema!(ContextElement, "ContextElement", |generator| {
    "type": "object",
    "required": ["entityId"],
    "properties": {
        "entityId": generator.subschema_for::<EntityId>(),
        "attributes": list::<ContextAttribute>(generator),
        "domainMetadata": list::<Metadata>(generator),
    },
});
schema!(StatusCode, "StatusCode", |_| {
    "type": "object",
    "properties": { "code": { "type": "integer" }, "reasonPhrase": { "type": "string" }, "details": { "type": "string" } },
});
schema!(ContextElementResponse, "ContextElementResponse", |generator| {
    "type": "object",
    "properties": {
        "contextElement": generator.subschema_for::<ContextElement>(),
        "statusCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(Restriction, "Restriction", |_| {
    "type": "object",
    "properties": {
        "scopes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["scopeType", "scopeValue"],
                "properties": {
                    "scopeType": { "enum": ["circle", "polygon", "nearby", "simplegeolocation", "stringQuery"] },
                    "scopeValue": { "description": "Depends on the type; a circle has centerLatitude, centerLongitude and radius in metres." },
                },
            },
        },
        "attributeExpression": { "type": "string" },
    },
});
schema!(UpdateContextRequest, "UpdateContextRequest", |generator| {
    "type": "object",
    "required": ["contextElements", "updateAction"],
    "properties": {
        "contextElements": list::<ContextElement>(generator),
        "updateAction": { "enum": ["UPDATE", "APPEND", "DELETE"] },
    },
});
schema!(UpdateContextResponse, "UpdateContextResponse", |generator| {
    "type": "object",
    "properties": {
        "contextResponses": list::<ContextElementResponse>(generator),
        "errorCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(QueryContextRequest, "QueryContextRequest", |generator| {
    "type": "object",
    "required": ["entities"],
    "properties": {
        "entities": list::<EntityId>(generator),
        "attributes": texts(),
        "restriction": generator.subschema_for::<Restriction>(),
    },
});
schema!(QueryContextResponse, "QueryContextResponse", |generator| {
    "type": "object",
    "properties": {
        "contextResponses": list::<ContextElementResponse>(generator),
        "errorCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(SubscribeContextRequest, "SubscribeContextRequest", |generator| {
    "type": "object",
    "required": ["entities", "reference"],
    "properties": {
        "entities": list::<EntityId>(generator),
        "attributes": texts(),
        "reference": text("The URL to which /notifyContext is added."),
        "duration": text("An ISO 8601 duration; absent for ever."),
        "throttling": text("The shortest time between notifications: an ISO 8601 duration or seconds."),
        "restriction": generator.subschema_for::<Restriction>(),
        "notifyConditions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": { "type": { "enum": ["ONCHANGE", "ONVALUE", "ONTIMEINTERVAL"] }, "condValueList": texts() },
            },
        },
    },
});
schema!(SubscribeContextResponse, "SubscribeContextResponse", |generator| {
    "type": "object",
    "properties": {
        "subscribeResponse": { "type": "object", "properties": { "subscriptionId": { "type": "string" } } },
        "subscribeError": { "type": "object", "properties": { "errorCode": generator.subschema_for::<StatusCode>() } },
    },
});
schema!(UnsubscribeContextRequest, "UnsubscribeContextRequest", |_| {
    "type": "object",
    "required": ["subscriptionId"],
    "properties": { "subscriptionId": { "type": "string" } },
});
schema!(UnsubscribeContextResponse, "UnsubscribeContextResponse", |generator| {
    "type": "object",
    "properties": { "subscriptionId": { "type": "string" }, "statusCode": generator.subschema_for::<StatusCode>() },
});
schema!(NotifyContextRequest, "NotifyContextRequest", |generator| {
    "type": "object",
    "required": ["subscriptionId", "contextResponses"],
    "properties": {
        "subscriptionId": { "type": "string" },
        "originator": { "type": "string" },
        "contextResponses": list::<ContextElementResponse>(generator),
    },
});
schema!(NotifyContextResponse, "NotifyContextResponse", |generator| {
    "type": "object",
    "properties": { "responseCode": generator.subschema_for::<StatusCode>() },
});

schema!(RegistrationAttribute, "RegistrationAttribute", |generator| {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": { "type": "string" },
        "type": { "type": "string" },
        "isDomain": { "type": "boolean" },
        "metadata": list::<Metadata>(generator),
    },
});
schema!(ContextRegistration, "ContextRegistration", |generator| {
    "type": "object",
    "required": ["providingApplication"],
    "properties": {
        "entities": list::<EntityId>(generator),
        "attributes": list::<RegistrationAttribute>(generator),
        "contextMetadata": list::<Metadata>(generator),
        "providingApplication": text("The provider's URL, as http://host:8070/ngsi10."),
        "Tenant": text("Absent for the default tenant."),
        "ServicePath": text("Absent for /."),
        "otherTypes": texts(),
        "brokerId": text("In notifications: the id of the broker that provides it."),
    },
});
schema!(RemovedEntity, "RemovedEntity", |_| {
    "type": "object",
    "required": ["id"],
    "properties": { "id": { "type": "string" }, "Tenant": { "type": "string" }, "ServicePath": { "type": "string" } },
});
schema!(ContextRegistrationResponse, "ContextRegistrationResponse", |generator| {
    "type": "object",
    "properties": {
        "contextRegistration": generator.subschema_for::<ContextRegistration>(),
        "errorCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(RegisterContextRequest, "RegisterContextRequest", |generator| {
    "type": "object",
    "required": ["contextRegistrations"],
    "properties": {
        "contextRegistrations": list::<ContextRegistration>(generator),
        "duration": text("Has no effect."),
        "registrationId": text("Is echoed."),
        "brokerId": { "type": "string" },
        "generation": { "type": "integer" },
        "snapshot": { "enum": ["begin", "part", "end"] },
        "removed": list::<RemovedEntity>(generator),
    },
});
schema!(RegisterContextResponse, "RegisterContextResponse", |generator| {
    "type": "object",
    "properties": {
        "duration": { "type": "string" },
        "registrationId": { "type": "string" },
        "errorCode": generator.subschema_for::<StatusCode>(),
        "registrationsWanted": { "type": "boolean" },
        "ownedElsewhere": list::<RemovedEntity>(generator),
    },
});
schema!(DiscoverContextAvailabilityRequest, "DiscoverContextAvailabilityRequest", |generator| {
    "type": "object",
    "required": ["entities"],
    "properties": {
        "entities": list::<EntityId>(generator),
        "attributes": texts(),
        "restriction": generator.subschema_for::<Restriction>(),
        "Tenant": { "type": "string" },
        "ServicePath": { "type": "string" },
    },
});
schema!(DiscoverContextAvailabilityResponse, "DiscoverContextAvailabilityResponse", |generator| {
    "type": "object",
    "properties": {
        "contextRegistrationResponses": list::<ContextRegistrationResponse>(generator),
        "errorCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(SubscribeContextAvailabilityRequest, "SubscribeContextAvailabilityRequest", |generator| {
    "type": "object",
    "required": ["entities", "reference"],
    "properties": {
        "entities": list::<EntityId>(generator),
        "attributes": texts(),
        "reference": text("The whole URL to which notifications are posted."),
        "duration": { "type": "string" },
        "restriction": generator.subschema_for::<Restriction>(),
        "subscriptionId": text("The id that the subscription gets; absent to have one made."),
        "Tenant": { "type": "string" },
    },
});
schema!(SubscribeContextAvailabilityResponse, "SubscribeContextAvailabilityResponse", |generator| {
    "type": "object",
    "properties": {
        "subscribeId": { "type": "string" },
        "duration": { "type": "string" },
        "errorCode": generator.subschema_for::<StatusCode>(),
    },
});
schema!(NotifyContextAvailabilityRequest, "NotifyContextAvailabilityRequest", |generator| {
    "type": "object",
    "required": ["subscribeId"],
    "properties": {
        "subscribeId": { "type": "string" },
        "contextRegistrationResponses": list::<ContextRegistrationResponse>(generator),
        "errorCode": generator.subschema_for::<StatusCode>(),
        "sequence": { "type": "integer" },
        "snapshot": { "enum": ["begin", "part", "end", "whole"] },
    },
});
schema!(EntityRegistration, "EntityRegistration", |generator| {
    "type": ["object", "null"],
    "properties": {
        "ID": { "type": "string" },
        "Type": { "type": "string" },
        "AttributesList": { "type": "object", "additionalProperties": generator.subschema_for::<RegistrationAttribute>() },
        "MetadataList": { "type": "object", "additionalProperties": generator.subschema_for::<Metadata>() },
        "ProvidingApplication": { "type": "string" },
        "BrokerId": { "type": "string" },
        "Alive": { "type": "boolean" },
    },
});
schema!(Heartbeat, "Heartbeat", |_| {
    "type": "object",
    "required": ["id", "myURL"],
    "properties": { "id": { "type": "string" }, "myURL": { "type": "string" }, "generation": { "type": "integer" } },
});
schema!(HeartbeatResponse, "HeartbeatResponse", |_| {
    "type": "object",
    "properties": {
        "contextResponses": { "type": "null" },
        "epoch": text("Names the state that discovery has."),
        "registrationsWanted": { "type": "boolean", "description": "Whether the broker shall register everything anew." },
    },
});
schema!(
    /// A broker in discovery's list.
    struct Broker, "Broker", |_| {
    "type": "object",
    "required": ["id", "myURL", "Last_Heartbeat_Update"],
    "properties": { "id": { "type": "string" }, "myURL": { "type": "string" }, "Last_Heartbeat_Update": text("An RFC 3339 time.") },
});
