//! Discovery, NGSI-9.

use std::collections::{BTreeMap, BTreeSet};

use fogflow_ngsi::v1::availability::{
    DiscoverContextAvailabilityRequest, DiscoverContextAvailabilityResponse, EntityRegistration, Heartbeat, HeartbeatResponse,
    RegisterContextRequest, RegisterContextResponse, SubscribeContextAvailabilityRequest, SubscribeContextAvailabilityResponse,
};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::ClientError;
use crate::http::{Endpoint, encoded};

/// A broker as discovery lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerRecord {
    /// `Broker.<site>`
    pub id: String,
    /// Its NGSI-10 address.
    #[serde(rename = "myURL")]
    pub my_url: String,
    /// RFC 3339.
    #[serde(rename = "Last_Heartbeat_Update")]
    pub last_heartbeat_update: String,
}

/// Discovery, by its NGSI-9 address (`…/ngsi9`).
#[derive(Clone, Debug)]
pub struct DiscoveryClient {
    endpoint: Endpoint,
}

impl DiscoveryClient {
    /// Discovery at its address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        DiscoveryClient { endpoint }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.base()
    }

    /// Registers and deregisters a batch; applied when this returns.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn register(&self, request: &RegisterContextRequest) -> Result<RegisterContextResponse, ClientError> {
        let path = "/registerContext";
        let answer = self.endpoint.send_json(Method::POST, path, request).await?;
        RegisterContextResponse::decode(&answer).map_err(|error| self.endpoint.unexpected(path, error))
    }

    /// Renews a broker's lease.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatResponse, ClientError> {
        let path = "/broker/heartbeat";
        let answer = self.endpoint.send_json(Method::POST, path, heartbeat).await?;
        HeartbeatResponse::decode(&answer).map_err(|error| self.endpoint.unexpected(path, error))
    }

    /// Which brokers have entities that match.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn discover(&self, request: &DiscoverContextAvailabilityRequest) -> Result<DiscoverContextAvailabilityResponse, ClientError> {
        let path = "/discoverContextAvailability";
        let answer = self.endpoint.send_json(Method::POST, path, request).await?;
        DiscoverContextAvailabilityResponse::decode(&answer).map_err(|error| self.endpoint.unexpected(path, error))
    }

    /// Watches for matching entities; gives the id. With a `subscription_id` in the request it is created or replaced under that id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn subscribe(&self, request: &SubscribeContextAvailabilityRequest) -> Result<String, ClientError> {
        let path = "/subscribeContextAvailability";
        let answer = self.endpoint.send_json(Method::POST, path, request).await?;
        let answer = SubscribeContextAvailabilityResponse::decode(&answer).map_err(|error| self.endpoint.unexpected(path, error))?;
        if answer.subscribe_id.is_empty() {
            return Err(self.endpoint.unexpected(path, "no subscription id"));
        }
        Ok(answer.subscribe_id.to_string())
    }

    /// Ends a watch; an unknown id is no error.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn unsubscribe(&self, subscription: &str) -> Result<(), ClientError> {
        let body = serde_json::json!({ "subscriptionId": subscription });
        self.endpoint.send_json(Method::POST, "/unsubscribeContextAvailability", &body).await?;
        Ok(())
    }

    /// Whether a watch is there. Not to be asked of an upstream discovery, whose process it ends.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn has_subscription(&self, subscription: &str) -> Result<bool, ClientError> {
        let path = format!("/subscription/{}", encoded(subscription));
        match self.endpoint.call(Method::GET, &path, HeaderMap::new(), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The ids of all watches.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn subscription_ids(&self) -> Result<BTreeSet<String>, ClientError> {
        let all: BTreeMap<String, serde::de::IgnoredAny> = self.endpoint.get("/subscription").await?;
        Ok(all.into_keys().collect())
    }

    /// Who has an entity; `None` when nobody does.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn registration(&self, id: &str, tenant: &str) -> Result<Option<EntityRegistration>, ClientError> {
        let mut path = format!("/registration/{}", encoded(id));
        if !tenant.is_empty() {
            path.push_str("?tenant=");
            path.push_str(&encoded(tenant));
        }
        let answer = match self.endpoint.call(Method::GET, &path, HeaderMap::new(), None).await {
            Ok(answer) => answer,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        if answer.is_empty() || answer.as_ref() == b"null" {
            return Ok(None);
        }
        EntityRegistration::decode(&answer).map(Some).map_err(|error| self.endpoint.unexpected(&path, error))
    }

    /// The brokers that are alive, by id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn brokers(&self) -> Result<BTreeMap<String, BrokerRecord>, ClientError> {
        self.endpoint.get("/broker").await
    }

    /// The types of all registered entities. The route is beside `/ngsi9`, not below it.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn entity_types(&self) -> Result<Vec<String>, ClientError> {
        self.endpoint.beside("/ngsi9").get("/etype").await
    }

    /// Whether discovery answers.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn status(&self) -> Result<(), ClientError> {
        self.endpoint.call(Method::GET, "/status", HeaderMap::new(), None).await.map(|_| ())
    }
}
