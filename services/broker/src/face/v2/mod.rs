//! NGSIv2 (FIWARE-NGSI v2): entities, attributes, batch operations, subscriptions, types.
//!
//! Status codes are the specification's. `broker.compatibility: fogflow-3` gives upstream's where they differ: entities
//! are created with 200 and merged, subscriptions may lack their parts, and the list of them is an object by id. Upstream's
//! singular `/v2/subscription/{id}` is there in both. Not offered: registrations, `orderBy`, `forwarding`.

mod attributes;
mod call;
mod entities;
mod operations;
mod reply;
pub(crate) use reply::error;
mod selection;
mod subscriptions;
mod types;

use fogflow_chassis::{Access, Routes};

use crate::engine::Engine;

/// The routes.
#[must_use]
pub fn routes(body_limit: usize) -> Routes<Engine> {
    let any = Access::Anyone;
    Routes::new("FogFlow broker")
        .get("/v2", any, "The entry points of NGSIv2", types::entry_points)
        .post("/v2/entities", any, "Creates an entity", entities::create)
        .get("/v2/entities", any, "Finds entities at all brokers", entities::list)
        .get("/v2/entities/", any, "Finds entities at all brokers", entities::list)
        .get("/v2/entities/{id}", any, "An entity, wherever it is", entities::show)
        .delete("/v2/entities/{id}", any, "Deletes an entity", entities::delete)
        .get("/v2/entities/{id}/attrs", any, "The attributes of an entity", attributes::list)
        .post("/v2/entities/{id}/attrs", any, "Adds or writes attributes", attributes::append)
        .patch("/v2/entities/{id}/attrs", any, "Writes attributes that exist", attributes::update)
        .put("/v2/entities/{id}/attrs", any, "Replaces all attributes", attributes::replace_all)
        .get("/v2/entities/{id}/attrs/{attribute}", any, "An attribute", attributes::show)
        .put("/v2/entities/{id}/attrs/{attribute}", any, "Writes an attribute", attributes::replace)
        .delete("/v2/entities/{id}/attrs/{attribute}", any, "Deletes an attribute", attributes::delete)
        .get("/v2/entities/{id}/attrs/{attribute}/value", any, "The value of an attribute", attributes::value)
        .put("/v2/entities/{id}/attrs/{attribute}/value", any, "Writes the value of an attribute", attributes::set_value)
        .get("/v2/types", any, "The types of entities of this broker", types::list)
        .get("/v2/types/{name}", any, "A type of entities of this broker", types::show)
        .post("/v2/op/update", any, "Creates, updates or deletes entities", operations::update)
        .post("/v2/op/query", any, "Finds entities by a query in the body", operations::query)
        .post("/v2/op/notify", any, "Stores the entities of a notification", operations::notify)
        .post("/v2/notify", any, "Stores the entities of a notification; upstream's name", operations::notify)
        .post("/v2/subscriptions", any, "Subscribes to entities", subscriptions::create)
        .get("/v2/subscriptions", any, "The subscriptions", subscriptions::list)
        .get("/v2/subscriptions/{id}", any, "A subscription", subscriptions::show)
        .patch("/v2/subscriptions/{id}", any, "Changes a subscription", subscriptions::change)
        .delete("/v2/subscriptions/{id}", any, "Ends a subscription", subscriptions::delete)
        .get("/v2/subscription/{id}", any, "A subscription; upstream's name", subscriptions::show)
        .delete("/v2/subscription/{id}", any, "Ends a subscription, 200 also for unknown ones; upstream's name", subscriptions::end)
        .body_limit(body_limit)
        .errors(reply::error)
}
