//! One suite, every engine of the Bus seam.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test helper fails its test")]

mod suite;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_bus::rabbitmq::{AmqpSettings, RabbitBus};
use fogflow_bus::{Message, Queue, SharedBus};
use fogflow_tests::servers::RabbitMq;

use crate::suite::Fixture;

struct InProcess(Arc<InProcessBus>);

#[async_trait]
impl Fixture for InProcess {
    async fn bus(&self) -> SharedBus {
        self.0.clone()
    }

    async fn dead_letter(&self) -> Message {
        self.0.dead_letters().remove(0)
    }
}

async fn in_process(_test: &str) -> Option<InProcess> {
    Some(InProcess(Arc::new(InProcessBus::new())))
}

/// Each test has an exchange of its own on the shared server, and queue names made unique by it.
struct Rabbit {
    server: Arc<RabbitMq>,
    exchange: String,
    quorum: bool,
}

impl Rabbit {
    fn settings(&self) -> AmqpSettings {
        AmqpSettings { url: self.server.url(), exchange: self.exchange.clone(), component: "test".to_owned(), quorum: self.quorum }
    }
}

#[async_trait]
impl Fixture for Rabbit {
    async fn bus(&self) -> SharedBus {
        let bus = RabbitBus::connect(self.settings()).await.unwrap();
        Arc::new(Renamed { bus, prefix: self.exchange.clone() })
    }

    async fn dead_letter(&self) -> Message {
        let bus = RabbitBus::connect(self.settings()).await.unwrap();
        let name = format!("{}.dead", self.exchange);
        let mut dead = fogflow_bus::Bus::subscribe(&bus, Queue { name, bindings: vec![], prefetch: 1 }).await.unwrap();
        let letter = dead.next().await.unwrap();
        let message = letter.message().clone();
        letter.ack().await;
        message
    }
}

/// Queues of several tests live on one server, so their names get the test's prefix.
struct Renamed {
    bus: RabbitBus,
    prefix: String,
}

#[async_trait]
impl fogflow_bus::Bus for Renamed {
    async fn publish(&self, message: Message) -> Result<(), fogflow_bus::BusError> {
        self.bus.publish(message).await
    }

    async fn subscribe(&self, queue: Queue) -> Result<Box<dyn fogflow_bus::Subscription>, fogflow_bus::BusError> {
        // Not connected yet, the queue would exist only later, and the tests publish at once.
        let mut connected = self.bus.connected();
        let _ = tokio::time::timeout(Duration::from_secs(30), connected.wait_for(|connected| *connected)).await;
        self.bus.subscribe(Queue { name: format!("{}.{}", self.prefix, queue.name), ..queue }).await
    }

    fn connected(&self) -> tokio::sync::watch::Receiver<bool> {
        self.bus.connected()
    }

    async fn close(&self) {
        self.bus.close().await;
    }
}

async fn rabbit(test: &str) -> Option<Rabbit> {
    on_shared(test, false).await
}

async fn quorum(test: &str) -> Option<Rabbit> {
    on_shared(test, true).await
}

async fn on_shared(test: &str, quorum: bool) -> Option<Rabbit> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let server = RabbitMq::shared(test).await?;
    Some(Rabbit { server, exchange: format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed)), quorum })
}

conformance!(in_process_bus, in_process);
conformance!(rabbit_bus, rabbit);
conformance!(rabbit_bus_of_quorum_queues, quorum);
