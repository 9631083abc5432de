//! What is answered when nothing can be stored.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_store::memory::MemoryStore;
use fogflow_store::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, Store, StoreError};
use reqwest::Method;
use serde_json::json;
use support::{Node, Sink, cars, eventually, registration};

/// A store whose disk can be full.
struct Fillable {
    inner: MemoryStore,
    full: AtomicBool,
}

#[async_trait]
impl Store for Fillable {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        if self.full.load(Ordering::SeqCst) { Err(StoreError::Full) } else { self.inner.commit(batch).await }
    }
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.inner.get(key).await
    }
    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        self.inner.scan(tenant, collection, after, limit).await
    }
    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.inner.collections().await
    }
    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        self.inner.feed(from, limit).await
    }
    async fn head(&self) -> Result<Sequence, StoreError> {
        self.inner.head().await
    }
    fn head_hint(&self) -> tokio::sync::watch::Receiver<Sequence> {
        self.inner.head_hint()
    }
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.inner.lease(name, holder, ttl).await
    }
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.inner.release(name, holder).await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_with_503_answers_reads_and_loses_nothing_afterwards() {
    let store = Arc::new(Fillable { inner: MemoryStore::new(), full: AtomicBool::new(false) });
    let (node, sink) = (Node::start_on(store.clone(), 10).await, Sink::start().await);
    node.register("http://a/ngsi10", json!({"id": "Car.1", "type": "Car"})).await;
    store.full.store(true, Ordering::SeqCst);
    let request = json!({"contextRegistrations": [registration("http://a/ngsi10", json!({"id": "Car.2", "type": "Car"}))]});
    let (status, reply) = node.request(Method::POST, "/ngsi9/registerContext", Some(&request)).await;
    assert!(status == 503 && reply["Error"].is_string(), "{status} {reply}");
    let subscription = json!({"entities": [{"type": "Car", "isPattern": true}], "reference": sink.url});
    assert_eq!(node.request(Method::POST, "/ngsi9/subscribeContextAvailability", Some(&subscription)).await.0, 503);
    assert_eq!(node.get("/ngsi9/subscription").await, json!({}));
    assert!(node.discover(&cars()).await.contains(&"Car.1".to_owned()));
    store.full.store(false, Ordering::SeqCst);
    node.post("/ngsi9/registerContext", &request).await;
    let stored = || async { store.scan(None, "registration", None, 10).await.unwrap().documents.len() };
    eventually(stored, |count| *count == 2).await;
    node.stop().await;
}
