//! From an id to a route. Today a route is a URL; the address of a broker behind NAT will be a connection that it opened itself,
//! and only this file will know.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::broker::BrokerClient;
use crate::discovery::DiscoveryClient;
use crate::error::ClientError;
use crate::http::Endpoint;

/// The brokers that this process may have to call. Clones share what was learnt.
#[derive(Clone, Debug)]
pub struct Peers {
    http: reqwest::Client,
    discovery: DiscoveryClient,
    known: Arc<RwLock<BTreeMap<String, String>>>,
}

impl Peers {
    /// Resolves through this discovery.
    #[must_use]
    pub fn new(http: reqwest::Client, discovery_url: &str) -> Self {
        let discovery = DiscoveryClient::new(Endpoint::new(http.clone(), discovery_url));
        Peers { http, discovery, known: Arc::default() }
    }

    /// Discovery itself.
    #[must_use]
    pub fn discovery(&self) -> &DiscoveryClient {
        &self.discovery
    }

    /// The broker of an id; discovery is asked once for ids that are not known yet.
    ///
    /// # Errors
    /// As the crate says; [`ClientError::Status`] 404 when discovery knows no live broker of that id.
    pub async fn broker(&self, id: &str) -> Result<BrokerClient, ClientError> {
        if let Some(url) = self.known.read().get(id) {
            return Ok(self.at(url));
        }
        let brokers = self.discovery.brokers().await?;
        let urls: BTreeMap<String, String> = brokers.into_iter().map(|(id, record)| (id, record.my_url)).collect();
        let found = urls.get(id).cloned();
        *self.known.write() = urls;
        found.map(|url| self.at(&url)).ok_or_else(|| ClientError::Status {
            url: self.discovery.url().to_owned(),
            status: 404,
            message: format!("no broker {id} is alive"),
        })
    }

    /// The broker that a registration names as provider.
    #[must_use]
    pub fn provider(&self, providing_application: &str) -> BrokerClient {
        self.at(providing_application)
    }

    /// Forgets what was learnt of a broker, after it could not be reached.
    pub fn forget(&self, id: &str) {
        self.known.write().remove(id);
    }

    fn at(&self, url: &str) -> BrokerClient {
        BrokerClient::new(Endpoint::new(self.http.clone(), url))
    }
}
