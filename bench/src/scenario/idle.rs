//! Many subscriptions that do not match.

use std::time::Instant;

use serde::Serialize;

use super::Setting;
use crate::http::Connection;

/// How it went.
#[derive(Debug, Serialize)]
pub struct Subscribed {
    /// How many were made.
    pub subscriptions: usize,
    /// Subscriptions per second.
    pub per_second: f64,
}

/// Makes `count` subscriptions, each to a type of its own that no entity has.
///
/// # Errors
/// If the broker refuses or cannot be reached.
pub async fn subscribe_idle(setting: &Setting, count: usize) -> anyhow::Result<Subscribed> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..setting.connections)
        .map(|lane| {
            let setting = setting.clone();
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(&setting.target).await?;
                for number in (lane..count).step_by(setting.connections) {
                    let template = setting.api.subscribe_to_type(&setting.target, &format!("Idle{number}"), "http://127.0.0.1:9/never");
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
    Ok(Subscribed { subscriptions: count, per_second: count as f64 / start.elapsed().as_secs_f64() })
}
