//! Starting a broker and talking to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_broker::{Running, start_with};
use fogflow_chassis::Process;
use fogflow_config::{Config, Consistency, StoreConfig, StoreEngine};
use fogflow_store::SharedStore;
use fogflow_store::memory::MemoryStore;
use serde_json::{Value, json};

use crate::discovery::Discovery;

/// Longest wait for a state.
const BOUND: Duration = Duration::from_secs(30);

/// Waits until `look` has found something; fails with its last words.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if begun.elapsed() > BOUND => panic!("{what} did not happen; last: {last}"),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// `Ok` when the condition holds, else the text.
pub fn holds(condition: bool, last: impl ToString) -> Result<(), String> {
    if condition { Ok(()) } else { Err(last.to_string()) }
}

pub struct Broker {
    pub running: Running,
    pub process: Process,
    pub http: reqwest::Client,
    _data: tempfile::TempDir,
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub text: String,
    pub json: Value,
    pub headers: reqwest::header::HeaderMap,
}

pub struct Options {
    pub site: &'static str,
    pub store: SharedStore,
    pub discovery: Option<u16>,
    pub port: u16,
    pub compatibility: fogflow_config::Compatibility,
    /// Whether other brokers may share the store.
    pub replica: bool,
    pub consistency: Consistency,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            site: "001",
            store: Arc::new(MemoryStore::new()),
            discovery: None,
            port: 0,
            compatibility: fogflow_config::Compatibility::Standard,
            replica: false,
            consistency: Consistency::Strong,
        }
    }
}

impl Broker {
    /// A broker on its own: nobody answers at discovery's address.
    pub async fn alone() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn beside(discovery: &Discovery, site: &'static str) -> Self {
        let broker = Self::with(Options { site, discovery: Some(discovery.port()), ..Options::default() }).await;
        discovery.knows(&broker.running.id).await;
        broker
    }

    pub async fn with(options: Options) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { site_id: options.site.to_owned(), data_dir: data.path().to_owned(), ..Config::default() };
        config.broker.http_port = options.port;
        config.broker.heartbeat_interval = 1;
        config.broker.compatibility = options.compatibility;
        config.broker.consistency = options.consistency;
        if options.replica {
            // Any engine but the embedded one is taken for shared; the store itself is the one that is given.
            config.broker.store = Some(StoreConfig { engine: StoreEngine::Postgres, ..StoreConfig::default() });
        }
        // Port 9 is the discard service, which nobody runs: connections are refused at once.
        config.discovery.http_port = options.discovery.unwrap_or(9);
        let process = Process::new("broker under test");
        let running = start_with(Arc::new(config), &process, options.store).await.unwrap();
        Broker { running, process, http: reqwest::Client::new(), _data: data }
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.process.shutdown.cancel();
        let drained = self.process.tasks.drain(Duration::from_secs(20)).await;
        assert!(drained.unfinished.is_empty(), "tasks did not end: {:?}", drained.unfinished);
        assert_eq!(self.process.tasks.failure(), None);
    }

    /// Ends it as a kill would: nothing is flushed or said.
    pub async fn kill(self) {
        self.process.tasks.drain(Duration::ZERO).await;
        self.process.shutdown.cancel();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addr)
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let mut request = self.http.request(method.parse().unwrap(), self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status, text, json, headers }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string()).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        self.send("POST", path, headers, body.to_string()).await
    }

    /// Updates one attribute of an entity and demands success.
    pub async fn set(&self, id: &str, entity_type: &str, attribute: &str, value: impl Into<Value>) {
        let reply = self.post("/ngsi10/updateContext", &update(id, entity_type, attribute, value)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.json["contextResponses"][0]["statusCode"]["code"], 200, "{}", reply.text);
    }

    /// Subscribes and gives the id.
    pub async fn subscribe(&self, body: &Value) -> String {
        self.subscribe_with(&[], body).await
    }

    pub async fn subscribe_with(&self, headers: &[(&str, &str)], body: &Value) -> String {
        let reply = self.post_with("/ngsi10/subscribeContext", headers, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let id = reply.json["subscribeResponse"]["subscriptionId"].as_str().unwrap_or_default().to_owned();
        assert!(!id.is_empty(), "{}", reply.text);
        id
    }
}

pub fn update(id: &str, entity_type: &str, attribute: &str, value: impl Into<Value>) -> Value {
    json!({"contextElements": [element(id, entity_type, attribute, value)], "updateAction": "UPDATE"})
}

pub fn element(id: &str, entity_type: &str, attribute: &str, value: impl Into<Value>) -> Value {
    json!({"entityId": {"id": id, "type": entity_type}, "attributes": [{"name": attribute, "type": "float", "value": value.into()}]})
}

/// A subscription to all entities of a type.
pub fn of_type(entity_type: &str, reference: &str) -> Value {
    json!({"entities": [{"type": entity_type, "isPattern": true}], "reference": reference})
}
