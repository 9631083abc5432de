//! Durability: changes are written behind, in batches, and a request waits for its own.
//!
//! The writer takes the names of what has changed and writes its present state, so that writes of one document cannot
//! overtake each other, and a document that changes faster than the disk writes is written less often. Other replicas
//! take the changes from the store's feed (see [`super::replica`]).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use fogflow_ngsi::v1::EntityId;
use fogflow_ngsi::v1::availability::{ContextMetadata, ContextRegistration, SubscribeContextAvailabilityRequest};
use fogflow_ngsi::{Name, Tenant, Timestamp};
use fogflow_store::{Batch, Document, Expect, Key, SharedStore, StoreError, Write};
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, ToSmolStr, format_smolstr};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Registry;
use super::duty::Duty;
use super::replica::{Crossing, Others, Replica};
use super::state::{Dirty, State};
use crate::clock::Clock;
use crate::model::{EntityRef, Owner, Registration};

pub(super) const REGISTRATION: &str = "registration";
pub(super) const SUBSCRIPTION: &str = "subscription";
pub(super) const BROKER: &str = "broker";
/// That a broker was heard of. Apart from the broker, so that a heartbeat never overwrites what another replica learns.
pub(super) const BEAT: &str = "beat";
/// What was told in an unfinished re-registration.
pub(super) const PART: &str = "part";
const META: &str = "meta";
/// Documents of one page when loading, and of one commit.
const PAGE: usize = 4096;
/// How long a request waits for the store before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long after shutdown the writer waits for one more change.
const LINGER: Duration = Duration::from_millis(300);

/// How far storing has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Everything up to this version is stored.
    durable: u64,
    /// Storing up to this version was tried last and failed.
    failed: u64,
    reason: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredRegistration {
    registration: ContextRegistration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSubscription {
    pub(super) subscription: SubscribeContextAvailabilityRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    #[serde(default)]
    pub(super) even_if_empty: bool,
}

/// What one replica was told in a re-registration that may go on at another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredPart {
    /// Whose.
    pub(crate) broker: SmolStr,
    /// See [`crate::brokers::OpenSnapshot::round`].
    pub(crate) round: SmolStr,
    /// Which entities.
    pub(crate) told: Vec<EntityRef>,
}

#[derive(Serialize, Deserialize)]
struct StoreIdentity {
    id: SmolStr,
}

/// Waits until `version` is stored.
pub(super) async fn wait(mut progress: watch::Receiver<Progress>, version: u64) -> Result<(), String> {
    let done = progress.wait_for(|progress| progress.durable >= version || progress.failed >= version);
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(Ok(progress)) if progress.durable >= version => Ok(()),
        Ok(Ok(progress)) => Err(progress.reason.clone()),
        Ok(Err(_)) => Err("discovery has shut down".to_owned()),
        Err(_) => Err("the store does not answer".to_owned()),
    }
}

/// Reads everything back. Brokers get a whole lease to show up, and subscribers a fresh snapshot.
///
/// # Errors
/// If the store cannot be read or holds what cannot be understood.
pub async fn load(store: &SharedStore, heartbeat_seconds: u64, clock: Clock, others: Others) -> anyhow::Result<(Arc<Registry>, Replica)> {
    let registry = Registry::new(heartbeat_seconds, &identity(store).await?, clock);
    if others == Others::Possible {
        let mut state = registry.state.write();
        state.crossing = Some(Crossing::default());
        state.duty = Duty::Off;
    }
    let registry = Arc::new(registry);
    let mut replica = Replica::new(Arc::clone(&registry), Arc::clone(store), clock);
    replica.load().await.context("reading what is stored")?;
    let version = registry.state.read().version;
    registry.progress.send_modify(|progress| progress.durable = version);
    registry.ready.notify_one();
    Ok((registry, replica))
}

/// Stores changes until shutdown, and what is left then.
///
/// # Errors
/// If at shutdown something could not be stored.
pub async fn write_behind(registry: &Registry, store: &SharedStore, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut pause = Duration::from_millis(100);
    loop {
        match store_changes(registry, store).await {
            Ok(true) => pause = Duration::from_millis(100),
            Ok(false) => tokio::select! {
                () = registry.changed.notified() => {}
                () = shutdown.cancelled() => return store_the_rest(registry, store).await,
            },
            Err(error) => {
                tracing::warn!(%error, "registrations cannot be stored at the moment");
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    () = shutdown.cancelled() => return Err(error).context("the last changes were not stored"),
                }
            }
        }
    }
}

/// Requests that are under way when shutdown begins still get their answers.
async fn store_the_rest(registry: &Registry, store: &SharedStore) -> anyhow::Result<()> {
    let stored = async {
        while store_changes(registry, store).await? || tokio::time::timeout(LINGER, registry.changed.notified()).await.is_ok() {}
        Ok::<_, StoreError>(())
    };
    let stored = stored.await.context("the last changes were not stored");
    registry.progress.send_modify(|progress| {
        progress.failed = u64::MAX;
        progress.reason = "discovery is shutting down".to_owned();
    });
    stored
}

/// Stores what has changed; `false` if nothing had.
async fn store_changes(registry: &Registry, store: &SharedStore) -> Result<bool, StoreError> {
    let (mut dirty, version) = {
        let mut state = registry.state.write();
        let dirty = std::mem::take(&mut state.dirty);
        if let Some(crossing) = &mut state.crossing {
            crossing.begin(keys(&dirty));
        }
        (dirty, state.version)
    };
    if dirty.is_empty() {
        registry.progress.send_if_modified(|progress| std::mem::replace(&mut progress.durable, version) != version);
        return Ok(false);
    }
    while !dirty.is_empty() {
        let part = take(&mut dirty, PAGE);
        let writes = writes(&registry.state.read(), &part);
        let written: Vec<Key> = writes.iter().map(|write| write.key.clone()).collect();
        match store.commit(Batch::independent(writes)).await {
            Ok(outcomes) => registry.settled(written, &outcomes),
            Err(error) => {
                let mut state = registry.state.write();
                state.dirty.take_back(part);
                state.dirty.take_back(dirty);
                if let Some(crossing) = &mut state.crossing {
                    crossing.give_up();
                }
                drop(state);
                registry.progress.send_modify(|progress| {
                    progress.failed = version;
                    progress.reason = error.to_string();
                });
                return Err(error);
            }
        }
    }
    registry.progress.send_modify(|progress| progress.durable = version);
    Ok(true)
}

/// Splits off at most `limit` registrations, with all of the rest, which is few.
fn take(dirty: &mut Dirty, limit: usize) -> Dirty {
    let names: Vec<EntityRef> = dirty.registrations.iter().take(limit).cloned().collect();
    let registrations = names.into_iter().filter_map(|name| dirty.registrations.take(&name)).collect();
    let rest = Dirty { registrations: std::mem::take(&mut dirty.registrations), ..Dirty::default() };
    Dirty { registrations, ..std::mem::replace(dirty, rest) }
}

/// The documents of these names.
fn keys(names: &Dirty) -> impl Iterator<Item = Key> {
    let subscriptions = names.subscriptions.iter().map(|id| key(SUBSCRIPTION, id));
    let brokers = names.brokers.iter().map(|id| key(BROKER, id));
    let beats = names.beats.iter().map(|id| key(BEAT, id));
    let parts = names.parts.keys().map(|id| key(PART, id));
    names.registrations.iter().map(registration_key).chain(subscriptions).chain(brokers).chain(beats).chain(parts)
}

pub(super) fn registration_key(name: &EntityRef) -> Key {
    Key { collection: REGISTRATION.into(), tenant: name.tenant.0.clone(), id: document_id(name) }
}

fn writes(state: &State, names: &Dirty) -> Vec<Write> {
    let registrations = names.registrations.iter().map(|name| {
        let value = state.index.registration(name).map(|registration| to_json(&StoredRegistration::from(&**registration)));
        (registration_key(name), value)
    });
    let subscriptions = names.subscriptions.iter().map(|id| {
        let value = state.subscriptions.get(id).map(|subscription| {
            to_json(&StoredSubscription {
                subscription: subscription.request.clone(),
                expires: subscription.expires,
                even_if_empty: subscription.even_if_empty,
            })
        });
        (key(SUBSCRIPTION, id), value)
    });
    let brokers = names.brokers.iter().map(|id| (key(BROKER, id), state.brokers.get(id).map(to_json)));
    let beats = names.beats.iter().map(|id| (key(BEAT, id), Some(Bytes::from_static(b"{}"))));
    let parts = names.parts.iter().map(|(id, part)| (key(PART, id), part.as_ref().map(to_json)));
    registrations
        .chain(subscriptions)
        .chain(brokers)
        .chain(beats)
        .chain(parts)
        .map(|(key, value)| Write { key, expect: Expect::Any, value })
        .collect()
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Serialising these types to memory cannot fail: no map has a key that is not a string.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn key(collection: &'static str, id: &SmolStr) -> Key {
    Key { collection: collection.into(), tenant: SmolStr::default(), id: id.clone() }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(document: &'a Document) -> anyhow::Result<T> {
    let value = document.value.as_deref().unwrap_or_default();
    serde_json::from_slice(value).with_context(|| format!("the stored {} {:?} is damaged", document.key.collection, document.key.id))
}

/// The id that this store was given when it was first opened.
async fn identity(store: &SharedStore) -> anyhow::Result<SmolStr> {
    let key = key(META, &SmolStr::new_static("identity"));
    if let Some(document) = store.get(&key).await.context("reading the store's identity")? {
        return Ok(parse::<StoreIdentity>(&document)?.id);
    }
    let id = uuid::Uuid::new_v4().to_smolstr();
    let write = Write { key: key.clone(), expect: Expect::Absent, value: Some(to_json(&StoreIdentity { id: id.clone() })) };
    store.commit(Batch::one(write)).await.context("writing the store's identity")?;
    // Another replica may have been first.
    match store.get(&key).await? {
        Some(document) => Ok(parse::<StoreIdentity>(&document)?.id),
        None => Ok(id),
    }
}

impl From<&Registration> for StoredRegistration {
    fn from(registration: &Registration) -> Self {
        StoredRegistration { registration: registration.into(), expires: registration.expires }
    }
}

/// The id of a registration's document: that of the entity, after its service path if it has one. An id that begins like a
/// path is always written with its path, so that no two entities share a document.
fn document_id(key: &EntityRef) -> SmolStr {
    let path = key.written_path();
    if path.is_empty() && !key.id.starts_with('/') { key.id.clone() } else { format_smolstr!("{} {}", key.path, key.id) }
}

/// What [`document_id`] has written; a path has no spaces.
pub(super) fn entity_of(document: Key) -> EntityRef {
    let tenant = Tenant(document.tenant);
    match document.id.split_once(' ').filter(|_| document.id.starts_with('/')) {
        Some((path, id)) => EntityRef { tenant, id: id.into(), path: path.into() },
        None => EntityRef::new(tenant, document.id),
    }
}

/// The wire form, complete.
impl From<&Registration> for ContextRegistration {
    fn from(registration: &Registration) -> Self {
        ContextRegistration {
            entities: vec![EntityId {
                entity_type: registration.entity_type.as_str().into(),
                is_pattern: false,
                id: registration.key.id.clone(),
            }],
            attributes: registration.attributes.to_vec(),
            metadata: ContextMetadata(registration.metadata.to_vec()),
            providing_application: registration.owner.url.clone(),
            tenant: registration.key.tenant.0.clone(),
            service_path: registration.key.written_path(),
            other_types: registration.other_types.iter().map(|name| name.as_str().into()).collect(),
            broker_id: registration.owner.broker.clone().unwrap_or_default(),
        }
    }
}

pub(super) fn restore(state: &mut State, key: Key, stored: StoredRegistration) -> Registration {
    let StoredRegistration { registration: wire, expires } = stored;
    let entity_type = wire.entities.first().map_or_else(|| Name::new(""), |entity| Name::new(&entity.entity_type));
    let broker = Some(wire.broker_id).filter(|id| !id.is_empty());
    let owner = state.index.shared_owner(Owner { broker, url: wire.providing_application });
    let attributes = state.share(&entity_type, wire.attributes);
    let other_types = wire.other_types.iter().map(|name| Name::new(name)).collect();
    Registration { attributes, expires, other_types, ..Registration::new(entity_of(key), entity_type, owner) }
        .with_metadata(wire.metadata.0)
}
