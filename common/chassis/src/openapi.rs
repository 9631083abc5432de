//! The OpenAPI 3.1 document of a service, made from its route declarations.

use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::access::Access;
use crate::routes::Declared;

/// The document as text.
pub(crate) fn document<S>(title: &str, declared: &[Declared<S>]) -> String {
    let mut paths = Map::new();
    for route in declared {
        let item = paths.entry(openapi_path(&route.path)).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = item {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": VERSION, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "adminToken": { "type": "http", "scheme": "bearer", "description": "The admin token of the node's data directory." }
            }
        },
    });
    document.to_string()
}

fn operation<S>(route: &Declared<S>) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".to_owned(), Value::String(operation_id(route)));
    operation.insert("summary".to_owned(), Value::String(route.summary.clone()));
    operation.insert("tags".to_owned(), json!([route.path.trim_start_matches('/').split('/').next().unwrap_or_default()]));
    operation.insert("x-access".to_owned(), Value::String(route.access.as_str().to_owned()));
    let parameters: Vec<Value> = parameters(&route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), Value::Array(parameters));
    }
    if matches!(route.method.as_str(), "POST" | "PUT" | "PATCH") {
        operation.insert("requestBody".to_owned(), json!({ "content": { "application/json": {} } }));
    }
    let mut responses = json!({ "2XX": { "description": "Done." }, "4XX": { "description": "The request is wrong; the body says why." } });
    if matches!(route.access, Access::Admin | Access::LocalOrAdmin) {
        responses["403"] = json!({ "description": "The caller may not do this." });
        operation.insert("security".to_owned(), json!([{ "adminToken": [] }]));
    }
    operation.insert("responses".to_owned(), responses);
    Value::Object(operation)
}

fn operation_id<S>(route: &Declared<S>) -> String {
    let mut id = route.method.as_str().to_ascii_lowercase();
    for word in route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (head, tail) = word.split_at(1);
        id.push_str(&head.to_ascii_uppercase());
        id.push_str(tail);
    }
    id
}

/// axum's `{*rest}` is `{rest}` in OpenAPI.
fn openapi_path(path: &str) -> String {
    path.replace("{*", "{")
}

fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| name.trim_start_matches('*'))
}
