//! A broker that keeps subscriptions and updates, and can be switched off.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{client, eventually};

/// A subscription as it was asked for.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub body: Value,
    pub headers: BTreeMap<String, String>,
    pub ld: bool,
}

impl Subscription {
    /// The entity id that it is about.
    pub fn entity(&self) -> &str {
        self.body["entities"][0]["id"].as_str().unwrap_or_default()
    }

    /// Where its notifications go, without `/notifyContext`.
    pub fn reference(&self) -> String {
        let uri = if self.ld { &self.body["notification"]["endpoint"]["uri"] } else { &self.body["reference"] };
        uri.as_str().unwrap().trim_end_matches("/notifyContext").to_owned()
    }
}

#[derive(Default)]
pub struct Kept {
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Action, tenant and element of each update.
    pub updates: Vec<(String, String, Value)>,
    pub down: bool,
    count: usize,
}

type Shared = Arc<Mutex<Kept>>;

pub struct FakeBroker {
    pub url: String,
    pub address: SocketAddr,
    pub kept: Shared,
}

impl FakeBroker {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(address: &str) -> Self {
        let kept = Shared::default();
        let router = Router::new()
            .route("/ngsi10/subscribeContext", post(subscribe))
            .route("/ngsi10/subscription/{id}", get(subscription))
            .route("/ngsi10/unsubscribeContext", post(unsubscribe))
            .route("/ngsi10/updateContext", post(update))
            .route("/ngsi-ld/v1/subscriptions", post(subscribe_ld))
            .route("/ngsi-ld/v1/subscriptions/{id}", delete(unsubscribe_ld))
            .with_state(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        FakeBroker { url: format!("http://127.0.0.1:{}/ngsi10", address.port()), address, kept }
    }

    pub fn set_down(&self, down: bool) {
        self.kept.lock().down = down;
    }

    pub fn subscriptions(&self) -> BTreeMap<String, Subscription> {
        self.kept.lock().subscriptions.clone()
    }

    /// Waits until exactly these entities are subscribed, in order.
    pub async fn until_subscribed(&self, entities: &[&str]) -> BTreeMap<String, Subscription> {
        eventually(&format!("subscribed: {entities:?}"), || {
            let subscriptions = self.subscriptions();
            let mut found: Vec<&str> = subscriptions.values().map(Subscription::entity).collect();
            found.sort_unstable();
            if found == entities { Ok(subscriptions.clone()) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    /// Entities of updates with this action.
    pub fn updated(&self, action: &str) -> Vec<Value> {
        self.kept.lock().updates.iter().filter(|(kind, ..)| kind == action).map(|(_, _, element)| element.clone()).collect()
    }

    pub fn deleted(&self) -> Vec<String> {
        self.updated("DELETE").iter().map(|element| element["entityId"]["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a notification to where a subscription says; the status of the answer.
    pub async fn notify(&self, subscription: &Subscription, entity: &str, temperature: f64) -> u16 {
        self.try_notify(subscription, entity, temperature).await.unwrap()
    }

    /// [`FakeBroker::notify`], once, where the task may not be reached yet.
    pub async fn try_notify(&self, subscription: &Subscription, entity: &str, temperature: f64) -> Result<u16, reqwest::Error> {
        let body = json!({"subscriptionId": "1", "originator": "", "contextResponses": [{
            "contextElement": {"entityId": {"type": "Temperature", "id": entity}, "attributes": [{"name": "temp", "type": "float", "value": temperature}]},
            "statusCode": {"code": 200, "reasonPhrase": "OK"}}]});
        let url = format!("{}/notifyContext", subscription.reference());
        Ok(client().post(url).json(&body).send().await?.status().as_u16())
    }

    /// Waits until an entity of this id was published; its attributes by name.
    pub async fn until_published(&self, id: &str) -> BTreeMap<String, Value> {
        eventually(&format!("{id} is published"), || {
            let updates = self.updated("UPDATE");
            let element = updates.iter().rev().find(|element| element["entityId"]["id"] == id).ok_or_else(|| format!("{updates:?}"))?;
            let attributes = element["attributes"].as_array().cloned().unwrap_or_default();
            Ok(attributes
                .into_iter()
                .map(|attribute| (attribute["name"].as_str().unwrap().to_owned(), attribute["value"].clone()))
                .collect())
        })
        .await
    }
}

fn headers(map: &HeaderMap) -> BTreeMap<String, String> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())).collect()
}

async fn subscribe(State(kept): State<Shared>, map: HeaderMap, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let mut kept = kept.lock();
    if kept.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    kept.count += 1;
    let id = format!("sub-{}", kept.count);
    kept.subscriptions.insert(id.clone(), Subscription { body, headers: headers(&map), ld: false });
    Ok(Json(json!({"subscribeResponse": {"subscriptionId": id}, "subscribeError": {"errorCode": {"code": 200}}})))
}

async fn subscription(State(kept): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    let kept = kept.lock();
    if kept.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    kept.subscriptions.get(&id).map(|subscription| Json(subscription.body.clone())).ok_or(StatusCode::NOT_FOUND)
}

async fn unsubscribe(State(kept): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let mut kept = kept.lock();
    if kept.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    kept.subscriptions.remove(body["subscriptionId"].as_str().unwrap());
    Ok(Json(json!({"subscriptionId": body["subscriptionId"], "statusCode": {"code": 200}})))
}

async fn update(State(kept): State<Shared>, map: HeaderMap, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let mut kept = kept.lock();
    if kept.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let action = body["updateAction"].as_str().unwrap().to_owned();
    let tenant = headers(&map).get("fiware-service").cloned().unwrap_or_default();
    for element in body["contextElements"].as_array().unwrap() {
        kept.updates.push((action.clone(), tenant.clone(), element.clone()));
    }
    Ok(Json(json!({"contextResponses": [], "errorCode": {"code": 200}})))
}

async fn subscribe_ld(State(kept): State<Shared>, map: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let id = body["id"].as_str().unwrap().to_owned();
    kept.lock().subscriptions.insert(id, Subscription { body, headers: headers(&map), ld: true });
    StatusCode::CREATED
}

async fn unsubscribe_ld(State(kept): State<Shared>, Path(id): Path<String>) -> StatusCode {
    match kept.lock().subscriptions.remove(&id) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}
