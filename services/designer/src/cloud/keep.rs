//! What the designer keeps at the cloud broker on behalf of users: devices and forwarded subscriptions.
//!
//! The records in the store say what shall be there; one pass makes it so and may be repeated at any time. An entity is only
//! created where none is, since the device itself may have written newer values. A forwarded subscription carries its record's id as
//! correlator, so that one whose reply was lost is found again instead of being made twice (D 6).

use std::sync::Arc;
use std::time::Duration;

use fogflow_client::ClientError;
use tokio_util::sync::CancellationToken;

use super::{Cloud, is_refusal};
use crate::records::{BrokerRemoval, ForwardedSubscription};
use crate::registry::Registry;

/// How often everything is checked again: a broker that lost its state gets it back within this time.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// Correlator of a forwarded subscription.
#[must_use]
pub(crate) fn correlator(id: &str) -> String {
    format!("fogflow-designer/{id}")
}

/// Runs passes until shutdown: at the start, after each change, after a failure, and from time to time.
///
/// # Errors
/// Never; failures are logged and tried again.
pub(crate) async fn run(registry: Arc<Registry>, cloud: Cloud, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        let pause = match pass(&registry, &cloud).await {
            Ok(()) => {
                failing = false;
                PERIOD
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "devices and subscriptions are not yet at the cloud broker; trying again");
                }
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = registry.broker_work() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Makes the broker hold what the records say, once.
///
/// # Errors
/// If the broker or the store is away; what was refused is logged and left.
pub(crate) async fn pass(registry: &Registry, cloud: &Cloud) -> anyhow::Result<()> {
    let contents = registry.read();
    for (key, removal) in contents.removals.iter() {
        match removal.as_ref() {
            BrokerRemoval::Entity { id } if contents.devices.contains(id) => {}
            BrokerRemoval::Entity { id } => cloud.delete_entity(id).await?,
            BrokerRemoval::Subscription { id } => cloud.unsubscribe(id).await?,
        }
        registry
            .write(|draft| {
                draft.remove::<BrokerRemoval>(key);
                Ok(())
            })
            .await?;
    }
    for device in contents.devices.values() {
        if device.pending || !cloud.has_entity(&device.id).await? {
            refused_is_fine("device", &device.id, cloud.create(device).await)?;
            registry.write(|draft| crate::routes::devices::settle(draft, &device.id)).await?;
        }
    }
    if !contents.subscriptions.is_empty() {
        subscriptions(registry, cloud).await?;
    }
    Ok(())
}

async fn subscriptions(registry: &Registry, cloud: &Cloud) -> anyhow::Result<()> {
    let at_broker = cloud.subscriptions().await?;
    for (id, wanted) in registry.read().subscriptions.iter() {
        if at_broker.contains_key(&wanted.broker_subscription_id) {
            continue;
        }
        let mark = correlator(id);
        let adopted = at_broker.iter().find(|(_, listed)| listed.subscriber.correlator == mark).map(|(found, _)| found.clone());
        let made = match adopted {
            Some(found) => Ok(found),
            None => cloud.forward(wanted, &mark).await,
        };
        let Some(made) = refused_is_fine("subscription", id, made)? else { continue };
        let removed_meanwhile = registry
            .write(|draft| {
                let Some(record) = draft.contents().subscriptions.get(id) else { return Ok(true) };
                let record = ForwardedSubscription { broker_subscription_id: made.clone(), ..record.as_ref().clone() };
                draft.put(id, record)?;
                Ok(false)
            })
            .await?;
        if removed_meanwhile {
            cloud.unsubscribe(&made).await?;
        }
    }
    Ok(())
}

/// `None` for what the broker refuses: it must not hold up the others.
fn refused_is_fine<T>(kind: &str, id: &str, result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if is_refusal(&error) => {
            tracing::warn!(kind, %id, %error, "the cloud broker refuses what it shall hold");
            Ok(None)
        }
        Err(away) => Err(away),
    }
}
