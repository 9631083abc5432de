//! Handing entities to the broker that has become their owner while this one was away.
//!
//! The receiver reconciles both states attribute by attribute, so that nothing which only one of them has is lost; only
//! when it has stored the result does the giver drop its copy. Subscribers are not told of a deletion: there is none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::RemovedEntity;
use fogflow_ngsi::{EntityKey, Tenant, Timestamp};
use tokio::sync::mpsc;

use super::peer::{self, Entities, Keyed};
use super::{Federation, Owner};
use crate::change::Origin;
use crate::command::{Action, Answer, Command};
use crate::registrar::path_of;

/// Pause before a failed handover is tried again.
const PAUSE: Duration = Duration::from_secs(1);

impl Federation {
    /// Hands over what discovery says others own, as long as the broker runs.
    ///
    /// # Errors
    /// Never.
    pub async fn hand_over(
        self: Arc<Self>,
        mut elsewhere: mpsc::Receiver<Vec<RemovedEntity>>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        tokio::pin!(stop);
        loop {
            let entities = tokio::select! {
                () = &mut stop => return Ok(()),
                entities = elsewhere.recv() => entities,
            };
            let Some(entities) = entities else { return Ok(()) };
            let mut by_tenant: BTreeMap<Tenant, Vec<EntityKey>> = BTreeMap::new();
            for removed in entities {
                let key = EntityKey { tenant: Tenant(removed.tenant), path: path_of(removed.service_path), id: removed.id };
                by_tenant.entry(key.tenant.clone()).or_default().push(key);
            }
            for (tenant, keys) in by_tenant {
                if let Err(error) = self.hand_over_of(&tenant, &keys).await {
                    tracing::warn!(%error, "entities could not be handed to their new owner; they are kept until they can");
                    tokio::select! {
                        () = &mut stop => return Ok(()),
                        () = tokio::time::sleep(PAUSE) => self.registrar.doubt(keys),
                    }
                }
            }
        }
    }

    async fn hand_over_of(&self, tenant: &Tenant, keys: &[EntityKey]) -> Result<(), fogflow_client::ClientError> {
        let ids = keys.iter().map(|key| EntityId { id: key.id.clone(), ..EntityId::default() }).collect();
        let mut owners = self.discover(tenant, ids).await?;
        let mut by_owner: BTreeMap<Owner, Vec<Keyed>> = BTreeMap::new();
        for key in keys {
            if let (Some(owner), Some(record)) = (owners.remove(key), self.state.record(key)) {
                by_owner.entry(owner).or_default().push(Keyed { key: key.clone(), entity: record.entity });
            }
        }
        for (owner, entities) in by_owner {
            let given: Vec<(EntityKey, Timestamp)> = entities.iter().map(|keyed| (keyed.key.clone(), keyed.entity.modified_at)).collect();
            let taken: peer::Answers = if owner.is_ours() {
                let context = self.tenant_context(tenant, &Origin::default());
                self.say(&owner, peer::HANDOVER, &Entities { entities }, &context).await?
            } else {
                // Upstream's brokers cannot reconcile: what they have stays, ours is dropped only if they have it.
                continue;
            };
            let taken = given.into_iter().zip(taken.answers).filter(|(_, answer)| answer.is_ok());
            let commands: Vec<Command> = taken.map(|((key, at), _)| Command { key, action: Action::GiveAway(at) }).collect();
            tracing::info!(owner = %owner.url, entities = commands.len(), "entities are handed to their new owner");
            let keys: Vec<EntityKey> = commands.iter().map(|command| command.key.clone()).collect();
            let answers = self.writer.write(Origin { internal: true, ..Origin::default() }, commands).await;
            // What was written here in the meantime goes the same way once more.
            let again = keys.into_iter().zip(answers).filter(|(_, answer)| answer.is_err()).map(|(key, _)| key);
            self.registrar.doubt(again);
        }
        Ok(())
    }

    /// Takes in entities that another broker hands over.
    pub async fn take_over(&self, entities: Vec<Keyed>) -> Vec<Answer> {
        let take = |keyed: Keyed| Command { key: keyed.key, action: Action::Reconcile(Arc::unwrap_or_clone(keyed.entity)) };
        self.writer.write(Origin { internal: true, ..Origin::default() }, entities.into_iter().map(take).collect()).await
    }
}
