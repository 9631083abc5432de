//! The task contract: `myport`, `adminCfg`, `POST /notifyContext`, SIGTERM. Nothing here needs to be changed.

use std::error::Error;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

/// Whatever goes wrong in a function.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// An entity of a notification, `{entityId, attributes: [{name, type, value}], domainMetadata}` as NGSI-10 has it.
pub struct Entity(Value);

impl Entity {
    /// Its id.
    pub fn id(&self) -> &str {
        self.0["entityId"]["id"].as_str().unwrap_or_default()
    }

    /// The value of an attribute; null when it has none of that name.
    pub fn value(&self, name: &str) -> &Value {
        self.attributes().iter().find(|attribute| attribute["name"] == name).map_or(&Value::Null, |attribute| &attribute["value"])
    }

    /// All attributes.
    pub fn attributes(&self) -> &[Value] {
        self.0["attributes"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// Publishes entities at the task's broker.
pub struct Publisher {
    http: reqwest::Client,
    broker: String,
    correlator: String,
    outputs: Vec<Value>,
}

impl Publisher {
    fn from_environment() -> Result<Self, TaskError> {
        let text = std::env::var("adminCfg").unwrap_or_else(|_| "[]".to_owned());
        let mut publisher = Publisher {
            http: reqwest::Client::builder().timeout(std::time::Duration::from_secs(10)).build()?,
            broker: std::env::var("brokerURL").unwrap_or_default(),
            correlator: String::new(),
            outputs: Vec::new(),
        };
        for command in serde_json::from_str::<Vec<Value>>(&text)? {
            let text = |name: &str| command[name].as_str().unwrap_or_default().to_owned();
            match command["command"].as_str() {
                Some("CONNECT_BROKER") => publisher.broker = text("brokerURL"),
                Some("SET_CORRELATORID") => publisher.correlator = text("correlatorID"),
                Some("SET_OUTPUTS") => publisher.outputs.push(json!({"type": text("type"), "id": text("id")})),
                _ => {}
            }
        }
        Ok(publisher)
    }

    /// Publishes `{entityId: {id, type}, attributes: {name: value}}`. Without `entityId` the first declared output is meant.
    pub async fn publish(&self, entity: Value) -> Result<(), TaskError> {
        let identity = match &entity["entityId"] {
            Value::Null => self.outputs.first().cloned().ok_or("the entity has no entityId, and no output is declared")?,
            identity => identity.clone(),
        };
        let empty = Map::new();
        let attributes: Vec<Value> =
            entity["attributes"].as_object().unwrap_or(&empty).iter().map(|(name, value)| attribute(name, value)).collect();
        let body = json!({"contextElements": [{"entityId": identity, "attributes": attributes}], "updateAction": "UPDATE"});
        let request = self.http.post(format!("{}/updateContext", self.broker)).header("Fiware-Correlator", &self.correlator).json(&body);
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

fn attribute(name: &str, value: &Value) -> Value {
    let kind = match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        _ => "object",
    };
    json!({"name": name, "type": kind, "value": value})
}

/// What handlers share; the lock keeps entities in their order.
struct Task {
    publisher: Publisher,
    turn: Mutex<()>,
}

/// Serves until SIGTERM. Entities are handled one after the other; one that fails is reported and does not stop the next.
pub async fn serve() -> Result<(), TaskError> {
    let task = Arc::new(Task { publisher: Publisher::from_environment()?, turn: Mutex::new(()) });
    let port: u16 = std::env::var("myport").unwrap_or_default().parse().unwrap_or(0);
    let address = std::env::var("FOGFLOW_LISTEN").unwrap_or_else(|_| "0.0.0.0".to_owned());
    let listener = tokio::net::TcpListener::bind((address.as_str(), port)).await?;
    println!("listening on port {}", listener.local_addr()?.port());
    let router = Router::new().route("/", get(async || "running")).route("/notifyContext", post(notify)).with_state(task);
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            term.recv().await;
        })
        .await?;
    Ok(())
}

async fn notify(State(task): State<Arc<Task>>, Json(notification): Json<Value>) -> Json<Value> {
    let _turn = task.turn.lock().await;
    let none = Vec::new();
    for response in notification["contextResponses"].as_array().unwrap_or(&none) {
        let entity = Entity(response["contextElement"].clone());
        if entity.0.is_object()
            && let Err(error) = crate::function::handle(entity, &task.publisher).await
        {
            eprintln!("{error}");
        }
    }
    Json(json!({"responseCode": 200}))
}
