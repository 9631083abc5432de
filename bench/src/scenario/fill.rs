//! Many entities.

use std::time::Instant;

use serde::Serialize;

use super::Setting;
use crate::http::Connection;

/// Entities of one request.
const BATCH: usize = 500;

/// How it went.
#[derive(Debug, Serialize)]
pub struct Filled {
    /// How many were created.
    pub entities: usize,
    /// Entities per second.
    pub per_second: f64,
}

/// Creates `count` entities of five attributes, in batches.
///
/// # Errors
/// If the broker refuses or cannot be reached.
pub async fn fill(setting: &Setting, count: usize) -> anyhow::Result<Filled> {
    let start = Instant::now();
    let lanes = setting.connections.min(8);
    let tasks: Vec<_> = (0..lanes)
        .map(|lane| {
            let setting = setting.clone();
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(&setting.target).await?;
                for from in (lane * BATCH..count).step_by(lanes * BATCH) {
                    let template = setting.api.create(&setting.target, from..(from + BATCH).min(count));
                    let answer = connection.exchange(template.bytes()).await?;
                    anyhow::ensure!((200..300).contains(&answer.status), "the broker answered {}", answer.status);
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(Filled { entities: count, per_second: count as f64 / start.elapsed().as_secs_f64() })
}
