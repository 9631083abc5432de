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

/// Declares the exchange as upstream does (topic, durable, auto-delete), and ours for dead letters with its queue.
pub(super) async fn declare_exchanges(connection: &Connection, exchange: &str) -> Result<(), Error> {
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
    let channel = connection.create_channel().await?;
    let dead = dead_name(exchange);
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    declare_exchange(&channel, &dead, ExchangeKind::Fanout, options).await?;
    let arguments = table(&[("x-message-ttl", AMQPValue::LongLongInt(DEAD_TTL_MS)), ("x-max-length", AMQPValue::LongLongInt(DEAD_LENGTH))]);
    channel.queue_declare(dead.clone().into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.queue_bind(dead.clone().into(), dead.into(), ShortString::default(), QueueBindOptions::default(), FieldTable::default()).await
}

/// Declares a queue of ours and its bindings. One that exists with other properties, an upstream component's for
/// example, is used as it is.
pub(super) async fn declare_queue(connection: &Connection, exchange: &str, queue: &Queue) -> Result<(), Error> {
    let arguments = table(&[
        ("x-message-ttl", AMQPValue::LongLongInt(MESSAGE_TTL_MS)),
        ("x-expires", AMQPValue::LongLongInt(QUEUE_EXPIRES_MS)),
        ("x-max-length", AMQPValue::LongLongInt(QUEUE_LENGTH)),
        ("x-dead-letter-exchange", AMQPValue::LongString(dead_name(exchange).into())),
    ]);
    let mut channel = connection.create_channel().await?;
    let name: ShortString = queue.name.as_str().into();
    if let Err(error) = channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments).await {
        if !is_mismatch(&error) {
            return Err(error);
        }
        tracing::warn!(queue = %queue.name, "the queue exists with other properties; it is used as it is");
        channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        channel.queue_declare(name.clone(), passive, FieldTable::default()).await?;
    }
    for pattern in &queue.bindings {
        let (exchange, pattern) = (exchange.into(), pattern.as_str().into());
        channel.queue_bind(name.clone(), exchange, pattern, QueueBindOptions::default(), FieldTable::default()).await?;
    }
    Ok(())
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

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}
