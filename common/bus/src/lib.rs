//! The Bus seam: messages between designer, master and worker.
//!
//! Two engines, one contract, one conformance suite: in-process for `fogflow up`, RabbitMQ for separate processes.
//! Routing is that of an AMQP topic exchange (`*` one word, `#` any number of words; the last word may be empty).
//! Delivery is at least once, so handlers are idempotent.

mod contract;
mod in_flight;
pub mod inprocess;
pub mod rabbitmq;
mod settings;
pub mod topic;

pub use contract::{Bus, BusError, Delivery, Message, Queue, SharedBus, Subscription};
pub use settings::{BusSettings, Engine, open};
