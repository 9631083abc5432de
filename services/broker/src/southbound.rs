//! Devices behind IoT agents: who carries out the commands of an entity.
//!
//! An agent registers its devices (`POST /NGSI9/registerContext`); a v1 update with an attribute of type `command` is
//! then sent to the agent in Orion's flat form instead of being stored.

use std::collections::HashMap;
use std::time::Duration;

use fogflow_chassis::outbound;
use fogflow_ngsi::{Entity, JsonWriter, Tenant, v1};
use fogflow_store::{Batch, Expect, Key, SharedStore, StoreError, Write};
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::command::Refusal;
use crate::identity::Identity;

/// The collection of device registrations.
pub const DEVICES: &str = "device";
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

    /// Takes in what another replica registered, or forgot with `None`.
    pub fn changed(&self, tenant: &Tenant, id: &str, value: Option<&[u8]>) {
        let key = (tenant.clone(), SmolStr::new(id));
        match value.and_then(|value| serde_json::from_slice(value).ok()) {
            Some(device) => self.known.write().insert(key, device),
            None => self.known.write().remove(&key),
        };
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

    /// Registers the device of an entity; durable when this returns.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn put(&self, tenant: &Tenant, id: &str, device: Device) -> Result<(), StoreError> {
        let value = serde_json::to_vec(&device).map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.commit(tenant, id, Some(value)).await?;
        self.known.write().insert((tenant.clone(), id.into()), device);
        Ok(())
    }

    /// Forgets the device of an entity. Returns whether there was one.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn remove(&self, tenant: &Tenant, id: &str) -> Result<bool, StoreError> {
        if self.get(tenant, id).is_none() {
            return Ok(false);
        }
        self.commit(tenant, id, None).await?;
        Ok(self.known.write().remove(&(tenant.clone(), id.into())).is_some())
    }

    async fn commit(&self, tenant: &Tenant, id: &str, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let key = Key { collection: SmolStr::new_static(DEVICES), tenant: tenant.0.clone(), id: id.into() };
        self.store.commit(Batch::one(Write { key, expect: Expect::Any, value: value.map(Into::into) })).await.map(|_| ())
    }

    /// Sends the commands of an update to the device's agent.
    ///
    /// # Errors
    /// [`Refusal::Owner`] if the agent does not take them; nothing has happened then.
    pub async fn command(&self, device: &Device, identity: &Identity, entity: &Entity) -> Result<(), Refusal> {
        let url = format!("{}/ngsi10/updateContext", device.provider.trim_end_matches('/'));
        let url = outbound::check(&url).map_err(Refusal::Invalid)?;
        let path = identity.key(&entity.id).path;
        let request = self
            .client
            .post(url)
            .timeout(TIMEOUT)
            .header("content-type", "application/json")
            .header("fiware-service", identity.tenant.0.as_str())
            .header("fiware-servicepath", path.as_str())
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
