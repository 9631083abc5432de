//! The bus over RabbitMQ.
//!
//! One task owns the connection and replaces it whenever it breaks, from the first attempt on and for ever. Everything
//! that must exist on the server (exchange, dead letters, queues, bindings) is declared again on each new connection
//! before anything is published on it. Publishers wait for a connection within their time limit; consumers subscribe
//! again by themselves. Nothing of an old connection is used on a new one: an acknowledgement that comes too late only
//! means that the message is delivered again.

mod consumer;
mod link;
mod publisher;
mod topology;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fogflow_background::Spawner;
use lapin::uri::AMQPUri;
use tokio::sync::watch;

use self::consumer::RabbitSubscription;
use self::link::Link;
use self::publisher::Publisher;
use crate::contract::{Bus, BusError, Message, Queue, Subscription};

/// Where RabbitMQ is and who we are.
#[derive(Clone)]
pub struct AmqpSettings {
    /// `amqp://` or `amqps://` URL with user and password. An empty path means the default virtual host `/`.
    pub url: String,
    /// The topic exchange, `fogflow` unless someone shares a server.
    pub exchange: String,
    /// The component's id, shown as connection name and consumer tag, for example `Worker.001`.
    pub component: String,
    /// Whether queues are declared as quorum queues, which a cluster of RabbitMQ keeps on most of its members. Else they are classic.
    pub quorum: bool,
}

impl fmt::Debug for AmqpSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL holds the password.
        let server = self.parse().map_or_else(|_| "(no AMQP URL)".to_owned(), |uri| link::shown(&uri));
        formatter
            .debug_struct("AmqpSettings")
            .field("server", &server)
            .field("exchange", &self.exchange)
            .field("component", &self.component)
            .field("quorum", &self.quorum)
            .finish()
    }
}

impl AmqpSettings {
    fn parse(&self) -> Result<AMQPUri, BusError> {
        // The parser's message repeats no part of the URL, so it cannot leak the password.
        let mut uri: AMQPUri = self.url.parse().map_err(|error| BusError::Refused(format!("rabbitmq URL: {error}")))?;
        if uri.vhost.is_empty() {
            uri.vhost = "/".to_owned();
        }
        // A silent server or a cut cable is noticed within two of these, so within 10 s.
        uri.query.heartbeat.get_or_insert(5);
        uri.query.connection_timeout.get_or_insert(5000);
        Ok(uri)
    }
}

/// The bus over RabbitMQ.
pub struct RabbitBus {
    link: Arc<Link>,
    publisher: Publisher,
}

impl RabbitBus {
    /// Begins to connect and returns at once; [`Bus::connected`] tells when it has succeeded.
    ///
    /// # Errors
    /// [`BusError::Refused`] when the URL is no AMQP URL.
    pub async fn connect(settings: AmqpSettings) -> Result<Self, BusError> {
        Self::connect_with(settings, &Spawner::default())
    }

    /// [`connect`](Self::connect) with a place where the task that keeps the connection is watched. Call it within a runtime.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(settings: AmqpSettings, spawner: &Spawner) -> Result<Self, BusError> {
        let uri = settings.parse()?;
        let link = Link::start(uri, settings, spawner);
        Ok(RabbitBus { publisher: Publisher::new(Arc::clone(&link)), link })
    }
}

#[async_trait]
impl Bus for RabbitBus {
    async fn publish(&self, message: Message) -> Result<(), BusError> {
        self.publisher.publish(message).await
    }

    async fn subscribe(&self, queue: Queue) -> Result<Box<dyn Subscription>, BusError> {
        self.link.declare(&queue).await?;
        Ok(Box::new(RabbitSubscription::new(Arc::clone(&self.link), queue)))
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.link.connected()
    }

    async fn close(&self) {
        self.link.close().await;
    }
}

impl Drop for RabbitBus {
    fn drop(&mut self) {
        self.link.stop();
    }
}
