//! Reads the stored entities into memory at start.

use std::sync::Arc;

use fogflow_store::{SharedStore, StoreError};

use super::document::{ENTITIES, decode, entity_key};
use super::{Record, State};

/// Documents per page of the scan.
const PAGE: usize = 4096;

/// Loads every entity. Returns how many there are.
///
/// # Errors
/// If the store cannot be read. A single document that cannot be decoded is [`StoreError::Damaged`]: going on without
/// it would let the next write replace it.
pub async fn load(store: &SharedStore, state: &State) -> Result<usize, StoreError> {
    let mut after = None;
    let mut count = 0;
    loop {
        let page = store.scan(None, ENTITIES, after.as_ref(), PAGE).await?;
        after = page.documents.last().map(|document| document.key.clone());
        let mut effects = Vec::with_capacity(page.documents.len());
        for document in page.documents {
            let Some(value) = &document.value else { continue };
            let broken = |why: String| StoreError::Damaged(format!("entity {}: {why}", document.key.id));
            let key = entity_key(&document.key).ok_or_else(|| broken("the key has no service path".to_owned()))?;
            let entity = decode(value).map_err(|error| broken(error.to_string()))?;
            let path = key.path.clone();
            let record = Record { entity: Arc::new(entity), path, version: document.version, sequence: document.sequence };
            effects.push((key, Some(record), document.sequence));
        }
        count += effects.len();
        state.apply(effects);
        if !page.more {
            return Ok(count);
        }
        tokio::task::yield_now().await;
    }
}
