//! What the yardstick does for a write when it has a database: the upsert of one document, in one statement with all others
//! that wait, answered when the database has committed it.

use std::collections::HashMap;

use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls, Statement};

/// Documents in one statement, as in the broker.
const BATCH: usize = 512;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS yardstick (id text PRIMARY KEY, value bytea NOT NULL)";
const UPSERT: &str =
    "INSERT INTO yardstick SELECT * FROM unnest($1::text[], $2::bytea[]) ON CONFLICT (id) DO UPDATE SET value = excluded.value";

struct Job {
    id: String,
    value: Vec<u8>,
    done: oneshot::Sender<bool>,
}

/// The way to the table.
#[derive(Clone, Debug)]
pub struct Upserts {
    jobs: mpsc::Sender<Job>,
}

impl Upserts {
    /// Connects, makes the table and begins to write.
    ///
    /// # Errors
    /// If the database cannot be reached or refuses the table.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connecting to PostgreSQL")?;
        tokio::spawn(connection);
        client.batch_execute(TABLE).await.context("creating the table")?;
        let statement = client.prepare(UPSERT).await.context("preparing the statement")?;
        let (jobs, waiting) = mpsc::channel(4096);
        tokio::spawn(write(client, statement, waiting));
        Ok(Upserts { jobs })
    }

    /// Stores the entity of a v1 `updateContext`. False if it has none or the database refuses.
    pub async fn store(&self, request: &Value) -> bool {
        let Some(element) = request.pointer("/contextElements/0") else { return false };
        let Some(id) = element.pointer("/entityId/id").and_then(Value::as_str) else { return false };
        let (done, stored) = oneshot::channel();
        let job = Job { id: id.to_owned(), value: element.to_string().into_bytes(), done };
        self.jobs.send(job).await.is_ok() && stored.await.unwrap_or(false)
    }
}

async fn write(client: Client, statement: Statement, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut jobs, BATCH).await > 0 {
        // One statement may touch a row once.
        let newest: HashMap<&str, &[u8]> = jobs.iter().map(|job| (job.id.as_str(), job.value.as_slice())).collect();
        let (ids, values): (Vec<&str>, Vec<&[u8]>) = newest.into_iter().unzip();
        let stored = client.execute(&statement, &[&ids, &values]).await.is_ok();
        for job in jobs.drain(..) {
            let _ = job.done.send(stored);
        }
    }
}
