//! `Fiware-ServicePath` from the update to the task: an id on two paths is two entities for everybody.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use fogflow_tests::tasks::{in_state, register_function, tasks_when};
use fogflow_tests::{Http, Sink, Site, http, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Publishes all that this instance was ever told, under an id that its first value makes.
const REMEMBER: &str = r#"
seen = []

def handleEntity(entity, publish):
    value = entity["attributes"].get("value", {}).get("value")
    if value is None or value in seen:
        return
    seen.append(value)
    publish({"entityId": {"id": "Seen.%d" % seen[0], "type": "Echo"},
             "attributes": {"values": {"type": "string", "value": " ".join("%d" % one for one in seen)}}, "metadata": {}})
"#;

const ID: &str = "Thing.1";
const ANY: Option<&str> = None;

/// A broker, asked under a service path or without that header.
struct Broker {
    http: Http,
    url: String,
}

impl Broker {
    fn of(site: &Site) -> Self {
        Broker { http: Http::new(), url: site.url("broker") }
    }

    async fn call(&self, method: Method, path: Option<&str>, route: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let headers: Vec<(&str, &str)> = path.map(|path| ("Fiware-ServicePath", path)).into_iter().collect();
        let body = body.map(|body| body.to_string().into_bytes());
        self.http.send(method, &format!("{}{route}", self.url), &headers, body).await.unwrap()
    }

    async fn update(&self, path: &str, value: u64) {
        let update = http::update(ID, "Thing", &[("value", json!(value))]);
        let (status, answer) = self.call(Method::POST, Some(path), "/ngsi10/updateContext", Some(&update)).await;
        assert!(status == StatusCode::OK && http::acknowledged(&answer), "{path}: {status} {answer}");
    }

    async fn delete(&self, path: &str) {
        let (status, answer) = self.call(Method::DELETE, Some(path), &format!("/ngsi10/entity/{ID}"), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }

    async fn subscribe(&self, path: Option<&str>, sink: &Sink) {
        let subscription = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ".*"}], "reference": sink.url()});
        let (status, answer) = self.call(Method::POST, path, "/ngsi10/subscribeContext", Some(&subscription)).await;
        assert!(status == StatusCode::OK && answer["subscribeResponse"]["subscriptionId"].is_string(), "{status} {answer}");
    }

    /// The values that a query under this path finds, by each of the three faces, which have to agree.
    async fn values(&self, path: Option<&str>) -> Vec<u64> {
        let query = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ".*"}]});
        let (_, v1) = self.call(Method::POST, path, "/ngsi10/queryContext", Some(&query)).await;
        let v1 = sorted(&v1["contextResponses"], |found| &found["contextElement"]["attributes"][0]["value"]);
        let (_, v2) = self.call(Method::GET, path, "/v2/entities?type=Thing&options=keyValues", None).await;
        assert_eq!(sorted(&v2, |found| &found["value"]), v1, "NGSIv2 beside NGSI v1 under {path:?}");
        let (_, ld) = self.call(Method::GET, path, "/ngsi-ld/v1/entities?type=Thing&options=keyValues", None).await;
        assert_eq!(sorted(&ld, |found| &found["value"]), v1, "NGSI-LD beside NGSI v1 under {path:?}");
        v1
    }
}

fn sorted(list: &Value, value: impl Fn(&Value) -> &Value) -> Vec<u64> {
    let mut values: Vec<u64> = list.as_array().into_iter().flatten().filter_map(|found| value(found).as_u64()).collect();
    values.sort_unstable();
    values
}

/// The values that a subscriber was told, each once, in order.
fn told(sink: &Sink) -> Vec<u64> {
    let mut values: Vec<u64> = sink.values(ID, "value").iter().filter_map(Value::as_u64).collect();
    values.dedup();
    values
}

#[tokio::test]
async fn an_entity_is_seen_and_told_of_under_its_own_path_and_those_that_are_asked_with_all_below() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let broker = Broker::of(&site);
    let paths = ["/a", "/b", "/a/deep", "/ab"];
    for (path, value) in paths.into_iter().zip(1..) {
        broker.update(path, value).await;
    }
    let scopes: [(Option<&str>, &[u64]); 8] = [
        (Some("/a"), &[1]),
        (Some("/b"), &[2]),
        (Some("/a/deep"), &[3]),
        (Some("/a/#"), &[1, 3]),
        (Some("/#"), &[1, 2, 3, 4]),
        (ANY, &[1, 2, 3, 4]),
        (Some("/"), &[]),
        (Some("/c"), &[]),
    ];
    let mut sinks = BTreeMap::new();
    for (path, expected) in scopes {
        assert_eq!(broker.values(path).await, expected, "under {path:?}");
        let sink = Sink::start().await;
        broker.subscribe(path, &sink).await;
        sinks.insert(path, sink);
    }
    let (status, answer) = broker.call(Method::GET, Some("/b"), &format!("/ngsi10/entity/{ID}/value"), None).await;
    assert!(status == StatusCode::OK && answer["value"] == 2, "{status} {answer}");
    let (status, answer) = broker.call(Method::GET, Some("/c"), &format!("/ngsi10/entity/{ID}"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");

    // A round of changes. What is below `/a` comes last, so whoever is told of it by mistake of another was told before.
    for (path, value) in [("/b", 12), ("/ab", 14), ("/a/deep", 13), ("/a", 11)] {
        broker.update(path, value).await;
    }
    for (path, first) in scopes {
        let expected: Vec<u64> = first.iter().flat_map(|value| [*value, value + 10]).collect();
        wait_for(&format!("{expected:?} at the subscriber to {path:?}"), Duration::from_secs(10), async || {
            let mut values = told(&sinks[&path]);
            values.sort_unstable_by_key(|value| (value % 10, *value));
            if values == expected { Ok(()) } else { Err(format!("{values:?}")) }
        })
        .await;
    }

    broker.delete("/a").await;
    assert_eq!(broker.values(Some("/a")).await, Vec::<u64>::new());
    assert_eq!(broker.values(Some("/#")).await, [12, 13, 14]);
}

#[tokio::test]
async fn a_function_has_an_instance_for_each_path_of_an_id_which_gets_what_is_of_that_path_only() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let broker = Broker::of(&site);
    register_function(&site, "remember", "Thing", REMEMBER, json!({})).await;
    let seen = async |first: u64, expected: &str| {
        let route = format!("/ngsi10/entity/Seen.{first}/values");
        wait_for(&format!("Seen.{first} = {expected}"), Duration::from_secs(30), async || {
            let (_, answer) = broker.call(Method::GET, ANY, &route, None).await;
            if answer["value"] == expected { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    };
    broker.update("/a", 10).await;
    broker.update("/b", 20).await;
    tasks_when(&site, "two running tasks", Duration::from_secs(30), |rows| in_state(rows, "running") == 2).await;
    seen(10, "10").await;
    seen(20, "20").await;
    broker.update("/b", 21).await;
    broker.update("/a", 11).await;
    seen(10, "10 11").await;
    seen(20, "20 21").await;

    broker.delete("/a").await;
    tasks_when(&site, "the task of /b alone", Duration::from_secs(20), |rows| rows.len() == 1 && in_state(rows, "running") == 1).await;
    broker.update("/b", 22).await;
    seen(20, "20 21 22").await;
    broker.delete("/b").await;
    tasks_when(&site, "no task", Duration::from_secs(20), <[Value]>::is_empty).await;
    let (_, all) = broker.call(Method::GET, ANY, "/v2/entities?type=Echo&options=keyValues", None).await;
    let ids: Vec<&str> = all.as_array().unwrap().iter().filter_map(|entity| entity["id"].as_str()).collect();
    assert!(ids.iter().all(|id| ["Seen.10", "Seen.20"].contains(id)), "an instance began with what is not its own: {all}");
}
