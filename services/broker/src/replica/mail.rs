//! What one replica hears for a subscription that another one serves.
//!
//! Other sites and discovery know one address for all replicas. A message for a subscription of another replica's slot
//! goes through the log of the store: it is written and deleted in one commit, and whoever has the slot finds it.

use fogflow_ngsi::Tenant;
use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_store::{Batch, Expect, Key, StoreError, Write};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::Line;
use crate::federation::peer::Told;

/// The collection of messages; each slot has one key, which is empty outside of a commit.
pub const MAIL: &str = "mail";

/// A message.
#[derive(Debug, Serialize, Deserialize)]
pub enum Mail {
    /// Changes of another site's entities for a subscription.
    Told {
        /// The tenant.
        tenant: Tenant,
        /// The subscription here.
        id: SmolStr,
        /// The changes.
        changes: Vec<Told>,
    },
    /// Discovery's message, as it was sent, for the tenant that it speaks of.
    Availability {
        /// The tenant.
        tenant: Tenant,
        /// The message.
        message: String,
    },
}

impl Mail {
    /// A message of discovery.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn availability(tenant: Tenant, message: &[u8]) -> Result<Self, StoreError> {
        let message = String::from_utf8(message.to_vec()).map_err(|error| StoreError::Invalid(error.to_string()))?;
        Ok(Mail::Availability { tenant, message })
    }

    /// Hands the message to whoever has the slot; it cannot be lost when this returns.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn send(&self, line: &Line, slot: usize) -> Result<(), StoreError> {
        let value = serde_json::to_vec(self).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let key = Key::new(MAIL, "", format_smolstr!("{slot}"));
        let write = |value| Write { key: key.clone(), expect: Expect::Any, value };
        line.store().commit(Batch::atomic(vec![write(Some(value.into())), write(None)])).await.map(drop)
    }

    /// The message of discovery in its own form.
    #[must_use]
    pub fn decoded(message: &str) -> Option<NotifyContextAvailabilityRequest> {
        NotifyContextAvailabilityRequest::decode(message.as_bytes()).ok()
    }
}
