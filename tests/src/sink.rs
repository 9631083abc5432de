//! A subscriber: takes notifications and remembers them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::any;
use serde_json::Value;
use tokio::task::JoinHandle;

/// How a sink answers.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The status of each answer.
    pub status: u16,
    /// How long it takes to answer.
    pub delay: Duration,
}

struct Shared {
    manner: Mutex<Manner>,
    bodies: Mutex<Vec<Value>>,
}

/// An HTTP server that takes anything. It ends when dropped, and can be started again on the same port.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a free port of the loopback address and answers 200.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared { manner: Mutex::new(Manner { status: 200, delay: Duration::ZERO }), bodies: Mutex::new(Vec::new()) });
        let mut sink = Sink { address: ([127, 0, 0, 1], 0).into(), shared, server: None };
        sink.resume().await;
        sink
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers in another manner from now on.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Stops listening; what comes meets a refused connection.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    /// Listens again on the same port.
    pub async fn resume(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.expect("the sink's port is free");
        self.address = listener.local_addr().expect("a bound socket has an address");
        let router = Router::new().fallback(any(take)).with_state(self.shared.clone());
        self.server = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
    }

    /// Every body so far, oldest first.
    #[must_use]
    pub fn bodies(&self) -> Vec<Value> {
        self.shared.bodies.lock().unwrap().clone()
    }

    /// Every value of one attribute of one entity in v1 notifications, oldest first.
    #[must_use]
    pub fn values(&self, entity: &str, attribute: &str) -> Vec<Value> {
        let mut values = Vec::new();
        for body in self.bodies() {
            for response in body["contextResponses"].as_array().into_iter().flatten() {
                let element = &response["contextElement"];
                if element["entityId"]["id"] == entity {
                    values.extend(
                        element["attributes"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter(|a| a["name"] == attribute)
                            .map(|a| a["value"].clone()),
                    );
                }
            }
        }
        values
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> (StatusCode, &'static str) {
    let manner = *shared.manner.lock().unwrap();
    tokio::time::sleep(manner.delay).await;
    if (200..300).contains(&manner.status)
        && let Ok(body) = serde_json::from_slice(&body)
    {
        shared.bodies.lock().unwrap().push(body);
    }
    (StatusCode::from_u16(manner.status).unwrap_or(StatusCode::OK), r#"{"responseCode":{"code":200}}"#)
}
