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
use crate::federation::peer::Told;
use crate::identity::Identity;
use crate::matcher::concerns;
use crate::replica::mail::Mail;

/// Taken only for a subscription that this broker placed; each element reaches its subscriber on its own (F 5). Among
/// replicas the one that placed it may be another: then all are told, and the answer does not wait for it.
pub(super) async fn notify(State(engine): State<Engine>, identity: Identity, body: Bytes) -> Result<Response, Malformed> {
    let request = NotifyContextRequest::decode(&body, Timestamp::now())?;
    let elements = request.responses.into_iter().filter(|response| matches!(response.status.code, 0 | 200));
    let changes = elements.map(|response| change(&identity, response.element.entity));
    let main = engine.federation().main_of(&identity.tenant, &request.subscription_id);
    let Some(watch) = main.and_then(|id| engine.notifier().get(&identity.tenant, &id)) else {
        let Some(line) = engine.line().filter(|_| !engine.notifier().is_empty()) else {
            let unknown = reply::status(404, format!("no subscription {} was placed by this broker", request.subscription_id));
            return Ok(reply::json(Http::OK, &NotifyContextResponse { response_code: unknown }));
        };
        let changes = changes.map(|change| Told::from(&change)).collect();
        let mail = Mail::Upstream { tenant: identity.tenant.clone(), remote: request.subscription_id, changes };
        return Ok(match mail.send_to_all(line).await {
            Ok(()) => reply::json(Http::OK, &NotifyContextResponse { response_code: StatusCode::ok() }),
            Err(error) => reply::error(Http::SERVICE_UNAVAILABLE, &error.to_string()),
        });
    };
    for change in changes {
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
