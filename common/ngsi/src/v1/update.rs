//! `updateContext`

use smol_str::SmolStr;

use super::element::ContextElement;
use super::notify::ContextElementResponse;
use super::status::StatusCode;
use crate::object::{decode, decode_object};
use crate::{DecodeError, Timestamp};

/// What an update does; upstream compares without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateAction {
    /// Merge; creates the entity if it is absent.
    Update,
    /// The same as `Update`.
    Append,
    /// Delete whole entities.
    Delete,
    /// Another text, or none (empty): nothing happens, and the reply is still 200.
    Other(SmolStr),
}

impl UpdateAction {
    /// The wire text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            UpdateAction::Update => "UPDATE",
            UpdateAction::Append => "APPEND",
            UpdateAction::Delete => "DELETE",
            UpdateAction::Other(text) => text,
        }
    }
}

impl Default for UpdateAction {
    fn default() -> Self {
        UpdateAction::Other(SmolStr::default())
    }
}

impl<'de> serde::Deserialize<'de> for UpdateAction {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SmolStr::deserialize(deserializer)?;
        let known = [UpdateAction::Update, UpdateAction::Append, UpdateAction::Delete];
        Ok(known.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(&text)).unwrap_or(UpdateAction::Other(text)))
    }
}

/// The body of `POST /ngsi10/updateContext`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateContextRequest {
    /// The entities.
    pub elements: Vec<ContextElement>,
    /// What to do with them.
    pub action: UpdateAction,
    /// `Correlator`, as brokers write it; the header of the same meaning wins.
    pub correlator: SmolStr,
}

decode_object!(UpdateContextRequest {
    "contextElements" => elements,
    "updateAction" => action,
    "Correlator" => correlator,
});

impl UpdateContextRequest {
    /// Decodes a body, also with elements in Orion's flat form (F 35); the attributes get `now` as their times.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8], now: Timestamp) -> Result<Self, DecodeError> {
        let mut request: Self = decode(body)?;
        for element in &mut request.elements {
            element.entity.stamp(now);
        }
        Ok(request)
    }
}

/// The reply to `updateContext`, as a client reads it; [`super::encode_update_response`] writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateContextResponse {
    /// The outcome for each element; empty from upstream's brokers.
    pub responses: Vec<ContextElementResponse>,
    /// The outcome for the request as a whole, if given.
    pub error_code: Option<StatusCode>,
}

decode_object!(UpdateContextResponse { "contextResponses" => responses, "errorCode" => error_code });

impl UpdateContextResponse {
    /// Decodes a reply.
    ///
    /// # Errors
    /// If the body is no JSON or a member has a wrong JSON type.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode(body)
    }
}
