//! The NGSI information model, its three wire forms, queries and JSON-LD contexts.
//!
//! This crate does no I/O: every decoder is a total function from bytes to a value or an error, every encoder writes
//! into a buffer. The model is NGSI-LD's (ETSI GS CIM 009, clause 4.5) widened by what NGSI-10 (v1) and NGSIv2 need.

pub mod bounds;
pub mod context;
mod error;
pub mod geometry;
pub mod json;
pub mod ld;
pub mod model;
mod object;
pub mod query;
pub mod schema;
pub mod store;
#[cfg(test)]
mod testing;
pub mod time;
pub mod v1;
pub mod v2;
mod writer;

pub use error::{DecodeError, DecodeErrorKind};
pub use json::Json;
pub use model::{Attribute, Detail, Entity, EntityKey, Kind, Name, Tenant};
pub use time::Timestamp;
pub use writer::JsonWriter;
