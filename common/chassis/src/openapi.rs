//! The OpenAPI 3.1 document of a service, made from its route declarations.

use axum::http::{StatusCode, header};
use futures::FutureExt as _;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::VERSION;
use crate::access::Access;
use crate::errors::{ErrorForm, default_form};
use crate::routes::Declared;

/// Longest error body that is taken as an example.
const EXAMPLE_BYTES: usize = 64 * 1024;

/// Where OpenAPI keeps the schemas that others refer to.
const SCHEMAS: &str = "/components/schemas";

/// The document as text.
pub(crate) fn document<S>(title: &str, declared: &[Declared<S>]) -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = SchemaGenerator::new(settings);
    let mut paths = Map::new();
    for route in declared {
        let item = paths.entry(openapi_path(&route.path)).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = item {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route, &mut generator));
        }
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": VERSION, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(false),
            "securitySchemes": {
                "adminToken": { "type": "http", "scheme": "bearer", "description": "The admin token of the node's data directory." }
            }
        },
    });
    document.to_string()
}

fn operation<S>(route: &Declared<S>, generator: &mut SchemaGenerator) -> Value {
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
    if let Some(schema) = route.takes {
        let content = json!({ "application/json": { "schema": schema(generator) } });
        operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    let form = route.errors.unwrap_or(default_form);
    let done = match &route.gives {
        Some(bodies) if bodies.is_empty() => json!({ "description": "Done; the answer has no body." }),
        bodies => {
            let forms = bodies.iter().flatten().map(|(media, schema)| ((*media).to_owned(), json!({ "schema": schema(generator) })));
            json!({ "description": "Done.", "content": forms.collect::<Map<String, Value>>() })
        }
    };
    let mut responses = json!({ "2XX": done, "4XX": refusal(form, StatusCode::BAD_REQUEST, "The request is wrong") });
    if matches!(route.access, Access::Admin | Access::LocalOrAdmin) {
        responses["403"] = refusal(form, StatusCode::FORBIDDEN, "The caller may not do this");
        operation.insert("security".to_owned(), json!([{ "adminToken": [] }]));
    }
    operation.insert("responses".to_owned(), responses);
    Value::Object(operation)
}

/// An error response as the route's own form writes it: its media type, an example and the schema that all of them have.
fn refusal(form: ErrorForm, status: StatusCode, description: &str) -> Value {
    let (head, body) = form(status, description).into_parts();
    let media = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json").to_owned();
    // The body is in memory, so it is there at once.
    let body = axum::body::to_bytes(body, EXAMPLE_BYTES).now_or_never().and_then(Result::ok).unwrap_or_default();
    let mut response = json!({ "description": format!("{description}; the body says why.") });
    if let Ok(example) = serde_json::from_slice::<Value>(&body) {
        let mut content = Map::new();
        content.insert(media, json!({ "schema": schema_of(&example), "example": example }));
        response["content"] = Value::Object(content);
    }
    response
}

/// The JSON schema of everything that is built like this example.
fn schema_of(example: &Value) -> Value {
    match example {
        Value::Object(members) => {
            let properties: Map<String, Value> = members.iter().map(|(name, value)| (name.clone(), schema_of(value))).collect();
            json!({ "type": "object", "properties": properties, "required": members.keys().collect::<Vec<_>>() })
        }
        Value::Array(items) => json!({ "type": "array", "items": items.first().map_or(json!({}), schema_of) }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Null => json!({}),
    }
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
