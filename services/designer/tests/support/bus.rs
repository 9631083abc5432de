//! A bus that can be dead: it then confirms nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fogflow_bus::inprocess::InProcessBus;
use fogflow_bus::{Bus, BusError, Message, Queue, Subscription};
use fogflow_orchestration::{Envelope, MessageType};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

/// See the module.
#[derive(Clone)]
pub struct MortalBus {
    inner: Arc<InProcessBus>,
    dead: Arc<AtomicBool>,
    queues: Arc<watch::Sender<Vec<String>>>,
}

impl MortalBus {
    pub fn new(alive: bool) -> Self {
        MortalBus {
            inner: Arc::new(InProcessBus::new()),
            dead: Arc::new(AtomicBool::new(!alive)),
            queues: Arc::new(watch::Sender::new(Vec::new())),
        }
    }

    pub fn set_alive(&self, alive: bool) {
        self.dead.store(!alive, Ordering::SeqCst);
    }

    /// Waits until the designer has its queue: what is sent before finds nobody.
    pub async fn designer_listens(&self) {
        let mut queues = self.queues.subscribe();
        let listens = queues.wait_for(|names| names.iter().any(|name| name == "fogflow-designer"));
        tokio::time::timeout(Duration::from_secs(10), listens).await.expect("the designer's queue within 10 s").expect("a bus");
    }

    /// A master's ear: what is sent to all masters.
    pub async fn master(&self) -> Ear {
        let queue = Queue { name: "Master.test".to_owned(), bindings: vec!["orchestration.*".to_owned()], prefetch: 10 };
        Ear(self.inner.subscribe(queue).await.expect("a queue"))
    }

    /// Sends a message as a component does.
    pub async fn send(&self, kind: MessageType, key: &str, from: &str, payload: &impl Serialize) {
        let envelope = Envelope::new(kind, key, from, payload).expect("an envelope");
        let body = serde_json::to_vec(&envelope).expect("JSON").into();
        self.inner.publish(Message { routing_key: key.to_owned(), body, traceparent: None }).await.expect("published");
    }
}

/// See [`MortalBus::master`].
pub struct Ear(Box<dyn Subscription>);

impl Ear {
    /// Action and intent id of the next `ServiceIntent` within ten seconds.
    pub async fn intent(&mut self) -> (String, String) {
        let payload = self.next(Duration::from_secs(10)).await.expect("a message within 10 s");
        (payload["action"].as_str().unwrap_or_default().to_owned(), payload["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The next payload, or `None` after this time.
    pub async fn next(&mut self, patience: Duration) -> Option<Value> {
        let delivery = tokio::time::timeout(patience, self.0.next()).await.ok()??;
        let envelope: Envelope = serde_json::from_slice(&delivery.message().body).expect("an envelope");
        assert_eq!(envelope.message_type, "ServiceIntent");
        assert_eq!(envelope.from, "designer");
        delivery.ack().await;
        Some(envelope.payload)
    }
}

#[async_trait]
impl Bus for MortalBus {
    async fn publish(&self, message: Message) -> Result<(), BusError> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(BusError::Unconfirmed("the test killed it".to_owned()));
        }
        self.inner.publish(message).await
    }

    async fn subscribe(&self, queue: Queue) -> Result<Box<dyn Subscription>, BusError> {
        let name = queue.name.clone();
        let subscription = self.inner.subscribe(queue).await?;
        self.queues.send_modify(|names| names.push(name));
        Ok(subscription)
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.inner.connected()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
