//! `notifyContext`, and the responses that carry elements.

use serde::Serialize;
use smol_str::SmolStr;

use super::element::ContextElement;
use super::status::StatusCode;
use crate::object::{decode, decode_object};
use crate::{DecodeError, Entity, Timestamp};

/// An element with a status.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextElementResponse {
    /// The entity.
    pub element: ContextElement,
    /// Whether it is good.
    pub status: StatusCode,
}

impl Default for ContextElementResponse {
    fn default() -> Self {
        let element = ContextElement::new(Entity::new("", None, Timestamp::default()));
        ContextElementResponse { element, status: StatusCode::default() }
    }
}

decode_object!(ContextElementResponse { "contextElement" => element, "statusCode" => status });

/// A notification as a subscriber gets it; [`super::encode_notification`] writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotifyContextRequest {
    /// Which subscription it answers.
    pub subscription_id: SmolStr,
    /// Who sent it; upstream always leaves it empty.
    pub originator: SmolStr,
    /// The entities. One that has neither attributes nor domain metadata may tell of a deletion.
    pub responses: Vec<ContextElementResponse>,
}

decode_object!(NotifyContextRequest {
    "subscriptionId" => subscription_id,
    "originator" => originator,
    "contextResponses" => responses,
});

impl NotifyContextRequest {
    /// Decodes a body; the attributes get `now` as their times.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8], now: Timestamp) -> Result<Self, DecodeError> {
        let mut request: Self = decode(body)?;
        stamp(&mut request.responses, now);
        Ok(request)
    }
}

/// The reply to a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotifyContextResponse {
    /// 200 when it was taken.
    #[serde(rename = "responseCode")]
    pub response_code: StatusCode,
}

decode_object!(NotifyContextResponse { "responseCode" => response_code });

impl NotifyContextResponse {
    /// Decodes a reply.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}

/// The reply to `queryContext`, as a client reads it; [`super::encode_query_response`] writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryContextResponse {
    /// The entities that were found.
    pub responses: Vec<ContextElementResponse>,
    /// The outcome as a whole.
    pub error_code: StatusCode,
}

decode_object!(QueryContextResponse { "contextResponses" => responses, "errorCode" => error_code });

impl QueryContextResponse {
    /// Decodes a reply; the attributes get `now` as their times.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8], now: Timestamp) -> Result<Self, DecodeError> {
        let mut response: Self = decode(body)?;
        stamp(&mut response.responses, now);
        Ok(response)
    }
}

fn stamp(responses: &mut [ContextElementResponse], now: Timestamp) {
    for response in responses {
        response.element.entity.stamp(now);
    }
}
