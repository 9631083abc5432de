//! FogFlow discovery: which broker has which entity, and where.

pub mod brokers;
pub mod filter;
pub mod geometry;
pub mod index;
pub mod model;
pub mod notify;
