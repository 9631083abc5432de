//! Typed HTTP clients of our own services, and the way from an id to a route.
//!
//! Every call has a timeout and says how it failed: [`ClientError::Unreachable`] (nobody knows whether the request was
//! applied) or [`ClientError::Status`] (the service refused, with its words). Nothing is retried here: only the caller
//! knows whether a repetition is safe and worthwhile.
//!
//! Nobody outside this crate builds a peer's URL: [`Peers`] turns a broker's id or a provider's address into a client.

mod broker;
mod designer;
mod discovery;
mod error;
mod http;
mod ld;
mod master;
mod peers;
mod worker;

pub use broker::{BrokerClient, Context, PEER_USER_AGENT};
pub use designer::{DesignerClient, Kind, Reported};
pub use discovery::{BrokerRecord, DiscoveryClient};
pub use error::ClientError;
pub use http::{Endpoint, TextStream};
pub use ld::LdClient;
pub use master::MasterClient;
pub use peers::Peers;
pub use worker::WorkerClient;
