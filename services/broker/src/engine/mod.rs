//! The engine: what every face calls. A face decodes a request, calls the engine, encodes the answer.
//!
//! | Call | For |
//! |---|---|
//! | [`Engine::write`] | carry out commands, here or at the broker that owns the entity |
//! | [`Engine::get`], [`Engine::find`] | one entity: of this broker, or of any |
//! | [`Engine::query`] | entities by filter, with paging |
//! | [`Engine::types`], [`Engine::attribute_names`] | what there is |
//! | [`Engine::subscribe`], [`Engine::replace`], [`Engine::unsubscribe`], [`Engine::subscription`], [`Engine::subscriptions`] | subscriptions |
//!
//! Every call needs the [`Identity`] of the request, so no handler can forget the tenant.

mod nearest;
mod query;
mod subscriptions;

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_config::BrokerConfig;
use fogflow_ngsi::{EntityKey, Tenant};
use fogflow_store::SharedStore;

use crate::change::Origin;
use crate::command::{Action, Answer, Command, Done, Effect, Refusal};
use crate::contexts::Contexts;
use crate::federation::{Federation, Owner};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::notifier::Notifier;
use crate::registrar::Registrar;
use crate::replica::Line;
use crate::replica::slots::Slots;
use crate::southbound::Devices;
use crate::state::committer::Writer;
use crate::state::{Record, SharedEntity, State};

pub use query::{Found, Query};
pub use subscriptions::{Refused, Shown};

/// A handle on the engine. Clones are cheap and mean the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What the engine is made of.
pub struct Inner {
    /// Limits and manners.
    pub config: BrokerConfig,
    /// The entities.
    pub state: Arc<State>,
    /// The way to write them.
    pub writer: Writer,
    /// Where all lies durably.
    pub store: SharedStore,
    /// The subscribers.
    pub notifier: Arc<Notifier>,
    /// The other brokers.
    pub federation: Arc<Federation>,
    /// What discovery is told.
    pub registrar: Arc<Registrar>,
    /// Devices that take commands.
    pub devices: Arc<Devices>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The `@context`s of NGSI-LD.
    pub contexts: Arc<Contexts>,
    /// Which subscriptions this replica serves.
    pub slots: Arc<Slots>,
    /// The way by which changes come into memory when the store is shared.
    pub line: Option<Line>,
}

impl Engine {
    /// Makes a handle.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Engine { inner: Arc::new(inner) }
    }

    /// Limits and manners (`broker` of the configuration).
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.inner.config
    }

    /// The other brokers.
    #[must_use]
    pub fn federation(&self) -> &Arc<Federation> {
        &self.inner.federation
    }

    /// The senders of notifications.
    #[must_use]
    pub fn notifier(&self) -> &Arc<Notifier> {
        &self.inner.notifier
    }

    /// The entities of this broker.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.inner.state
    }

    /// The `@context`s of NGSI-LD.
    #[must_use]
    pub fn contexts(&self) -> &Arc<Contexts> {
        &self.inner.contexts
    }

    /// The way to the replica that serves a subscription, with its slot; `None` when it is this one.
    #[must_use]
    pub fn elsewhere(&self, tenant: &Tenant, id: &str) -> Option<(&Line, usize)> {
        let slot = self.inner.slots.of(tenant, id);
        self.inner.line.as_ref().filter(|_| !self.inner.slots.is_mine(slot)).map(|line| (line, slot))
    }

    /// What discovery is told.
    #[must_use]
    pub fn registrar(&self) -> &Arc<Registrar> {
        &self.inner.registrar
    }

    /// The way to the other replicas, if there may be any.
    #[must_use]
    pub fn line(&self) -> Option<&Line> {
        self.inner.line.as_ref()
    }

    /// The devices that take commands.
    #[must_use]
    pub fn devices(&self) -> &Arc<Devices> {
        &self.inner.devices
    }

    /// Carries out commands: on the entities of this broker, or at the broker that owns them; entities that nobody has
    /// are made here. One answer per command in the same order, each given after the effect is durable.
    pub async fn write(&self, identity: &Identity, commands: Vec<Command>) -> Vec<Answer> {
        if identity.origin.internal {
            return self.write_here(&identity.origin, commands).await;
        }
        let state = &self.inner.state;
        let elsewhere: Vec<EntityKey> = commands
            .iter()
            .filter(|command| !state.has(&command.key.tenant, Some(&command.key.path), &command.key.id))
            .map(|command| command.key.clone())
            .collect();
        if elsewhere.is_empty() {
            return self.write_here(&identity.origin, commands).await;
        }
        // Rarer than updates of what is here, whose futures need not have the size of these.
        let owners = Box::pin(self.inner.federation.owners(&elsewhere)).await;
        if owners.is_empty() {
            return self.write_here(&identity.origin, commands).await;
        }
        Box::pin(self.write_apart(&identity.origin, commands, &owners)).await
    }

    /// Carries out commands on the entities of this broker only.
    pub async fn write_here(&self, origin: &Origin, commands: Vec<Command>) -> Vec<Answer> {
        self.inner.writer.write(origin.clone(), commands).await
    }

    /// Carries out what another of our brokers hands on: what is a command to a device of ours goes to its agent.
    pub async fn write_for_peer(&self, origin: &Origin, commands: Vec<Command>) -> Vec<Answer> {
        if self.devices().is_empty() {
            return self.write_here(origin, commands).await;
        }
        let done = |()| Done { effect: Effect::Updated, sequence: 0, skipped: Vec::new(), entity: None };
        let mut answers = Vec::with_capacity(commands.len());
        let mut ordinary = Vec::with_capacity(commands.len());
        for command in commands {
            let taken = match &command.action {
                Action::Upsert { patch, .. } => self.devices().take(&command.key, patch).await,
                _ => None,
            };
            if taken.is_none() {
                ordinary.push(command);
            }
            answers.push(taken.map(|taken| taken.map(done)));
        }
        let mut written = self.write_here(origin, ordinary).await.into_iter();
        let missing = || Err(Refusal::Unavailable("no answer".to_owned()));
        answers.into_iter().map(|answer| answer.or_else(|| written.next()).unwrap_or_else(missing)).collect()
    }

    /// Commands for several brokers, at all of them at the same time.
    async fn write_apart(&self, origin: &Origin, commands: Vec<Command>, owners: &HashMap<EntityKey, Owner>) -> Vec<Answer> {
        let count = commands.len();
        let mut by_owner: HashMap<Option<&Owner>, (Vec<usize>, Vec<Command>)> = HashMap::new();
        for (place, command) in commands.into_iter().enumerate() {
            let (places, commands) = by_owner.entry(owners.get(&command.key)).or_default();
            places.push(place);
            commands.push(command);
        }
        let parts = by_owner.into_iter().map(|(owner, (places, commands))| async move {
            let answers = match owner {
                Some(owner) => self.inner.federation.forward(owner, origin, commands).await,
                None => self.write_here(origin, commands).await,
            };
            (places, answers)
        });
        let mut answers: Vec<Answer> = vec![Err(Refusal::Unavailable("no answer".to_owned())); count];
        for (places, part) in futures::future::join_all(parts).await {
            for (place, answer) in places.into_iter().zip(part) {
                if let Some(slot) = answers.get_mut(place) {
                    *slot = answer;
                }
            }
        }
        answers
    }

    /// The entity of this broker with this id, on the service path of the request or, without one, on any.
    #[must_use]
    pub fn get(&self, identity: &Identity, id: &str) -> Option<SharedEntity> {
        self.record(identity, id).map(|record| record.entity)
    }

    /// Whether [`get`](Self::get) finds it.
    #[must_use]
    pub fn has(&self, identity: &Identity, id: &str) -> bool {
        self.inner.state.has(&identity.tenant, identity.read_path(), id)
    }

    /// The same with its version.
    #[must_use]
    pub fn record(&self, identity: &Identity, id: &str) -> Option<Record> {
        self.inner.state.get(&identity.tenant, identity.read_path(), id)
    }

    /// Distinct types of this broker's entities with their number.
    #[must_use]
    pub fn types(&self, tenant: &Tenant) -> Vec<(fogflow_ngsi::Name, usize)> {
        let list = |space: &crate::state::Space| space.types().map(|(name, count)| (name.clone(), count)).collect();
        self.inner.state.with_space(tenant, list).unwrap_or_default()
    }

    /// Distinct attribute names of this broker's entities with the number of entities that have them.
    #[must_use]
    pub fn attribute_names(&self, tenant: &Tenant) -> Vec<(fogflow_ngsi::Name, usize)> {
        let list = |space: &crate::state::Space| space.attributes().map(|(name, count)| (name.clone(), count)).collect();
        self.inner.state.with_space(tenant, list).unwrap_or_default()
    }
}
