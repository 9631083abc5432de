//! The trait that both engines implement. What it promises is tested by the conformance suite (`tests/conformance.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

/// A message as published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The routing key, for example `Worker.001.`.
    pub routing_key: String,
    /// The JSON body.
    pub body: Bytes,
    /// W3C `traceparent` of the span that publishes it, if there is one. Travels as an AMQP header.
    pub traceparent: Option<String>,
}

/// A queue to consume from. Declared when subscribed, and again after every reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The name; consumers of one name share its messages.
    pub name: String,
    /// Binding patterns, for example `heartbeat.*`.
    pub bindings: Vec<String>,
    /// How many messages may be unacknowledged at once.
    pub prefetch: u16,
}

/// A received message. Dropping it without a decision hands it back to the queue.
#[async_trait]
pub trait Delivery: Send {
    /// The message.
    fn message(&self) -> &Message;
    /// Whether it was handed out before.
    fn redelivered(&self) -> bool;
    /// The work is done and durable.
    async fn ack(self: Box<Self>);
    /// The message can never be handled: to the dead-letter queue.
    async fn reject(self: Box<Self>);
}

/// A consumer of one queue. It survives reconnects by itself.
#[async_trait]
pub trait Subscription: Send {
    /// The next message; `None` only after the bus was closed.
    async fn next(&mut self) -> Option<Box<dyn Delivery>>;
}

/// Why a bus call failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Not confirmed within the time limit; the caller keeps it in its outbox and tries again.
    #[error("the message bus did not confirm the message: {0}")]
    Unconfirmed(String),
    /// The bus was closed.
    #[error("the message bus is closed")]
    Closed,
    /// The server refuses what was asked (a wrong password, other exchange flags).
    #[error("the message bus refuses: {0}")]
    Refused(String),
}

/// The seam. Every method is safe to call concurrently.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes and waits until the bus has taken the message over (publisher confirm). Delivery is at least once.
    async fn publish(&self, message: Message) -> Result<(), BusError>;

    /// Declares a queue with its bindings and consumes from it.
    async fn subscribe(&self, queue: Queue) -> Result<Box<dyn Subscription>, BusError>;

    /// Whether the bus is connected now, for readiness.
    fn connected(&self) -> watch::Receiver<bool>;

    /// Ends all subscriptions after what is in flight is acknowledged.
    async fn close(&self);
}

/// A bus that can be shared.
pub type SharedBus = Arc<dyn Bus>;
