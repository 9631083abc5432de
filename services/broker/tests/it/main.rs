//! The broker behind its real router, over the in-memory store, with a stand-in for discovery and recording subscribers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, missing_docs, reason = "tests")]

mod checklist;
mod delivery;
mod discovery;
mod faults;
mod faulty;
mod federation;
mod harness;
mod ld;
mod notifications;
mod places;
mod replicas;
mod restart;
mod sink;
mod southbound;
mod subscriptions;
mod updates;
mod v2;
