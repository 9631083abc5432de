//! What must exist on the server, and how it is declared.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Error, ErrorKind, ExchangeKind};

use crate::contract::Queue;

/// Age at which a message of ours leaves its queue: what it asked for has long been settled by a full sync.
const MESSAGE_TTL_MS: i64 = 3_600_000;
/// Time without a consumer after which the server deletes a queue, so that workers that are gone leave nothing behind.
const QUEUE_EXPIRES_MS: i64 = 24 * 3_600_000;
/// Messages that a queue holds at most; the oldest becomes a dead letter.
const QUEUE_LENGTH: i64 = 100_000;
/// Dead letters are kept for a week, the newest 10 000 of them.
const DEAD_TTL_MS: i64 = 7 * 24 * 3_600_000;
const DEAD_LENGTH: i64 = 10_000;

/// The names and kinds of what we declare.
pub(super) struct Topology {
    pub(super) exchange: String,
    /// Whether queues are quorum queues.
    pub(super) quorum: bool,
}

impl Topology {
    /// Declares the exchange as upstream does (topic, durable, auto-delete), and ours for dead letters with its queue.
    pub(super) async fn declare_exchanges(&self, connection: &Connection) -> Result<(), Error> {
        let exchange = self.exchange.as_str();
        let options = ExchangeDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
        let ours = declare_exchange(&connection.create_channel().await?, exchange, ExchangeKind::Topic, options).await;
        if let Err(error) = ours {
            if !is_mismatch(&error) {
                return Err(error);
            }
            tracing::warn!(exchange, "the exchange exists with other properties; it is used as it is");
            let passive = ExchangeDeclareOptions { passive: true, ..options };
            declare_exchange(&connection.create_channel().await?, exchange, ExchangeKind::Topic, passive).await?;
        }
        let dead = dead_name(exchange);
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        declare_exchange(&connection.create_channel().await?, &dead, ExchangeKind::Fanout, options).await?;
        let limits = [("x-message-ttl", AMQPValue::LongLongInt(DEAD_TTL_MS)), ("x-max-length", AMQPValue::LongLongInt(DEAD_LENGTH))];
        let channel = self.declare(connection, &dead, &limits).await?;
        channel
            .queue_bind(dead.clone().into(), dead.into(), ShortString::default(), QueueBindOptions::default(), FieldTable::default())
            .await
    }

    /// Declares a queue of ours and its bindings.
    pub(super) async fn declare_queue(&self, connection: &Connection, queue: &Queue) -> Result<(), Error> {
        let limits = [
            ("x-message-ttl", AMQPValue::LongLongInt(MESSAGE_TTL_MS)),
            ("x-expires", AMQPValue::LongLongInt(QUEUE_EXPIRES_MS)),
            ("x-max-length", AMQPValue::LongLongInt(QUEUE_LENGTH)),
            ("x-dead-letter-exchange", AMQPValue::LongString(dead_name(&self.exchange).into())),
        ];
        let channel = self.declare(connection, &queue.name, &limits).await?;
        for pattern in &queue.bindings {
            let (name, exchange, pattern) = (queue.name.as_str().into(), self.exchange.as_str().into(), pattern.as_str().into());
            channel.queue_bind(name, exchange, pattern, QueueBindOptions::default(), FieldTable::default()).await?;
        }
        Ok(())
    }

    /// Declares a durable queue. One that exists with other properties, an upstream component's for example or of the other type,
    /// is used as it is.
    async fn declare(&self, connection: &Connection, name: &str, limits: &[(&str, AMQPValue)]) -> Result<Channel, Error> {
        let mut arguments = FieldTable::default();
        for (key, value) in limits {
            arguments.insert((*key).into(), value.clone());
        }
        // No type is what upstream declares, and means the server's default.
        if self.quorum {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        let channel = connection.create_channel().await?;
        let Err(error) = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments).await else { return Ok(channel) };
        if !is_mismatch(&error) {
            return Err(error);
        }
        tracing::warn!(queue = name, "the queue exists with other properties; it is used as it is");
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        channel.queue_declare(name.into(), passive, FieldTable::default()).await?;
        Ok(channel)
    }
}

/// The name of the exchange and of the queue for messages that nobody could handle.
pub(super) fn dead_name(exchange: &str) -> String {
    format!("{exchange}.dead")
}

async fn declare_exchange(channel: &Channel, name: &str, kind: ExchangeKind, options: ExchangeDeclareOptions) -> Result<(), Error> {
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

/// Whether the server says that the thing exists and is different.
fn is_mismatch(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}
