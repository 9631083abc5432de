//! FogFlow context broker: NGSI v1, v2 and NGSI-LD over one engine.
//!
//! One pipe, each stage a module:
//!
//! ```text
//! face (v1|v2|LD) -> command -> state (merge, store, ack) -> change -> matcher -> notifier -> subscriber
//!                                                                 \-> registrar -> discovery
//! ```
//!
//! What always holds:
//!
//! * Readers see committed state only; a write is answered after it is durable, and never applied after an error reply.
//! * Changes reach the matcher in the order of their commits; each subscription gets them in that order. A subscriber
//!   that keeps up gets every one, another one the newest state of each entity.
//! * A snapshot for a subscriber names the commit that it reflects; later changes follow it without gap or repetition.
//! * What arrives from another broker is carried out here and never handed on.
//! * Every key has the tenant in it, and keys are only made by [`identity::Identity`].
//! * No lock is held over an await, every queue has a bound, every outgoing call a timeout.

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
pub mod pattern;
pub mod registrar;
pub mod replica;
pub mod restriction;
pub mod southbound;
pub mod state;
pub mod subscription;

pub use app::{Running, start, start_with};
