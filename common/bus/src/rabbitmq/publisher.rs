//! Publishing: persistent messages, each confirmed by the server, several at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::link::{Link, Live};
use crate::contract::{BusError, Message};

/// Time within which a message is confirmed or refused; design 12.3.
const LIMIT: Duration = Duration::from_secs(5);
/// Unconfirmed messages at a time.
const WINDOW: usize = 256;
/// Routing keys of which we remember that their loss was logged.
const LOGGED_KEYS: usize = 1000;
const PERSISTENT: u8 = 2;

/// The header that carries [`Message::traceparent`].
pub(super) const TRACEPARENT: &str = "traceparent";

/// Publishes on whatever connection is live.
pub(super) struct Publisher {
    link: Arc<Link>,
    window: Semaphore,
    unroutable: Mutex<BTreeSet<String>>,
}

impl Publisher {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Publisher { link, window: Semaphore::new(WINDOW), unroutable: Mutex::default() }
    }

    /// Publishes until the server confirms. A message whose confirm was lost with its connection is published again,
    /// so it may arrive twice.
    pub(super) async fn publish(&self, message: Message) -> Result<(), BusError> {
        if self.link.closing.is_cancelled() {
            return Err(BusError::Closed);
        }
        let deadline = Instant::now() + LIMIT;
        let Ok(permit) = timeout_at(deadline, self.window.acquire()).await else {
            return Err(BusError::Unconfirmed(format!("{WINDOW} earlier messages wait for their confirms")));
        };
        let _permit = permit.map_err(|_| BusError::Closed)?;
        let mut broken = 0;
        loop {
            let live = self.link.live(broken, Some(deadline)).await?;
            match timeout_at(deadline, self.once(&live, &message)).await {
                Ok(Ok(Confirmation::Ack(returned))) => {
                    if returned.is_some() {
                        self.log_unroutable(&message.routing_key);
                    }
                    return Ok(());
                }
                // The server is short of something; it said so at once, so give it a moment.
                Ok(Ok(_)) => tokio::time::sleep_until(deadline.min(Instant::now() + Duration::from_millis(200))).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a message was not confirmed, publishing it again");
                    broken = live.generation;
                    self.link.suspect(broken);
                }
                Err(_) => {
                    // A message that was given up half-sent leaves the channel's count of confirms wrong.
                    self.link.suspect(live.generation);
                    return Err(BusError::Unconfirmed(format!("no confirm within {LIMIT:?}")));
                }
            }
            if Instant::now() >= deadline {
                return Err(BusError::Unconfirmed("the server refuses the message".to_owned()));
            }
        }
    }

    async fn once(&self, live: &Live, message: &Message) -> Result<Confirmation, lapin::Error> {
        let mut properties = BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(PERSISTENT);
        if let Some(traceparent) = &message.traceparent {
            let mut headers = FieldTable::default();
            headers.insert(TRACEPARENT.into(), AMQPValue::LongString(traceparent.as_str().into()));
            properties = properties.with_headers(headers);
        }
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = (self.link.topology.exchange.as_str().into(), message.routing_key.as_str().into());
        live.publisher.basic_publish(exchange, key, options, &message.body, properties).await?.await
    }

    /// That nobody listens is normal while components start, and worth a line once.
    fn log_unroutable(&self, key: &str) {
        let mut logged = self.unroutable.lock();
        if logged.len() < LOGGED_KEYS && logged.insert(key.to_owned()) {
            tracing::info!(routing_key = key, "no queue takes messages with this key (logged once per key)");
        } else {
            tracing::debug!(routing_key = key, "no queue takes this message");
        }
    }
}
