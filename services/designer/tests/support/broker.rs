//! A cloud broker of the test: it keeps subscriptions and entities, and forgets or refuses them when told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// See the module.
#[derive(Clone, Default)]
pub struct Broker {
    pub entities: Arc<Mutex<BTreeMap<String, Value>>>,
    pub subscriptions: Arc<Mutex<BTreeMap<String, Value>>>,
    /// Every request as `METHOD path`.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// Entity ids that are refused.
    pub refused: Arc<Mutex<Vec<String>>>,
    next: Arc<AtomicU64>,
}

impl Broker {
    /// Listens on a free port.
    pub async fn start(&self) -> SocketAddr {
        let router = Router::new()
            .route("/ngsi10/subscription", get(subscriptions))
            .route("/ngsi10/subscribeContext", post(subscribe))
            .route("/ngsi10/unsubscribeContext", post(unsubscribe))
            .route("/ngsi10/updateContext", post(update))
            .route("/ngsi10/entity/{id}", get(entity).delete(delete_entity))
            .route("/version", get(|| async { Json(json!({"version": "test"})) }))
            .with_state(self.clone())
            .layer(axum::middleware::from_fn_with_state(self.clone(), remember));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// Ids of the subscriptions with this reference.
    pub fn subscribed_by(&self, reference: &str) -> Vec<String> {
        let subscriptions = self.subscriptions.lock();
        subscriptions.iter().filter(|(_, one)| one["reference"] == reference).map(|(id, _)| id.clone()).collect()
    }
}

async fn remember(State(broker): State<Broker>, request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response {
    broker.asked.lock().push(format!("{} {}", request.method(), request.uri().path()));
    next.run(request).await
}

async fn subscriptions(State(broker): State<Broker>) -> Json<Value> {
    Json(json!(*broker.subscriptions.lock()))
}

async fn subscribe(State(broker): State<Broker>, headers: HeaderMap, Json(mut body): Json<Value>) -> Json<Value> {
    let id = format!("sub-{}", broker.next.fetch_add(1, Ordering::Relaxed));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    body["Subscriber"] =
        json!({"Correlator": header("fiware-correlator"), "DestinationType": header("destination"), "Tenant": header("ngsild-tenant")});
    broker.subscriptions.lock().insert(id.clone(), body);
    Json(json!({"subscribeResponse": {"subscriptionId": id}, "subscribeError": {"errorCode": {"code": 0}}}))
}

async fn unsubscribe(State(broker): State<Broker>, Json(body): Json<Value>) -> Json<Value> {
    broker.subscriptions.lock().remove(body["subscriptionId"].as_str().unwrap_or_default());
    Json(json!({"subscriptionId": "", "statusCode": {"code": 200}}))
}

async fn update(State(broker): State<Broker>, Json(body): Json<Value>) -> Json<Value> {
    let element = &body["contextElements"][0];
    let id = element["entityId"]["id"].as_str().unwrap_or_default().to_owned();
    let refused = broker.refused.lock().contains(&id);
    if !refused {
        broker.entities.lock().insert(id.clone(), element.clone());
    }
    let code = if refused { 400 } else { 200 };
    Json(
        json!({"contextResponses": [{"contextElement": {"entityId": {"id": id}}, "statusCode": {"code": code, "details": "of the test"}}]}),
    )
}

async fn entity(State(broker): State<Broker>, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    broker.entities.lock().get(&id).cloned().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn delete_entity(State(broker): State<Broker>, Path(id): Path<String>) -> StatusCode {
    if broker.entities.lock().remove(&id).is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }
}
