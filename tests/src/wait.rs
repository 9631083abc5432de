//! Waiting for a state, never for time.

use std::time::{Duration, Instant};

/// Polls until `probe` returns `Ok`. After `bound` it panics with what was awaited and the last `Err`, which says what
/// the state was instead.
pub async fn wait_for<T, F>(what: &str, bound: Duration, mut probe: F) -> T
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() >= bound => panic!("waited {bound:?} for {what}; last seen: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
