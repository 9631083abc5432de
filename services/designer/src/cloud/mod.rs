//! The cloud broker as the designer uses it: NGSI-10 calls, and what the designer keeps there.

pub mod keep;
pub mod watch;

use std::collections::HashMap;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::records::{Device, ForwardedSubscription, TypedValue};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The broker cannot be reached, or is failing: try again later.
    #[error("the broker at {url} does not answer: {reason}")]
    Away {
        /// Its URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The broker refuses what was asked: trying again would not help.
    #[error("the broker refuses it: {0}")]
    Refused(String),
}

/// A subscription as the broker lists it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Where it is sent.
    pub reference: String,
    /// Who made it, and how.
    #[serde(rename = "Subscriber")]
    pub subscriber: ListedSubscriber,
}

/// See [`Listed`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListedSubscriber {
    /// The `Fiware-Correlator` that it was made with.
    #[serde(rename = "Correlator")]
    pub correlator: String,
}

/// A client of one broker.
#[derive(Clone, Debug)]
pub struct Cloud {
    http: reqwest::Client,
    /// Ends with `/ngsi10`.
    url: String,
}

impl Cloud {
    /// A client of the broker at this NGSI-10 URL.
    #[must_use]
    pub fn new(http: reqwest::Client, url: String) -> Self {
        Cloud { http, url: url.trim_end_matches('/').to_owned() }
    }

    fn away(&self, reason: impl std::fmt::Display) -> CloudError {
        CloudError::Away { url: self.url.clone(), reason: reason.to_string() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(StatusCode, String), CloudError> {
        let response = request.send().await.map_err(|error| self.away(short(&error)))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.away(short(&error)))?;
        if status.is_server_error() {
            return Err(self.away(format!("status {status}")));
        }
        Ok((status, text))
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Result<Value, CloudError> {
        let mut request = self.http.post(format!("{}/{path}", self.url)).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, text) = self.send(request).await?;
        if !status.is_success() {
            return Err(CloudError::Refused(format!("status {status}: {}", excerpt(&text))));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Whether the broker has an entity of this id.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn has_entity(&self, id: &str) -> Result<bool, CloudError> {
        Ok(self.send(self.http.get(format!("{}/entity/{}", self.url, escape(id)))).await?.0.is_success())
    }

    /// Creates a device's entity. The broker answers a status per element; one that is not 2xx is a refusal.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn create(&self, device: &Device) -> Result<(), CloudError> {
        let list = |items: &indexmap::IndexMap<String, TypedValue>| -> Vec<Value> {
            items.iter().map(|(name, item)| json!({"name": name, "type": item.value_type, "value": item.value})).collect()
        };
        let element = json!({
            "entityId": {"id": device.id, "type": device.device_type, "isPattern": false},
            "attributes": list(&device.attributes),
            "domainMetadata": list(&device.metadata),
        });
        self.update("UPDATE", &element).await
    }

    /// Deletes an entity; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn delete_entity(&self, id: &str) -> Result<(), CloudError> {
        match self.update("DELETE", &json!({"entityId": {"id": id, "isPattern": false}})).await {
            Err(CloudError::Refused(reason)) => {
                tracing::info!(%id, %reason, "the broker did not delete an entity; taken as gone");
                Ok(())
            }
            other => other,
        }
    }

    async fn update(&self, action: &str, element: &Value) -> Result<(), CloudError> {
        let reply = self.post("updateContext", &json!({"contextElements": [element], "updateAction": action}), &[]).await?;
        let status = reply.pointer("/contextResponses/0/statusCode");
        match status.and_then(|status| status.get("code")).and_then(Value::as_i64) {
            Some(code) if !(200..300).contains(&code) => {
                let text = |key: &str| status.and_then(|status| status.get(key)).and_then(Value::as_str).unwrap_or_default();
                let reason = format!("{code} {} {}", text("reasonPhrase"), text("details"));
                if code >= 500 { Err(self.away(reason.trim())) } else { Err(CloudError::Refused(reason.trim().to_owned())) }
            }
            _ => Ok(()),
        }
    }

    /// The broker's subscriptions by id.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn subscriptions(&self) -> Result<HashMap<String, Listed>, CloudError> {
        let (status, text) = self.send(self.http.get(format!("{}/subscription", self.url))).await?;
        if !status.is_success() {
            return Err(self.away(format!("status {status}")));
        }
        serde_json::from_str(&text).map_err(|error| self.away(format!("its list of subscriptions cannot be read: {error}")))
    }

    /// Subscribes to all entities, to be sent to `reference`.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn subscribe_to_all(&self, reference: &str, correlator: &str) -> Result<String, CloudError> {
        let body = json!({"entities": [{"id": ".*", "isPattern": true}], "reference": reference});
        self.subscribe(&body, &[("Fiware-Correlator", correlator)]).await
    }

    /// Subscribes on behalf of another broker. `correlator` marks it as ours.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn forward(&self, wanted: &ForwardedSubscription, correlator: &str) -> Result<String, CloudError> {
        let body = json!({
            "entities": [{"id": "", "type": wanted.entity_type, "isPattern": true}],
            "reference": wanted.reference_url,
        });
        let mut headers = vec![("Fiware-Correlator", correlator), ("Require-Reliability", "true")];
        match wanted.destination_broker.as_str() {
            "NGSI-LD" => {
                headers.push(("Destination", "NGSI-LD"));
                if !wanted.tenant.is_empty() {
                    headers.push(("NGSILD-Tenant", &wanted.tenant));
                }
            }
            "NGSIv2" => headers.push(("Destination", "NGSIv2")),
            _ => {}
        }
        self.subscribe(&body, &headers).await
    }

    async fn subscribe(&self, body: &Value, headers: &[(&str, &str)]) -> Result<String, CloudError> {
        let reply = self.post("subscribeContext", body, headers).await?;
        let id = reply.pointer("/subscribeResponse/subscriptionId").and_then(Value::as_str).unwrap_or_default();
        if id.is_empty() {
            return Err(CloudError::Refused(format!("no subscription id in {reply}")));
        }
        Ok(id.to_owned())
    }

    /// Ends a subscription; one that is not there has ended already.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn unsubscribe(&self, id: &str) -> Result<(), CloudError> {
        match self.post("unsubscribeContext", &json!({"subscriptionId": id}), &[]).await {
            Ok(_) | Err(CloudError::Refused(_)) => Ok(()),
            Err(away) => Err(away),
        }
    }
}

/// The innermost cause of a failed request, without the URL that the caller names anyway.
pub fn short(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Escapes what is not plain in a path segment.
fn escape(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}
