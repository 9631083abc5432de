//! The FogFlow node in one process, and its command line.
//!
//! `fogflow up` starts the libraries of the five services in one process; every other command speaks to a node's designer, which passes
//! on to the broker and to discovery what is theirs, so that one address is enough.

mod cli;
mod commands;
mod demo;
mod manifest;
mod node;
mod output;
mod target;

pub use cli::main;
