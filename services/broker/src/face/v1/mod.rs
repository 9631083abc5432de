//! NGSI-10 (v1), as FogFlow's clients, tasks and brokers speak it (reference: OMA NGSI-10 with FogFlow's
//! `Destination`, `Require-Reliability` and `domainMetadata`).
//!
//! Replies are 200 with the outcome in the body, a status per element; malformed requests get 400, unknown resources of
//! the convenience routes 404, and a store that is full or away 507 or 503, so that nothing claims success for work that
//! was dropped.

mod availability;
mod entities;
mod filter;
mod notify;
mod query;
mod reply;
pub(crate) use reply::error;
mod southbound;
mod subscribe;
mod update;

use std::collections::BTreeMap;

use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::schema::v1::ContextAttribute;
use fogflow_ngsi::v1::availability::{NotifyContextAvailabilityRequest, RegisterContextRequest};
use fogflow_ngsi::v1::{
    ContextElement, NotifyContextRequest, NotifyContextResponse, QueryContextRequest, QueryContextResponse, SubscribeContextRequest,
    SubscribeContextResponse, UnsubscribeContextRequest, UnsubscribeContextResponse, UpdateContextRequest, UpdateContextResponse,
};

use crate::engine::Engine;

/// The routes.
#[must_use]
pub fn routes(body_limit: usize) -> Routes<Engine> {
    Routes::new("FogFlow broker")
        .post("/ngsi10/updateContext", Access::Anyone, "Creates, updates or deletes entities", update::update)
        .takes::<UpdateContextRequest>()
        .gives::<UpdateContextResponse>()
        .post("/v1/updateContext", Access::Anyone, "The same, for IoT agents", update::update)
        .takes::<UpdateContextRequest>()
        .gives::<UpdateContextResponse>()
        .post("/ngsi10/queryContext", Access::Anyone, "Finds entities at all brokers", query::query)
        .takes::<QueryContextRequest>()
        .gives::<QueryContextResponse>()
        .post("/ngsi10/subscribeContext", Access::Anyone, "Subscribes to entities", subscribe::subscribe)
        .takes::<SubscribeContextRequest>()
        .gives::<SubscribeContextResponse>()
        .post("/ngsi10/unsubscribeContext", Access::Anyone, "Ends a subscription", subscribe::unsubscribe)
        .takes::<UnsubscribeContextRequest>()
        .gives::<UnsubscribeContextResponse>()
        .post("/ngsi10/unsubscribeLDContext", Access::Anyone, "The same; upstream's name for NGSI-LD", subscribe::unsubscribe)
        .takes::<UnsubscribeContextRequest>()
        .gives::<UnsubscribeContextResponse>()
        // A notification carries no credentials: it counts only if it names a subscription that this broker placed.
        .post("/ngsi10/notifyContext", Access::Anyone, "Takes a notification of an upstream broker", notify::notify)
        .takes::<NotifyContextRequest>()
        .gives::<NotifyContextResponse>()
        .post(
            "/ngsi10/notifyContextAvailability",
            Access::Component,
            "Takes what discovery says of entities elsewhere",
            availability::notify,
        )
        .takes::<NotifyContextAvailabilityRequest>()
        .gives::<NotifyContextResponse>()
        .post("/ngsi10/notifyContextAvailabilityv2", Access::Component, "The same; upstream's name for v2", availability::notify)
        .takes::<NotifyContextAvailabilityRequest>()
        .gives::<NotifyContextResponse>()
        .post("/ngsi10/notifyLDContextAvailability", Access::Component, "The same; upstream's name for NGSI-LD", availability::notify)
        .takes::<NotifyContextAvailabilityRequest>()
        .gives::<NotifyContextResponse>()
        .get("/ngsi10/entity", Access::Anyone, "All entities of this broker", entities::list)
        .gives::<Vec<ContextElement>>()
        .get("/ngsi10/entity/{id}", Access::Anyone, "An entity of this broker", entities::show)
        .gives::<ContextElement>()
        .delete("/ngsi10/entity/{id}", Access::Anyone, "Deletes an entity, also of another broker", entities::delete)
        .gives_nothing()
        .get("/ngsi10/entity/{id}/{attribute}", Access::Anyone, "One attribute of an entity of this broker", entities::attribute)
        .gives::<ContextAttribute>()
        .get("/ngsi10/subscription", Access::Anyone, "All subscriptions of clients", subscribe::list)
        .gives::<BTreeMap<String, SubscribeContextRequest>>()
        .get("/ngsi10/subscription/{id}", Access::Anyone, "A subscription", subscribe::show)
        .gives::<SubscribeContextRequest>()
        .delete("/ngsi10/subscription/{id}", Access::Anyone, "Ends a subscription", subscribe::delete)
        .gives_nothing()
        .post("/NGSI9/registerContext", Access::Anyone, "Registers the devices of an IoT agent", southbound::register)
        .takes::<RegisterContextRequest>()
        .gives::<String>()
        .get("/NGSI9/registration/{id}", Access::Anyone, "The registration of a device", southbound::show)
        .gives::<RegisterContextRequest>()
        .delete("/NGSI9/registration/{id}", Access::Anyone, "Ends the registration of a device", southbound::delete)
        .gives_nothing()
        .with_trailing_slash()
        .body_limit(body_limit)
        .errors(reply::error)
}
