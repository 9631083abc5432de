//! Devices behind IoT agents: who carries out the commands of an entity.
//!
//! An agent registers its devices (`POST /NGSI9/registerContext`); an update with an attribute of type `command` is then
//! sent to the agent in Orion's flat form instead of being stored. Discovery is told that this broker has the device, so
//! that other brokers hand commands on to this one.

use std::collections::HashMap;
use std::time::Duration;

use fogflow_chassis::outbound;
use fogflow_ngsi::v1::availability::ContextRegistration;
use fogflow_ngsi::{Entity, EntityKey, JsonWriter, Tenant, v1};
use fogflow_store::{Batch, Expect, Key, SharedStore, StoreError, Write};
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::command::Refusal;
use crate::registrar::path_of;

/// The collection of device registrations.
pub const DEVICES: &str = "device";
/// The type of attributes that are commands to a device.
const COMMAND: &str = "command";
/// How long an agent may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A registered device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// The id of the registration.
    pub registration: SmolStr,
    /// The agent's address.
    pub provider: SmolStr,
    /// The registration as it was sent, for showing.
    pub document: Value,
    /// What discovery is told of it, but for the address of this broker.
    #[serde(default)]
    pub entity: ContextRegistration,
}

impl Device {
    fn key(&self, tenant: &Tenant, id: &str) -> EntityKey {
        EntityKey { tenant: tenant.clone(), path: path_of(self.entity.service_path.clone()), id: id.into() }
    }

    fn registration(&self, url: &SmolStr) -> Option<ContextRegistration> {
        let known = !self.entity.entities.is_empty();
        known.then(|| ContextRegistration { providing_application: url.clone(), ..self.entity.clone() })
    }
}

/// Whether an entity carries a command.
#[must_use]
pub fn has_command(entity: &Entity) -> bool {
    entity.attributes.iter().any(|attribute| attribute.value_type.as_deref() == Some(COMMAND))
}

type Known = HashMap<(Tenant, SmolStr), Device, RandomState>;

/// The registered devices, by tenant and entity id.
pub struct Devices {
    known: RwLock<Known>,
    store: SharedStore,
    client: reqwest::Client,
}

impl Devices {
    /// Reads the registrations from the store.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(store: SharedStore, client: reqwest::Client) -> Result<Self, StoreError> {
        let mut known = Known::default();
        let mut after = None;
        loop {
            let page = store.scan(None, DEVICES, after.as_ref(), 1000).await?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                let value = document.value.as_deref().unwrap_or_default();
                let device =
                    serde_json::from_slice(value).map_err(|error| StoreError::Damaged(format!("device {}: {error}", document.key.id)))?;
                known.insert((Tenant(document.key.tenant), document.key.id), device);
            }
            if !page.more {
                return Ok(Devices { known: RwLock::new(known), store, client });
            }
        }
    }

    /// Takes in what another replica registered, or forgot with `None`. Gives the entity that it is about.
    pub fn changed(&self, tenant: &Tenant, id: &str, value: Option<&[u8]>) -> Option<EntityKey> {
        match value.and_then(|value| serde_json::from_slice::<Device>(value).ok()) {
            Some(device) => Some(self.insert(tenant, id, device)),
            None => self.known.write().remove(&(tenant.clone(), id.into())).map(|device| device.key(tenant, id)),
        }
    }

    fn insert(&self, tenant: &Tenant, id: &str, device: Device) -> EntityKey {
        let key = device.key(tenant, id);
        self.known.write().insert((tenant.clone(), id.into()), device);
        key
    }

    /// What discovery is told of a device with this key; `url` is the address of this broker.
    #[must_use]
    pub fn registration(&self, key: &EntityKey, url: &SmolStr) -> Option<ContextRegistration> {
        let known = self.known.read();
        let device = known.get(&(key.tenant.clone(), key.id.clone()))?;
        (device.key(&key.tenant, &key.id) == *key).then(|| device.registration(url))?
    }

    /// What discovery is told of all devices, with their keys.
    #[must_use]
    pub fn registrations(&self, url: &SmolStr) -> Vec<(EntityKey, ContextRegistration)> {
        let known = self.known.read();
        known.iter().filter_map(|((tenant, id), device)| Some((device.key(tenant, id), device.registration(url)?))).collect()
    }

    /// The device of an entity.
    #[must_use]
    pub fn get(&self, tenant: &Tenant, id: &str) -> Option<Device> {
        self.known.read().get(&(tenant.clone(), id.into())).cloned()
    }

    /// Whether there is any device; most brokers have none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.read().is_empty()
    }

    /// Registers the device of an entity; durable when this returns. Gives its key, for discovery to be told.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn put(&self, tenant: &Tenant, id: &str, device: Device) -> Result<EntityKey, StoreError> {
        let value = serde_json::to_vec(&device).map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.commit(tenant, id, Some(value)).await?;
        Ok(self.insert(tenant, id, device))
    }

    /// Forgets the device of an entity. Gives its key if there was one.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn remove(&self, tenant: &Tenant, id: &str) -> Result<Option<EntityKey>, StoreError> {
        let Some(device) = self.get(tenant, id) else { return Ok(None) };
        self.commit(tenant, id, None).await?;
        self.known.write().remove(&(tenant.clone(), id.into()));
        Ok(Some(device.key(tenant, id)))
    }

    async fn commit(&self, tenant: &Tenant, id: &str, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let key = Key { collection: SmolStr::new_static(DEVICES), tenant: tenant.0.clone(), id: id.into() };
        self.store.commit(Batch::one(Write { key, expect: Expect::Any, value: value.map(Into::into) })).await.map(|_| ())
    }

    /// Hands an element with a command to the device's agent. `None` when it is an ordinary element: tasks and devices of
    /// FogFlow exchange attributes of that type as data when no agent has registered the device.
    pub async fn take(&self, key: &EntityKey, entity: &Entity) -> Option<Result<(), Refusal>> {
        if self.is_empty() || !has_command(entity) {
            return None;
        }
        let device = self.get(&key.tenant, &key.id)?;
        Some(self.command(&device, key, entity).await)
    }

    /// Sends the commands of an update to the device's agent; if it does not take them, nothing has happened.
    async fn command(&self, device: &Device, key: &EntityKey, entity: &Entity) -> Result<(), Refusal> {
        let url = format!("{}/ngsi10/updateContext", device.provider.trim_end_matches('/'));
        let url = outbound::check(&url).map_err(Refusal::Invalid)?;
        let request = self
            .client
            .post(url)
            .timeout(TIMEOUT)
            .header("content-type", "application/json")
            .header("fiware-service", key.tenant.0.as_str())
            .header("fiware-servicepath", key.path.as_str())
            .body(flat_update(entity));
        let response = request.send().await.map_err(|error| Refusal::Owner(error.without_url().to_string()))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(Refusal::Owner(format!("the agent answered with status {status}"))) }
    }
}

/// `updateContext` with one element in Orion's flat form, without metadata.
fn flat_update(entity: &Entity) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut w = JsonWriter::new(&mut out);
    w.begin_object();
    w.key("contextElements");
    w.begin_array();
    w.begin_object();
    w.string_member("id", &entity.id);
    w.string_member("type", entity.types.first().map_or("", |name| name.as_str()));
    w.string_member("isPattern", "false");
    w.key("attributes");
    w.begin_array();
    for attribute in entity.attributes.iter().filter(|attribute| !attribute.domain) {
        let mut text = Vec::new();
        v1::encode_attribute(&mut text, attribute);
        if let Ok(text) = std::str::from_utf8(&text) {
            w.raw(text);
        }
    }
    w.end_array();
    w.end_object();
    w.end_array();
    w.string_member("updateAction", "UPDATE");
    w.end_object();
    out
}
