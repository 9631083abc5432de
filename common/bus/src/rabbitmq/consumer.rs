//! Consuming: a subscription outlives connections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Consumer, message};
use tokio::time::timeout;

use super::link::{Link, Live};
use super::publisher;
use crate::contract::{Delivery, Message, Queue, Subscription};
use crate::in_flight::Flight;

/// Limit for subscribing on a connection.
const LIMIT: Duration = Duration::from_secs(10);
/// Limit for telling the server what became of a message. On a connection that was given up the answer never comes.
const DECIDE_LIMIT: Duration = Duration::from_secs(5);
/// Pause before the next attempt on the same connection.
const PAUSE: Duration = Duration::from_millis(500);

/// A consumer of one queue.
pub(super) struct RabbitSubscription {
    link: Arc<Link>,
    queue: Queue,
    current: Option<(u64, Consumer)>,
}

impl RabbitSubscription {
    pub(super) fn new(link: Arc<Link>, queue: Queue) -> Self {
        RabbitSubscription { link, queue, current: None }
    }

    /// The next message of the current consumer, or of the next one.
    async fn receive(&mut self) -> Option<message::Delivery> {
        loop {
            let (generation, consumer) = match &mut self.current {
                Some((generation, consumer)) => (*generation, consumer),
                None => {
                    let live = self.link.live(0, None).await.ok()?;
                    match timeout(LIMIT, self.consume(&live)).await {
                        Ok(Ok(consumer)) => {
                            self.current = Some((live.generation, consumer));
                            continue;
                        }
                        Ok(Err(error)) => tracing::warn!(queue = %self.queue.name, %error, "cannot consume, trying again"),
                        Err(_) => self.link.suspect(live.generation),
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // A consumer does not always learn that its connection was given up; it would stay deaf.
            tokio::select! {
                delivery = consumer.next() => match delivery {
                    Some(Ok(delivery)) => return Some(delivery),
                    Some(Err(error)) => tracing::debug!(queue = %self.queue.name, %error, generation, "the consumer broke off"),
                    None => tracing::debug!(queue = %self.queue.name, generation, "the consumer ended"),
                },
                () = self.link.replaced(generation) => {
                    tracing::debug!(queue = %self.queue.name, generation, "the consumer's connection was given up");
                }
            }
            self.current = None;
        }
    }

    /// Declares the queue, which may have been deleted under the last consumer, and consumes from it.
    async fn consume(&self, live: &Live) -> Result<Consumer, lapin::Error> {
        self.link.topology.declare_queue(&live.connection, &self.queue).await?;
        let channel = live.connection.create_channel().await?;
        channel.basic_qos(self.queue.prefetch.max(1), BasicQosOptions::default()).await?;
        let tag = format!("{}-{}", self.link.component, uuid::Uuid::new_v4().simple());
        let (name, tag) = (self.queue.name.as_str().into(), tag.as_str().into());
        channel.basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default()).await
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> Option<Box<dyn Delivery>> {
        let closing = self.link.closing.clone();
        let received = closing.run_until_cancelled(self.receive()).await??;
        let traceparent = received.properties.headers().as_ref().and_then(|headers| match headers.inner().get(publisher::TRACEPARENT) {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            _ => None,
        });
        Some(Box::new(RabbitDelivery {
            message: Message { routing_key: received.routing_key.to_string(), body: Bytes::from(received.data), traceparent },
            redelivered: received.redelivered,
            acker: Some(received.acker),
            flight: Some(self.link.in_flight.begin()),
        }))
    }
}

struct RabbitDelivery {
    message: Message,
    redelivered: bool,
    /// Taken by the decision.
    acker: Option<Acker>,
    flight: Option<Flight>,
}

/// What the consumer decided.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Done,
    Never,
    Back,
}

impl RabbitDelivery {
    /// Tells the server. When that fails, the connection is gone and the server delivers the message again.
    async fn decide(acker: Option<Acker>, decision: Decision) {
        let Some(acker) = acker else { return };
        let told = timeout(DECIDE_LIMIT, async {
            match decision {
                Decision::Done => acker.ack(BasicAckOptions::default()).await,
                Decision::Never => acker.reject(BasicRejectOptions { requeue: false }).await,
                Decision::Back => acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await,
            }
        });
        match told.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, ?decision, "too late to tell the server, the message will be delivered again"),
            Err(_) => tracing::debug!(?decision, "the server cannot be told in time, the message will be delivered again"),
        }
    }
}

#[async_trait]
impl Delivery for RabbitDelivery {
    fn message(&self) -> &Message {
        &self.message
    }

    fn redelivered(&self) -> bool {
        self.redelivered
    }

    async fn ack(mut self: Box<Self>) {
        Self::decide(self.acker.take(), Decision::Done).await;
    }

    async fn reject(mut self: Box<Self>) {
        Self::decide(self.acker.take(), Decision::Never).await;
    }
}

impl Drop for RabbitDelivery {
    fn drop(&mut self) {
        // Outside a runtime the process is ending, and the server takes the message back with the connection.
        let (Some(acker), Ok(runtime)) = (self.acker.take(), tokio::runtime::Handle::try_current()) else { return };
        let flight = self.flight.take();
        runtime.spawn(async move {
            Self::decide(Some(acker), Decision::Back).await;
            drop(flight);
        });
    }
}
