//! The state with simulated workers, in simulated time: no task, no socket, no sleep.

mod entities;
mod harness;
mod orders;
mod workers;
