//! The context broker, NGSI-10 (v1).

use bytes::Bytes;
use fogflow_ngsi::v1::{
    QueryContextRequest, QueryContextResponse, SubscribeContextRequest, SubscribeContextResponse, UnsubscribeContextRequest, UpdateAction,
    encode_update_request,
};
use fogflow_ngsi::{Entity, Timestamp};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::Value;

use crate::error::ClientError;
use crate::http::{Endpoint, encoded};

/// Marks traffic between brokers; upstream's brokers look at it too.
pub const PEER_USER_AGENT: &str = "lightweight-iot-broker";

/// What belongs to a request beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// `NGSILD-Tenant`; empty is the default tenant.
    pub tenant: String,
    /// `Fiware-ServicePath`; empty is `/`.
    pub service_path: String,
    /// `Fiware-Correlator`: a subscriber with the same one is not notified of this update.
    pub correlator: String,
    /// `Require-Reliability: true`.
    pub require_reliability: bool,
    /// `Destination`: `NGSI-LD`, `NGSIv2`, or empty for v1.
    pub destination: String,
    /// The caller is a broker: only what this broker itself has, no forwarding.
    pub is_peer: bool,
}

impl Context {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &str| {
            // A value that is no header text (a control character) cannot be sent; the service then applies its default.
            if !value.is_empty()
                && let Ok(value) = HeaderValue::from_str(value)
            {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        add("ngsild-tenant", &self.tenant);
        add("fiware-service", &self.tenant);
        add("fiware-servicepath", &self.service_path);
        add("fiware-correlator", &self.correlator);
        add("destination", &self.destination);
        if self.require_reliability {
            headers.insert(HeaderName::from_static("require-reliability"), HeaderValue::from_static("true"));
        }
        if self.is_peer {
            headers.insert(USER_AGENT, HeaderValue::from_static(PEER_USER_AGENT));
        }
        headers
    }
}

/// A broker, by its NGSI-10 address (`…/ngsi10`).
#[derive(Clone, Debug)]
pub struct BrokerClient {
    endpoint: Endpoint,
}

impl BrokerClient {
    /// A broker at its advertised address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        BrokerClient { endpoint }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.base()
    }

    /// `updateContext` with entities; the answer has one status per element.
    ///
    /// # Errors
    /// As the crate says; also [`ClientError::Status`] when an element was refused, with that element's code.
    pub async fn update(&self, action: &UpdateAction, entities: &[Entity], context: &Context) -> Result<(), ClientError> {
        let mut body = Vec::with_capacity(512 * entities.len().max(1));
        encode_update_request(&mut body, action, &context.correlator, entities);
        self.update_raw(body.into(), context).await
    }

    /// `updateContext` with a body that is already written.
    ///
    /// # Errors
    /// As [`BrokerClient::update`].
    pub async fn update_raw(&self, body: Bytes, context: &Context) -> Result<(), ClientError> {
        let path = "/updateContext";
        let answer = self.endpoint.call(Method::POST, path, context.headers(), Some(body)).await?;
        // Upstream answers a peer with an empty body.
        if answer.is_empty() {
            return Ok(());
        }
        let answer: Value = self.endpoint.parse(path, &answer)?;
        match first_refusal(&answer) {
            None => Ok(()),
            Some((status, message)) => Err(ClientError::Status { url: format!("{}{path}", self.endpoint.base()), status, message }),
        }
    }

    /// `queryContext`
    ///
    /// # Errors
    /// As the crate says.
    pub async fn query(&self, request: &QueryContextRequest, context: &Context) -> Result<QueryContextResponse, ClientError> {
        let path = "/queryContext";
        let answer = self.endpoint.send_json_with(Method::POST, path, context.headers(), request).await?;
        QueryContextResponse::decode(&answer, Timestamp::now()).map_err(|error| self.endpoint.unexpected(path, error))
    }

    /// `subscribeContext`; gives the id of the subscription.
    ///
    /// # Errors
    /// As the crate says; also when the answer holds an error instead of an id.
    pub async fn subscribe(&self, request: &SubscribeContextRequest, context: &Context) -> Result<String, ClientError> {
        let path = "/subscribeContext";
        let answer = self.endpoint.send_json_with(Method::POST, path, context.headers(), request).await?;
        let answer = SubscribeContextResponse::decode(&answer).map_err(|error| self.endpoint.unexpected(path, error))?;
        let id = answer.response.subscription_id.to_string();
        if id.is_empty() {
            return Err(self.endpoint.unexpected(path, "no subscription id"));
        }
        Ok(id)
    }

    /// `unsubscribeContext`; an unknown id is no error.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn unsubscribe(&self, subscription: &str, context: &Context) -> Result<(), ClientError> {
        let request = UnsubscribeContextRequest { subscription_id: subscription.into() };
        self.endpoint.send_json_with(Method::POST, "/unsubscribeContext", context.headers(), &request).await?;
        Ok(())
    }

    /// An entity in NGSI-10's JSON; `None` when this broker has none of that id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn entity(&self, id: &str, context: &Context) -> Result<Option<Value>, ClientError> {
        let path = format!("/entity/{}", encoded(id));
        match self.endpoint.call(Method::GET, &path, context.headers(), None).await {
            Ok(body) => self.endpoint.parse(&path, &body).map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All entities that this broker has, in NGSI-10's JSON.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn entities(&self, context: &Context) -> Result<Vec<Value>, ClientError> {
        let body = self.endpoint.call(Method::GET, "/entity", context.headers(), None).await?;
        self.endpoint.parse("/entity", &body)
    }

    /// Deletes an entity; whether there was one.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn delete_entity(&self, id: &str, context: &Context) -> Result<bool, ClientError> {
        let path = format!("/entity/{}", encoded(id));
        match self.endpoint.call(Method::DELETE, &path, context.headers(), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether this broker has a subscription of this id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn has_subscription(&self, id: &str, context: &Context) -> Result<bool, ClientError> {
        match self.endpoint.call(Method::GET, &format!("/subscription/{}", encoded(id)), context.headers(), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All subscriptions of clients at this broker: id to subscription.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn subscriptions(&self, context: &Context) -> Result<Value, ClientError> {
        let body = self.endpoint.call(Method::GET, "/subscription", context.headers(), None).await?;
        self.endpoint.parse("/subscription", &body)
    }

    /// Posts any body to a route below this broker's address, for the routes between brokers.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn post_raw(&self, path: &str, body: Bytes, context: &Context) -> Result<Bytes, ClientError> {
        self.endpoint.call(Method::POST, path, context.headers(), Some(body)).await
    }
}

/// The first element that was not taken: its code and words.
fn first_refusal(answer: &Value) -> Option<(u16, String)> {
    let elements = answer.get("contextResponses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of_elements = elements.iter().filter_map(|element| element.get("statusCode"));
    of_elements.chain(answer.get("errorCode")).find_map(|status| {
        let code = status.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 300)?;
        let text =
            ["details", "reasonPhrase"].iter().find_map(|name| status.get(*name).and_then(Value::as_str).filter(|text| !text.is_empty()));
        Some((code, text.unwrap_or("refused").to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_of_which_one_element_was_refused_is_an_error() {
        let answer = serde_json::json!({"contextResponses": [
            {"contextElement": {"entityId": {"id": "a"}}, "statusCode": {"code": 200, "reasonPhrase": "OK"}},
            {"contextElement": {"entityId": {"id": ""}}, "statusCode": {"code": 400, "details": "an id is needed"}}]});
        assert_eq!(first_refusal(&answer), Some((400, "an id is needed".to_owned())));
        assert_eq!(first_refusal(&serde_json::json!({"contextResponses": null})), None);
    }
}
