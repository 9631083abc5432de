//! Work that one of several replicas does.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::registry::Registry;

const TTL: Duration = Duration::from_secs(3);
const ROUND: Duration = Duration::from_secs(1);

/// Runs `work` while this replica holds the lease `name`, until shutdown; then gives the lease back. Work that ends is begun
/// again. The replica that takes over does not wait for the other one to stop, so the work has to bear being done twice
/// for a moment.
///
/// # Errors
/// If the lease cannot be given back.
pub(crate) async fn run<F, Fut>(
    registry: Arc<Registry>,
    name: &'static str,
    holder: Arc<str>,
    shutdown: CancellationToken,
    work: F,
) -> anyhow::Result<()>
where
    F: Fn(CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    while !shutdown.is_cancelled() {
        if is_held(&registry, name, &holder).await {
            let until_lost = shutdown.child_token();
            let lost = async {
                // A renewal that gets no answer in time may be lost; two in a row end before the lease does.
                let mut missed = 0;
                while missed < 2 {
                    tokio::time::sleep(ROUND).await;
                    missed = if is_held(&registry, name, &holder).await { 0 } else { missed + 1 };
                }
            };
            let mut working = std::pin::pin!(work(until_lost.clone()));
            tokio::select! {
                ended = &mut working => ended?,
                () = lost => {
                    tracing::warn!(lease = name, "another replica takes this work over");
                    until_lost.cancel();
                    working.await?;
                }
            }
        } else {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }
    registry.store().release(name, &holder).await?;
    Ok(())
}

async fn is_held(registry: &Registry, name: &str, holder: &str) -> bool {
    let asked = tokio::time::timeout(ROUND / 2, registry.store().lease(name, holder, TTL)).await;
    matches!(asked, Ok(Ok(lease)) if lease.granted)
}
