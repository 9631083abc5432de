//! Dgraph's HTTP interface: `/alter`, `/query` and `/mutate` with JSON, and transactions by their start timestamp.
//! Reference: Dgraph documentation, "Raw HTTP" (<https://docs.dgraph.io/clients/raw-http>).

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Client, StatusCode, Url};
use serde_json::{Map, Value, json};

use crate::model::StoreError;

/// Limit for connecting, and for a whole request.
const LIMITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));

/// Why a request failed.
pub(super) enum Failure {
    /// Another transaction was first; nothing was committed.
    Aborted,
    /// The server said no; nothing was committed.
    Refused(StoreError),
    /// No answer came, so a commit may have happened.
    Silent(StoreError),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Aborted => StoreError::Unavailable("Dgraph: another transaction was first, again and again".to_owned()),
            Failure::Refused(error) | Failure::Silent(error) => error,
        }
    }
}

/// The answer of a query.
pub(super) struct Answer {
    /// The blocks by name.
    pub(super) data: Value,
    /// The timestamp to write in the same transaction.
    pub(super) start_ts: u64,
    /// The server's clock, from the answer's `Date`, in seconds since 1970.
    pub(super) time: i64,
}

/// A client of one server.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    base: Url,
}

impl Http {
    /// `url` is the alpha's HTTP address, for example `http://dgraph:8080`.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let wrong = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("store URL: {error}"));
        let mut base: Url = url.parse().map_err(|error| wrong(&error))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        if base.scheme() == "https" {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| wrong(&error))?.with_root_certificates(roots).with_no_client_auth();
        let client = Client::builder().connect_timeout(LIMITS.0).timeout(LIMITS.1).tls_backend_preconfigured(tls).build();
        Ok(Http { client: client.map_err(|error| wrong(&error))?, base })
    }

    /// Adds predicates to the schema; those that exist stay.
    pub(super) async fn alter(&self, schema: &str) -> Result<(), Failure> {
        self.send("alter", "application/dql", schema.to_owned()).await.map(|_| ())
    }

    /// Begins a transaction with a query. Variables are strings, as Dgraph wants them.
    pub(super) async fn query(&self, query: &str, variables: &[(&str, String)]) -> Result<Answer, Failure> {
        let variables: Map<String, Value> = variables.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let body = json!({ "query": query, "variables": variables }).to_string();
        let (mut answer, time) = self.send("query", "application/json", body).await?;
        let start_ts = answer.pointer("/extensions/txn/start_ts").and_then(Value::as_u64).unwrap_or_default();
        let data = answer.get_mut("data").map(Value::take).unwrap_or_default();
        if !data.is_object() {
            return Err(Failure::Refused(StoreError::Damaged("Dgraph answered a query without data".to_owned())));
        }
        Ok(Answer { data, start_ts, time })
    }

    /// Writes and commits the transaction of a query.
    pub(super) async fn commit(&self, start_ts: u64, set: &[Value], delete: &[Value]) -> Result<(), Failure> {
        let mut body = json!({ "set": set });
        if !delete.is_empty() {
            body["delete"] = json!(delete);
        }
        let path = format!("mutate?startTs={start_ts}&commitNow=true");
        self.send(&path, "application/json", body.to_string()).await.map(|_| ())
    }

    async fn send(&self, path: &str, kind: &str, body: String) -> Result<(Value, i64), Failure> {
        let silent = |error: reqwest::Error| Failure::Silent(StoreError::Unavailable(format!("Dgraph: {}", error.without_url())));
        let url = self.base.join(path).map_err(|error| Failure::Refused(StoreError::Unavailable(error.to_string())))?;
        let response = self.client.post(url).header(CONTENT_TYPE, kind).body(body).send().await.map_err(silent)?;
        let status = response.status();
        let time = response.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(seconds).unwrap_or_default();
        let text = response.text().await.map_err(silent)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        // Errors come with status 200 as well.
        let errors = answer.get("errors").and_then(Value::as_array);
        let message = errors.and_then(|errors| errors.first()).and_then(|error| error["message"].as_str());
        if status == StatusCode::CONFLICT || message.is_some_and(|message| message.to_lowercase().contains("aborted")) {
            return Err(Failure::Aborted);
        }
        match message {
            None if status.is_success() => Ok((answer, time)),
            // A gateway's answer says nothing about what the server behind it has done.
            None => Err(Failure::Silent(StoreError::Unavailable(format!("Dgraph answered {status}")))),
            Some(message) => Err(Failure::Refused(StoreError::Unavailable(format!("Dgraph: {message}")))),
        }
    }
}

/// Seconds since 1970 of an HTTP date.
fn seconds(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(date).ok().map(|date| date.timestamp().as_second())
}
