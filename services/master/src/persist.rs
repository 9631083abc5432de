//! Keeps in the master's own store what a restart needs so that nothing moves: what workers were told, which workers there are, and
//! who held the lease. Written behind: workers report what they run, so the last moments before a crash are no loss.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fogflow_orchestration::{ScheduledTaskInstance, WorkerProfile};
use fogflow_store::{Batch, Expect, Key, SharedStore, StoreError, Write};
use serde::{Deserialize, Serialize};

use crate::master::Master;
use crate::state::State;

const TOLD: &str = "told";
const WORKER: &str = "worker";
const META: &str = "meta";
const HOLDER: &str = "holder";
const PAGE: usize = 1000;
const GATHER: Duration = Duration::from_millis(20);
const RETRY_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the workers of a task were told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ToldRecord {
    copies: Vec<ScheduledTaskInstance>,
}

fn key(collection: &str, id: &str) -> Key {
    Key { collection: collection.into(), tenant: "".into(), id: id.into() }
}

/// Reads everything into the state.
///
/// # Errors
/// When the store cannot be read.
pub async fn load(store: &SharedStore, state: &mut State) -> anyhow::Result<()> {
    let now = Instant::now();
    for value in values(store, WORKER).await? {
        // A record that a newer release wrote in another form is no reason not to start: the worker will tell.
        if let Ok(profile) = serde_json::from_slice::<WorkerProfile>(&value) {
            state.workers.expect(profile);
        }
    }
    for value in values(store, TOLD).await? {
        if let Ok(record) = serde_json::from_slice::<ToldRecord>(&value) {
            for task in record.copies {
                state.copies.restore(task, now);
            }
        }
    }
    Ok(())
}

async fn values(store: &SharedStore, collection: &str) -> anyhow::Result<Vec<bytes::Bytes>> {
    let mut values = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let page = store.scan(None, collection, after.as_ref(), PAGE).await.context("the master's store cannot be read")?;
        after = page.documents.last().map(|document| document.key.clone());
        values.extend(page.documents.into_iter().filter_map(|document| document.value));
        if !page.more {
            return Ok(values);
        }
    }
}

/// Notes this start as holder of the lease, and returns the one before.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn exchange_holder(store: &SharedStore, holder: &str) -> anyhow::Result<Option<String>> {
    let former = store.get(&key(META, HOLDER)).await?.and_then(|document| document.value);
    let value = Some(bytes::Bytes::copy_from_slice(holder.as_bytes()));
    store.commit(Batch::one(Write { key: key(META, HOLDER), expect: Expect::Any, value })).await?;
    Ok(former.and_then(|former| String::from_utf8(former.to_vec()).ok()))
}

/// Writes behind until shutdown, then once more, and closes the store.
///
/// # Errors
/// When the store cannot be closed.
pub async fn run(master: Arc<Master>, store: SharedStore) -> anyhow::Result<()> {
    let mut failing = false;
    loop {
        let goes_on = master.wait(&master.store_nudge, LOOK_EVERY).await && master.pause(GATHER).await;
        let (tasks, workers, writes) = gather(&master);
        match save(&store, writes).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the plan cannot be stored; the master goes on and tries again");
                }
                let mut state = master.state.lock();
                state.unsaved.extend(tasks);
                state.unsaved_workers.extend(workers);
            }
        }
        if !goes_on {
            break;
        }
        if failing && !master.pause(RETRY_AFTER).await {
            break;
        }
    }
    store.close().await.context("the master's store does not close")
}

async fn save(store: &SharedStore, writes: Vec<Write>) -> Result<(), StoreError> {
    if writes.is_empty() {
        return Ok(());
    }
    store.commit(Batch::independent(writes)).await.map(|_| ())
}

fn gather(master: &Master) -> (BTreeSet<Arc<str>>, BTreeSet<String>, Vec<Write>) {
    let mut state = master.state.lock();
    let tasks = std::mem::take(&mut state.unsaved);
    let workers = std::mem::take(&mut state.unsaved_workers);
    let mut writes = Vec::with_capacity(tasks.len() + workers.len());
    let mut put = |collection: &str, id: &str, value: Option<Vec<u8>>| {
        writes.push(Write { key: key(collection, id), expect: Expect::Any, value: value.map(Into::into) });
    };
    for id in &tasks {
        let copies: Vec<ScheduledTaskInstance> =
            state.copies.of_task(id).filter_map(|(_, copy)| copy.told_task()).map(|task| (**task).clone()).collect();
        // These types always serialise: no map has a key that is not a string.
        put(TOLD, id, (!copies.is_empty()).then(|| serde_json::to_vec(&ToldRecord { copies }).unwrap_or_default()));
    }
    for id in &workers {
        put(WORKER, id, state.workers.get(id).map(|worker| serde_json::to_vec(&worker.profile).unwrap_or_default()));
    }
    (tasks, workers, writes)
}
