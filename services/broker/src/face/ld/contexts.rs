//! The `@context`s that the broker keeps (ETSI GS CIM 009, clauses 6.29 and 6.30).

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::ld::ProblemType;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::{self, Fault};
use crate::contexts::{Entry, Kind};
use crate::engine::Engine;

pub(super) async fn host(State(engine): State<Engine>, call: Call, body: Bytes) -> Result<Response, Fault> {
    call.check_content()?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| Fault::invalid(error.to_string()))?;
    if document.get("@context").is_none() {
        return Err(Fault::invalid("the body must be an object with a member @context"));
    }
    let id = engine.contexts().host(document).await?;
    Ok(reply::created(&format!("/ngsi-ld/v1/jsonldContexts/{id}")))
}

fn details(engine: &Engine, entry: &Entry) -> Value {
    let mut value = json!({
        "URL": entry.url.as_ref().map_or_else(|| engine.contexts().url(&entry.local_id), ToString::to_string),
        "localId": entry.local_id,
        "kind": entry.kind.as_str(),
        "createdAt": entry.created.to_string(),
        "numberOfHits": entry.hits(),
    });
    if let Some(time) = entry.last_usage() {
        value["lastUsage"] = time.to_string().into();
    }
    value
}

fn wants_details(call: &Call) -> Result<bool, Fault> {
    match call.params.get("details") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Fault::bad(format!("details: `{other}` is neither true nor false"))),
    }
}

pub(super) async fn list(State(engine): State<Engine>, call: Call) -> Result<Response, Fault> {
    let kind = match call.params.get("kind") {
        None => None,
        Some(name) => {
            let known = [Kind::Cached, Kind::Hosted, Kind::ImplicitlyCreated].into_iter().find(|kind| kind.as_str() == name);
            Some(known.ok_or_else(|| Fault::bad(format!("kind: `{name}` is none of Cached, Hosted, ImplicitlyCreated")))?)
        }
    };
    let with_details = wants_details(&call)?;
    let entries = engine.contexts().list();
    let shown = entries.iter().filter(|entry| kind.is_none_or(|kind| entry.kind == kind));
    let list: Vec<Value> = shown
        .map(|entry| match (with_details, &entry.url) {
            (true, _) => details(&engine, entry),
            (false, Some(url)) => url.as_str().into(),
            (false, None) => engine.contexts().url(&entry.local_id).into(),
        })
        .collect();
    Ok(json_body(&Value::Array(list)))
}

fn json_body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

pub(super) async fn show(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let with_details = wants_details(&call)?;
    let entry = engine.contexts().get(&id).ok_or_else(|| Fault::not_found(format!("there is no @context {id}")))?;
    if with_details {
        return Ok(json_body(&details(&engine, &entry)));
    }
    // What is cached is served by its own host (clause 5.13.4).
    if entry.kind == Kind::Cached {
        return Err(Fault::new(ProblemType::OperationNotSupported, "a cached @context is served by its own host; ask with details=true"));
    }
    entry.used();
    Ok(json_body(&entry.body))
}

pub(super) async fn remove(State(engine): State<Engine>, call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let reload = match call.params.get("reload") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(Fault::bad(format!("reload: `{other}` is neither true nor false"))),
    };
    if fogflow_ngsi::context::core::is_core_context(&id) {
        return Err(Fault::bad("a core context is built in"));
    }
    let Some(entry) = engine.contexts().get(&id) else {
        let unknown = format!("there is no @context {id}");
        return Err(if reload { Fault::bad(unknown) } else { Fault::not_found(unknown) });
    };
    if reload && entry.kind != Kind::Cached {
        return Err(Fault::bad("reload: only a cached @context can be loaded again"));
    }
    engine.contexts().remove(&entry, reload).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
