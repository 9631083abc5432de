//! Where subscriptions lie in the store.

use std::sync::Arc;

use fogflow_ngsi::Tenant;
use fogflow_store::{Batch, Expect, Key, Outcome, Sequence, SharedStore, StoreError, Write};
use smol_str::SmolStr;

use super::Subscription;

/// The collection of subscriptions.
const SUBSCRIPTIONS: &str = "subscription";

fn key(tenant: &Tenant, id: &str) -> Key {
    Key { collection: SmolStr::new_static(SUBSCRIPTIONS), tenant: tenant.0.clone(), id: id.into() }
}

/// Stores a subscription; returns when it is durable. `new` demands that the id is free; the reply says whether it was.
///
/// # Errors
/// If the store refuses.
pub async fn save(store: &SharedStore, subscription: &Subscription, new: bool) -> Result<bool, StoreError> {
    let value = serde_json::to_vec(subscription).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let expect = if new { Expect::Absent } else { Expect::Any };
    let write = Write { key: key(&subscription.tenant, &subscription.id), expect, value: Some(value.into()) };
    let outcomes = store.commit(Batch::one(write)).await?;
    Ok(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })))
}

/// Removes a subscription durably.
///
/// # Errors
/// If the store refuses.
pub async fn delete(store: &SharedStore, tenant: &Tenant, id: &str) -> Result<(), StoreError> {
    store.commit(Batch::one(Write { key: key(tenant, id), expect: Expect::Any, value: None })).await.map(|_| ())
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
