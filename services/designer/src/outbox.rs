//! From the outbox to the bus.
//!
//! A message is stored together with the write that it announces and removed after the bus has confirmed it, so that a
//! dead RabbitMQ or a restart loses nothing and blocks no request (D 1, FAULT 24). Order is that of the commits; delivery
//! is at least once, and masters take a repeated intent for what it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fogflow_bus::{Message, SharedBus};
use fogflow_orchestration::{Envelope, ServiceIntent};
use rand::Rng;
use tokio_util::sync::CancellationToken;

use crate::error::ApiResult;
use crate::records::OutgoingMessage;
use crate::registry::{Action, Registry};

/// With several replicas one of them publishes: whoever has this lease.
const LEASE: &str = "designer-outbox";
const LEASE_TTL: Duration = Duration::from_secs(3);
/// How often a replica that may not publish asks whether it may.
const LEASE_RETRY: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publishes what is in the outbox, for as long as the process runs.
///
/// # Errors
/// If the store fails; the caller starts it again.
pub(crate) async fn publish(registry: Arc<Registry>, bus: SharedBus, holder: String, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut failures: u32 = 0;
    loop {
        let state = if registry.read().outbox.is_empty() { Drain::Empty } else { drain(&registry, &bus, &holder).await? };
        failures = if state == Drain::Refused { failures.saturating_add(1) } else { 0 };
        let pause = match state {
            Drain::Empty => LONGEST_PAUSE,
            Drain::NotOurs => LEASE_RETRY,
            Drain::Refused => backoff(failures),
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = registry.outbox_filled(), if state == Drain::Empty => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    // The next one need not wait for the lease to end.
    registry.store().release(LEASE, &holder).await?;
    Ok(())
}

/// Why publishing came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Nothing waits.
    Empty,
    /// Another replica publishes.
    NotOurs,
    /// The bus took no message.
    Refused,
}

/// Publishes in order for as long as there is something and the bus takes it.
async fn drain(registry: &Registry, bus: &SharedBus, holder: &str) -> anyhow::Result<Drain> {
    loop {
        let contents = registry.read();
        let mut waiting: Vec<_> = contents.outbox.entries().collect();
        if waiting.is_empty() {
            return Ok(Drain::Empty);
        }
        if !registry.store().lease(LEASE, holder, LEASE_TTL).await?.granted {
            return Ok(Drain::NotOurs);
        }
        waiting.sort_by_key(|(_, entry)| entry.sequence);
        let mut sent = Vec::new();
        let mut refused = None;
        for (id, entry) in waiting.into_iter().take(64) {
            let envelope = &entry.value.envelope;
            let body = Bytes::from(serde_json::to_vec(envelope)?);
            match bus.publish(Message { routing_key: envelope.routing_key.clone(), body, traceparent: None }).await {
                Ok(()) => sent.push(id.clone()),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        registry
            .write(|draft| {
                sent.iter().for_each(|id| draft.remove::<OutgoingMessage>(id));
                Ok(())
            })
            .await?;
        if let Some(error) = refused {
            tracing::warn!(%error, waiting = registry.read().outbox.len(), "the bus took no message; it stays in the outbox");
            return Ok(Drain::Refused);
        }
    }
}

/// 0.1 s, 0.2 s, … up to 5 s, each with up to a half of jitter.
fn backoff(failures: u32) -> Duration {
    let base = Duration::from_millis(100 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
    base.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// Puts every active intent into the outbox again, for a master that has just started and knows nothing. An intent that
/// still waits there is not doubled.
///
/// # Errors
/// If the store cannot take the write.
pub(crate) async fn announce_again(registry: &Registry) -> ApiResult<usize> {
    registry
        .write(|draft| {
            let waiting: std::collections::HashSet<String> =
                draft.contents().outbox.values().filter_map(|message| intent_id(&message.envelope)).collect();
            let intents: Vec<ServiceIntent> =
                draft.contents().active_intents().filter(|intent| !waiting.contains(&intent.id)).cloned().collect();
            intents.iter().try_for_each(|intent| draft.announce(intent, Action::Add))?;
            Ok(intents.len())
        })
        .await
}

fn intent_id(envelope: &Envelope) -> Option<String> {
    envelope.payload.get("id")?.as_str().map(str::to_owned)
}
