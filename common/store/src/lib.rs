//! The Store seam: versioned documents with compare-and-swap, an ordered change feed, and leases.
//!
//! Every engine obeys the contract written on [`Store`] and passes the same conformance suite. Engines hold no query
//! logic: indexes belong to the services, in memory. A service opens its own store and never another service's.
//!
//! | Engine | For | Module |
//! |---|---|---|
//! | embedded | one process, one directory | [`embedded`] |
//! | PostgreSQL | any number of replicas | [`postgres`] |
//! | Dgraph | the designer's registry | [`dgraph`] |
//! | memory | tests | [`memory`] |
//!
//! [`open`] chooses at run time. A replica keeps its memory up with a shared store by [`follow`].

mod contract;
pub mod dgraph;
pub mod embedded;
mod evaluate;
pub mod follow;
mod leases;
pub mod memory;
mod model;
pub mod portable;
pub mod postgres;
mod settings;

pub use contract::{SharedStore, Store};
pub use model::{
    Batch, Document, Expect, Feed, Key, Lease, MAX_KEY_BYTES, MAX_VALUE_BYTES, Outcome, Page, Sequence, StoreError, Version, Write,
};
pub use settings::{Durability, Engine, StoreSettings, open};
