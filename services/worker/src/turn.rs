//! Several workers of one name: one of them works, the others stand by. The designer's lease says which, where the engine
//! has no place of its own for that (Kubernetes has).
//!
//! A designer that is away, or upstream's, which grants nothing, changes nothing: who works goes on working, and a worker
//! that starts meanwhile begins, as one that is alone must. Only a designer that names another worker makes this one stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fogflow_chassis::{CancellationToken, Process};
use fogflow_client::DesignerClient;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::files::{StateDirectory, remove_tree};
use crate::messages::Messages;

const TTL: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(1);

/// What the designer says.
enum Answer {
    Mine,
    Another(String),
    Unknown,
}

/// This worker's part in the lease of its name.
pub(crate) struct Turn {
    designer: DesignerClient,
    name: String,
    holder: String,
}

impl Turn {
    /// For a worker of this id in this directory: the same after a restart, which then need not wait for its own lease.
    pub(crate) fn new(designer: DesignerClient, worker_id: &str, directory: &std::path::Path) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        Turn { designer, name: worker_id.to_owned(), holder: format!("{machine}:{}", directory.display()) }
    }

    /// Whether another worker of this name works now.
    pub(crate) async fn is_taken(&self) -> bool {
        matches!(self.ask().await, Answer::Another(_))
    }

    /// Waits until it is this worker's turn. Not before it has ended what an earlier turn left: others have that now.
    pub(crate) async fn come(&self, engine: &dyn Engine, state: &Arc<StateDirectory>) {
        tracing::info!(worker = self.name, "another worker of this name is active; this one stands by");
        self.end_leftovers(engine, state).await;
        while !matches!(self.ask().await, Answer::Mine) {
            tokio::time::sleep(ROUND).await;
        }
        tracing::info!(worker = self.name, "this worker is active now");
    }

    /// Renews the lease until shutdown, and gives it back when the tasks have ended.
    ///
    /// # Errors
    /// When another worker has taken it: then this one must end.
    pub(crate) async fn keep(&self, messages: &Messages, shutdown: CancellationToken) -> anyhow::Result<()> {
        loop {
            if let Answer::Another(holder) = self.ask().await {
                // It would speak in the other's name.
                messages.muted.store(true, Ordering::SeqCst);
                anyhow::bail!("{holder} works under the name {} by now", self.name);
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Gives the lease back, so that a standby need not wait.
    pub(crate) async fn end(&self) {
        let _ = timeout(PATIENCE, self.designer.release_lease(&self.name, &self.holder)).await;
    }

    async fn end_leftovers(&self, engine: &dyn Engine, state: &Arc<StateDirectory>) {
        match engine.list_mine().await {
            Ok(owned) => {
                for owned in owned {
                    if let Err(error) = engine.stop(&owned.task_id).await {
                        tracing::warn!(task = owned.task_id, %error, "a task of an earlier turn cannot be ended");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the tasks of an earlier turn cannot be listed"),
        }
        let state = Arc::clone(state);
        let _ = tokio::task::spawn_blocking(move || {
            for record in state.records() {
                if let Some(aside) = state.discard(&record.task.id) {
                    remove_tree(&aside);
                }
            }
        })
        .await;
    }

    async fn ask(&self) -> Answer {
        match timeout(PATIENCE, self.designer.acquire_lease(&self.name, &self.holder, TTL)).await {
            Ok(Ok(reply)) if reply.granted => Answer::Mine,
            Ok(Ok(reply)) => Answer::Another(reply.holder),
            Ok(Err(_)) | Err(_) => Answer::Unknown,
        }
    }
}

/// Keeps the turn for as long as the process runs.
pub(crate) fn keep(turn: &Arc<Turn>, messages: &Arc<Messages>, process: &Process) {
    let (turn, messages, shutdown) = (Arc::clone(turn), Arc::clone(messages), process.shutdown.clone());
    process.tasks.spawn_critical("worker/turn", async move { turn.keep(&messages, shutdown).await });
}
