//! The designer as the master sees it; also as upstream's, which has no internal routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fogflow_orchestration::{
    GeoScope, InputSelector, LeaseReply, LeaseRequest, MasterReport, Operator, OutputSelector, RegistrySnapshot, ServiceIntent, Task,
    Topology,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Default)]
pub struct Book {
    pub registry: RegistrySnapshot,
    pub reports: Vec<MasterReport>,
    pub lease: Option<(String, u64, Instant)>,
    pub epoch: u64,
    pub is_down: bool,
}

#[derive(Clone)]
pub struct FakeDesigner {
    pub address: SocketAddr,
    pub book: Arc<Mutex<Book>>,
}

type Shared = State<Arc<Mutex<Book>>>;

impl FakeDesigner {
    pub async fn start(upstream: bool) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let router = if upstream {
            Router::new()
                .route("/intent", get(async |State(book): Shared| Json(by_id(&book.lock().registry.intents))))
                .route("/fogfunction", get(async || Json(json!({}))))
                .route("/topology/{name}", get(topology))
        } else {
            Router::new()
                .route("/internal/registry", get(async |State(book): Shared| Json(book.lock().registry.clone())))
                .route("/internal/lease/{name}", post(lease).delete(release))
                .route("/internal/report", post(report))
        };
        let address = super::serve(router.with_state(book.clone())).await;
        FakeDesigner { address, book }
    }

    /// Registers an operator with an image, a topology of one task `main` that reads `inputs` and writes `Out`, and one intent.
    pub fn register(&self, topology: &str, inputs: &[(&str, &str)], intent: &str) {
        let operator = Operator {
            name: format!("{topology}-operator"),
            dockerimages: vec![fogflow_orchestration::DockerImage {
                name: "fogflow/dummy".to_owned(),
                tag: "latest".to_owned(),
                ..Default::default()
            }],
            ..Operator::default()
        };
        let input = |(kind, groupby): &(&str, &str)| InputSelector {
            selected_type: (*kind).to_owned(),
            groupby: (*groupby).to_owned(),
            ..InputSelector::default()
        };
        let task = Task {
            name: "main".to_owned(),
            operator: operator.name.clone(),
            input_streams: inputs.iter().map(input).collect(),
            output_streams: vec![OutputSelector { entity_type: "Out".to_owned() }],
        };
        let mut book = self.book.lock();
        book.registry.operators.push(operator);
        book.registry.topologies.push(Topology { name: topology.to_owned(), tasks: vec![task], ..Topology::default() });
        book.registry.intents.push(intent_for(intent, topology));
        book.registry.generation += 1;
    }

    pub fn change(&self, change: impl FnOnce(&mut RegistrySnapshot)) {
        let mut book = self.book.lock();
        change(&mut book.registry);
        book.registry.generation += 1;
    }
}

pub fn intent_for(id: &str, topology: &str) -> ServiceIntent {
    ServiceIntent { id: id.to_owned(), topology: topology.to_owned(), geoscope: GeoScope::default(), ..ServiceIntent::default() }
}

fn by_id(intents: &[ServiceIntent]) -> Value {
    intents.iter().map(|intent| (intent.id.clone(), serde_json::to_value(intent).unwrap())).collect()
}

async fn topology(State(book): Shared, Path(name): Path<String>) -> Json<Value> {
    let book = book.lock();
    let Some(topology) = book.registry.topologies.iter().find(|topology| topology.name == name) else { return Json(json!({})) };
    let operators = book
        .registry
        .operators
        .iter()
        .filter(|operator| topology.tasks.iter().any(|task| task.operator == operator.name))
        .cloned()
        .collect();
    Json(serde_json::to_value(Topology { operators, ..topology.clone() }).unwrap())
}

async fn lease(State(book): Shared, Json(request): Json<LeaseRequest>) -> Response {
    let mut book = book.lock();
    if book.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let now = Instant::now();
    let until = now + Duration::from_millis(request.ttl_ms);
    let reply = match book.lease.clone().filter(|(_, _, ends)| *ends > now) {
        Some((holder, epoch, _)) if holder == request.holder => {
            book.lease = Some((holder.clone(), epoch, until));
            LeaseReply { granted: true, holder, epoch }
        }
        Some((holder, epoch, _)) => LeaseReply { granted: false, holder, epoch },
        None => {
            book.epoch += 1;
            book.lease = Some((request.holder.clone(), book.epoch, until));
            LeaseReply { granted: true, holder: request.holder, epoch: book.epoch }
        }
    };
    Json(reply).into_response()
}

async fn release(State(book): Shared, axum::extract::RawQuery(query): axum::extract::RawQuery) -> StatusCode {
    let mut book = book.lock();
    let holder = query.unwrap_or_default().replace("holder=", "").replace("%2F", "/");
    if book.lease.as_ref().is_some_and(|(held, _, _)| *held == holder) {
        book.lease = None;
    }
    StatusCode::NO_CONTENT
}

async fn report(State(book): Shared, Json(report): Json<MasterReport>) -> StatusCode {
    let mut book = book.lock();
    if report.epoch < book.epoch {
        return StatusCode::CONFLICT;
    }
    book.reports.push(report);
    StatusCode::OK
}
