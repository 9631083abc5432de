//! A store that has no space, or is away.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_store::memory::MemoryStore;
use fogflow_store::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, Store, StoreError};
use serde_json::json;
use support::{Designer, alone, counter, topology};
use tokio::sync::watch;

/// 0: well; 1: full; 2: takes no write.
#[derive(Clone)]
struct FaultyStore(Arc<MemoryStore>, Arc<AtomicU8>);

#[async_trait]
impl Store for FaultyStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        match self.1.load(Ordering::SeqCst) {
            1 => Err(StoreError::Full),
            2 => Err(StoreError::Unavailable("the test cut it off".to_owned())),
            _ => self.0.commit(batch).await,
        }
    }
    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        self.0.get(key).await
    }
    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        self.0.scan(tenant, collection, after, limit).await
    }
    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        self.0.feed(from, limit).await
    }
    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.0.collections().await
    }
    async fn head(&self) -> Result<Sequence, StoreError> {
        self.0.head().await
    }
    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.0.head_hint()
    }
    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.0.lease(name, holder, ttl).await
    }
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.0.release(name, holder).await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

#[tokio::test]
async fn a_full_or_absent_store_refuses_writes_reads_go_on_and_nothing_is_half_written() {
    let (_directory, config) = alone();
    let fault = Arc::new(AtomicU8::new(0));
    let store = FaultyStore(Arc::new(MemoryStore::new()), Arc::clone(&fault));
    let designer = Designer::start_over(&config, Arc::new(InProcessBus::new()), Arc::new(store)).await;
    designer.put("/operator", counter()).await;
    for (kind, status) in [(1, 507), (2, 503)] {
        fault.store(kind, Ordering::SeqCst);
        for (path, body) in [
            ("/operator", json!({"name": "new"})),
            ("/service", json!({"topology": topology("one")})),
            ("/fogfunction", json!({"name": "Test", "topology": topology("Test")})),
            ("/device", json!({"id": "Device.1", "type": "T"})),
            ("/import", json!({"operators": {"new": {"name": "new"}}})),
        ] {
            let answer = designer.post(path, body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
            assert!(answer.body["description"].as_str().unwrap().contains("store"), "{}", answer.body);
        }
        assert_eq!(designer.delete("/operator/counter").await.status, status);
        let export = designer.get("/export").await.body;
        assert_eq!(export["operators"].as_object().map(serde_json::Map::len), Some(1));
        assert_eq!(
            (&export["services"], &export["fogfunctions"], &export["topologies"], &export["devices"]),
            (&json!({}), &json!({}), &json!({}), &json!({}))
        );
    }
    fault.store(0, Ordering::SeqCst);
    designer.put("/fogfunction", json!({"name": "Test", "topology": topology("Test")})).await;
    designer.stop().await;
}
