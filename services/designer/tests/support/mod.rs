//! A designer by its real routers on free ports, with a broker, a bus and a store whose faults a test decides.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(missing_docs, unreachable_pub, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

pub mod broker;
pub mod bus;
pub mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::SharedBus;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_chassis::Process;
use fogflow_config::Config;
use fogflow_designer::Running;
use serde_json::{Value, json};

/// A designer under test.
pub struct Designer {
    pub running: Running,
    pub http: reqwest::Client,
    pub config: Config,
    process: Process,
}

/// An answer: status and body, as JSON where it is JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// A directory and the configuration of a designer in it that is reached by nobody and reaches nobody.
pub fn alone() -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
    config.designer.web_srv_port = 0;
    config.designer.agent_port = 0;
    // Nobody listens on port 1.
    config.broker.http_port = 1;
    config.discovery.http_port = 1;
    config.master.rest_api_port = 1;
    (directory, config)
}

impl Designer {
    /// Starts one with a bus of its own.
    pub async fn start(config: &Config) -> Self {
        Self::start_on(config, Arc::new(InProcessBus::new())).await
    }

    /// Starts one on this bus.
    pub async fn start_on(config: &Config, bus: SharedBus) -> Self {
        let process = Process::new("fogflow-designer");
        let running = fogflow_designer::start(Arc::new(config.clone()), &process, bus).await.expect("the designer starts");
        let http = fogflow_chassis::http_client(config).expect("a client");
        Designer { running, http, config: config.clone(), process }
    }

    /// Starts one on this bus and over this store.
    pub async fn start_over(config: &Config, bus: SharedBus, store: fogflow_store::SharedStore) -> Self {
        let process = Process::new("fogflow-designer");
        let running = fogflow_designer::start_with(Arc::new(config.clone()), &process, bus, store).await.expect("the designer starts");
        let http = fogflow_chassis::http_client(config).expect("a client");
        Designer { running, http, config: config.clone(), process }
    }

    /// Ends it in order, as a signal does.
    pub async fn stop(self) {
        let Designer { process, http, .. } = self;
        drop(http);
        process.shutdown.cancel();
        let drained = process.tasks.drain(Duration::from_secs(15)).await;
        assert!(drained.unfinished.is_empty(), "tasks that did not end: {:?}", drained.unfinished);
        assert_eq!(process.tasks.failure(), None);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.http.get(self.url(path))).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.http.post(self.url(path)).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.http.delete(self.url(path))).await
    }

    /// Posts what has to be accepted.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "POST {path}: {}", answer.body);
        answer.body
    }

    /// Sends a notification as the cloud broker does.
    pub async fn notify(&self, id: &str, attributes: Value) -> Answer {
        let attributes: Vec<Value> = attributes
            .as_object()
            .expect("attributes by name")
            .iter()
            .map(|(name, value)| json!({"name": name, "type": "float", "value": value}))
            .collect();
        let element = json!({"entityId": {"id": id, "type": "T"}, "attributes": attributes});
        let body = json!({"subscriptionId": "", "contextResponses": [{"contextElement": element, "statusCode": {"code": 200}}]});
        answer(self.http.post(format!("http://{}/notifyContext", self.running.agent)).json(&body)).await
    }
}

/// Sends a request.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// Waits until `check` gives something; says what was seen last when it does not within ten seconds.
pub async fn until<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < Duration::from_secs(10) {
        match check().await {
            Ok(found) => return found,
            Err(seen) => last = seen,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 10 s; last: {last}");
}

/// An operator, and a topology with one task that runs it.
pub fn topology(name: &str) -> Value {
    json!({
        "name": name,
        "tasks": [{
            "name": "main",
            "operator": "counter",
            "input_streams": [{"selected_type": "Temperature", "selected_attributes": [], "groupby": "EntityID", "scoped": false}],
            "output_streams": [{"entity_type": "Out"}]
        }]
    })
}

/// The operator of [`topology`].
pub fn counter() -> Value {
    json!({"name": "counter", "dockerimages": [{"name": "fogflow/counter", "tag": "latest", "hwType": "X86", "osType": "Linux"}]})
}
