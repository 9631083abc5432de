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

/// The collection of messages; each slot has one key, and all have one; they are empty outside of a commit.
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
    /// Changes that an upstream broker tells for a subscription which one of the replicas placed there.
    Upstream {
        /// The tenant.
        tenant: Tenant,
        /// The subscription there: only the replica that placed it knows for which of ours.
        remote: SmolStr,
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
        self.post(line, format_smolstr!("{slot}")).await
    }

    /// Hands the message to all, for the one whom it concerns.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn send_to_all(&self, line: &Line) -> Result<(), StoreError> {
        self.post(line, SmolStr::new_static("all")).await
    }

    async fn post(&self, line: &Line, address: SmolStr) -> Result<(), StoreError> {
        let value = serde_json::to_vec(self).map_err(|error| StoreError::Invalid(error.to_string()))?;
        let key = Key::new(MAIL, "", address);
        let write = |value| Write { key: key.clone(), expect: Expect::Any, value };
        line.store().commit(Batch::atomic(vec![write(Some(value.into())), write(None)])).await.map(drop)
    }

    /// The message of discovery in its own form.
    #[must_use]
    pub fn decoded(message: &str) -> Option<NotifyContextAvailabilityRequest> {
        NotifyContextAvailabilityRequest::decode(message.as_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fogflow_ngsi::{Entity, EntityKey, Timestamp};
    use fogflow_store::follow::Follower;
    use fogflow_store::memory::MemoryStore;
    use fogflow_store::{Feed, SharedStore};

    use super::*;
    use crate::change::Change;
    use crate::replica::applier::COLLECTIONS;

    fn line() -> (SharedStore, Line) {
        let store: SharedStore = Arc::new(MemoryStore::new());
        (Arc::clone(&store), Line::new(Follower::new(store, COLLECTIONS)))
    }

    /// What of the log is mail: the address, and the message that was written or `None` for its deletion.
    async fn letters(store: &SharedStore) -> Vec<(SmolStr, Option<Mail>)> {
        let Feed::Changes(documents) = store.feed(0, 100).await.unwrap() else { panic!("the log is short") };
        let read = |value: &[u8]| serde_json::from_slice(value).unwrap();
        documents.iter().map(|document| (document.key.id.clone(), document.value.as_deref().map(read))).collect()
    }

    fn told() -> Vec<Told> {
        let key = EntityKey { tenant: Tenant::default(), path: "/north".into(), id: "e1".into() };
        let entity = Arc::new(Entity::new("e1", Some("T"), Timestamp(1)));
        vec![Told::from(&Change::snapshot(key, entity, 7))]
    }

    #[tokio::test]
    async fn a_message_is_in_the_log_for_its_slot_and_leaves_nothing_behind() {
        let (store, line) = line();
        let mail = Mail::Told { tenant: Tenant("acme".into()), id: "s1".into(), changes: told() };
        mail.send(&line, 3).await.unwrap();
        assert!(store.get(&Key::new(MAIL, "", "3")).await.unwrap().is_none(), "it is deleted in the commit that writes it");
        mail.send_to_all(&line).await.unwrap();
        let letters = letters(&store).await;
        let shapes: Vec<(&str, bool)> = letters.iter().map(|(address, mail)| (address.as_str(), mail.is_some())).collect();
        assert_eq!(shapes, [("3", true), ("3", false), ("all", true), ("all", false)]);
        assert!(matches!(&letters[0].1, Some(Mail::Told { id, changes, .. }) if id == "s1" && changes[0].key.path == "/north"));
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        let notification = br#"{"subscribeId":"s1","errorCode":{"code":301},"contextRegistrationResponses":[]}"#;
        let acme = Tenant("acme".into());
        for mail in [
            Mail::availability(acme.clone(), notification).unwrap(),
            Mail::Told { tenant: acme.clone(), id: "s1".into(), changes: told() },
            Mail::Upstream { tenant: acme, remote: "up".into(), changes: told() },
        ] {
            let text = serde_json::to_string(&mail).unwrap();
            let read: Mail = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            if let Mail::Availability { message, .. } = read {
                assert_eq!(Mail::decoded(&message).map(|message| message.subscribe_id), Some("s1".into()));
            }
        }
        assert!(Mail::availability(Tenant::default(), b"\xff").is_err());
        assert!(Mail::decoded("[]").is_none());
    }
}
