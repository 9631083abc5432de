//! A world around a real master: designer, discovery and broker as small HTTP servers, workers on an in-process bus.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

pub mod designer;
pub mod discovery;
pub mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::SharedBus;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_chassis::Process;
use fogflow_config::Config;
use fogflow_master::Running;
use fogflow_store::SharedStore;

pub use designer::FakeDesigner;
pub use discovery::FakeDiscovery;
#[allow(unused_imports, reason = "the benchmark brings its own workers")]
pub use worker::SimWorker;

/// Serves a router on a free port of loopback for the rest of the test.
pub async fn serve(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Waits until `probe` gives a value; fails with the last thing it said after 15 s.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(status) if Instant::now() > deadline => panic!("{what} did not happen in 15 s; last: {status}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The surroundings; masters come and go in it.
pub struct World {
    pub bus: SharedBus,
    pub designer: FakeDesigner,
    pub discovery: FakeDiscovery,
    pub config: Config,
    pub data: tempfile::TempDir,
}

pub struct LiveMaster {
    pub process: Process,
    pub running: Running,
}

impl LiveMaster {
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        reqwest::get(format!("http://{}{path}", self.running.rest)).await.unwrap().json().await.unwrap()
    }

    /// Ends in good order.
    pub async fn stop(self) {
        self.process.shutdown.cancel();
        let drained = self.process.tasks.drain(Duration::from_secs(10)).await;
        assert!(drained.unfinished.is_empty(), "{:?}", drained.unfinished);
    }
}

impl World {
    pub async fn new() -> Self {
        Self::of(FakeDesigner::start(false).await, FakeDiscovery::start(false).await)
    }

    pub fn of(designer: FakeDesigner, discovery: FakeDiscovery) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { my_hostip: "127.0.0.1".to_owned(), data_dir: data.path().to_owned(), ..Config::default() };
        config.master.ngsi_agent_port = 0;
        config.master.rest_api_port = 0;
        config.designer.web_srv_port = designer.address.port();
        config.discovery.http_port = discovery.address.port();
        config.broker.http_port = discovery.address.port();
        config.worker.heartbeat_interval = None;
        World { bus: Arc::new(InProcessBus::new()), designer, discovery, config, data }
    }

    pub async fn master(&self) -> LiveMaster {
        self.master_with(Arc::new(fogflow_store::memory::MemoryStore::new())).await
    }

    /// With the embedded store in the world's data directory, which the next one opens again.
    pub async fn master_on_disk(&self) -> LiveMaster {
        let process = Process::new("fogflow-master");
        let running = fogflow_master::start(Arc::new(self.config.clone()), &process, self.bus.clone()).await.unwrap();
        LiveMaster { process, running }
    }

    pub async fn master_with(&self, store: SharedStore) -> LiveMaster {
        let process = Process::new("fogflow-master");
        let running = fogflow_master::start_with(Arc::new(self.config.clone()), &process, self.bus.clone(), store).await.unwrap();
        LiveMaster { process, running }
    }
}
