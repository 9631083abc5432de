//! The routes between our own brokers; see [`crate::federation::peer`].

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fogflow_chassis::{Access, Routes};
use schemars::JsonSchema;
use serde::Serialize;
use smol_str::SmolStr;

use crate::change::{Change, Origin};
use crate::engine::Engine;
use crate::federation::peer::{self, Answers, Commands, Entities, Notification, Unsubscribe, Wanted};
use crate::matcher::concerns;
use crate::replica::mail::Mail;
use crate::subscription::Subscription;

/// The routes, below the broker's NGSI-10 address.
#[must_use]
pub fn routes() -> Routes<Engine> {
    let path = |path: &str| format!("/ngsi10{path}");
    Routes::new("Between brokers")
        .post(&path(peer::COMMANDS), Access::Component, "Carries out commands on entities of this broker", commands)
        .takes::<Commands>()
        .gives::<Answers>()
        .post(&path(peer::ENTITIES), Access::Component, "Entities of this broker by id", entities)
        .takes::<Wanted>()
        .gives::<Entities>()
        .post(&path(peer::SUBSCRIBE), Access::Component, "Places or replaces another broker's subscription", subscribe)
        .takes::<Subscription>()
        .gives::<Taken>()
        .post(&path(peer::UNSUBSCRIBE), Access::Component, "Ends another broker's subscription", unsubscribe)
        .takes::<Unsubscribe>()
        .gives::<Removed>()
        .post(&path(peer::NOTIFY), Access::Component, "Takes changes of another broker's entities", notify)
        .takes::<Notification>()
        .gives::<Taken>()
        .post(&path(peer::HANDOVER), Access::Component, "Takes over entities from another broker", handover)
        .takes::<Entities>()
        .gives::<Answers>()
}

/// The answer to what has nothing to tell.
#[derive(Serialize, JsonSchema)]
struct Taken {}

/// The answer to the end of a subscription.
#[derive(Serialize, JsonSchema)]
struct Removed {
    /// Whether there was one.
    removed: bool,
}

async fn commands(State(engine): State<Engine>, Json(body): Json<Commands>) -> Json<Answers> {
    let origin = Origin { correlator: body.correlator, trace: body.trace, internal: true };
    Json(Answers { answers: engine.write_for_peer(&origin, body.commands).await })
}

async fn entities(State(engine): State<Engine>, Json(body): Json<Wanted>) -> Json<Entities> {
    Json(Entities { entities: engine.keyed(&body.tenant, &body.ids) })
}

async fn subscribe(State(engine): State<Engine>, Json(subscription): Json<Subscription>) -> Response {
    if !subscription.internal {
        return (StatusCode::BAD_REQUEST, "internal: only subscriptions of brokers may be placed here".to_owned()).into_response();
    }
    match engine.place(subscription).await {
        Ok(()) => Json(Taken {}).into_response(),
        Err(refused) => (StatusCode::from_u16(refused.status()).unwrap_or_default(), refused.to_string()).into_response(),
    }
}

async fn unsubscribe(State(engine): State<Engine>, Json(body): Json<Unsubscribe>) -> Response {
    let internal = engine.subscription(&body.tenant, &body.id).is_some_and(|shown| shown.subscription.internal);
    let result = if internal { engine.unsubscribe(&body.tenant, &body.id).await } else { Ok(false) };
    match result {
        Ok(removed) => Json(Removed { removed }).into_response(),
        Err(refused) => (StatusCode::from_u16(refused.status()).unwrap_or_default(), refused.to_string()).into_response(),
    }
}

/// 410 when the subscription that it is for has ended: the other broker then ends its part.
async fn notify(State(engine): State<Engine>, Json(body): Json<Notification>) -> Response {
    let placed = peer::main_id(&body.subscription, &engine.federation().me().id).map(SmolStr::new);
    if let Some(id) = placed.filter(|id| engine.notifier().get(&body.tenant, id).is_some())
        && let Some((line, slot)) = engine.elsewhere(&body.tenant, &id)
    {
        let mail = Mail::Told { tenant: body.tenant.clone(), id, changes: body.changes };
        return match mail.send(line, slot).await {
            Ok(()) => Json(Taken {}).into_response(),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        };
    }
    let main = engine.federation().main_of(&body.tenant, &body.subscription);
    let Some(watch) = main.and_then(|id| engine.notifier().get(&body.tenant, &id)) else {
        return (StatusCode::GONE, "there is no such subscription here".to_owned()).into_response();
    };
    for told in body.changes {
        let change = std::sync::Arc::new(Change::from(told));
        // An entity that is here is not theirs any more: what they say of it is old.
        let ours = engine.state().record(&change.key).is_some();
        if !ours && concerns(&watch.subscription, &watch.filter, &change) {
            engine.notifier().deliver(&watch, &change);
        }
    }
    Json(Taken {}).into_response()
}

async fn handover(State(engine): State<Engine>, Json(body): Json<Entities>) -> Json<Answers> {
    Json(Answers { answers: engine.federation().take_over(body.entities).await })
}
