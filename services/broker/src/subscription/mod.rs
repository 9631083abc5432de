//! Subscriptions: one canonical model under the three faces, stored durably, compiled for matching.

pub mod model;
pub mod registry;

pub use model::{AttributeTrigger, Face, Format, Subscription, Target, Trigger};
