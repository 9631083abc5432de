//! `notifyContextAvailability`: which other brokers have entities that our subscriptions match.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode as Http;
use axum::response::Response;
use fogflow_ngsi::Tenant;
use fogflow_ngsi::v1::availability::NotifyContextAvailabilityRequest;
use fogflow_ngsi::v1::{NotifyContextResponse, StatusCode};

use super::reply::{self, Malformed};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::replica::mail::Mail;

/// 200 for what can be read, also when nobody wants it, else discovery would send it again for ever (F 15).
pub(super) async fn notify(State(engine): State<Engine>, identity: Identity, body: Bytes) -> Result<Response, Malformed> {
    let notification = NotifyContextAvailabilityRequest::decode(&body)?;
    let told = notification.responses.iter().map(|response| &response.registration.tenant).find(|tenant| !tenant.is_empty());
    let tenant = told.map_or_else(|| identity.tenant.clone(), |tenant| Tenant(tenant.clone()));
    if let Some((line, slot)) = engine.elsewhere(&tenant, &notification.subscribe_id) {
        let sent = match Mail::availability(tenant, &body) {
            Ok(mail) => mail.send(line, slot).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            return Ok(reply::error(Http::SERVICE_UNAVAILABLE, &error.to_string()));
        }
    } else {
        engine.federation().availability(&tenant, notification);
    }
    Ok(reply::json(Http::OK, &NotifyContextResponse { response_code: StatusCode::ok() }))
}
