//! The context broker, NGSI-LD (ETSI GS CIM 009): what our own services ask through that face.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::error::ClientError;
use crate::http::{Endpoint, encoded};

/// A broker, by its NGSI-LD address (`…/ngsi-ld/v1`).
#[derive(Clone, Debug)]
pub struct LdClient {
    endpoint: Endpoint,
}

impl LdClient {
    /// A broker at its NGSI-LD address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        LdClient { endpoint }
    }

    /// Creates a subscription (clause 5.8.1) whose id the caller has put into it, so that a repetition cannot make two: one
    /// that exists already is no error. An empty service path means any.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn subscribe(&self, subscription: &Value, tenant: &str, service_path: &str) -> Result<(), ClientError> {
        let mut headers = headers(tenant);
        add(&mut headers, "fiware-servicepath", service_path);
        match self.endpoint.send_json_with(Method::POST, "/subscriptions", headers, subscription).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(409) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a subscription of this id (clause 5.8.3).
    ///
    /// # Errors
    /// As the crate says.
    pub async fn has_subscription(&self, id: &str, tenant: &str) -> Result<bool, ClientError> {
        match self.endpoint.call(Method::GET, &format!("/subscriptions/{}", encoded(id)), headers(tenant), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a subscription (clause 5.8.5); an unknown id is no error.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn unsubscribe(&self, id: &str, tenant: &str) -> Result<(), ClientError> {
        match self.endpoint.call(Method::DELETE, &format!("/subscriptions/{}", encoded(id)), headers(tenant), None).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn headers(tenant: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    add(&mut headers, "ngsild-tenant", tenant);
    headers
}

fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}
