//! The designer: the registry that users and the command line write, and the routes between it and the master.

use std::time::Duration;

use fogflow_orchestration::report::{LeaseReply, LeaseRequest, MasterReport, RegistrySnapshot};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::error::ClientError;
use crate::http::{Endpoint, TextStream, encoded};

/// What the registry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/operator`
    Operator,
    /// `/service`: a topology as users register it.
    Topology,
    /// `/fogfunction`
    FogFunction,
    /// `/intent`
    ServiceIntent,
    /// `/device`
    Device,
    /// `/subscription`
    Subscription,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Operator => "/operator",
            Kind::Topology => "/service",
            Kind::FogFunction => "/fogfunction",
            Kind::ServiceIntent => "/intent",
            Kind::Device => "/device",
            Kind::Subscription => "/subscription",
        }
    }

    /// Upstream takes some kinds as arrays and others one by one.
    fn is_posted_as_array(self) -> bool {
        matches!(self, Kind::Operator | Kind::Topology | Kind::FogFunction)
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Taken.
    Accepted,
    /// Another master leads by now.
    Stale,
}

/// A designer, by its base address.
#[derive(Clone, Debug)]
pub struct DesignerClient {
    endpoint: Endpoint,
}

impl DesignerClient {
    /// A designer at its base address.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        DesignerClient { endpoint }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.base()
    }

    /// The whole registry as a master needs it.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn registry(&self) -> Result<RegistrySnapshot, ClientError> {
        self.endpoint.get("/internal/registry").await
    }

    /// Takes or renews a lease. It is by `granted` that the caller knows whether it has it.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn acquire_lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<LeaseReply, ClientError> {
        let request = LeaseRequest { holder: holder.to_owned(), ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX) };
        self.endpoint.post(&format!("/internal/lease/{}", encoded(name)), &request).await
    }

    /// Gives a lease back early.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), ClientError> {
        let path = format!("/internal/lease/{}?holder={}", encoded(name), encoded(holder));
        self.endpoint.call(Method::DELETE, &path, HeaderMap::new(), None).await.map(|_| ())
    }

    /// Reports intents, tasks and workers.
    ///
    /// # Errors
    /// As the crate says; 409 is [`Reported::Stale`].
    pub async fn report(&self, report: &MasterReport) -> Result<Reported, ClientError> {
        match self.endpoint.send_json(Method::POST, "/internal/report", report).await {
            Ok(_) => Ok(Reported::Accepted),
            Err(error) if error.status() == Some(409) => Ok(Reported::Stale),
            Err(error) => Err(error),
        }
    }

    /// All of a kind, as the registry lists them: an object by name or id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn list(&self, kind: Kind) -> Result<Value, ClientError> {
        self.endpoint.get(kind.path()).await
    }

    /// One of a kind; `None` when there is none of that name or id.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>, ClientError> {
        let path = format!("{}/{}", kind.path(), encoded(name));
        match self.endpoint.call(Method::GET, &path, HeaderMap::new(), None).await {
            // Upstream answers an unknown name with 200 and nothing.
            Ok(body) if body.is_empty() => Ok(None),
            Ok(body) => self.endpoint.parse(&path, &body).map(Some),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A topology with the operators of its tasks, as upstream's master asks for it; `None` when there is none of that name.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn topology(&self, name: &str) -> Result<Option<Value>, ClientError> {
        let path = format!("/topology/{}", encoded(name));
        match self.endpoint.call(Method::GET, &path, HeaderMap::new(), None).await {
            // Upstream answers an unknown name with `{}`.
            Ok(body) => self.endpoint.parse(&path, &body).map(|value: Value| value.get("name").is_some().then_some(value)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or replaces one.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn put(&self, kind: Kind, object: &Value) -> Result<Value, ClientError> {
        let body = if kind.is_posted_as_array() {
            self.endpoint.send_json(Method::POST, kind.path(), &[object]).await?
        } else {
            self.endpoint.send_json(Method::POST, kind.path(), object).await?
        };
        // "OK" is plain text; an intent's answer is JSON with its id.
        Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Deletes one; whether there was one.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<bool, ClientError> {
        let path = format!("{}/{}", kind.path(), encoded(name));
        match self.endpoint.call(Method::DELETE, &path, HeaderMap::new(), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All topologies, those of fog functions included: an array.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn topologies(&self) -> Result<Value, ClientError> {
        self.endpoint.get("/topology").await
    }

    /// Adds what a document in the form of upstream's `db.json` holds. The answer counts what was imported and names what was
    /// skipped: `{"imported": {<kind>: n}, "skipped": [{"kind", "id", "reason"}]}`.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn import(&self, database: &Value) -> Result<Value, ClientError> {
        self.endpoint.post("/import", database).await
    }

    /// `GET /info/<what>`: `master`, `worker`, `broker`, `task`, `type`.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn info(&self, what: &str) -> Result<Value, ClientError> {
        self.endpoint.get(&format!("/info/{}", encoded(what))).await
    }

    /// The names of the pictures that were uploaded.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn photos(&self) -> Result<Vec<String>, ClientError> {
        self.endpoint.get("/photo").await
    }

    /// A picture.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn photo(&self, name: &str) -> Result<TextStream, ClientError> {
        self.endpoint.stream(&format!("/photo/{}", encoded(name)), false).await
    }

    /// A task's log, through the worker that runs it.
    ///
    /// # Errors
    /// As the crate says.
    pub async fn logs(&self, task: &str, tail: Option<u32>, follow: bool) -> Result<TextStream, ClientError> {
        self.endpoint.stream(&logs_path(task, tail, follow), follow).await
    }
}

/// The same on worker and designer.
pub(crate) fn logs_path(task: &str, tail: Option<u32>, follow: bool) -> String {
    let mut path = format!("/tasks/{}/logs?follow={follow}", encoded(task));
    if let Some(tail) = tail {
        path.push_str(&format!("&tail={tail}"));
    }
    path
}
