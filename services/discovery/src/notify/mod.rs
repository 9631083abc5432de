//! Availability notifications.

pub mod queue;
