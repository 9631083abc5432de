//! FogFlow master: pure planner and reconciler.

pub mod planner;
