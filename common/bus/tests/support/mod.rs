//! Short ways to say what the tests of both files do.

use std::time::Duration;

use bytes::Bytes;
use fogflow_bus::{Delivery, Message, Queue, Subscription};

pub(crate) fn message(key: &str, body: &str) -> Message {
    Message { routing_key: key.to_owned(), body: Bytes::copy_from_slice(body.as_bytes()), traceparent: None }
}

pub(crate) fn queue(name: &str, bindings: &[&str]) -> Queue {
    Queue { name: name.to_owned(), bindings: bindings.iter().map(|binding| (*binding).to_owned()).collect(), prefetch: 20 }
}

pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("waited 60 s for {what}"))
}

pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Box<dyn Delivery> {
    bounded("a message", subscription.next()).await.expect("the bus is open")
}

/// The text of the next message, acknowledged.
pub(crate) async fn take(subscription: &mut Box<dyn Subscription>) -> String {
    let delivery = next(subscription).await;
    let text = text(&*delivery);
    delivery.ack().await;
    text
}

pub(crate) fn text(delivery: &dyn Delivery) -> String {
    String::from_utf8(delivery.message().body.to_vec()).unwrap()
}
