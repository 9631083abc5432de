//! Where subscriptions lie in the store.

use std::sync::Arc;

use fogflow_ngsi::Tenant;
use fogflow_store::follow::last_of;
use fogflow_store::{Batch, Expect, Key, Outcome, Sequence, SharedStore, StoreError, Write};
use smol_str::SmolStr;

use super::Subscription;
use crate::filter::Filter;

/// The collection of subscriptions.
pub const SUBSCRIPTIONS: &str = "subscription";

fn key(tenant: &Tenant, id: &str) -> Key {
    Key { collection: SmolStr::new_static(SUBSCRIPTIONS), tenant: tenant.0.clone(), id: id.into() }
}

/// Stores a subscription; returns when it is durable. `new` demands that the id is free. The reply is the commit;
/// `None` when the id was taken.
///
/// # Errors
/// If the store refuses.
pub async fn save(store: &SharedStore, subscription: &Subscription, new: bool) -> Result<Option<Sequence>, StoreError> {
    let value = serde_json::to_vec(subscription).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let expect = if new { Expect::Absent } else { Expect::Any };
    let write = Write { key: key(&subscription.tenant, &subscription.id), expect, value: Some(value.into()) };
    let outcomes = store.commit(Batch::one(write)).await?;
    Ok(outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Committed { sequence, .. } => Some(*sequence),
        Outcome::Conflict(_) | Outcome::GroupAborted => None,
    }))
}

/// Removes a subscription durably; gives the commit.
///
/// # Errors
/// If the store refuses.
pub async fn delete(store: &SharedStore, tenant: &Tenant, id: &str) -> Result<Sequence, StoreError> {
    store.commit(Batch::one(Write { key: key(tenant, id), expect: Expect::Any, value: None })).await.map(|outcomes| last_of(&outcomes))
}

/// Reads a stored subscription and compiles its conditions.
///
/// # Errors
/// If it is none, or cannot be used.
pub fn decode(id: &str, value: &[u8]) -> Result<(Arc<Subscription>, Filter), StoreError> {
    let damaged = |why: String| StoreError::Damaged(format!("subscription {id}: {why}"));
    let subscription: Subscription = serde_json::from_slice(value).map_err(|error| damaged(error.to_string()))?;
    let filter = subscription.filter().map_err(damaged)?;
    Ok((Arc::new(subscription), filter))
}

/// Reads all subscriptions with the commit that stored each.
///
/// # Errors
/// If the store cannot be read or holds something that is no subscription.
pub async fn load(store: &SharedStore) -> Result<Vec<(Arc<Subscription>, Sequence)>, StoreError> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(None, SUBSCRIPTIONS, after.as_ref(), 4096).await?;
        after = page.documents.last().map(|document| document.key.clone());
        for document in page.documents {
            let value = document.value.as_deref().unwrap_or_default();
            let subscription = serde_json::from_slice::<Subscription>(value)
                .map_err(|error| StoreError::Damaged(format!("subscription {}: {error}", document.key.id)))?;
            all.push((Arc::new(subscription), document.sequence));
        }
        if !page.more {
            return Ok(all);
        }
    }
}
