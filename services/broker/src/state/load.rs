//! Reads the stored entities into memory at start.

use std::sync::Arc;

use fogflow_store::{Document, SharedStore, StoreError};
use tokio::task::JoinHandle;

use super::document::{ENTITIES, decode, entity_key};
use super::{Record, State};

/// Documents per page of the scan.
const PAGE: usize = 4096;

/// Loads every entity. Returns how many there are. One page is decoded while the next one is read.
///
/// # Errors
/// If the store cannot be read. A single document that cannot be decoded is [`StoreError::Damaged`]: going on without
/// it would let the next write replace it.
pub async fn load(store: &SharedStore, state: &Arc<State>) -> Result<usize, StoreError> {
    let mut after = None;
    let mut count = 0;
    let mut decoding: Option<JoinHandle<Result<(), StoreError>>> = None;
    loop {
        let page = store.scan(None, ENTITIES, after.as_ref(), PAGE).await?;
        if let Some(decoding) = decoding.take() {
            finish(decoding).await?;
        }
        after = page.documents.last().map(|document| document.key.clone());
        count += page.documents.len();
        let state = Arc::clone(state);
        let task = tokio::task::spawn_blocking(move || apply(&state, page.documents));
        if !page.more {
            finish(task).await?;
            return Ok(count);
        }
        decoding = Some(task);
    }
}

/// Decodes and shows documents on a thread where that may take its time.
pub(crate) async fn apply_elsewhere(state: Arc<State>, documents: Vec<Document>) -> Result<(), StoreError> {
    if documents.is_empty() {
        return Ok(());
    }
    finish(tokio::task::spawn_blocking(move || apply(&state, documents))).await
}

async fn finish(decoding: JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    decoding.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
}

fn apply(state: &State, documents: Vec<Document>) -> Result<(), StoreError> {
    let mut effects = Vec::with_capacity(documents.len());
    for document in documents {
        let Some(value) = &document.value else { continue };
        let broken = |why: String| StoreError::Damaged(format!("entity {}: {why}", document.key.id));
        let key = entity_key(&document.key).ok_or_else(|| broken("the key has no service path".to_owned()))?;
        let entity = decode(value).map_err(|error| broken(error.to_string()))?;
        let path = key.path.clone();
        let record = Record { entity: Arc::new(entity), path, version: document.version, sequence: document.sequence };
        effects.push((key, Some(record), document.sequence));
    }
    state.apply(effects);
    Ok(())
}
