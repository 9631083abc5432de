//! Which engine, where, how durable: the choice made in `config.json` (`store {engine, url}`, `broker.durability`).

use std::path::PathBuf;
use std::sync::Arc;

use fogflow_background::Spawner;
use serde::{Deserialize, Serialize};

use crate::contract::SharedStore;
use crate::dgraph::{DgraphOptions, DgraphStore};
use crate::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::memory::MemoryStore;
use crate::model::StoreError;
use crate::postgres::{PostgresOptions, PostgresStore};

/// The engine of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// One directory, one process.
    #[default]
    Embedded,
    /// PostgreSQL, shared by replicas.
    Postgres,
    /// Dgraph over HTTP, for the designer's registry.
    Dgraph,
    /// Nothing survives the process. For tests.
    Memory,
}

/// When the embedded engine answers a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the disk has it (one fdatasync per group of commits): survives power loss.
    #[default]
    Fsync,
    /// When the operating system has it; the disk follows within about 100 ms. Survives the death of the process, not
    /// power loss.
    Relaxed,
}

/// What [`open`] needs to know.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The engine.
    pub engine: Engine,
    /// The libpq URL of PostgreSQL or the base URL of Dgraph; unused by the others.
    pub url: String,
    /// Whose store it is, for example `broker`: keeps apart services that share one database.
    pub service: String,
    /// The directory of the embedded engine, for example `data/broker`.
    pub dir: PathBuf,
    /// The durability of the embedded engine.
    pub durability: Durability,
    /// Where its tasks and threads are watched.
    pub spawner: Spawner,
}

/// Opens the store that the settings name.
///
/// # Errors
/// [`StoreError::InUse`] when another process has the directory, [`StoreError::Damaged`] when it cannot be read,
/// [`StoreError::Unavailable`] when the server's address is wrong or the engine does not start.
pub async fn open(settings: &StoreSettings) -> Result<SharedStore, StoreError> {
    Ok(match settings.engine {
        Engine::Embedded => {
            let options = EmbeddedOptions { spawner: settings.spawner.clone(), ..EmbeddedOptions::new(settings.durability) };
            Arc::new(EmbeddedStore::open_with(&settings.dir, options).await?)
        }
        Engine::Memory => Arc::new(MemoryStore::new()),
        Engine::Postgres => {
            let options = PostgresOptions { spawner: settings.spawner.clone(), ..PostgresOptions::default() };
            Arc::new(PostgresStore::open_with(&settings.url, &settings.service, options).await?)
        }
        Engine::Dgraph => {
            let options = DgraphOptions { spawner: settings.spawner.clone(), ..DgraphOptions::default() };
            Arc::new(DgraphStore::open_with(&settings.url, &settings.service, options).await?)
        }
    })
}
