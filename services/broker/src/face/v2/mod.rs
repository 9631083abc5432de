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
use fogflow_ngsi::schema::v2 as form;
use fogflow_ngsi::v1::SubscribeContextResponse;

use crate::engine::Engine;

/// The routes.
#[must_use]
pub fn routes(body_limit: usize) -> Routes<Engine> {
    let any = Access::Anyone;
    Routes::new("FogFlow broker")
        .get("/v2", any, "The entry points of NGSIv2", types::entry_points)
        .gives::<form::EntryPoints>()
        .post("/v2/entities", any, "Creates an entity", entities::create)
        .takes::<form::Entity>()
        .gives_nothing()
        .get("/v2/entities", any, "Finds entities at all brokers", entities::list)
        .gives::<form::Entities>()
        .get("/v2/entities/", any, "Finds entities at all brokers", entities::list)
        .gives::<form::Entities>()
        .get("/v2/entities/{id}", any, "An entity, wherever it is", entities::show)
        .gives::<form::Entity>()
        .delete("/v2/entities/{id}", any, "Deletes an entity", entities::delete)
        .gives_nothing()
        .get("/v2/entities/{id}/attrs", any, "The attributes of an entity", attributes::list)
        .gives::<form::Attributes>()
        .post("/v2/entities/{id}/attrs", any, "Adds or writes attributes", attributes::append)
        .takes::<form::Attributes>()
        .gives_nothing()
        .patch("/v2/entities/{id}/attrs", any, "Writes attributes that exist", attributes::update)
        .takes::<form::Attributes>()
        .gives_nothing()
        .put("/v2/entities/{id}/attrs", any, "Replaces all attributes", attributes::replace_all)
        .takes::<form::Attributes>()
        .gives_nothing()
        .get("/v2/entities/{id}/attrs/{attribute}", any, "An attribute", attributes::show)
        .gives::<form::Attribute>()
        .put("/v2/entities/{id}/attrs/{attribute}", any, "Writes an attribute", attributes::replace)
        .takes::<form::Attribute>()
        .gives_nothing()
        .delete("/v2/entities/{id}/attrs/{attribute}", any, "Deletes an attribute", attributes::delete)
        .gives_nothing()
        .get("/v2/entities/{id}/attrs/{attribute}/value", any, "The value of an attribute", attributes::value)
        .gives::<form::Value>()
        .put("/v2/entities/{id}/attrs/{attribute}/value", any, "Writes the value of an attribute", attributes::set_value)
        .takes::<form::Value>()
        .gives_nothing()
        .get("/v2/types", any, "The types of entities of this broker", types::list)
        .gives::<form::Types>()
        .get("/v2/types/{name}", any, "A type of entities of this broker", types::show)
        .gives::<form::Type>()
        .post("/v2/op/update", any, "Creates, updates or deletes entities", operations::update)
        .takes::<form::BatchUpdate>()
        .gives_nothing()
        .post("/v2/op/query", any, "Finds entities by a query in the body", operations::query)
        .takes::<form::BatchQuery>()
        .gives::<form::Entities>()
        .post("/v2/op/notify", any, "Stores the entities of a notification", operations::notify)
        .takes::<form::Notification>()
        .gives_nothing()
        .post("/v2/notify", any, "Stores the entities of a notification; upstream's name", operations::notify)
        .takes::<form::Notification>()
        .gives_nothing()
        .post("/v2/subscriptions", any, "Subscribes to entities", subscriptions::create)
        .takes::<form::Subscription>()
        .gives::<SubscribeContextResponse>()
        .get("/v2/subscriptions", any, "The subscriptions", subscriptions::list)
        .gives::<Vec<form::Subscription>>()
        .get("/v2/subscriptions/{id}", any, "A subscription", subscriptions::show)
        .gives::<form::Subscription>()
        .patch("/v2/subscriptions/{id}", any, "Changes a subscription", subscriptions::change)
        .takes::<form::Subscription>()
        .gives_nothing()
        .delete("/v2/subscriptions/{id}", any, "Ends a subscription", subscriptions::delete)
        .gives_nothing()
        .get("/v2/subscription/{id}", any, "A subscription; upstream's name", subscriptions::show)
        .gives::<form::Subscription>()
        .delete("/v2/subscription/{id}", any, "Ends a subscription, 200 also for unknown ones; upstream's name", subscriptions::end)
        .gives_nothing()
        .body_limit(body_limit)
        .errors(reply::error)
}
