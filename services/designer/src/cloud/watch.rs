//! The designer's own subscription at the cloud broker: to every entity, sent to its NGSI agent.
//!
//! The broker may restart without its subscriptions (upstream's forgets them), and the designer may restart and leave an
//! old one behind. So the wish is checked against the broker's list, again and again: exactly one subscription with our
//! reference and the id that we know. Of several replicas one subscribes; the picture that it fills is shared.

use std::sync::Arc;
use std::time::Duration;

use fogflow_client::ClientError;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Cloud;

/// How often the broker's list is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Which subscription feeds the live entities now.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<Mutex<Option<String>>>);

impl Watched {
    /// Whether a notification with this id is ours. Before the broker's reply is read, any id may be.
    #[must_use]
    pub(crate) fn accepts(&self, id: &str) -> bool {
        self.0.lock().as_deref().is_none_or(|known| known == id)
    }
}

/// Keeps the subscription until shutdown, then ends it.
///
/// # Errors
/// Never; failures are logged and tried again.
pub(crate) async fn keep(
    cloud: Cloud,
    reference: String,
    watched: Watched,
    shared: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        let pause = match ensure(&cloud, &reference, &watched, shared).await {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("live entities: subscribed at the cloud broker again");
                }
                PERIOD
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "live entities: no subscription at the cloud broker; trying again");
                }
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    let known = watched.0.lock().take();
    if let Some(id) = known {
        let _ = tokio::time::timeout(Duration::from_secs(2), cloud.unsubscribe(&id)).await;
    }
    Ok(())
}

async fn ensure(cloud: &Cloud, reference: &str, watched: &Watched, shared: bool) -> Result<(), ClientError> {
    let known = watched.0.lock().clone();
    let mut present = false;
    for (id, listed) in cloud.subscriptions().await? {
        let is_ours = listed.reference.trim_end_matches("/notifyContext").trim_end_matches('/') == reference;
        // One replica subscribes for all; what another one made, whose turn it was before, goes.
        if !is_ours && !shared {
            continue;
        }
        // A page of upstream's kind may subscribe with the same reference; ours carries our correlator.
        if known.as_ref() == Some(&id) {
            present = true;
        } else if listed.subscriber.correlator == CORRELATOR {
            cloud.unsubscribe(&id).await?;
        }
    }
    if !present {
        *watched.0.lock() = None;
        let id = cloud.subscribe_to_all(reference, CORRELATOR).await?;
        tracing::info!(subscription = %id, %reference, "live entities: subscribed at the cloud broker");
        *watched.0.lock() = Some(id);
    }
    Ok(())
}

const CORRELATOR: &str = "fogflow-designer";
