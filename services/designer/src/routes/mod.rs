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

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fogflow_chassis::{Access, Routes};

use crate::app::Shared;
use crate::error::{ApiError, error_response};
use crate::page;

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
        .get("/operator/{name}", Viewer, "Shows an operator", operators::get)
        .post("/operator", Operator, "Registers operators; code and executables need a local caller or the admin token", operators::put)
        .delete("/operator/{name}", Operator, "Deletes an operator that no topology uses", operators::delete)
        .get("/dockerimage", Viewer, "Lists the images of all operators", operators::all_images)
        .post("/dockerimage", Operator, "Adds images to the operators that they name", operators::put_images)
        .get("/dockerimage/{operator}", Viewer, "Lists the images of an operator", operators::images)
        .post("/dockerimage/{operator}", Operator, "Adds images to an operator", operators::put_images_of)
        .delete("/dockerimage/{operator}", Operator, "Removes an image of an operator (?image=, ?tag=)", operators::delete_image)
        .get("/service", Viewer, "Lists services by name", topologies::services)
        .get("/service/{name}", Viewer, "Shows a service", topologies::service)
        .post("/service", Operator, "Registers services with their topologies", topologies::put)
        .delete("/service/{name}", Operator, "Deletes a service without intents, or with them (?cascade=true)", topologies::delete)
        .get("/topology", Viewer, "Lists topologies, those of fog functions included", topologies::topologies)
        .get("/topology/{name}", Viewer, "Shows a topology with the operators of its tasks", topologies::topology)
        .get("/intent", Viewer, "Lists intents by id", intents::list)
        .get("/intent/{id}", Viewer, "Shows an intent", intents::get)
        .get("/intent/topology/{topology}", Viewer, "Lists the intents for a topology", intents::of_topology)
        .post("/intent", Operator, "Registers intents; answers their ids", intents::put)
        .delete("/intent", Operator, "Deletes the intent that the body names", intents::delete_named)
        .delete("/intent/{id}", Operator, "Deletes an intent", intents::delete)
        .get("/fogfunction", Viewer, "Lists fog functions by name", functions::list)
        .get("/fogfunction/{name}", Viewer, "Shows a fog function", functions::get)
        .post("/fogfunction", Operator, "Registers fog functions and enables them", functions::put)
        .delete("/fogfunction/{name}", Operator, "Deletes a fog function", functions::delete)
        .get("/fogfunction/{name}/enable", Operator, "Enables a fog function (for old clients; prefer POST)", by_get(true))
        .get("/fogfunction/{name}/disable", Operator, "Disables a fog function (for old clients; prefer POST)", by_get(false))
        .post("/fogfunction/{name}/enable", Operator, "Enables a fog function", functions::enable)
        .post("/fogfunction/{name}/disable", Operator, "Disables a fog function", functions::disable)
        .put("/fogfunction/{name}/enable", Operator, "Enables a fog function", functions::enable)
        .put("/fogfunction/{name}/disable", Operator, "Disables a fog function", functions::disable)
        .get("/device", Viewer, "Lists devices by id", devices::devices)
        .get("/device/{id}", Viewer, "Shows a device", devices::device)
        .post("/device", Operator, "Registers devices and creates their entities", devices::put_device)
        .delete("/device/{id}", Operator, "Deletes a device and its entity", devices::delete_device)
        .get("/subscription", Viewer, "Lists forwarded subscriptions by id", devices::subscriptions)
        .post("/subscription", Operator, "Subscribes on behalf of another broker", devices::put_subscription)
        .delete("/subscription/{id}", Operator, "Ends a forwarded subscription", devices::delete_subscription)
        .body_limit(REGISTRY_LIMIT)
}

fn live() -> Routes<Shared> {
    use Access::Viewer;
    Routes::new("")
        .get("/events", Viewer, "Streams the live picture: a snapshot, then changes (server-sent events)", events::events)
        .get("/info/master", Viewer, "Lists masters", info::masters)
        .get("/info/worker", Viewer, "Lists workers", info::workers)
        .get("/info/broker", Viewer, "Lists brokers", info::brokers)
        .get("/info/task", Viewer, "Lists tasks as observed", info::tasks)
        .get("/info/task/{intent}", Viewer, "Lists the tasks of an intent", info::tasks_of)
        .get("/info/type", Viewer, "Lists the types of entities", info::types)
        .get("/info/entity/{id}", Viewer, "Shows an entity of the live view with its latest numbers", info::entity)
        .get("/tasks/{id}/logs", Viewer, "Shows the log of a task (?tail=N&follow=true)", info::logs)
}

fn photos_and_transfer() -> Routes<Shared> {
    use Access::{LocalOrAdmin, Operator, Viewer};
    let transfer = Routes::new("")
        .get("/export", Viewer, "Exports everything that was registered, in the form of db.json", transfer::export)
        .post("/import", LocalOrAdmin, "Imports a document in the form of db.json", transfer::import)
        .body_limit(transfer::LARGEST);
    Routes::new("")
        .post("/photo", Operator, "Uploads pictures", photos::upload)
        .post("/data/photo", Operator, "Uploads pictures", photos::upload)
        .body_limit(crate::photos::LARGEST + 64 * 1024)
        .get("/photo", Viewer, "Lists the names of pictures", photos::list)
        .get("/photo/{name}", Viewer, "Shows a picture", photos::download)
        .get("/data/photo/{name}", Viewer, "Shows a picture", photos::download)
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
        .post("/internal/lease/{name}", Component, "Takes or renews a lease", internal::lease)
        .delete("/internal/lease/{name}", Component, "Gives a lease back", internal::release)
        .post("/internal/report", Component, "Takes the leading master's report", internal::report)
        .body_limit(transfer::LARGEST)
}

fn pages() -> Routes<Shared> {
    use Access::Anyone;
    Routes::new("")
        .get("/", Anyone, "To the dashboard", page::root)
        .get("/index.html", Anyone, "The dashboard", page::index)
        .get("/assets/{*path}", Anyone, "Files of the dashboard", page::asset)
        .get("/plain.js", Anyone, "Script of the plain page", page::plain_script)
        .get("/plain.css", Anyone, "Style of the plain page", page::plain_style)
        .get("/config.js", Anyone, "Configuration for upstream's pages", page::config_script)
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
