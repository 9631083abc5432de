//! A load generator for NGSI brokers, ours and others, and the scenarios that `docs/performance.md` reports.
//!
//! The generator must not be what is measured: it is one thread, its requests are built beforehand, and its HTTP is just
//! enough to find the end of an answer. It says how busy it was itself, so that a figure limited by it can be seen.

pub mod api;
pub mod histogram;
pub mod http;
pub mod load;
pub mod reference;
pub mod report;
pub mod scenario;
pub mod sink;
pub mod template;
pub mod upsert;
