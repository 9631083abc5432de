//! A discovery on a free port, and subscribers.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "shared by several test binaries")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use fogflow_chassis::Process;
use fogflow_config::Config;
use fogflow_store::memory::MemoryStore;
use fogflow_store::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, SharedStore, Store, StoreError};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Where the broker of the tests is.
pub const URL: &str = "http://10.0.0.5:8070/ngsi10";
/// How long a state may take to come.
const BOUND: Duration = Duration::from_secs(10);

pub struct Node {
    pub base: String,
    process: Process,
    client: reqwest::Client,
    _dir: Option<tempfile::TempDir>,
}

impl Node {
    /// With an empty store in memory.
    pub async fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::new()), 10).await
    }

    /// With an empty store in memory and leases of one second.
    pub async fn start_with_short_leases() -> Self {
        Self::start_on(Arc::new(MemoryStore::new()), 0).await
    }

    /// On this store.
    pub async fn start_on(store: SharedStore, heartbeat_interval: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.broker.heartbeat_interval = heartbeat_interval;
        let process = Process::new("discovery-test");
        let running = fogflow_discovery::start_with(Arc::new(config), &process, store).await.unwrap();
        Node { _dir: Some(dir), ..Self::at(running.address, process) }
    }

    /// One of several on this store, which stands for one on a server.
    pub async fn start_replica(store: &SharedStore, heartbeat_interval: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.broker.heartbeat_interval = heartbeat_interval;
        config.store.engine = fogflow_config::StoreEngine::Postgres;
        let process = Process::new("discovery-test");
        // Closing one replica's store leaves the server there for the others.
        let own = Arc::new(OfOne(Arc::clone(store)));
        let running = fogflow_discovery::start_with(Arc::new(config), &process, own).await.unwrap();
        Node { _dir: Some(dir), ..Self::at(running.address, process) }
    }

    /// With an embedded store in this directory.
    pub async fn start_in(dir: &Path) -> Self {
        let process = Process::new("discovery-test");
        let running = fogflow_discovery::start(Arc::new(config(dir)), &process).await.unwrap();
        Self::at(running.address, process)
    }

    fn at(address: std::net::SocketAddr, process: Process) -> Self {
        Node { base: format!("http://{address}"), process, client: reqwest::Client::new(), _dir: None }
    }

    pub async fn stop(self) {
        self.process.shutdown.cancel();
        let drained = self.process.tasks.drain(BOUND).await;
        assert!(drained.unfinished.is_empty(), "{:?} did not end", drained.unfinished);
        assert_eq!(self.process.tasks.failure(), None);
    }

    pub async fn request(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(reqwest::Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, reply) = self.request(reqwest::Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{path} {body}: {reply}");
        reply
    }

    /// As an upstream broker at `url` would.
    pub async fn register(&self, url: &str, entity: Value) {
        self.post("/ngsi9/registerContext", &json!({"contextRegistrations": [registration(url, entity)]})).await;
    }

    pub async fn subscribe(&self, sink: &Sink, extra: &Value) -> String {
        let mut body = json!({"entities": [{"type": "Car", "isPattern": true, "id": ""}], "reference": sink.url});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let reply = self.post("/ngsi9/subscribeContextAvailability", &body).await;
        assert_eq!(reply["errorCode"]["code"], 200);
        reply["subscribeId"].as_str().unwrap().to_owned()
    }

    /// The ids found, in the order of the answer.
    pub async fn discover(&self, request: &Value) -> Vec<String> {
        let reply = self.post("/ngsi9/discoverContextAvailability", request).await;
        assert_eq!(reply["errorCode"]["code"], 200);
        let responses = reply["contextRegistrationResponses"].as_array().cloned().unwrap_or_default();
        responses.iter().flat_map(|response| ids(&response["contextRegistration"])).collect()
    }
}

fn config(dir: &Path) -> Config {
    let mut config = Config { data_dir: dir.to_owned(), ..Config::default() };
    config.discovery.http_port = 0;
    config
}

/// `{id, type, location: [lat, lon], attributes: [..]}` as a ContextRegistration.
pub fn registration(url: &str, entity: Value) -> Value {
    let mut registration = json!({"entities": [{"id": entity["id"], "type": entity["type"]}], "providingApplication": url});
    if let Some(names) = entity["attributes"].as_array() {
        let attributes: Vec<_> = names.iter().map(|name| json!({"name": name, "type": "float", "isDomain": false})).collect();
        registration["attributes"] = json!(attributes);
    }
    if let Some(position) = entity["location"].as_array() {
        registration["contextMetadata"] =
            json!([{"name": "location", "type": "point", "value": {"latitude": position[0], "longitude": position[1]}}]);
    }
    if let Some(extra) = entity.get("metadata") {
        let metadata = registration.as_object_mut().unwrap().entry("contextMetadata").or_insert(json!([]));
        metadata.as_array_mut().unwrap().extend(extra.as_array().unwrap().clone());
    }
    registration
}

pub fn cars() -> Value {
    json!({"entities": [{"type": "Car", "isPattern": true}]})
}

fn ids(registration: &Value) -> Vec<String> {
    registration["entities"].as_array().unwrap().iter().map(|entity| entity["id"].as_str().unwrap().to_owned()).collect()
}

/// One replica's access to a store that others use, too: closing it closes only that.
struct OfOne(SharedStore);

#[async_trait]
impl Store for OfOne {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(batch).await
    }
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.0.get(key).await
    }
    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        self.0.scan(tenant, collection, after, limit).await
    }
    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.0.collections().await
    }
    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        self.0.feed(from, limit).await
    }
    async fn head(&self) -> Result<Sequence, StoreError> {
        self.0.head().await
    }
    fn head_hint(&self) -> tokio::sync::watch::Receiver<Sequence> {
        self.0.head_hint()
    }
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.lease(name, holder, ttl).await
    }
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.0.release(name, holder).await
    }
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A subscriber that writes down what it is told.
pub struct Sink {
    pub url: String,
    state: Arc<SinkState>,
}

struct SinkState {
    received: Mutex<Vec<Value>>,
    status: AtomicU16,
    hang: tokio::sync::watch::Sender<bool>,
}

impl Sink {
    pub async fn start() -> Self {
        let state =
            Arc::new(SinkState { received: Mutex::default(), status: AtomicU16::new(200), hang: tokio::sync::watch::Sender::new(false) });
        let router = axum::Router::new().fallback(receive).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/notifyContextAvailability", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Sink { url, state }
    }

    /// What `responseCode.code` it answers from now on.
    pub fn answer(&self, code: u16) {
        self.state.status.store(code, Ordering::SeqCst);
    }

    /// Whether it leaves requests without an answer.
    pub fn hang(&self, hang: bool) {
        self.state.hang.send_replace(hang);
    }

    /// `(action code, id)` of everything it was told and has acknowledged, in order.
    pub fn heard(&self) -> Vec<(i64, String)> {
        let received = self.state.received.lock();
        received
            .iter()
            .flat_map(|notification| {
                let code = notification["errorCode"]["code"].as_i64().unwrap();
                let responses = notification["contextRegistrationResponses"].as_array().unwrap().clone();
                responses.into_iter().flat_map(move |response| ids(&response["contextRegistration"]).into_iter().map(move |id| (code, id)))
            })
            .collect()
    }

    pub fn notifications(&self) -> Vec<Value> {
        self.state.received.lock().clone()
    }

    pub async fn hears(&self, expected: &[(i64, &str)]) {
        let expected: Vec<(i64, String)> = expected.iter().map(|(code, id)| (*code, (*id).to_owned())).collect();
        eventually(|| async { self.heard() }, |heard| *heard == expected).await;
    }
}

async fn receive(State(state): State<Arc<SinkState>>, body: String) -> (StatusCode, String) {
    let mut hang = state.hang.subscribe();
    hang.wait_for(|hang| !*hang).await.unwrap();
    let code = state.status.load(Ordering::SeqCst);
    if code == 200 {
        state.received.lock().push(serde_json::from_str(&body).unwrap());
    }
    (StatusCode::OK, json!({"responseCode": {"code": code, "reasonPhrase": "OK"}}).to_string())
}

/// Waits for a state, with a bound.
pub async fn eventually<T: std::fmt::Debug, F: Future<Output = T>>(look: impl Fn() -> F, wanted: impl Fn(&T) -> bool) -> T {
    let end = tokio::time::Instant::now() + BOUND;
    loop {
        let seen = look().await;
        if wanted(&seen) {
            return seen;
        }
        assert!(tokio::time::Instant::now() < end, "it did not come; at last it was {seen:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a broker of ours sends.
pub fn from_broker(generation: u64, snapshot: Option<&str>, ids: &[&str]) -> Value {
    let registrations: Vec<Value> = ids.iter().map(|id| registration(URL, json!({"id": id, "type": "Car"}))).collect();
    let mut request = json!({"contextRegistrations": registrations, "brokerId": "Broker.001", "generation": generation});
    if let Some(snapshot) = snapshot {
        request["snapshot"] = json!(snapshot);
    }
    request
}

/// Its heartbeat; whether its registrations are wanted.
pub async fn beat(node: &Node, generation: u64) -> bool {
    let reply = node.post("/ngsi9/broker/heartbeat", &json!({"id": "Broker.001", "myURL": URL, "generation": generation})).await;
    assert!(reply["epoch"].is_string() && reply["contextResponses"].is_null());
    reply["registrationsWanted"].as_bool().unwrap()
}
