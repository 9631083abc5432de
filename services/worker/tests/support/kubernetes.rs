//! An API server in this process: objects with versions, server-side apply, watches, preconditions and garbage collection
//! by owner, and a kubelet that has every pod running at once.

#![allow(unreachable_pub, reason = "a module of a test")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

pub const NAMESPACE: &str = "tasks";

/// A change, as watches tell it. Objects are kept as text: thousands of them must not weigh.
#[derive(Clone)]
struct Change {
    version: u64,
    plural: String,
    kind: &'static str,
    object: Arc<str>,
}

#[derive(Default)]
struct Store {
    version: u64,
    objects: BTreeMap<(String, String), Arc<str>>,
    changes: Vec<Change>,
    /// Method, plural and name of each request but watches, and when it came.
    requests: Vec<(Instant, String)>,
    /// The next requests that write are answered with this status.
    refusals: Vec<u16>,
}

#[derive(Clone)]
pub struct FakeApi {
    store: Arc<Mutex<Store>>,
    version: watch::Sender<u64>,
    pub url: String,
}

type Parameters = BTreeMap<String, String>;

impl FakeApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = FakeApi { store: Arc::default(), version: watch::Sender::new(0), url };
        let router = Router::new().fallback(handle).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        api
    }

    /// A kubeconfig for this server, in `directory`.
    pub fn kubeconfig(&self, directory: &std::path::Path) -> PathBuf {
        let path = directory.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": NAMESPACE}}],
            "users": [{"name": "fake", "user": {}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// All objects of a kind, by name.
    pub fn all(&self, plural: &str) -> BTreeMap<String, Value> {
        let store = self.store.lock();
        let found = store.objects.iter().filter(|((kind, _), _)| kind == plural);
        found.map(|((_, name), text)| (name.clone(), serde_json::from_str(text).unwrap())).collect()
    }

    /// Requests so far that begin with this, for example `PATCH deployments`.
    pub fn count(&self, begin: &str) -> usize {
        self.store.lock().requests.iter().filter(|(_, request)| request.starts_with(begin)).count()
    }

    /// When each request came.
    pub fn times(&self) -> Vec<Instant> {
        self.store.lock().requests.iter().map(|(at, _)| *at).collect()
    }

    /// Answers the next requests that write with these statuses.
    pub fn refuse(&self, statuses: &[u16]) {
        self.store.lock().refusals.extend_from_slice(statuses);
    }

    /// Puts an object there, as somebody else would.
    pub fn put(&self, plural: &str, object: Value) {
        self.store.lock().put(plural, object);
        self.tell();
    }

    pub fn delete(&self, plural: &str, name: &str) {
        self.store.lock().delete(plural, name);
        self.tell();
    }

    fn tell(&self) {
        self.version.send_replace(self.store.lock().version);
    }
}

impl Store {
    fn get(&self, plural: &str, name: &str) -> Option<Value> {
        self.objects.get(&(plural.to_owned(), name.to_owned())).map(|text| serde_json::from_str(text).unwrap())
    }

    fn put(&mut self, plural: &str, mut object: Value) -> Value {
        self.version += 1;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let before = self.get(plural, &name);
        let uid = before.as_ref().map_or_else(|| json!(uuid::Uuid::new_v4().to_string()), |before| before["metadata"]["uid"].clone());
        let metadata = &mut object["metadata"];
        metadata["uid"] = uid;
        metadata["namespace"] = json!(NAMESPACE);
        metadata["creationTimestamp"] = json!(jiff::Timestamp::from_second(1_700_000_000 + self.version as i64).unwrap().to_string());
        metadata["resourceVersion"] = json!(self.version.to_string());
        if plural == "services" {
            object["spec"]["clusterIP"] = json!("127.0.0.1");
        }
        let text: Arc<str> = object.to_string().into();
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.changes.push(Change { version: self.version, plural: plural.to_owned(), kind, object: Arc::clone(&text) });
        self.objects.insert((plural.to_owned(), name), text);
        if plural == "deployments" {
            self.run(&object);
        }
        object
    }

    /// What the controllers and a kubelet do about a Deployment.
    fn run(&mut self, deployment: &Value) {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let template = &deployment["spec"]["template"];
        let old: Vec<String> =
            self.objects.keys().filter(|(kind, pod)| kind == "pods" && pod.starts_with(name)).map(|key| key.1.clone()).collect();
        for pod in old {
            if self.get("pods", &pod).unwrap()["metadata"]["annotations"] == template["metadata"]["annotations"] {
                return;
            }
            self.delete("pods", &pod);
        }
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(format!("{name}-0-{}", self.version));
        pod["metadata"]["ownerReferences"] = json!([{"uid": deployment["metadata"]["uid"]}]);
        pod["spec"]["nodeName"] = json!("node1");
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": 0, "state": {"running": {}}}]});
        self.put("pods", pod);
    }

    fn delete(&mut self, plural: &str, name: &str) {
        let Some(text) = self.objects.remove(&(plural.to_owned(), name.to_owned())) else { return };
        self.version += 1;
        let mut object: Value = serde_json::from_str(&text).unwrap();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.changes.push(Change { version: self.version, plural: plural.to_owned(), kind: "DELETED", object: object.to_string().into() });
        let uid = object["metadata"]["uid"].as_str().unwrap();
        let owned: Vec<(String, String)> = self.objects.iter().filter(|(_, text)| text.contains(uid)).map(|(key, _)| key.clone()).collect();
        for (plural, name) in owned {
            let owners = self.get(&plural, &name).map(|object| object["metadata"]["ownerReferences"].clone()).unwrap_or_default();
            if owners.as_array().is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid)) {
                self.delete(&plural, &name);
            }
        }
        if plural == "pods" {
            let owner = object["metadata"]["ownerReferences"][0]["uid"].clone();
            let deployments = self.objects.iter().filter(|((kind, _), _)| kind == "deployments");
            let mut parsed = deployments.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap());
            let found = parsed.find(|deployment| deployment["metadata"]["uid"] == owner);
            drop(parsed);
            if let Some(deployment) = found {
                self.run(&deployment);
            }
        }
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

/// Whether an object has the labels that a selector of equalities asks for.
fn selected(object: &Value, selector: Option<&String>) -> bool {
    selector.is_none_or(|selector| {
        selector.split(',').filter_map(|part| part.split_once('=')).all(|(name, value)| object["metadata"]["labels"][name] == value)
    })
}

async fn handle(State(api): State<FakeApi>, method: Method, uri: Uri, Query(parameters): Query<Parameters>, body: Bytes) -> Response {
    let path: Vec<&str> = uri.path().split('/').skip_while(|part| *part != "namespaces").skip(2).collect();
    let (Some(plural), name) = (path.first().copied(), path.get(1).copied()) else { return failure(404, "NotFound", uri.path()) };
    if parameters.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        return watched(api, plural.to_owned(), &parameters);
    }
    let response = {
        let mut store = api.store.lock();
        store.requests.push((Instant::now(), format!("{method} {plural} {}", name.unwrap_or_default())));
        if method != Method::GET && plural != "leases" && !store.refusals.is_empty() {
            let code = store.refusals.remove(0);
            return failure(code, "Refused", "refused by the test");
        }
        respond(&mut store, &method, plural, name, &parameters, &body)
    };
    api.tell();
    response
}

fn respond(store: &mut Store, method: &Method, plural: &str, name: Option<&str>, parameters: &Parameters, body: &Bytes) -> Response {
    let sent = || serde_json::from_slice::<Value>(body).unwrap();
    let Some(name) = name else {
        if *method == Method::POST {
            let object = sent();
            if store.get(plural, object["metadata"]["name"].as_str().unwrap()).is_some() {
                return failure(409, "AlreadyExists", "it is there");
            }
            return axum::Json(store.put(plural, object)).into_response();
        }
        let limit = parameters.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let after = parameters.get("continue").cloned().unwrap_or_default();
        let mut items: Vec<Value> = store
            .objects
            .iter()
            .filter(|((kind, name), _)| kind == plural && *name > after)
            .map(|(_, text)| serde_json::from_str(text).unwrap())
            .filter(|object| selected(object, parameters.get("labelSelector")))
            .take(limit.saturating_add(1))
            .collect();
        let more = (items.len() > limit).then(|| {
            items.truncate(limit);
            items.last().unwrap()["metadata"]["name"].clone()
        });
        let metadata = json!({"resourceVersion": store.version.to_string(), "continue": more.unwrap_or(json!(""))});
        return axum::Json(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})).into_response();
    };
    let present = store.get(plural, name);
    match *method {
        Method::GET => present.map_or_else(|| failure(404, "NotFound", name), |object| axum::Json(object).into_response()),
        Method::PUT => {
            let object = sent();
            let version = present.map(|present| present["metadata"]["resourceVersion"].clone());
            if version.as_ref() != Some(&object["metadata"]["resourceVersion"]) {
                return failure(409, "Conflict", "another version");
            }
            axum::Json(store.put(plural, object)).into_response()
        }
        // A merge has no `force`; it must find something.
        Method::PATCH if !parameters.contains_key("force") => match present {
            None => failure(404, "NotFound", name),
            Some(mut object) => {
                for (key, value) in sent()["data"].as_object().unwrap() {
                    object["data"][key] = value.clone();
                }
                axum::Json(store.put(plural, object)).into_response()
            }
        },
        Method::PATCH => {
            let mut object = sent();
            assert!(parameters.contains_key("fieldManager"), "an apply names its field manager");
            // What another manager set stays.
            if let Some(subscriptions) = present.and_then(|present| present["data"].get("subscriptions.json").cloned()) {
                object["data"]["subscriptions.json"] = subscriptions;
            }
            axum::Json(store.put(plural, object)).into_response()
        }
        Method::DELETE => {
            let Some(present) = present else { return failure(404, "NotFound", name) };
            let wanted = serde_json::from_slice::<Value>(body).unwrap_or_default()["preconditions"]["resourceVersion"].clone();
            if !wanted.is_null() && wanted != present["metadata"]["resourceVersion"] {
                return failure(409, "Conflict", "another version");
            }
            store.delete(plural, name);
            axum::Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200})).into_response()
        }
        _ => failure(405, "MethodNotAllowed", method.as_str()),
    }
}

/// Everything after the version that the caller has, until its time is over.
fn watched(api: FakeApi, plural: String, parameters: &Parameters) -> Response {
    let since: u64 = parameters.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let seconds = parameters.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(30);
    let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let selector = parameters.get("labelSelector").cloned();
    let version = api.version.subscribe();
    let lines = futures::stream::unfold((api, version, since), move |(api, mut version, since)| {
        let (plural, selector) = (plural.clone(), selector.clone());
        async move {
            loop {
                let (text, newest) = {
                    let store = api.store.lock();
                    let first = store.changes.partition_point(|change| change.version <= since);
                    let mut text = String::new();
                    for change in store.changes[first..].iter().filter(|change| change.plural == plural) {
                        if selected(&serde_json::from_str(&change.object).unwrap(), selector.as_ref()) {
                            text.push_str(&format!("{{\"type\":\"{}\",\"object\":{}}}\n", change.kind, change.object));
                        }
                    }
                    (text, store.version)
                };
                if !text.is_empty() {
                    return Some((Ok::<_, Infallible>(Bytes::from(text)), (api, version, newest)));
                }
                if tokio::time::timeout_at(end, version.changed()).await.is_err() {
                    return None;
                }
            }
        }
    });
    Body::from_stream(lines).into_response()
}
