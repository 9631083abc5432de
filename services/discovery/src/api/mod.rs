//! The HTTP face: NGSI-9 as upstream speaks it, at `/ngsi9/…` and `/etype`.

mod availability;
mod brokers;
pub mod fresh;
mod registration;
mod reply;
mod tenant;

use std::sync::Arc;

use fogflow_chassis::{Access, Routes};

use crate::clock::Clock;
use crate::registry::Registry;

/// Largest body of a registration: brokers send several thousand entities at once.
const REGISTRATION_LIMIT: usize = 32 * 1024 * 1024;

/// What handlers need.
#[derive(Clone, Debug)]
pub struct Api {
    /// The directory.
    pub registry: Arc<Registry>,
    /// The time.
    pub clock: Clock,
}

/// Every route of discovery.
#[must_use]
pub fn routes() -> Routes<Api> {
    use Access::{Anyone, Component};
    Routes::new("FogFlow discovery (NGSI-9)")
        .post("/ngsi9/registerContext", Component, "Registers which entities a broker holds", registration::register)
        .body_limit(REGISTRATION_LIMIT)
        .post("/ngsi9/discoverContextAvailability", Anyone, "Finds the brokers that hold matching entities", availability::discover)
        .post("/ngsi9/subscribeContextAvailability", Component, "Subscribes to the coming and going of entities", availability::subscribe)
        .post("/ngsi9/UpdateLDContextAvailability/{sid}", Component, "Creates or replaces a subscription", availability::update)
        .post("/ngsi9/unsubscribeContextAvailability", Component, "Ends a subscription", availability::unsubscribe)
        .get("/ngsi9/subscription", Anyone, "Lists the availability subscriptions by id", availability::list)
        .get("/ngsi9/subscription/{sid}", Anyone, "Shows an availability subscription", availability::show)
        .get("/ngsi9/registration/{eid}", Anyone, "Shows who holds an entity; null if nobody does", registration::show)
        .delete("/ngsi9/registration/{eid}", Component, "Removes the registration of an entity", registration::delete)
        .get("/ngsi9/ngsi-ld/registration/{eid}", Anyone, "Shows who holds an NGSI-LD entity", registration::show_ld)
        .get("/ngsi9/broker", Anyone, "Lists the brokers that are there", brokers::list)
        .post("/ngsi9/broker/heartbeat", Component, "Renews a broker's lease", brokers::heartbeat)
        .post("/ngsi9/broker", Component, "Renews a broker's lease (upstream's form of 2019 to 2022)", brokers::heartbeat)
        .get("/ngsi9/status", Anyone, "Says \"ok\" when discovery serves", brokers::status)
        .get("/etype", Anyone, "Lists the types of available entities", registration::types)
        .errors(reply::error)
}
