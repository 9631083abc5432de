//! `subscribeContext` and `unsubscribeContext`

use serde::Serialize;
use smol_str::SmolStr;

use super::entity_id::EntityId;
use super::scope::Restriction;
use super::status::StatusCode;
use crate::DecodeError;
use crate::object::{FlexText, decode, decode_object};

/// The body of `POST /ngsi10/subscribeContext`; with `subscriber` also the output of `GET /ngsi10/subscription`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeContextRequest {
    /// Filters, of which one must match.
    pub entities: Vec<EntityId>,
    /// Attributes that are sent; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SmolStr>,
    /// The URL to which `/notifyContext` is appended.
    pub reference: SmolStr,
    /// How long it lives, as an ISO 8601 duration; empty for ever.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// Further conditions, which must all hold.
    pub restriction: Restriction,
    /// When to notify; empty for every update.
    #[serde(rename = "notifyConditions", skip_serializing_if = "Vec::is_empty")]
    pub notify_conditions: Vec<NotifyCondition>,
    /// The shortest time between notifications: an ISO 8601 duration, or seconds; empty for none.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub throttling: SmolStr,
    /// How it is delivered. Only in replies: a client says it by headers.
    #[serde(rename = "Subscriber", skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Subscriber>,
}

decode_object!(SubscribeContextRequest {
    "entities" => entities,
    "attributes" => attributes,
    "reference" => reference,
    "duration" => duration as FlexText,
    "restriction" => restriction,
    "notifyConditions" => notify_conditions,
    "throttling" => throttling as FlexText,
    "Subscriber" => subscriber,
});

impl SubscribeContextRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// If the body is no JSON, a member has a wrong JSON type, or a scope is wrong (F 2, F 3).
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}

/// When to notify.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NotifyCondition {
    /// `ONCHANGE`, or another text without effect.
    #[serde(rename = "type")]
    pub condition_type: SmolStr,
    /// With `ONCHANGE`, the attributes of which one must be in an update; empty for any.
    #[serde(rename = "condValueList", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<SmolStr>,
    /// Stored, never evaluated.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub restriction: SmolStr,
}

decode_object!(NotifyCondition { "type" => condition_type, "condValueList" => values, "restriction" => restriction });

/// How a subscription is delivered, in the form of upstream's listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Subscriber {
    /// Whether another broker placed it.
    #[serde(rename = "IsInternal")]
    pub is_internal: bool,
    /// Whether `Require-Reliability: true` was sent.
    #[serde(rename = "RequireReliability")]
    pub require_reliability: bool,
    /// The URL of the broker that serves it.
    #[serde(rename = "BrokerURL")]
    pub broker_url: SmolStr,
    /// Always null: nothing undelivered is shown.
    #[serde(rename = "NotifyCache")]
    pub notify_cache: Option<()>,
    /// Empty, `NGSIv2` or `NGSI-LD`.
    #[serde(rename = "DestinationType")]
    pub destination_type: SmolStr,
    /// `NGSILD-Tenant`
    #[serde(rename = "Tenant")]
    pub tenant: SmolStr,
    /// `Fiware-Correlator`
    #[serde(rename = "Correlator")]
    pub correlator: SmolStr,
}

decode_object!(Subscriber {
    "IsInternal" => is_internal,
    "RequireReliability" => require_reliability,
    "BrokerURL" => broker_url,
    "DestinationType" => destination_type,
    "Tenant" => tenant,
    "Correlator" => correlator,
});

/// The reply to `subscribeContext`, always with HTTP 200.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeContextResponse {
    /// The new subscription.
    #[serde(rename = "subscribeResponse")]
    pub response: SubscribeResponse,
    /// What went wrong; code 0 for nothing.
    #[serde(rename = "subscribeError")]
    pub error: SubscribeError,
}

decode_object!(SubscribeContextResponse { "subscribeResponse" => response, "subscribeError" => error });

/// Part of [`SubscribeContextResponse`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeResponse {
    /// The id of the subscription.
    #[serde(rename = "subscriptionId")]
    pub subscription_id: SmolStr,
    /// The duration that was accepted.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub duration: SmolStr,
    /// The throttling that was accepted.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub throttling: SmolStr,
}

decode_object!(SubscribeResponse {
    "subscriptionId" => subscription_id,
    "duration" => duration as FlexText,
    "throttling" => throttling as FlexText,
});

/// Part of [`SubscribeContextResponse`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SubscribeError {
    /// The id of the subscription.
    #[serde(rename = "subscriptionId", skip_serializing_if = "SmolStr::is_empty")]
    pub subscription_id: SmolStr,
    /// Code 0 when nothing went wrong.
    #[serde(rename = "errorCode")]
    pub error_code: StatusCode,
}

decode_object!(SubscribeError { "subscriptionId" => subscription_id, "errorCode" => error_code });

impl SubscribeContextResponse {
    /// The reply for a subscription that was made.
    #[must_use]
    pub fn created(id: &str) -> Self {
        SubscribeContextResponse {
            response: SubscribeResponse { subscription_id: id.into(), ..SubscribeResponse::default() },
            error: SubscribeError { subscription_id: id.into(), error_code: StatusCode::default() },
        }
    }

    /// Decodes a reply.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}

/// The body of `POST /ngsi10/unsubscribeContext`, and of NGSI-9's `unsubscribeContextAvailability`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnsubscribeContextRequest {
    /// The subscription.
    #[serde(rename = "subscriptionId")]
    pub subscription_id: SmolStr,
}

decode_object!(UnsubscribeContextRequest { "subscriptionId" | "subscribeId" => subscription_id });

impl UnsubscribeContextRequest {
    /// Decodes a body.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}

/// The reply to an unsubscribe request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnsubscribeContextResponse {
    /// The subscription.
    #[serde(rename = "subscriptionId")]
    pub subscription_id: SmolStr,
    /// 200, or 404 when there was none.
    #[serde(rename = "statusCode")]
    pub status: StatusCode,
}

decode_object!(UnsubscribeContextResponse { "subscriptionId" => subscription_id, "statusCode" => status });

impl UnsubscribeContextResponse {
    /// Decodes a reply.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}
