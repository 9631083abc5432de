//! Discovery and a broker behind one address; also as upstream's, which gives subscriptions its own ids and names entities only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Default)]
pub struct Book {
    pub upstream: bool,
    pub subscriptions: BTreeMap<String, Value>,
    /// id -> (type, metadata)
    pub entities: BTreeMap<String, (String, Value)>,
    pub queries: usize,
    /// What the master published at the broker: id -> element.
    pub published: BTreeMap<String, Value>,
    /// Where entities are said to be.
    pub provider: String,
    counter: usize,
}

#[derive(Clone)]
pub struct FakeDiscovery {
    pub address: SocketAddr,
    pub book: Arc<Mutex<Book>>,
}

type Shared = State<Arc<Mutex<Book>>>;

impl FakeDiscovery {
    pub async fn start(upstream: bool) -> Self {
        let book = Arc::new(Mutex::new(Book { upstream, ..Book::default() }));
        let router = Router::new()
            .route("/ngsi9/subscribeContextAvailability", post(subscribe))
            .route("/ngsi9/unsubscribeContextAvailability", post(unsubscribe))
            .route("/ngsi9/discoverContextAvailability", post(discover))
            .route("/ngsi9/subscription", get(async |State(book): Shared| Json(json!(book.lock().subscriptions))))
            .route("/ngsi9/subscription/{id}", get(subscription))
            .route("/ngsi10/queryContext", post(query))
            .route("/ngsi10/updateContext", post(update));
        let address = super::serve(router.with_state(book.clone())).await;
        book.lock().provider = format!("http://{address}/ngsi10");
        FakeDiscovery { address, book }
    }

    /// An entity appears or changes, at a place if one is given.
    pub async fn put(&self, id: &str, entity_type: &str, place: Option<(f64, f64)>) {
        let metadata = place.map_or(
            json!([]),
            |(latitude, longitude)| json!([{"name": "location", "type": "point", "value": {"latitude": latitude, "longitude": longitude}}]),
        );
        self.book.lock().entities.insert(id.to_owned(), (entity_type.to_owned(), metadata));
        self.notify(301, id, entity_type).await;
    }

    pub async fn delete(&self, id: &str) {
        let removed = self.book.lock().entities.remove(id);
        if let Some((entity_type, _)) = removed {
            self.notify(410, id, &entity_type).await;
        }
    }

    async fn notify(&self, code: u16, id: &str, entity_type: &str) {
        let bodies: Vec<(String, Value)> = {
            let book = self.book.lock();
            let watches = |subscription: &Value| subscription["entities"][0]["type"] == *entity_type;
            book.subscriptions
                .iter()
                .filter(|(_, subscription)| watches(subscription))
                .map(|(sid, subscription)| {
                    let element = book
                        .entities
                        .get(id)
                        .map_or_else(|| book.element(id, entity_type, &json!([])), |(_, metadata)| book.element(id, entity_type, metadata));
                    (
                        subscription["reference"].as_str().unwrap().to_owned(),
                        json!({"subscribeId": sid, "contextRegistrationResponses": [element], "errorCode": {"code": code}}),
                    )
                })
                .collect()
        };
        for (reference, body) in bodies {
            deliver(&reference, &body).await;
        }
    }
}

fn client() -> &'static reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap())
}

/// As discovery does: until `responseCode.code` is 200.
pub async fn deliver(reference: &str, body: &Value) {
    for _ in 0..50 {
        if let Ok(answer) = client().post(reference).json(body).send().await
            && let Ok(answer) = answer.json::<Value>().await
            && answer["responseCode"]["code"] == 200
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

impl Book {
    fn element(&self, id: &str, entity_type: &str, metadata: &Value) -> Value {
        let mut registration = json!({"entities": [{"id": id, "type": entity_type}], "providingApplication": self.provider});
        if !self.upstream {
            registration["contextMetadata"] = metadata.clone();
            registration["brokerId"] = json!("Broker.001");
        }
        json!({"contextRegistration": registration, "errorCode": {"code": 200}})
    }

    fn matches(&self, request: &Value) -> Vec<Value> {
        let wanted = request["entities"][0]["type"].as_str().unwrap();
        self.entities
            .iter()
            .filter(|(_, (kind, _))| kind == wanted)
            .map(|(id, (kind, metadata))| self.element(id, kind, metadata))
            .collect()
    }
}

async fn subscribe(State(book): Shared, Json(request): Json<Value>) -> Json<Value> {
    let (id, reference, notification) = {
        let mut book = book.lock();
        book.counter += 1;
        let id = if book.upstream { format!("upstream-{}", book.counter) } else { request["subscriptionId"].as_str().unwrap().to_owned() };
        book.subscriptions.insert(id.clone(), request.clone());
        let found = book.matches(&request);
        let mut notification = json!({"subscribeId": id, "contextRegistrationResponses": found, "errorCode": {"code": 201}});
        if !book.upstream {
            notification["snapshot"] = json!("whole");
        }
        let silent = book.upstream && found.is_empty();
        (id, request["reference"].as_str().unwrap().to_owned(), (!silent).then_some(notification))
    };
    if let Some(notification) = notification {
        tokio::spawn(async move { deliver(&reference, &notification).await });
    }
    Json(json!({"subscribeId": id, "errorCode": {"code": 200}}))
}

async fn unsubscribe(State(book): Shared, Json(request): Json<Value>) -> Json<Value> {
    book.lock().subscriptions.remove(request["subscriptionId"].as_str().unwrap());
    Json(json!({"subscriptionId": request["subscriptionId"], "statusCode": {"code": 200}}))
}

async fn discover(State(book): Shared, Json(request): Json<Value>) -> Json<Value> {
    Json(json!({"contextRegistrationResponses": book.lock().matches(&request), "errorCode": {"code": 200}}))
}

async fn subscription(State(book): Shared, Path(id): Path<String>) -> StatusCode {
    assert!(!book.lock().upstream, "upstream's discovery dies of this request");
    if book.lock().subscriptions.contains_key(&id) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn query(State(book): Shared, Json(request): Json<Value>) -> Json<Value> {
    let mut book = book.lock();
    book.queries += 1;
    let id = request["entities"][0]["id"].as_str().unwrap_or_default();
    let found: Vec<Value> = book
        .entities
        .get(id)
        .map(|(kind, metadata)| json!({"contextElement": {"entityId": {"id": id, "type": kind}, "attributes": [], "domainMetadata": metadata}, "statusCode": {"code": 200}}))
        .into_iter()
        .collect();
    Json(json!({"contextResponses": found}))
}

async fn update(State(book): Shared, Json(request): Json<Value>) -> Json<Value> {
    let mut book = book.lock();
    for element in request["contextElements"].as_array().unwrap() {
        let id = element["entityId"]["id"].as_str().unwrap().to_owned();
        if request["updateAction"] == "DELETE" {
            book.published.remove(&id);
        } else {
            book.published.insert(id, element.clone());
        }
    }
    Json(json!({"contextResponses": []}))
}
