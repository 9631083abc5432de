//! FogFlow master: pure planner and reconciler.
