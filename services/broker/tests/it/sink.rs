//! A subscriber that records what it gets and behaves as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Debug)]
struct Inner {
    received: Vec<Received>,
    status: u16,
    delay: Duration,
}

pub struct Sink {
    pub addr: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    server: Option<JoinHandle<()>>,
}

async fn take(State(inner): State<Arc<Mutex<Inner>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let (status, delay) = {
        let inner = inner.lock();
        (inner.status, inner.delay)
    };
    tokio::time::sleep(delay).await;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    inner.lock().received.push(Received { path: uri.path().to_owned(), headers, body });
    (StatusCode::from_u16(status).unwrap(), String::new())
}

impl Sink {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn at(addr: SocketAddr) -> Self {
        let inner = Arc::new(Mutex::new(Inner { received: Vec::new(), status: 200, delay: Duration::ZERO }));
        let mut sink = Sink { addr, inner, server: None };
        sink.up().await;
        sink
    }

    /// Listens (again) at its address.
    pub async fn up(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.addr = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&self.inner));
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        }));
    }

    /// Refuses connections from now on.
    pub async fn down(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn answer(&self, status: u16) {
        self.inner.lock().status = status;
    }

    pub fn delay(&self, delay: Duration) {
        self.inner.lock().delay = delay;
    }

    pub fn received(&self) -> Vec<Received> {
        self.inner.lock().received.clone()
    }

    pub fn forget(&self) {
        self.inner.lock().received.clear();
    }

    /// The v1 elements in the order of their arrival.
    pub fn elements(&self) -> Vec<Value> {
        let received = self.received();
        let responses = received.iter().filter_map(|one| one.body["contextResponses"].as_array().cloned());
        responses.flatten().map(|response| response["contextElement"].clone()).collect()
    }

    /// How many different entities were told of.
    pub fn count_ids(&self) -> usize {
        let inner = self.inner.lock();
        let responses = inner.received.iter().filter_map(|one| one.body["contextResponses"].as_array()).flatten();
        responses
            .filter_map(|response| response["contextElement"]["entityId"]["id"].as_str())
            .collect::<std::collections::HashSet<_>>()
            .len()
    }

    /// Id and value of the first attribute of each element, in the order of their arrival.
    pub fn values(&self) -> Vec<(String, Value)> {
        let value = |element: &Value| {
            (element["entityId"]["id"].as_str().unwrap_or_default().to_owned(), element["attributes"][0]["value"].clone())
        };
        self.elements().iter().map(value).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}
