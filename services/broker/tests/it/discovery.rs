//! A stand-in for discovery: just enough of NGSI-9 to let brokers find each other, and to fail when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{holds, until};

#[derive(Clone, Debug)]
pub struct Registered {
    pub broker: String,
    pub url: String,
    pub registration: Value,
    generation: u64,
}

#[derive(Default)]
struct Inner {
    entities: BTreeMap<String, Registered>,
    subscriptions: BTreeMap<String, Value>,
    complete: BTreeMap<String, u64>,
    dead: Vec<String>,
    epoch: u32,
    refuse: bool,
    requests: Vec<(String, Value)>,
}

type Shared = Arc<Mutex<Inner>>;

pub struct Discovery {
    addr: SocketAddr,
    inner: Shared,
    server: JoinHandle<()>,
}

impl Discovery {
    pub async fn start() -> Self {
        let inner = Shared::default();
        let router = Router::new()
            .route("/ngsi9/registerContext", post(register))
            .route("/ngsi9/broker/heartbeat", post(heartbeat))
            .route("/ngsi9/discoverContextAvailability", post(discover))
            .route("/ngsi9/subscribeContextAvailability", post(subscribe))
            .route("/ngsi9/unsubscribeContextAvailability", post(unsubscribe))
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Discovery { addr, inner, server }
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Waits until the broker has registered itself and all that it has.
    pub async fn knows(&self, broker: &str) {
        until("the full registration of a broker", || holds(self.inner.lock().complete.contains_key(broker), broker)).await;
    }

    /// Waits until an entity is registered as demanded.
    pub async fn registered(&self, id: &str, demand: impl Fn(&Registered) -> bool) -> Registered {
        until(&format!("the registration of {id}"), || {
            let inner = self.inner.lock();
            let found = inner.entities.get(id).cloned();
            found.clone().filter(|found| demand(found)).ok_or_else(|| format!("{found:?}"))
        })
        .await
    }

    pub async fn gone(&self, id: &str) {
        until(&format!("the deregistration of {id}"), || holds(!self.inner.lock().entities.contains_key(id), "still there")).await;
    }

    pub fn subscriptions(&self) -> BTreeMap<String, Value> {
        self.inner.lock().subscriptions.clone()
    }

    /// Registers an entity for a provider that is no broker of ours.
    pub fn put(&self, id: &str, entity_type: &str, url: &str) {
        let registration = json!({"entities": [{"id": id, "type": entity_type}], "providingApplication": url});
        let registered = Registered { broker: String::new(), url: url.to_owned(), registration, generation: 0 };
        self.inner.lock().entities.insert(id.to_owned(), registered);
    }

    /// Answers everything with 503 from now on, or no longer.
    pub fn refuse(&self, refuse: bool) {
        self.inner.lock().refuse = refuse;
    }

    /// The lease of a broker ends, or begins again.
    pub fn set_dead(&self, broker: &str, dead: bool) {
        let mut inner = self.inner.lock();
        inner.dead.retain(|other| other != broker);
        if dead {
            inner.dead.push(broker.to_owned());
        }
    }

    /// Loses all that it knew, as upstream's does at a restart.
    pub fn forget(&self) {
        let mut inner = self.inner.lock();
        inner.entities.clear();
        inner.subscriptions.clear();
        inner.complete.clear();
        inner.epoch += 1;
    }

    pub fn requests(&self, path: &str) -> Vec<Value> {
        self.inner.lock().requests.iter().filter(|(other, _)| other == path).map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn tell(http: &reqwest::Client, reference: &str, subscription: &str, code: u16, entities: &[Value], url: &str, broker: &str) {
    let body = json!({"subscribeId": subscription, "errorCode": {"code": code}, "contextRegistrationResponses": [
        {"contextRegistration": {"entities": entities, "providingApplication": url, "brokerId": broker}, "errorCode": {"code": 200}}]});
    let sent = http.post(reference).body(body.to_string()).timeout(Duration::from_secs(5)).send().await;
    if let Ok(answer) = sent {
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["responseCode"]["code"], 200, "{answer}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The name of an entity here: its id, after its service path if it has one.
fn name(id: &Value, path: &Value) -> String {
    let path = text(path);
    if path.is_empty() { text(id) } else { format!("{path} {}", text(id)) }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn log(inner: &Shared, path: &str, body: &Value) -> Result<(), StatusCode> {
    let mut inner = inner.lock();
    inner.requests.push((path.to_owned(), body.clone()));
    if inner.refuse { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(()) }
}

fn matches(filter: &Value, registration: &Value) -> bool {
    let entity = &registration["entities"][0];
    let has = |name: &Value| list(&registration["attributes"]).iter().any(|attribute| attribute["name"] == *name);
    list(&filter["attributes"]).iter().all(has)
        && list(&filter["entities"]).iter().any(|wanted| {
            let (id, kind) = (text(&wanted["id"]), text(&wanted["type"]));
            let pattern = wanted["isPattern"] == true;
            let id_fits = if pattern { id.is_empty() || text(&entity["id"]).contains(&id) } else { id == text(&entity["id"]) };
            id_fits && (kind.is_empty() || kind == text(&entity["type"]))
        })
}

/// Events for the subscriptions of others than the broker itself, which needs none.
fn events(inner: &Inner, registered: &Registered, code: u16) -> Vec<(String, String, u16, Registered)> {
    let matching = inner.subscriptions.iter().filter(|(_, filter)| matches(filter, &registered.registration));
    matching.map(|(id, filter)| (text(&filter["reference"]), id.clone(), code, registered.clone())).collect()
}

fn send(events: Vec<(String, String, u16, Registered)>) {
    tokio::spawn(async move {
        let http = reqwest::Client::new();
        for (reference, id, code, registered) in events {
            let entities = list(&registered.registration["entities"]);
            tell(&http, &reference, &id, code, &entities, &registered.url, &registered.broker).await;
        }
    });
}

async fn register(State(inner): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    log(&inner, "register", &body)?;
    let (broker, generation) = (text(&body["brokerId"]), body["generation"].as_u64().unwrap_or(0));
    let mut told = Vec::new();
    let mut elsewhere = Vec::new();
    {
        let mut inner = inner.lock();
        if !list(&body["contextRegistrations"]).is_empty() {
            inner.dead.retain(|dead| *dead != broker);
        }
        for removed in list(&body["removed"]) {
            let id = name(&removed["id"], &removed["ServicePath"]);
            if inner.entities.get(&id).is_some_and(|known| known.broker == broker)
                && let Some(known) = inner.entities.remove(&id)
            {
                told.extend(events(&inner, &known, 410));
            }
        }
        for registration in list(&body["contextRegistrations"]) {
            let id = name(&registration["entities"][0]["id"], &registration["ServicePath"]);
            let taken = inner.entities.get(&id).is_some_and(|known| known.broker != broker && !inner.dead.contains(&known.broker));
            if taken && !body["snapshot"].is_null() {
                elsewhere.push(json!({"id": registration["entities"][0]["id"], "ServicePath": text(&registration["ServicePath"])}));
                continue;
            }
            let url = text(&registration["providingApplication"]);
            let registered = Registered { broker: broker.clone(), url, registration, generation };
            told.extend(events(&inner, &registered, 301));
            inner.entities.insert(id, registered);
        }
        if body["snapshot"] == "end" {
            inner.entities.retain(|_, known| known.broker != broker || known.generation == generation);
            inner.complete.insert(broker, generation);
        }
    }
    send(told);
    Ok(Json(json!({"registrationId": "r", "errorCode": {"code": 200}, "ownedElsewhere": elsewhere})))
}

async fn heartbeat(State(inner): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    log(&inner, "heartbeat", &body)?;
    let inner = inner.lock();
    let wanted = inner.complete.get(&text(&body["id"])) != body["generation"].as_u64().as_ref();
    Ok(Json(json!({"contextResponses": null, "epoch": inner.epoch.to_string(), "registrationsWanted": wanted})))
}

async fn discover(State(inner): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    log(&inner, "discover", &body)?;
    let inner = inner.lock();
    let alive = inner.entities.values().filter(|known| !inner.dead.contains(&known.broker));
    let found: Vec<Value> = alive
        .filter(|known| matches(&body, &known.registration))
        .map(|known| {
            json!({"contextRegistration": {"entities": known.registration["entities"], "providingApplication": known.url,
                "ServicePath": text(&known.registration["ServicePath"]), "brokerId": known.broker}, "errorCode": {"code": 200}})
        })
        .collect();
    Ok(Json(json!({"contextRegistrationResponses": found, "errorCode": {"code": 200}})))
}

async fn subscribe(State(inner): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    log(&inner, "subscribe", &body)?;
    let id = text(&body["subscriptionId"]);
    let mut told = Vec::new();
    {
        let mut inner = inner.lock();
        for known in inner.entities.values().filter(|known| !inner.dead.contains(&known.broker) && matches(&body, &known.registration)) {
            told.push((text(&body["reference"]), id.clone(), 301, known.clone()));
        }
        inner.subscriptions.insert(id.clone(), body);
    }
    send(told);
    Ok(Json(json!({"subscribeId": id, "errorCode": {"code": 200}})))
}

async fn unsubscribe(State(inner): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    log(&inner, "unsubscribe", &body)?;
    inner.lock().subscriptions.remove(&text(&body["subscriptionId"]));
    Ok(Json(json!({"subscriptionId": body["subscriptionId"], "statusCode": {"code": 200}})))
}
