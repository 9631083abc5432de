//! Durability: changes are written behind, in batches, and a request waits for its own.
//!
//! The writer takes the names of what has changed and writes its present state, so that writes of one document cannot
//! overtake each other, and a document that changes faster than the disk writes is written less often.

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
use super::state::{Dirty, State};
use crate::brokers::{Broker, Presence};
use crate::filter::Filter;
use crate::model::{EntityRef, Owner, Registration};

const REGISTRATION: &str = "registration";
const SUBSCRIPTION: &str = "subscription";
const BROKER: &str = "broker";
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
struct StoredRegistration {
    registration: ContextRegistration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct StoredSubscription {
    subscription: SubscribeContextAvailabilityRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
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
pub async fn load(store: &SharedStore, heartbeat_seconds: u64, now: Timestamp) -> anyhow::Result<Registry> {
    let registry = Registry::new(heartbeat_seconds, &identity(store).await?);
    for document in scan(store, BROKER).await? {
        let broker: Broker = parse(&document)?;
        registry.state.write().brokers.restore(document.key.id, broker, now);
    }
    let mut after = None;
    loop {
        let page = store.scan(None, REGISTRATION, after.as_ref(), PAGE).await.context("reading the registrations")?;
        after = page.documents.last().map(|document| document.key.clone());
        let mut state = registry.state.write();
        for document in page.documents {
            let stored: StoredRegistration = parse(&document)?;
            let registration = restore(&mut state, document.key, stored);
            state.put(registration, false);
        }
        // What was read need not be written.
        state.dirty = Dirty::default();
        if !page.more {
            break;
        }
    }
    let away: Vec<SmolStr> = {
        let state = registry.state.read();
        state.brokers.iter().filter(|broker| broker.presence != Presence::Present).map(|broker| broker.id.clone()).collect()
    };
    for id in away {
        registry.state.write().show_according_to_presence(&id);
    }
    for document in scan(store, SUBSCRIPTION).await? {
        let stored: StoredSubscription = parse(&document)?;
        let id = document.key.id;
        match Filter::of_subscription(&stored.subscription) {
            Ok(filter) => registry.state.write().subscribe(stored.subscription, filter, stored.expires, true, now),
            Err(reason) => tracing::error!(subscription = %id, %reason, "a stored availability subscription is not understood and rests"),
        }
    }
    let mut state = registry.state.write();
    state.dirty = Dirty::default();
    let version = state.version;
    drop(state);
    registry.progress.send_modify(|progress| progress.durable = version);
    registry.ready.notify_one();
    Ok(registry)
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
        (std::mem::take(&mut state.dirty), state.version)
    };
    if dirty.is_empty() {
        registry.progress.send_if_modified(|progress| std::mem::replace(&mut progress.durable, version) != version);
        return Ok(false);
    }
    while !dirty.is_empty() {
        let part = take(&mut dirty, PAGE);
        let writes = writes(&registry.state.read(), &part);
        if let Err(error) = store.commit(Batch::independent(writes)).await {
            let mut state = registry.state.write();
            for left in [part, dirty] {
                state.dirty.registrations.extend(left.registrations);
                state.dirty.subscriptions.extend(left.subscriptions);
                state.dirty.brokers.extend(left.brokers);
            }
            drop(state);
            registry.progress.send_modify(|progress| {
                progress.failed = version;
                progress.reason = error.to_string();
            });
            return Err(error);
        }
    }
    registry.progress.send_modify(|progress| progress.durable = version);
    Ok(true)
}

/// Splits off at most `limit` names.
fn take(dirty: &mut Dirty, limit: usize) -> Dirty {
    let mut part = Dirty::default();
    let names: Vec<EntityRef> = dirty.registrations.iter().take(limit).cloned().collect();
    for name in names {
        dirty.registrations.remove(&name);
        part.registrations.insert(name);
    }
    // There are few of these.
    part.subscriptions = std::mem::take(&mut dirty.subscriptions);
    part.brokers = std::mem::take(&mut dirty.brokers);
    part
}

fn writes(state: &State, names: &Dirty) -> Vec<Write> {
    let registrations = names.registrations.iter().map(|name| {
        let value = state.index.registration(name).map(|registration| to_json(&StoredRegistration::from(&**registration)));
        (Key { collection: REGISTRATION.into(), tenant: name.tenant.0.clone(), id: document_id(name) }, value)
    });
    let subscriptions = names.subscriptions.iter().map(|id| {
        let value = state
            .subscriptions
            .get(id)
            .map(|subscription| to_json(&StoredSubscription { subscription: subscription.request.clone(), expires: subscription.expires }));
        (key(SUBSCRIPTION, id), value)
    });
    let brokers = names.brokers.iter().map(|id| (key(BROKER, id), state.brokers.get(id).map(to_json)));
    registrations.chain(subscriptions).chain(brokers).map(|(key, value)| Write { key, expect: Expect::Any, value }).collect()
}

fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Serialising these types to memory cannot fail: no map has a key that is not a string.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn key(collection: &'static str, id: &SmolStr) -> Key {
    Key { collection: collection.into(), tenant: SmolStr::default(), id: id.clone() }
}

fn parse<'a, T: Deserialize<'a>>(document: &'a Document) -> anyhow::Result<T> {
    let value = document.value.as_deref().unwrap_or_default();
    serde_json::from_slice(value).with_context(|| format!("the stored {} {:?} is damaged", document.key.collection, document.key.id))
}

async fn scan(store: &SharedStore, collection: &str) -> anyhow::Result<Vec<Document>> {
    let mut documents: Vec<Document> = Vec::new();
    loop {
        let after = documents.last().map(|document| document.key.clone());
        let page = store.scan(None, collection, after.as_ref(), PAGE).await.with_context(|| format!("reading every {collection}"))?;
        documents.extend(page.documents);
        if !page.more {
            return Ok(documents);
        }
    }
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
fn entity_of(document: Key) -> EntityRef {
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

fn restore(state: &mut State, key: Key, stored: StoredRegistration) -> Registration {
    let StoredRegistration { registration: wire, expires } = stored;
    let entity_type = wire.entities.first().map_or_else(|| Name::new(""), |entity| Name::new(&entity.entity_type));
    let broker = Some(wire.broker_id).filter(|id| !id.is_empty());
    let owner = state.index.shared_owner(Owner { broker, url: wire.providing_application });
    let attributes = state.share(&entity_type, wire.attributes);
    let other_types = wire.other_types.iter().map(|name| Name::new(name)).collect();
    Registration { attributes, expires, other_types, ..Registration::new(entity_of(key), entity_type, owner) }.with_metadata(wire.metadata.0)
}
