//! The HTTP face: NGSI-9 as upstream speaks it, at `/ngsi9/…` and `/etype`.

mod availability;
mod brokers;
pub mod fresh;
mod registration;
mod reply;
mod tenant;

use std::collections::BTreeMap;
use std::sync::Arc;

use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::schema::v1::Broker;
use fogflow_ngsi::v1::availability::{
    DiscoverContextAvailabilityRequest, DiscoverContextAvailabilityResponse, EntityRegistration, Heartbeat, HeartbeatResponse,
    RegisterContextRequest, RegisterContextResponse, SubscribeContextAvailabilityRequest, SubscribeContextAvailabilityResponse,
};
use fogflow_ngsi::v1::{UnsubscribeContextRequest, UnsubscribeContextResponse};

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
        .takes::<RegisterContextRequest>()
        .gives::<RegisterContextResponse>()
        .body_limit(REGISTRATION_LIMIT)
        .post("/ngsi9/discoverContextAvailability", Anyone, "Finds the brokers that hold matching entities", availability::discover)
        .takes::<DiscoverContextAvailabilityRequest>()
        .gives::<DiscoverContextAvailabilityResponse>()
        .post("/ngsi9/subscribeContextAvailability", Component, "Subscribes to the coming and going of entities", availability::subscribe)
        .takes::<SubscribeContextAvailabilityRequest>()
        .gives::<SubscribeContextAvailabilityResponse>()
        .post("/ngsi9/UpdateLDContextAvailability/{sid}", Component, "Creates or replaces a subscription", availability::update)
        .takes::<SubscribeContextAvailabilityRequest>()
        .gives::<SubscribeContextAvailabilityResponse>()
        .post("/ngsi9/unsubscribeContextAvailability", Component, "Ends a subscription", availability::unsubscribe)
        .takes::<UnsubscribeContextRequest>()
        .gives::<UnsubscribeContextResponse>()
        .get("/ngsi9/subscription", Anyone, "Lists the availability subscriptions by id", availability::list)
        .gives::<BTreeMap<String, SubscribeContextAvailabilityRequest>>()
        .get("/ngsi9/subscription/{sid}", Anyone, "Shows an availability subscription", availability::show)
        .gives::<SubscribeContextAvailabilityRequest>()
        .get("/ngsi9/registration/{eid}", Anyone, "Shows who holds an entity; null if nobody does", registration::show)
        .gives::<EntityRegistration>()
        .delete("/ngsi9/registration/{eid}", Component, "Removes the registration of an entity", registration::delete)
        .gives_nothing()
        .get("/ngsi9/ngsi-ld/registration/{eid}", Anyone, "Shows who holds an NGSI-LD entity", registration::show_ld)
        .gives::<EntityRegistration>()
        .get("/ngsi9/broker", Anyone, "Lists the brokers that are there", brokers::list)
        .gives::<BTreeMap<String, Broker>>()
        .post("/ngsi9/broker/heartbeat", Component, "Renews a broker's lease", brokers::heartbeat)
        .takes::<Heartbeat>()
        .gives::<HeartbeatResponse>()
        .post("/ngsi9/broker", Component, "Renews a broker's lease (upstream's form of 2019 to 2022)", brokers::heartbeat)
        .takes::<Heartbeat>()
        .gives::<HeartbeatResponse>()
        .get("/ngsi9/status", Anyone, "Says \"ok\" when discovery serves", brokers::status)
        .gives::<String>()
        .get("/etype", Anyone, "Lists the types of available entities", registration::types)
        .gives::<Vec<String>>()
        .errors(reply::error)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_body_and_every_answer_is_described() {
        let routes = super::routes();
        let without = routes.bodies_without_schema().chain(routes.answers_without_schema());
        assert_eq!(without.collect::<Vec<_>>(), []);
    }
}
