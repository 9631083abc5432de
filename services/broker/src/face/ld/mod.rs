//! NGSI-LD (ETSI GS CIM 009, version 1.8): entities, batch operations, subscriptions, types, contexts.
//!
//! Thin: a request is decoded with its `@context`, the [engine](crate::engine) does the work, the answer is compacted
//! with the same context. Status codes are the standard's; `broker.compatibility: fogflow-3` gives upstream's where its
//! tests contradict the standard (each such place asks [`call::Call::lenient`]).
//!
//! Not offered: the temporal interface, registrations of context sources (FogFlow's brokers find each other through
//! discovery), and notifications at an interval, for which `timeInterval` is taken as throttling.

mod attributes;
mod batch;
mod call;
mod contexts;
mod entities;
mod order;
mod projection;
mod query;
mod reply;
pub(crate) use reply::error;
mod selection;
mod subscribe;
mod subscriptions;
mod types;

use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::schema::ld as form;

use crate::engine::Engine;
pub(crate) use projection::Projection;

/// The routes.
#[must_use]
pub fn routes(body_limit: usize) -> Routes<Engine> {
    let any = Access::Anyone;
    Routes::new("FogFlow broker")
        .post("/ngsi-ld/v1/entities", any, "Creates an entity", entities::create)
        .takes::<form::Entity>()
        .gives_nothing()
        .post("/ngsi-ld/v1/entities/", any, "Creates an entity", entities::create)
        .takes::<form::Entity>()
        .gives_nothing()
        .get("/ngsi-ld/v1/entities", any, "Finds entities at all brokers", query::get)
        .gives::<form::Entities>()
        .get("/ngsi-ld/v1/entities/", any, "Finds entities at all brokers", query::get)
        .gives::<form::Entities>()
        .delete("/ngsi-ld/v1/entities", any, "Deletes the entities that match, or attributes of them", query::purge)
        .gives_nothing()
        .delete("/ngsi-ld/v1/entities/", any, "Needs an entity id, or a query", query::purge)
        .patch("/ngsi-ld/v1/entities/", any, "Needs an entity id", entities::missing_id)
        .put("/ngsi-ld/v1/entities/", any, "Needs an entity id", entities::missing_id)
        .patch("/ngsi-ld/v1/entities//attrs/{attribute}", any, "Needs an entity id", entities::missing_id)
        .put("/ngsi-ld/v1/entities//attrs/{attribute}", any, "Needs an entity id", entities::missing_id)
        .delete("/ngsi-ld/v1/entities//attrs/{attribute}", any, "Needs an entity id", entities::missing_id)
        .get("/ngsi-ld/v1/entities/{id}", any, "An entity, wherever it is", entities::show)
        .gives::<form::Entity>()
        .put("/ngsi-ld/v1/entities/{id}", any, "Replaces an entity", entities::replace)
        .takes::<form::Entity>()
        .gives_nothing()
        .patch("/ngsi-ld/v1/entities/{id}", any, "Merges a patch into an entity", entities::merge)
        .takes::<form::Attributes>()
        .gives_nothing()
        .delete("/ngsi-ld/v1/entities/{id}", any, "Deletes an entity", entities::delete)
        .gives_nothing()
        .post("/ngsi-ld/v1/entities/{id}/attrs", any, "Adds attributes to an entity", attributes::append)
        .takes::<form::Attributes>()
        .gives::<form::UpdateResult>()
        .post("/ngsi-ld/v1/entities/{id}/attrs/", any, "Adds attributes to an entity", attributes::append)
        .takes::<form::Attributes>()
        .gives::<form::UpdateResult>()
        .patch("/ngsi-ld/v1/entities/{id}/attrs", any, "Updates attributes of an entity", attributes::update)
        .takes::<form::Attributes>()
        .gives::<form::UpdateResult>()
        .patch("/ngsi-ld/v1/entities/{id}/attrs/", any, "Updates attributes of an entity", attributes::update)
        .takes::<form::Attributes>()
        .gives::<form::UpdateResult>()
        .patch("/ngsi-ld/v1/entities/{id}/attrs/{attribute}", any, "Updates a part of an attribute", attributes::partial)
        .takes::<form::Attribute>()
        .gives_nothing()
        .put("/ngsi-ld/v1/entities/{id}/attrs/{attribute}", any, "Replaces an attribute", attributes::replace)
        .takes::<form::Attribute>()
        .gives_nothing()
        .delete("/ngsi-ld/v1/entities/{id}/attrs/{attribute}", any, "Deletes an attribute", attributes::delete)
        .gives_nothing()
        .post("/ngsi-ld/v1/entityOperations/create", any, "Creates entities", batch::create)
        .takes::<form::Entities>()
        .gives::<form::Ids>()
        .post("/ngsi-ld/v1/entityOperations/upsert", any, "Creates or replaces entities", batch::upsert)
        .takes::<form::Entities>()
        .gives::<form::Ids>()
        .post("/ngsi-ld/v1/entityOperations/upsert/", any, "Creates or replaces entities", batch::upsert)
        .takes::<form::Entities>()
        .gives::<form::Ids>()
        .post("/ngsi-ld/v1/entityOperations/update", any, "Updates entities", batch::update)
        .takes::<form::Entities>()
        .gives::<form::BatchResult>()
        .post("/ngsi-ld/v1/entityOperations/merge", any, "Merges patches into entities", batch::merge)
        .takes::<form::Entities>()
        .gives::<form::BatchResult>()
        .post("/ngsi-ld/v1/entityOperations/delete", any, "Deletes entities", batch::delete)
        .takes::<form::Deletions>()
        .gives::<form::BatchResult>()
        .post("/ngsi-ld/v1/entityOperations/query", any, "Finds entities by a query in the body", query::post)
        .takes::<form::Query>()
        .gives::<form::Entities>()
        .post("/ngsi-ld/v1/subscriptions", any, "Subscribes to entities", subscriptions::create)
        .takes::<form::Subscription>()
        .gives_nothing()
        .post("/ngsi-ld/v1/subscriptions/", any, "Subscribes to entities", subscriptions::create)
        .takes::<form::Subscription>()
        .gives_nothing()
        .get("/ngsi-ld/v1/subscriptions", any, "The subscriptions", subscriptions::list)
        .gives::<Vec<form::Subscription>>()
        .get("/ngsi-ld/v1/subscriptions/", any, "The subscriptions", subscriptions::list)
        .gives::<Vec<form::Subscription>>()
        .get("/ngsi-ld/v1/subscriptions/{id}", any, "A subscription", subscriptions::show)
        .gives::<form::Subscription>()
        .patch("/ngsi-ld/v1/subscriptions/{id}", any, "Changes a subscription", subscriptions::change)
        .takes::<form::Subscription>()
        .gives_nothing()
        .delete("/ngsi-ld/v1/subscriptions/{id}", any, "Ends a subscription", subscriptions::delete)
        .gives_nothing()
        .get("/ngsi-ld/v1/types", any, "The types of entities of this broker", types::types)
        .gives::<form::Types>()
        .get("/ngsi-ld/v1/types/", any, "The types of entities of this broker", types::types)
        .gives::<form::Types>()
        .get("/ngsi-ld/v1/types/{name}", any, "A type of entities of this broker", types::type_details)
        .gives::<form::TypeDetails>()
        .get("/ngsi-ld/v1/attributes", any, "The attributes of entities of this broker", types::attributes)
        .gives::<form::AttributeNames>()
        .get("/ngsi-ld/v1/attributes/", any, "The attributes of entities of this broker", types::attributes)
        .gives::<form::AttributeNames>()
        .get("/ngsi-ld/v1/attributes/{name}", any, "An attribute of entities of this broker", types::attribute_details)
        .gives::<form::AttributeDetails>()
        .post("/ngsi-ld/v1/jsonldContexts", any, "Hosts an @context", contexts::host)
        .takes::<form::HostedContext>()
        .gives_nothing()
        .get("/ngsi-ld/v1/jsonldContexts", any, "The @contexts that this broker keeps", contexts::list)
        .gives::<form::Contexts>()
        .get("/ngsi-ld/v1/jsonldContexts/{id}", any, "An @context", contexts::show)
        .gives::<form::ShownContext>()
        .delete("/ngsi-ld/v1/jsonldContexts/{id}", any, "Forgets an @context or loads it again", contexts::remove)
        .gives_nothing()
        .post("/ngsi-ld/v1/notifyContext", any, "Stores the entities of a notification of another broker", batch::notify)
        .takes::<form::Notification>()
        .gives::<form::BatchResult>()
        .post("/ngsi-ld/v1/notifyContext/", any, "Stores the entities of a notification of another broker", batch::notify)
        .takes::<form::Notification>()
        .gives::<form::BatchResult>()
        .body_limit(body_limit)
        .errors(reply::error)
}
