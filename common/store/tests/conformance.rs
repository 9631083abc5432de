//! One suite, every engine of the Store seam.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test helper fails its test")]

mod dgraph_double;
mod suite;

use std::sync::{Arc, Once};

use async_trait::async_trait;
use fogflow_store::dgraph::{DgraphOptions, DgraphStore};
use fogflow_store::embedded::{EmbeddedOptions, EmbeddedStore};
use fogflow_store::memory::MemoryStore;
use fogflow_store::postgres::{PostgresOptions, PostgresStore};
use fogflow_store::{Durability, SharedStore};
use fogflow_tests::servers::{PgBouncer, Postgres};
use tempfile::TempDir;

use crate::suite::Fixture;

struct Memory(SharedStore);

#[async_trait]
impl Fixture for Memory {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.0)
    }

    async fn restart(&mut self) {
        panic!("it does not survive");
    }

    fn durable(&self) -> bool {
        false
    }

    fn log_overflow(&self) -> usize {
        2000
    }
}

async fn memory(_test: &str) -> Option<Memory> {
    Some(Memory(Arc::new(MemoryStore::with_log_limit(1500))))
}

struct Embedded {
    dir: TempDir,
    durability: Durability,
    store: SharedStore,
}

impl Embedded {
    async fn start(durability: Durability) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let store = Self::open(&dir, durability).await;
        Some(Embedded { dir, durability, store })
    }

    /// With a small log, so that it loses its beginning within a test.
    async fn open(dir: &TempDir, durability: Durability) -> SharedStore {
        let options = EmbeddedOptions { segment_bytes: 64 * 1024, feed_bytes: 4 * 1024 * 1024, ..EmbeddedOptions::new(durability) };
        Arc::new(EmbeddedStore::open_with(dir.path(), options).await.unwrap())
    }
}

#[async_trait]
impl Fixture for Embedded {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store)
    }

    async fn restart(&mut self) {
        self.store.close().await.unwrap();
        self.store = Self::open(&self.dir, self.durability).await;
    }

    fn durable(&self) -> bool {
        true
    }

    fn log_overflow(&self) -> usize {
        6000
    }
}

async fn fsync(_test: &str) -> Option<Embedded> {
    Embedded::start(Durability::Fsync).await
}

async fn relaxed(_test: &str) -> Option<Embedded> {
    Embedded::start(Durability::Relaxed).await
}

/// Each test has a service of its own on the shared server.
struct InPostgres {
    _server: Arc<Postgres>,
    _pooler: Option<PgBouncer>,
    url: String,
    service: String,
    store: SharedStore,
}

impl InPostgres {
    async fn start(test: &str, pooled: bool) -> Option<Self> {
        let server = Postgres::shared(test).await?;
        let pooler = if pooled { Some(PgBouncer::start(test, &server).await?) } else { None };
        let url = pooler.as_ref().map_or_else(|| server.url(), PgBouncer::url);
        let service = format!("{test}{}", if pooled { "_p" } else { "" });
        let store = Self::open(&url, &service).await;
        Some(InPostgres { _server: server, _pooler: pooler, url, service, store })
    }

    /// With a small log, so that it loses its beginning within a test.
    async fn open(url: &str, service: &str) -> SharedStore {
        let options = PostgresOptions { log_partition: 2000, log_keep: 4000, ..PostgresOptions::default() };
        Arc::new(PostgresStore::open_with(url, service, options).await.unwrap())
    }
}

#[async_trait]
impl Fixture for InPostgres {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store)
    }

    async fn restart(&mut self) {
        self.store.close().await.unwrap();
        self.store = Self::open(&self.url, &self.service).await;
    }

    fn durable(&self) -> bool {
        true
    }

    fn log_overflow(&self) -> usize {
        9000
    }
}

async fn postgres(test: &str) -> Option<InPostgres> {
    InPostgres::start(test, false).await
}

async fn pooled(test: &str) -> Option<InPostgres> {
    InPostgres::start(test, true).await
}

/// Each run and test has a service of its own on the server that `DGRAPH_URL` names.
struct InDgraph {
    url: String,
    service: String,
    store: SharedStore,
}

impl InDgraph {
    async fn open(url: &str, service: &str) -> SharedStore {
        Arc::new(DgraphStore::open_with(url, service, DgraphOptions { log_keep: 4000, ..DgraphOptions::default() }).await.unwrap())
    }
}

#[async_trait]
impl Fixture for InDgraph {
    fn store(&self) -> SharedStore {
        Arc::clone(&self.store)
    }

    async fn restart(&mut self) {
        self.store.close().await.unwrap();
        self.store = Self::open(&self.url, &self.service).await;
    }

    fn durable(&self) -> bool {
        true
    }

    fn log_overflow(&self) -> usize {
        6000
    }
}

async fn dgraph(test: &str) -> Option<InDgraph> {
    let Ok(url) = std::env::var("DGRAPH_URL") else {
        static SAID: Once = Once::new();
        SAID.call_once(|| fogflow_tests::skip("all tests with a real Dgraph", "DGRAPH_URL names no server"));
        return None;
    };
    let service = format!("{test}_{}", uuid::Uuid::new_v4().simple());
    let store = InDgraph::open(&url, &service).await;
    Some(InDgraph { url, service, store })
}

conformance!(in_memory, memory);
async fn like_dgraph(test: &str) -> Option<InDgraph> {
    let url = dgraph_double::start().await;
    let store = InDgraph::open(&url, test).await;
    Some(InDgraph { url, service: test.to_owned(), store })
}

conformance!(in_dgraph, dgraph);
conformance!(in_a_stand_in_for_dgraph, like_dgraph);
conformance!(in_postgres, postgres);
conformance!(in_postgres_through_pgbouncer, pooled);
conformance!(embedded_fsync, fsync);
conformance!(embedded_relaxed, relaxed);
