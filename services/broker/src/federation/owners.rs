//! Who owns an entity that is not here, and carrying out commands there.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use fogflow_client::ClientError;
use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::DiscoverContextAvailabilityRequest;
use fogflow_ngsi::{EntityKey, Tenant};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smol_str::SmolStr;

use super::{Federation, peer};
use crate::change::Origin;
use crate::command::{Answer, Command, Refusal};
use crate::registrar::path_of;

/// How long a found owner is believed.
const BELIEVED: Duration = Duration::from_secs(2);
/// Owners remembered at one time.
const REMEMBERED: usize = 50_000;

/// Another broker that owns entities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its NGSI-10 address.
    pub url: SmolStr,
    /// Its id; empty for a broker of upstream.
    pub id: SmolStr,
}

impl Owner {
    /// Whether it speaks our own protocol.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.id.is_empty()
    }
}

type Found = HashMap<EntityKey, (Owner, Instant), RandomState>;

/// Recently found owners.
#[derive(Default)]
pub(super) struct Cache(Mutex<Found>);

impl Cache {
    fn get(&self, key: &EntityKey) -> Option<Owner> {
        let found = self.0.lock();
        found.get(key).filter(|(_, when)| when.elapsed() < BELIEVED).map(|(owner, _)| owner.clone())
    }

    fn put(&self, key: EntityKey, owner: Owner) {
        let mut found = self.0.lock();
        if found.len() >= REMEMBERED {
            found.retain(|_, (_, when)| when.elapsed() < BELIEVED);
            if found.len() >= REMEMBERED {
                found.clear();
            }
        }
        found.insert(key, (owner, Instant::now()));
    }

    fn forget(&self, owner: &Owner) {
        self.0.lock().retain(|_, (other, _)| other != owner);
    }
}

impl Federation {
    /// The living owners among other brokers of those entities that have one. Of the others this broker may become the
    /// owner: nobody has them, or their owner's lease has ended.
    ///
    /// While discovery does not answer, nobody is known to own anything: the entity is taken in here, and when discovery
    /// is back it is handed to its owner, should there be one.
    pub async fn owners(&self, keys: &[EntityKey]) -> HashMap<EntityKey, Owner> {
        let mut owners = HashMap::new();
        let mut unknown: BTreeMap<Tenant, Vec<&EntityKey>> = BTreeMap::new();
        for key in keys {
            match self.owners.get(key) {
                Some(owner) => {
                    owners.insert(key.clone(), owner);
                }
                None => unknown.entry(key.tenant.clone()).or_default().push(key),
            }
        }
        if !self.registrar.reachable() {
            return owners;
        }
        for (tenant, keys) in unknown {
            let ids = keys.iter().map(|key| EntityId { id: key.id.clone(), ..EntityId::default() }).collect();
            let found = match self.discover(&tenant, ids).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "the owners of entities cannot be asked for");
                    continue;
                }
            };
            for key in keys {
                if let Some(owner) = found.get(key) {
                    self.owners.put(key.clone(), owner.clone());
                    owners.insert(key.clone(), owner.clone());
                }
            }
        }
        owners
    }

    /// Owners of entities on any service path, without this broker.
    pub(super) async fn discover(&self, tenant: &Tenant, entities: Vec<EntityId>) -> Result<HashMap<EntityKey, Owner>, ClientError> {
        let request = DiscoverContextAvailabilityRequest { entities, tenant: tenant.0.clone(), ..Default::default() };
        let answer = self.peers.discovery().discover(&request).await?;
        let mut found = HashMap::new();
        for registration in answer.responses.into_iter().map(|response| response.registration) {
            let owner = Owner { url: registration.providing_application, id: registration.broker_id };
            if !self.is_me(&owner) {
                let path = path_of(registration.service_path);
                let key = |id| EntityKey { tenant: tenant.clone(), path: path.clone(), id };
                found.extend(registration.entities.into_iter().map(|entity| (key(entity.id), owner.clone())));
            }
        }
        Ok(found)
    }

    /// Brokers are compared by id; by address only where upstream's have none (F 9).
    pub(super) fn is_me(&self, owner: &Owner) -> bool {
        if owner.is_ours() { owner.id == self.me.id } else { owner.url == self.me.url }
    }

    /// Carries out commands at the broker that owns their entities.
    pub async fn forward(&self, owner: &Owner, origin: &Origin, commands: Vec<Command>) -> Vec<Answer> {
        let count = commands.len();
        let result = if owner.is_ours() {
            self.forward_to_ours(owner, origin, commands).await
        } else {
            self.forward_to_upstream(owner, origin, commands).await
        };
        let outcome = |label: &str| self.metrics.forwarded.with_label_values(&[label]).inc_by(count as u64);
        match result {
            Ok(answers) if answers.len() == count => {
                outcome("done");
                answers
            }
            Ok(_) => {
                outcome("failed");
                vec![Err(Refusal::Owner("it answered another number of commands".to_owned())); count]
            }
            Err(error) => {
                outcome("failed");
                self.owners.forget(owner);
                let refusal = match error.status() {
                    Some(507) => Refusal::Full,
                    Some(503) => Refusal::Unavailable(error.to_string()),
                    _ => Refusal::Owner(error.to_string()),
                };
                vec![Err(refusal); count]
            }
        }
    }

    async fn forward_to_ours(&self, owner: &Owner, origin: &Origin, commands: Vec<Command>) -> Result<Vec<Answer>, ClientError> {
        let Some(first) = commands.first() else { return Ok(Vec::new()) };
        let context = self.context(&first.key, origin);
        let body = peer::Commands { commands, correlator: origin.correlator.clone(), trace: origin.trace.clone() };
        let answer: peer::Answers = self.say(owner, peer::COMMANDS, &body, &context).await?;
        Ok(answer.answers)
    }

    /// One request of our own protocol.
    pub(super) async fn say<B: serde::Serialize, A: serde::de::DeserializeOwned>(
        &self,
        owner: &Owner,
        path: &str,
        body: &B,
        context: &fogflow_client::Context,
    ) -> Result<A, ClientError> {
        let unexpected = |reason: String| ClientError::Body { url: format!("{}{path}", owner.url), reason };
        let body = serde_json::to_vec(body).map_err(|error| unexpected(error.to_string()))?;
        let answer = self.peers.provider(&owner.url).post_raw(path, body.into(), context).await?;
        serde_json::from_slice(&answer).map_err(|error| unexpected(error.to_string()))
    }
}
