//! `updateContext`

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode as Http;
use axum::response::{IntoResponse, Response};
use fogflow_config::Compatibility;
use fogflow_ngsi::v1::{ContextElement, ElementResult, StatusCode, UpdateAction, UpdateContextRequest, encode_update_response};
use fogflow_ngsi::{Entity, Name, Timestamp};
use smol_str::SmolStr;

use super::reply::{self, Malformed};
use crate::command::{Action, Answer, Command};
use crate::engine::Engine;
use crate::identity::Identity;
use crate::southbound::has_command;

pub(super) async fn update(State(engine): State<Engine>, mut identity: Identity, body: Bytes) -> Response {
    let request = match UpdateContextRequest::decode(&body, Timestamp::now()) {
        Ok(request) => request,
        Err(error) => return Malformed::from(error).into_response(),
    };
    drop(body);
    if request.elements.len() > engine.config().max_batch {
        return reply::error(Http::PAYLOAD_TOO_LARGE, &format!("contextElements: more than {} elements", engine.config().max_batch));
    }
    if identity.origin.correlator.is_empty() {
        identity.origin.correlator.clone_from(&request.correlator);
    }
    if identity.origin.internal
        && engine.config().compatibility == Compatibility::Fogflow3
        && request.elements.iter().any(|element| has_command(&element.entity))
    {
        return reply::error(Http::INTERNAL_SERVER_ERROR, "a broker may not send commands to devices");
    }
    let results = carry_out(&engine, &identity, request).await;
    respond(&results)
}

fn respond(results: &[ElementResult]) -> Response {
    let worst = results.iter().map(|result| &result.status).filter(|status| status.code >= 300).max_by_key(|status| status.code);
    let overall = worst.cloned().unwrap_or_else(StatusCode::ok);
    // Where nothing at all was stored because it cannot be at present, the HTTP status says so as well.
    let all_of = |codes: [i32; 2]| !results.is_empty() && results.iter().all(|result| codes.contains(&result.status.code));
    let http = match overall.code {
        507 if all_of([507, 503]) => Http::INSUFFICIENT_STORAGE,
        503 if all_of([503, 503]) => Http::SERVICE_UNAVAILABLE,
        _ => Http::OK,
    };
    let mut out = Vec::with_capacity(160 + 128 * results.len());
    encode_update_response(&mut out, results, &overall);
    reply::raw(http, out)
}

async fn carry_out(engine: &Engine, identity: &Identity, request: UpdateContextRequest) -> Vec<ElementResult> {
    let UpdateContextRequest { elements, action, .. } = request;
    let mut results = Vec::with_capacity(elements.len());
    let mut commands = Vec::with_capacity(elements.len());
    let mut places = Vec::with_capacity(elements.len());
    for element in elements {
        let ContextElement { entity, is_pattern, mismatches } = element;
        let mut result = ElementResult {
            id: entity.id.clone(),
            entity_type: entity.types.first().map(Name::as_str).map(SmolStr::new).unwrap_or_default(),
            status: StatusCode::ok(),
        };
        result.status.details = mismatches.join("; ");
        if let Err(status) = check(&entity, is_pattern) {
            result.status = status;
        } else if let Some(status) = command_of_device(engine, identity, &action, &entity).await {
            result.status = status;
        } else {
            let key = identity.key(&entity.id);
            let action = match &action {
                UpdateAction::Update | UpdateAction::Append => Some(Action::Upsert { patch: entity, merge_metadata: true }),
                UpdateAction::Delete => Some(Action::Delete),
                UpdateAction::Other(_) => None,
            };
            match action {
                Some(action) => {
                    places.push(results.len());
                    commands.push(Command { key, action });
                }
                None => result.status = reply::status(400, "updateAction: must be UPDATE, APPEND or DELETE; nothing was done"),
            }
        }
        results.push(result);
    }
    if !commands.is_empty() {
        for (place, answer) in places.into_iter().zip(engine.write(identity, commands).await) {
            if let Some(result) = results.get_mut(place) {
                tell(result, answer);
            }
        }
    }
    results
}

fn check(entity: &Entity, is_pattern: bool) -> Result<(), StatusCode> {
    if is_pattern {
        return Err(reply::status(400, "entityId.isPattern: an update is for one entity, not for a pattern"));
    }
    if entity.id.is_empty() {
        return Err(reply::status(400, "entityId.id: is missing"));
    }
    if entity.id.len() > 1024 || entity.id.contains('\0') {
        return Err(reply::status(400, "entityId.id: is longer than 1024 bytes or contains a zero byte"));
    }
    Ok(())
}

fn tell(result: &mut ElementResult, answer: Answer) {
    match answer {
        Ok(done) => {
            if let Some(entity) = done.entity.filter(|_| result.entity_type.is_empty()) {
                result.entity_type = entity.types.first().map(Name::as_str).map(SmolStr::new).unwrap_or_default();
            }
        }
        Err(refusal) => result.status = reply::status(refusal.status(), refusal.to_string()),
    }
}

/// What a device's agent says to its command; `None` when the element is an ordinary one.
async fn command_of_device(engine: &Engine, identity: &Identity, action: &UpdateAction, entity: &Entity) -> Option<StatusCode> {
    if identity.origin.internal || *action == UpdateAction::Delete {
        return None;
    }
    Some(match engine.devices().take(&identity.key(&entity.id), entity).await? {
        Ok(()) => StatusCode::ok(),
        Err(refusal) => reply::status(refusal.status(), refusal.to_string()),
    })
}
