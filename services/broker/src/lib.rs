//! FogFlow context broker: NGSI v1, v2 and NGSI-LD over one engine.
//!
//! One pipe, each stage a module:
//!
//! ```text
//! face (v1|v2|LD) -> command -> state (merge, store, ack) -> change -> matcher -> notifier -> subscriber
//!                                                                 \-> registrar -> discovery
//! ```

pub mod change;
pub mod command;
pub mod filter;
pub mod matcher;
pub mod metrics;
pub mod notifier;
mod restriction;
pub mod state;
pub mod subscription;
