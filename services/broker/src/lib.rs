//! FogFlow context broker: NGSI v1, v2 and NGSI-LD over one engine.
//!
//! One pipe, each stage a module:
//!
//! ```text
//! face (v1|v2|LD) -> command -> state (merge, store, ack) -> change -> matcher -> notifier -> subscriber
//!                                                                 \-> registrar -> discovery
//! ```

mod app;
pub mod change;
pub mod command;
pub mod contexts;
pub mod engine;
pub mod face;
pub mod federation;
pub mod filter;
pub mod identity;
pub mod matcher;
pub mod metrics;
pub mod notifier;
pub mod registrar;
pub mod restriction;
pub mod southbound;
pub mod state;
pub mod subscription;

pub use app::{Running, start, start_with};
