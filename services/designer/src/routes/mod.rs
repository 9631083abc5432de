//! The designer's REST interface. Paths and bodies are upstream's; what upstream answers with a crash or an empty 200 is an error here.

pub(crate) mod devices;
mod events;
pub(crate) mod functions;
mod info;
mod intents;
mod internal;
mod operators;
mod photos;
mod proxy;
mod topologies;
mod transfer;

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fogflow_chassis::{Access, Routes};
use fogflow_ngsi::schema::v1::Broker;
use fogflow_ngsi::v1::{UpdateContextRequest, UpdateContextResponse};
use fogflow_orchestration::report::{LeaseReply, LeaseRequest, MasterReport};
use fogflow_orchestration::{DockerImage, FogFunction, MasterProfile, RegistrySnapshot, ServiceIntent, TaskRow, Topology, WorkerProfile};
use serde_json::Value;

use self::transfer::Document;
use crate::app::Shared;
use crate::body::OneOrMany;
use crate::error::{ApiError, error_response};
use crate::page;
use crate::records::{Device, ForwardedSubscription, Service};

const REGISTRY_LIMIT: usize = 8 * 1024 * 1024;

/// All routes of the main port.
#[must_use]
pub(crate) fn all() -> Routes<Shared> {
    registry().merge(live()).merge(photos_and_transfer()).merge(proxies()).merge(internal_routes()).merge(pages()).errors(error_response)
}

fn registry() -> Routes<Shared> {
    use Access::{Operator, Viewer};
    Routes::new("FogFlow designer")
        .get("/operator", Viewer, "Lists operators by name", operators::list)
        .gives::<BTreeMap<String, fogflow_orchestration::Operator>>()
        .get("/operator/{name}", Viewer, "Shows an operator", operators::get)
        .gives::<fogflow_orchestration::Operator>()
        .post("/operator", Operator, "Registers operators; code and executables need a local caller or the admin token", operators::put)
        .takes::<OneOrMany<fogflow_orchestration::Operator>>()
        .gives_as::<String>("text/plain")
        .delete("/operator/{name}", Operator, "Deletes an operator that no topology uses", operators::delete)
        .gives_as::<String>("text/plain")
        .get("/dockerimage", Viewer, "Lists the images of all operators", operators::all_images)
        .gives::<Vec<DockerImage>>()
        .post("/dockerimage", Operator, "Adds images to the operators that they name", operators::put_images)
        .takes::<OneOrMany<DockerImage>>()
        .gives_as::<String>("text/plain")
        .get("/dockerimage/{operator}", Viewer, "Lists the images of an operator", operators::images)
        .gives::<Vec<DockerImage>>()
        .post("/dockerimage/{operator}", Operator, "Adds images to an operator", operators::put_images_of)
        .takes::<OneOrMany<DockerImage>>()
        .gives_as::<String>("text/plain")
        .delete("/dockerimage/{operator}", Operator, "Removes an image of an operator (?image=, ?tag=)", operators::delete_image)
        .gives_as::<String>("text/plain")
        .get("/service", Viewer, "Lists services by name", topologies::services)
        .gives::<BTreeMap<String, Service>>()
        .get("/service/{name}", Viewer, "Shows a service", topologies::service)
        .gives::<Service>()
        .post("/service", Operator, "Registers services with their topologies", topologies::put)
        .takes::<OneOrMany<Service>>()
        .gives_as::<String>("text/plain")
        .delete("/service/{name}", Operator, "Deletes a service without intents, or with them (?cascade=true)", topologies::delete)
        .gives_as::<String>("text/plain")
        .get("/topology", Viewer, "Lists topologies, those of fog functions included", topologies::topologies)
        .gives::<Vec<Topology>>()
        .get("/topology/{name}", Viewer, "Shows a topology with the operators of its tasks", topologies::topology)
        .gives::<Topology>()
        .get("/intent", Viewer, "Lists intents by id", intents::list)
        .gives::<BTreeMap<String, ServiceIntent>>()
        .get("/intent/{id}", Viewer, "Shows an intent", intents::get)
        .gives::<ServiceIntent>()
        .get("/intent/topology/{topology}", Viewer, "Lists the intents for a topology", intents::of_topology)
        .gives::<Vec<ServiceIntent>>()
        .post("/intent", Operator, "Registers intents; answers their ids", intents::put)
        .takes::<OneOrMany<ServiceIntent>>()
        .gives::<OneOrMany<intents::Taken>>()
        .delete("/intent", Operator, "Deletes the intent that the body names", intents::delete_named)
        .gives_as::<String>("text/plain")
        .delete("/intent/{id}", Operator, "Deletes an intent", intents::delete)
        .gives_as::<String>("text/plain")
        .get("/fogfunction", Viewer, "Lists fog functions by name", functions::list)
        .gives::<BTreeMap<String, FogFunction>>()
        .get("/fogfunction/{name}", Viewer, "Shows a fog function", functions::get)
        .gives::<FogFunction>()
        .post("/fogfunction", Operator, "Registers fog functions and enables them", functions::put)
        .takes::<OneOrMany<FogFunction>>()
        .gives_as::<String>("text/plain")
        .delete("/fogfunction/{name}", Operator, "Deletes a fog function", functions::delete)
        .gives_as::<String>("text/plain")
        .get("/fogfunction/{name}/enable", Operator, "Enables a fog function (for old clients; prefer POST)", by_get(true))
        .gives::<FogFunction>()
        .get("/fogfunction/{name}/disable", Operator, "Disables a fog function (for old clients; prefer POST)", by_get(false))
        .gives::<FogFunction>()
        .post("/fogfunction/{name}/enable", Operator, "Enables a fog function", functions::enable)
        .gives::<FogFunction>()
        .post("/fogfunction/{name}/disable", Operator, "Disables a fog function", functions::disable)
        .gives::<FogFunction>()
        .put("/fogfunction/{name}/enable", Operator, "Enables a fog function", functions::enable)
        .gives::<FogFunction>()
        .put("/fogfunction/{name}/disable", Operator, "Disables a fog function", functions::disable)
        .gives::<FogFunction>()
        .get("/device", Viewer, "Lists devices by id", devices::devices)
        .gives::<BTreeMap<String, Device>>()
        .get("/device/{id}", Viewer, "Shows a device", devices::device)
        .gives::<Device>()
        .post("/device", Operator, "Registers devices and creates their entities", devices::put_device)
        .takes::<OneOrMany<Device>>()
        .gives_as::<String>("text/plain")
        .gives::<devices::Made>()
        .delete("/device/{id}", Operator, "Deletes a device and its entity", devices::delete_device)
        .gives_as::<String>("text/plain")
        .get("/subscription", Viewer, "Lists forwarded subscriptions by id", devices::subscriptions)
        .gives::<BTreeMap<String, ForwardedSubscription>>()
        .post("/subscription", Operator, "Subscribes on behalf of another broker", devices::put_subscription)
        .takes::<OneOrMany<ForwardedSubscription>>()
        .gives_as::<String>("text/plain")
        .delete("/subscription/{id}", Operator, "Ends a forwarded subscription", devices::delete_subscription)
        .gives_as::<String>("text/plain")
        .body_limit(REGISTRY_LIMIT)
}

fn live() -> Routes<Shared> {
    use Access::Viewer;
    Routes::new("")
        .get("/events", Viewer, "Streams the live picture: a snapshot, then changes (server-sent events)", events::events)
        .gives_as::<String>("text/event-stream")
        .get("/info/master", Viewer, "Lists masters", info::masters)
        .gives::<Vec<MasterProfile>>()
        .get("/info/worker", Viewer, "Lists workers", info::workers)
        .gives::<Vec<WorkerProfile>>()
        .get("/info/broker", Viewer, "Lists brokers", info::brokers)
        .gives::<Vec<Broker>>()
        .get("/info/task", Viewer, "Lists tasks as observed", info::tasks)
        .gives::<Vec<TaskRow>>()
        .get("/info/task/{intent}", Viewer, "Lists the tasks of an intent", info::tasks_of)
        .gives::<Vec<TaskRow>>()
        .get("/info/type", Viewer, "Lists the types of entities", info::types)
        .gives::<Vec<String>>()
        .get("/info/entity/{id}", Viewer, "Shows an entity of the live view with its latest numbers", info::entity)
        .gives::<info::EntityWithSeries>()
        .get("/tasks/{id}/logs", Viewer, "Shows the log of a task (?tail=N&follow=true)", info::logs)
        .gives_as::<String>("text/plain")
}

fn photos_and_transfer() -> Routes<Shared> {
    use Access::{LocalOrAdmin, Operator, Viewer};
    let transfer = Routes::new("")
        .get("/export", Viewer, "Exports everything that was registered, in the form of db.json", transfer::export)
        .gives::<Document>()
        .post("/import", LocalOrAdmin, "Imports a document in the form of db.json", transfer::import)
        .takes::<Document>()
        .gives::<transfer::Imported>()
        .body_limit(transfer::LARGEST);
    Routes::new("")
        .post("/photo", Operator, "Uploads pictures", photos::upload)
        .gives_as::<String>("text/plain")
        .post("/data/photo", Operator, "Uploads pictures", photos::upload)
        .gives_as::<String>("text/plain")
        .body_limit(crate::photos::LARGEST + 64 * 1024)
        .get("/photo", Viewer, "Lists the names of pictures", photos::list)
        .gives::<Vec<String>>()
        .get("/photo/{name}", Viewer, "Shows a picture", photos::download)
        .gives_as::<Value>("image/*")
        .get("/data/photo/{name}", Viewer, "Shows a picture", photos::download)
        .gives_as::<Value>("image/*")
        .merge(transfer)
}

fn proxies() -> Routes<Shared> {
    use Access::{Anyone, Operator};
    let mut routes = Routes::new("");
    for prefix in ["ngsi10", "ngsi-ld", "v2"] {
        let path = format!("/{prefix}/{{*rest}}");
        routes = routes
            .get(&path, Anyone, "Passed on to the cloud broker", proxy::to_broker)
            .post(&path, Operator, "Passed on to the cloud broker", proxy::to_broker)
            .put(&path, Operator, "Passed on to the cloud broker", proxy::to_broker)
            .patch(&path, Operator, "Passed on to the cloud broker", proxy::to_broker)
            .delete(&path, Operator, "Passed on to the cloud broker", proxy::to_broker);
    }
    routes
        .post("/internal/updateContext", Operator, "Passed on to the cloud broker as /ngsi10/updateContext", proxy::update_context)
        .takes::<UpdateContextRequest>()
        .gives::<UpdateContextResponse>()
        .get("/ngsi9/{*rest}", Anyone, "Passed on to discovery", proxy::to_discovery)
        .post("/ngsi9/{*rest}", Operator, "Passed on to discovery", proxy::to_discovery)
        .put("/ngsi9/{*rest}", Operator, "Passed on to discovery", proxy::to_discovery)
        .delete("/ngsi9/{*rest}", Operator, "Passed on to discovery", proxy::to_discovery)
        .body_limit(proxy::LARGEST)
}

fn internal_routes() -> Routes<Shared> {
    use Access::Component;
    Routes::new("")
        .get("/internal/registry", Component, "The registry as a master needs it", internal::registry)
        .gives::<RegistrySnapshot>()
        .post("/internal/lease/{name}", Component, "Takes or renews a lease", internal::lease)
        .takes::<LeaseRequest>()
        .gives::<LeaseReply>()
        .delete("/internal/lease/{name}", Component, "Gives a lease back", internal::release)
        .gives_as::<String>("text/plain")
        .post("/internal/report", Component, "Takes the leading master's report", internal::report)
        .takes::<MasterReport>()
        .gives::<internal::Reported>()
        .body_limit(transfer::LARGEST)
}

fn pages() -> Routes<Shared> {
    use Access::Anyone;
    Routes::new("")
        .get("/", Anyone, "To the dashboard", page::root)
        .gives_nothing()
        .get("/index.html", Anyone, "The dashboard", page::index)
        .gives_as::<String>("text/html")
        .get("/assets/{*path}", Anyone, "Files of the dashboard", page::asset)
        .gives_as::<Value>("*/*")
        .get("/plain.js", Anyone, "Script of the plain page", page::plain_script)
        .gives_as::<String>("text/javascript")
        .get("/plain.css", Anyone, "Style of the plain page", page::plain_style)
        .gives_as::<String>("text/css")
        .get("/config.js", Anyone, "Configuration for upstream's pages", page::config_script)
        .gives_as::<String>("text/javascript")
}

/// Old clients change state by `GET`. A page of another site could make a browser do that without an `Origin`, but not without
/// `Sec-Fetch-Site`.
fn by_get(enable: bool) -> impl Fn(State<Shared>, Path<String>, HeaderMap) -> futures::future::BoxFuture<'static, Response> + Clone {
    move |state, path, headers| {
        Box::pin(async move {
            let foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
            if foreign {
                return ApiError::new(StatusCode::FORBIDDEN, "a page of another origin may not call this route").into_response();
            }
            let result = if enable { functions::enable(state, path).await } else { functions::disable(state, path).await };
            result.into_response()
        })
    }
}

#[cfg(test)]
mod tests {
    /// Pictures come as forms, and what is passed on is described where it goes.
    #[test]
    fn every_body_but_of_pictures_and_passed_on_requests_is_described() {
        let mut without: Vec<String> = super::all().bodies_without_schema().map(|(method, path)| format!("{method} {path}")).collect();
        without.retain(|route| !route.ends_with("/{*rest}"));
        let switches = ["POST", "PUT"].map(|method| ["enable", "disable"].map(|switch| format!("{method} /fogfunction/{{name}}/{switch}")));
        let expected: Vec<String> =
            switches.into_iter().flatten().chain(["POST /photo".to_owned(), "POST /data/photo".to_owned()]).collect();
        assert_eq!(without, expected);
    }

    /// What is passed on is described where it goes.
    #[test]
    fn every_answer_but_to_passed_on_requests_is_described() {
        let all = super::all();
        let without: Vec<_> = all.answers_without_schema().filter(|(_, path)| !path.ends_with("/{*rest}")).collect();
        assert_eq!(without, []);
        assert_eq!(crate::agent::routes().answers_without_schema().collect::<Vec<_>>(), []);
    }
}
