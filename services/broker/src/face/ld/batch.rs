//! Batch operations (ETSI GS CIM 009, clauses 6.14 to 6.17 and 6.31).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::ld::{self, BatchError, Mode, Problem};
use fogflow_ngsi::{Entity, Timestamp};
use serde_json::Value;
use smol_str::SmolStr;

use super::call::Call;
use super::entities::check_upstream_id;
use super::reply::{self, Fault};
use crate::command::{Action, Command, Effect};
use crate::engine::Engine;

/// What became of a batch.
#[derive(Default)]
struct Outcome {
    created: Vec<SmolStr>,
    others: Vec<SmolStr>,
    errors: Vec<BatchError>,
}

impl Outcome {
    /// 207 with the result for each entity.
    fn partly(mut self) -> Response {
        self.created.append(&mut self.others);
        let mut out = Vec::with_capacity(256);
        ld::encode_batch_result(&mut out, &self.created, &self.errors);
        (StatusCode::MULTI_STATUS, [(header::CONTENT_TYPE, "application/json")], out).into_response()
    }

    /// 201 with the ids of entities that were made, else 204.
    fn done(self) -> Response {
        if self.created.is_empty() {
            return reply::done();
        }
        let ids = serde_json::to_vec(&self.created).unwrap_or_default();
        (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], ids).into_response()
    }

    fn answer(self) -> Response {
        if self.errors.is_empty() { self.done() } else { self.partly() }
    }
}

/// The id of an element, as far as it can be read.
fn id_of(text: &str) -> SmolStr {
    serde_json::from_str::<Value>(text).ok().and_then(|value| value.get("id")?.as_str().map(SmolStr::new)).unwrap_or_default()
}

/// Decodes all elements, makes a command of each and carries them out.
async fn run(engine: &Engine, call: &Call, body: &[u8], mode: Mode, action: impl Fn(Entity) -> Action) -> Result<Outcome, Fault> {
    call.check_batch()?;
    let elements = ld::decode_list(body)?;
    if elements.is_empty() && !call.lenient {
        return Err(Fault::bad("the array is empty"));
    }
    if elements.len() > engine.config().max_batch {
        return Err(Fault::with_status(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {} entities", engine.config().max_batch)));
    }
    let now = Timestamp::now();
    let mut outcome = Outcome::default();
    let mut commands = Vec::with_capacity(elements.len());
    for text in elements {
        match decode(engine, call, text, mode, now).await {
            Ok(entity) => commands.push(Command { key: call.identity.key(&entity.id), action: action(entity) }),
            Err(fault) => outcome.errors.push(BatchError { entity_id: id_of(text), error: fault.0 }),
        }
    }
    carry_out(engine, call, commands, &mut outcome).await;
    Ok(outcome)
}

async fn decode(engine: &Engine, call: &Call, text: &str, mode: Mode, now: Timestamp) -> Result<Entity, Fault> {
    let context = call.element_context(engine, text).await?;
    let entity = ld::decode_entity(text, &context, call.rules(mode), now)?;
    if entity.id.is_empty() {
        return Err(Fault::bad("id: is missing"));
    }
    check_upstream_id(call, &entity)?;
    Ok(entity)
}

async fn carry_out(engine: &Engine, call: &Call, commands: Vec<Command>, outcome: &mut Outcome) {
    let ids: Vec<SmolStr> = commands.iter().map(|command| command.key.id.clone()).collect();
    for (id, answer) in ids.into_iter().zip(engine.write(&call.identity, commands).await) {
        match answer {
            Ok(done) if done.skipped.is_empty() && done.effect == Effect::Created => outcome.created.push(id),
            Ok(done) if done.skipped.is_empty() => outcome.others.push(id),
            Ok(done) => {
                let names: Vec<&str> = done.skipped.iter().map(fogflow_ngsi::Name::as_str).collect();
                let detail = format!("not written: {}", names.join(", "));
                outcome.errors.push(BatchError { entity_id: id, error: Problem::new(ld::ProblemType::BadRequestData, detail) });
            }
            Err(refusal) => outcome.errors.push(BatchError { entity_id: id, error: Fault::from(&refusal).0 }),
        }
    }
}

pub(super) async fn create(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    Ok(run(&engine, &call, &body, Mode::Entity, Action::Create).await?.answer())
}

pub(super) async fn upsert(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let updates = call.params.option("update") || call.lenient;
    let action = |entity: Entity| {
        if updates { Action::Upsert { patch: entity, merge_metadata: false } } else { Action::Replace { entity, create: true } }
    };
    let outcome = run(&engine, &call, &body, Mode::Entity, action).await;
    if !call.lenient {
        return Ok(outcome?.answer());
    }
    Ok(upstreams_answer(&call, outcome))
}

/// Upstream answers 204 also for new entities, 404 when all failed, 500 for what is no array, and 200 for nothing.
fn upstreams_answer(call: &Call, outcome: Result<Outcome, Fault>) -> Response {
    match outcome {
        Err(fault) if call.check_content().is_ok() => Fault::with_status(StatusCode::INTERNAL_SERVER_ERROR, fault.0.detail).into_response(),
        Err(fault) => fault.into_response(),
        Ok(outcome) => match (outcome.errors.is_empty(), outcome.created.is_empty() && outcome.others.is_empty()) {
            (true, true) => StatusCode::OK.into_response(),
            (true, false) => reply::done(),
            (false, true) => (StatusCode::NOT_FOUND, outcome.partly().into_body()).into_response(),
            (false, false) => outcome.partly(),
        },
    }
}

pub(super) async fn update(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let overwrite = !call.params.option("noOverwrite");
    Ok(run(&engine, &call, &body, Mode::Fragment, |patch| Action::Append { patch, overwrite }).await?.answer())
}

pub(super) async fn merge(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    Ok(run(&engine, &call, &body, Mode::MergePatch, Action::Merge).await?.answer())
}

pub(super) async fn delete(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_content()?;
    let mut outcome = Outcome::default();
    let mut commands = Vec::new();
    for text in ld::decode_list(&body)? {
        let id = serde_json::from_str::<String>(text).map_err(|_| Fault::bad("must be an array of entity ids"))?;
        match ld::check_uri(&id) {
            Err(error) if !call.lenient && engine.get(&call.identity, &id).is_none() => {
                outcome.errors.push(BatchError { entity_id: id.into(), error: Problem::from(&error) });
            }
            _ => commands
                .push(Command { key: call.identity.key(super::entities::own_id(&engine, &call.identity, &id)), action: Action::Delete }),
        }
    }
    if commands.is_empty() && outcome.errors.is_empty() {
        return Err(Fault::bad("the array is empty"));
    }
    carry_out(&engine, &call, commands, &mut outcome).await;
    Ok(outcome.answer())
}

/// Entities that another broker tells of are stored here, as upstream does.
pub(super) async fn notify(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    let context = call.body_context(&engine, &body).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Fault::new(ld::ProblemType::InvalidRequest, error.to_string()))?;
    let data = document.get("data").and_then(Value::as_array).ok_or_else(|| Fault::bad("data: must be an array of entities"))?;
    let now = Timestamp::now();
    let mut outcome = Outcome::default();
    let mut commands = Vec::with_capacity(data.len());
    for element in data {
        let patch = ld::decode_entity(&element.to_string(), &context, call.rules(Mode::Entity), now)?;
        let gone = element.get("deletedAt").is_some();
        let key = call.identity.key(&patch.id);
        commands.push(Command { key, action: if gone { Action::Delete } else { Action::Upsert { patch, merge_metadata: false } } });
    }
    carry_out(&engine, &call, commands, &mut outcome).await;
    if outcome.errors.is_empty() { Ok(StatusCode::OK.into_response()) } else { Ok(outcome.partly()) }
}
