//! `notifyContext`: changes of entities that an upstream broker holds.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode as Http;
use axum::response::Response;
use fogflow_ngsi::v1::{NotifyContextRequest, NotifyContextResponse, StatusCode};
use fogflow_ngsi::{Entity, Timestamp};

use super::reply::{self, Malformed};
use crate::change::Change;
use crate::engine::Engine;
use crate::identity::Identity;
use crate::matcher::concerns;

/// Taken only for a subscription that this broker placed; each element reaches its subscriber on its own (F 5).
pub(super) async fn notify(State(engine): State<Engine>, identity: Identity, body: Bytes) -> Result<Response, Malformed> {
    let request = NotifyContextRequest::decode(&body, Timestamp::now())?;
    let main = engine.federation().main_of(&identity.tenant, &request.subscription_id);
    let Some(watch) = main.and_then(|id| engine.notifier().get(&identity.tenant, &id)) else {
        let unknown = reply::status(404, format!("no subscription {} was placed by this broker", request.subscription_id));
        return Ok(reply::json(Http::OK, &NotifyContextResponse { response_code: unknown }));
    };
    for response in request.responses.into_iter().filter(|response| matches!(response.status.code, 0 | 200)) {
        let change = change(&identity, response.element.entity);
        let ours = engine.state().record(&change.key).is_some();
        if !ours && (change.after.is_none() || concerns(&watch.subscription, &watch.filter, &change)) {
            engine.notifier().deliver(&watch, &Arc::new(change));
        }
    }
    Ok(reply::json(Http::OK, &NotifyContextResponse { response_code: StatusCode::ok() }))
}

/// An element without attributes and metadata tells of a deletion.
fn change(identity: &Identity, entity: Entity) -> Change {
    let gone = entity.attributes.is_empty();
    let mut change = Change::snapshot(identity.key(&entity.id), Arc::new(entity), 0);
    change.correlator.clone_from(&identity.origin.correlator);
    change.trace.clone_from(&identity.origin.trace);
    change.before.clone_from(&change.after);
    if gone {
        change.after = None;
    }
    change
}
