//! A stand-in for Dgraph that understands the requests of the adapter and nothing else: transactions with conflicts
//! (409), filters, order and pages. It proves the adapter's logic, not that a real server reads its queries as meant;
//! that is for the runs with `DGRAPH_URL`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use parking_lot::Mutex;
use regex::Regex;
use serde_json::{Map, Value, json};

/// `name(func: operator(predicate, value), orderasc: predicate, first: n) @filter(…) { fields }`.
static BLOCK: LazyLock<Regex> = LazyLock::new(|| {
    let text =
        r"(?s)(\w+)\(func: (\w+)\(([\w.]+), (.+?)\)(?:, orderasc: ([\w.]+))?(?:, first: (\d+))?\)\s*(?:@filter\((.*?\))\)\s*)?\{([^}]*)\}";
    Regex::new(text).unwrap()
});
/// `operator(predicate, value)`.
static FILTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)(\w+)\(([\w.]+), (.+?)\)(?: AND |$)").unwrap());

type Node = Map<String, Value>;

#[derive(Default)]
struct Server {
    nodes: BTreeMap<u64, Node>,
    schema: BTreeMap<String, String>,
    clock: u64,
    /// When something was last written that two transactions must not both write.
    written: HashMap<String, u64>,
    /// Every so many commits is aborted without a reason, as a busy cluster does.
    commits: u64,
}

type Shared = Arc<Mutex<Server>>;

/// Starts a stand-in and returns its URL.
pub(crate) async fn start() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/alter", post(alter)).route("/query", post(query)).route("/mutate", post(mutate));
    let router = routes.layer(axum::extract::DefaultBodyLimit::disable()).with_state(Shared::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn alter(State(server): State<Shared>, body: String) -> Response {
    for line in body.lines() {
        let (predicate, kind) = line.split_once(": ").unwrap();
        server.lock().schema.insert(predicate.to_owned(), kind.to_owned());
    }
    answer(json!({ "code": "Success" }), 0)
}

async fn query(State(server): State<Shared>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut text = body["query"].as_str().unwrap().to_owned();
    for (name, value) in body["variables"].as_object().unwrap() {
        // In the declaration a colon follows.
        text = text.replace(&format!("{name})"), &format!("{value})"));
    }
    let mut server = server.lock();
    if text.starts_with("schema") {
        let known: Vec<Value> =
            server.schema.keys().filter(|predicate| text.contains(*predicate)).map(|name| json!({ "predicate": name })).collect();
        return answer(json!({ "schema": known }), 0);
    }
    let mut data = Map::new();
    for found in BLOCK.captures_iter(&text) {
        let condition = (&found[2], &found[3], serde_json::from_str::<Value>(&found[4]).unwrap());
        assert!(server.schema[condition.1].contains("@index"), "{} is not indexed", condition.1);
        let mut conditions = vec![condition];
        let filters = found.get(7).map_or("", |filter| filter.as_str()).to_owned();
        for part in FILTER.captures_iter(&filters) {
            let (_, [operator, predicate, value]) = part.extract();
            conditions.push((operator, predicate, serde_json::from_str(value).unwrap()));
        }
        let holds = |node: &Node| {
            conditions.iter().all(|(operator, predicate, value)| node.get(*predicate).is_some_and(|there| compare(operator, there, value)))
        };
        let mut nodes: Vec<(&u64, &Node)> = server.nodes.iter().filter(|(_, node)| holds(node)).collect();
        if let Some(order) = found.get(5) {
            nodes.sort_by(|(_, one), (_, two)| order_of(&one[order.as_str()], &two[order.as_str()]));
        }
        nodes.truncate(found.get(6).map_or(1000, |first| first.as_str().parse().unwrap()));
        let fields: Vec<&str> = found.get(8).unwrap().as_str().split_whitespace().collect();
        let shown = nodes.into_iter().map(|(uid, node)| show(*uid, node, &fields)).collect();
        data.insert(found[1].to_owned(), Value::Array(shown));
    }
    server.clock += 1;
    let start = server.clock;
    answer(Value::Object(data), start)
}

async fn mutate(State(server): State<Shared>, Query(parameters): Query<HashMap<String, String>>, body: String) -> Response {
    assert_eq!(parameters["commitNow"], "true");
    let start: u64 = parameters["startTs"].parse().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut server = server.lock();
    server.commits += 1;
    let mut touched = BTreeSet::new();
    for node in body["set"].as_array().into_iter().chain(body["delete"].as_array()).flatten() {
        for (predicate, value) in node.as_object().unwrap() {
            let uid = node["uid"].as_str().unwrap();
            if predicate != "uid" && !uid.starts_with("_:") {
                touched.insert(format!("{uid} {predicate}"));
            }
            if predicate != "uid" && server.schema.get(predicate).is_some_and(|kind| kind.contains("@upsert")) && !value.is_null() {
                touched.insert(format!("{predicate} {value}"));
            }
        }
    }
    let late = touched.iter().any(|key| server.written.get(key).is_some_and(|at| *at > start));
    if late || server.commits.is_multiple_of(17) {
        let aborted = json!({ "errors": [{ "message": "Transaction has been aborted. Please retry", "extensions": { "code": "Error" } }] });
        return (StatusCode::CONFLICT, aborted.to_string()).into_response();
    }
    server.clock += 1;
    let now = server.clock;
    for key in touched {
        server.written.insert(key, now);
    }
    for node in body["set"].as_array().into_iter().flatten() {
        let uid = match node["uid"].as_str().unwrap().strip_prefix("0x") {
            Some(uid) => u64::from_str_radix(uid, 16).unwrap(),
            None => server.nodes.last_key_value().map_or(1, |(last, _)| last + 1),
        };
        let stored = server.nodes.entry(uid).or_default();
        for (predicate, value) in node.as_object().unwrap().iter().filter(|(predicate, _)| *predicate != "uid") {
            stored.insert(predicate.clone(), value.clone());
        }
    }
    for node in body["delete"].as_array().into_iter().flatten() {
        let uid = u64::from_str_radix(node["uid"].as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap();
        for predicate in node.as_object().unwrap().keys() {
            server.nodes.get_mut(&uid).unwrap().remove(predicate);
        }
    }
    answer(json!({ "code": "Success" }), start)
}

fn answer(data: Value, start: u64) -> Response {
    json!({ "data": data, "extensions": { "txn": { "start_ts": start } } }).to_string().into_response()
}

fn compare(operator: &str, there: &Value, value: &Value) -> bool {
    if let Some(any) = value.as_array() {
        return any.contains(there);
    }
    let order = order_of(there, value);
    match operator {
        "eq" => order.is_eq(),
        "ge" => order.is_ge(),
        "gt" => order.is_gt(),
        "le" => order.is_le(),
        "lt" => order.is_lt(),
        other => panic!("unknown function {other}"),
    }
}

fn order_of(one: &Value, two: &Value) -> std::cmp::Ordering {
    match (one, two) {
        (Value::String(one), Value::String(two)) => one.cmp(two),
        (Value::Bool(one), Value::Bool(two)) => one.cmp(two),
        _ => one.as_i64().cmp(&two.as_i64()),
    }
}

/// The asked fields: `uid`, or `alias: predicate`. What a node does not have is left out, as Dgraph does.
fn show(uid: u64, node: &Node, fields: &[&str]) -> Value {
    let mut shown = Map::new();
    let mut fields = fields.iter();
    while let Some(field) = fields.next() {
        match field.strip_suffix(':') {
            Some(alias) => {
                if let Some(value) = node.get(*fields.next().unwrap()) {
                    shown.insert(alias.to_owned(), value.clone());
                }
            }
            None => drop(shown.insert("uid".to_owned(), json!(format!("{uid:#x}")))),
        }
    }
    Value::Object(shown)
}
