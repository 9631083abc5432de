//! Batch operations.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::v2::{self, ActionType, BatchQuery, BatchUpdate, Notify};
use fogflow_ngsi::{Entity, Name, Timestamp};

use super::call::Call;
use super::entities::answer;
use super::reply::{self, Fault};
use super::selection::{self, Page, Shape};
use crate::command::{Action, Answer, AttributeSelector, Command, Refusal};
use crate::engine::Engine;
use crate::filter::EntitySelector;

pub(super) async fn update(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_json()?;
    let request = BatchUpdate::decode(&body, call.rules(false), Timestamp::now())?;
    check_size(&engine, request.entities.len())?;
    let commands: Vec<Command> = request
        .entities
        .iter()
        .map(|entity| Command { key: call.identity.key(&entity.id), action: action(request.action, entity.clone()) })
        .collect();
    let mut answers = engine.write(&call.identity, commands).await;
    if request.action == ActionType::AppendStrict {
        create_missing(&engine, &call, &request.entities, &mut answers).await;
    }
    outcome(&request.entities, &answers)?;
    Ok(reply::done())
}

fn check_size(engine: &Engine, entities: usize) -> Result<(), Fault> {
    let most = engine.config().max_batch;
    if entities > most {
        return Err(Fault::with_status(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {most} entities")));
    }
    Ok(())
}

fn action(kind: ActionType, entity: Entity) -> Action {
    match kind {
        ActionType::Append => Action::Upsert { patch: entity, merge_metadata: false },
        ActionType::AppendStrict => Action::Append { patch: entity, overwrite: false },
        ActionType::Update => Action::Update { patch: entity, partial: false },
        ActionType::Replace => Action::Replace { entity, create: false },
        ActionType::Delete if entity.attributes.is_empty() => Action::Delete,
        ActionType::Delete => Action::DeleteAttributes(
            entity
                .attributes
                .into_iter()
                .map(|attribute| AttributeSelector { name: attribute.name, dataset_id: None, all: true })
                .collect(),
        ),
    }
}

/// `appendStrict` adds to an entity that exists, and makes one that does not.
async fn create_missing(engine: &Engine, call: &Call, entities: &[Entity], answers: &mut [Answer]) {
    let missing: Vec<usize> =
        answers.iter().enumerate().filter(|(_, answer)| matches!(answer, Err(Refusal::NotFound))).map(|(place, _)| place).collect();
    if missing.is_empty() {
        return;
    }
    let commands = missing
        .iter()
        .filter_map(|place| entities.get(*place))
        .map(|entity| Command { key: call.identity.key(&entity.id), action: Action::Create(entity.clone()) });
    let made = engine.write(&call.identity, commands.collect()).await;
    for (place, answer) in missing.into_iter().zip(made) {
        if let Some(slot) = answers.get_mut(place) {
            *slot = answer;
        }
    }
}

/// The first thing that went wrong decides the status; the description names every entity.
fn outcome(entities: &[Entity], answers: &[Answer]) -> Result<(), Fault> {
    let mut faults = Vec::new();
    let mut status = None;
    for (entity, answer) in entities.iter().zip(answers) {
        match answer {
            Ok(done) if done.skipped.is_empty() => {}
            Ok(done) => {
                let names: Vec<&str> = done.skipped.iter().map(Name::as_str).collect();
                faults.push(format!("{}: not written: {}", entity.id, names.join(", ")));
                status.get_or_insert(422);
            }
            Err(refusal) => {
                faults.push(format!("{}: {refusal}", entity.id));
                status.get_or_insert(if *refusal == Refusal::AlreadyExists { 422 } else { refusal.status() });
            }
        }
    }
    match status {
        None => Ok(()),
        Some(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Err(Fault::with_status(status, faults.join("; ")))
        }
    }
}

pub(super) async fn query(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_json()?;
    let request = BatchQuery::decode(&body)?;
    let page = Page::of(&call.params, engine.config().max_page_size)?;
    let shape = Shape::of(&call.params).with(&request.attributes, &request.metadata);
    let mut selectors: Vec<EntitySelector> = request.entities.iter().map(selector).collect();
    if selectors.is_empty() {
        selectors.push(EntitySelector::default());
    }
    let attributes = request.attributes.iter().map(|name| Name::new(name)).collect();
    let query = selection::query(&call, selectors, &request.expression, attributes, &page)?;
    Ok(answer(&engine.query(&call.identity, query).await, &shape))
}

/// The engine's form of a selector.
pub(super) fn selector(selector: &v2::EntitySelector) -> EntitySelector {
    EntitySelector {
        id: selector.id.clone(),
        id_pattern: selector.id_pattern.clone(),
        types: selector.entity_type.iter().map(|name| Name::new(name)).collect(),
        type_pattern: selector.type_pattern.clone(),
        type_query: None,
    }
}

/// What another broker tells of is stored here.
pub(super) async fn notify(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_json()?;
    let request = Notify::decode(&body, call.rules(false), Timestamp::now())?;
    check_size(&engine, request.entities.len())?;
    let commands = request.entities.iter().map(|entity| Command {
        key: call.identity.key(&entity.id),
        action: Action::Upsert { patch: entity.clone(), merge_metadata: false },
    });
    let answers = engine.write(&call.identity, commands.collect()).await;
    outcome(&request.entities, &answers)?;
    Ok(StatusCode::OK.into_response())
}
