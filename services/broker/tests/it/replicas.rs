//! Several brokers of one site on one store are one broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fogflow_config::Consistency;
use fogflow_store::SharedStore;
use serde_json::{Value, json};

use crate::discovery::Discovery;
use crate::faulty::Faulty;
use crate::harness::{Broker, Options, element, holds, of_type, until, update};
use crate::sink::Sink;

/// Subscriptions enough for every replica to serve some of them.
const SUBSCRIPTIONS: usize = 24;

async fn replica(store: &SharedStore) -> Broker {
    Broker::with(Options { store: Arc::clone(store), replica: true, ..Options::default() }).await
}

async fn pair() -> (SharedStore, Broker, Broker) {
    let store: SharedStore = Faulty::new();
    let (one, two) = (replica(&store).await, replica(&store).await);
    (store, one, two)
}

/// Waits until both serve half of the slots.
async fn both_serve(one: &Broker, two: &Broker) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while slots_of(one).await != 8 || slots_of(two).await != 8 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("slots are not spread over the replicas");
}

/// How many slots a replica serves, by its own metrics.
async fn slots_of(broker: &Broker) -> u64 {
    let text = broker.get("/metrics").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix("fogflow_broker_slots "));
    line.and_then(|value| value.parse::<f64>().ok()).map_or(0, |value| value as u64)
}

/// The values that each subscription was told, in order.
fn told(sink: &Sink) -> BTreeMap<String, Vec<Value>> {
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for one in sink.received() {
        let values = told.entry(one.body["subscriptionId"].as_str().unwrap_or_default().to_owned()).or_default();
        for response in one.body["contextResponses"].as_array().into_iter().flatten() {
            values.push(response["contextElement"]["attributes"][0]["value"].clone());
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_acknowledged_the_next_read_on_another_shows() {
    let (_store, one, two) = pair().await;
    for value in 0..100 {
        let (writer, reader) = if value % 2 == 0 { (&one, &two) } else { (&two, &one) };
        writer.set("e1", "T", "a", value).await;
        let read = reader.get("/ngsi10/entity/e1").await;
        assert_eq!(read.json["attributes"][0]["value"], value, "{}", read.text);
    }
    assert_eq!(one.send("DELETE", "/v2/entities/e1", &[], "").await.status, 204);
    assert_eq!(two.get("/v2/entities/e1").await.status, 404);
    assert_eq!(two.post_with("/v2/entities", &[("content-type", "application/json")], &json!({"id": "e1", "type": "T"})).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_both_replicas_lose_nothing_of_one_entity() {
    let (_store, one, two) = pair().await;
    let write = async |broker: &Broker, name: &str| {
        for number in 0..40 {
            broker.set("e1", "T", &format!("{name}{number}"), number).await;
        }
    };
    tokio::join!(write(&one, "x"), write(&two, "y"), write(&one, "z"));
    for broker in [&one, &two] {
        let read = broker.get("/ngsi10/entity/e1").await;
        assert_eq!(read.json["attributes"].as_array().map(Vec::len), Some(120), "{}", read.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_told_once_and_in_order_whoever_wrote_it_and_whoever_has_the_subscription() {
    let (_store, one, two) = pair().await;
    let sink = Sink::start().await;
    both_serve(&one, &two).await;
    for number in 0..SUBSCRIPTIONS {
        let broker = if number % 2 == 0 { &one } else { &two };
        broker.subscribe(&of_type("T", &sink.url())).await;
    }
    for value in 0..50 {
        let broker = if value % 3 == 0 { &one } else { &two };
        broker.set("e1", "T", "a", value).await;
    }
    let expected: Vec<Value> = (0..50).map(Value::from).collect();
    let all = |sink: &Sink| told(sink).values().map(Vec::len).sum::<usize>();
    until("all notifications", || holds(all(&sink) >= SUBSCRIPTIONS * 50, all(&sink))).await;
    let told = told(&sink);
    assert_eq!(told.len(), SUBSCRIPTIONS);
    for (subscription, values) in &told {
        assert_eq!(*values, expected, "{subscription}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_replica_is_killed_another_tells_what_it_had_to_within_5_s() {
    let (_store, one, two) = pair().await;
    let sink = Sink::start().await;
    both_serve(&one, &two).await;
    for _ in 0..SUBSCRIPTIONS {
        one.subscribe(&of_type("T", &sink.url())).await;
    }
    two.set("e1", "T", "a", 0).await;
    until("the first", || holds(told(&sink).len() == SUBSCRIPTIONS, told(&sink).len())).await;
    one.kill().await;
    let begun = Instant::now();
    for value in 1..=5 {
        two.set("e1", "T", "a", value).await;
    }
    let done = |sink: &Sink| told(sink).values().filter(|values| (1..=5).all(|value| values.contains(&json!(value)))).count();
    until("every change at every subscription", || holds(done(&sink) == SUBSCRIPTIONS, done(&sink))).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    for values in told(&sink).values() {
        let newest = values.iter().rev().take(1).collect::<Vec<_>>();
        assert_eq!(newest, [&json!(5)], "time runs forward");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_hands_everything_over_without_loss_or_repetition() {
    let (store, one, two) = pair().await;
    let sink = Sink::start().await;
    both_serve(&one, &two).await;
    for _ in 0..SUBSCRIPTIONS {
        two.subscribe(&of_type("T", &sink.url())).await;
    }
    for value in 0..10 {
        two.set("e1", "T", "a", value).await;
    }
    let writing = async {
        for value in 10..60 {
            two.set("e1", "T", "a", value).await;
        }
    };
    let ((), ()) = tokio::join!(one.stop(), writing);
    let third = replica(&store).await;
    for value in 60..80 {
        third.set("e1", "T", "a", value).await;
    }
    let all = |sink: &Sink| told(sink).values().map(Vec::len).sum::<usize>();
    until("all notifications", || holds(all(&sink) >= SUBSCRIPTIONS * 80, all(&sink))).await;
    let expected: Vec<Value> = (0..80).map(Value::from).collect();
    for (subscription, values) in &told(&sink) {
        assert_eq!(*values, expected, "{subscription}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_shown_and_changed_and_ended_at_any_replica() {
    let (_store, one, two) = pair().await;
    let sink = Sink::start().await;
    let id = one.subscribe(&of_type("T", &sink.url())).await;
    assert_eq!(two.get(&format!("/ngsi10/subscription/{id}")).await.status, 200);
    assert_eq!(two.post("/ngsi10/unsubscribeContext", &json!({"subscriptionId": id})).await.status, 200);
    assert_eq!(one.get(&format!("/ngsi10/subscription/{id}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_one_broker_at_discovery_and_stay_it_when_one_ends() {
    let discovery = Discovery::start().await;
    let store: SharedStore = Faulty::new();
    let start = async || {
        Broker::with(Options { store: Arc::clone(&store), replica: true, discovery: Some(discovery.port()), ..Options::default() }).await
    };
    let (one, two) = (start().await, start().await);
    assert_eq!(one.running.id, two.running.id);
    discovery.knows(&one.running.id).await;
    two.set("e1", "T", "a", 1).await;
    discovery.registered("e1", |found| found.broker == one.running.id).await;
    let before = discovery.requests("register").len();
    one.stop().await;
    two.set("e2", "T", "a", 1).await;
    discovery.registered("e2", |found| found.broker == two.running.id).await;
    discovery.registered("e1", |found| found.broker == two.running.id).await;
    let said = discovery.requests("register").split_off(before);
    let gone = |request: &Value| request["removed"].as_array().is_some_and(|all| !all.is_empty());
    assert!(!said.iter().any(gone), "the broker is not gone: {said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_strong_reads_and_writes_say_come_again_and_eventual_reads_answer() {
    let faulty = Faulty::new();
    let with = async |consistency| {
        Broker::with(Options { store: Arc::clone(&faulty) as _, replica: true, consistency, ..Options::default() }).await
    };
    let (strong, eventual) = (with(Consistency::Strong).await, with(Consistency::Eventual).await);
    strong.set("e1", "T", "a", 1).await;
    assert_eq!(strong.get("/ngsi10/entity/e1").await.status, 200);
    faulty.away.store(true, Ordering::SeqCst);
    for path in ["/ngsi10/entity/e1", "/v2/entities/e1", "/ngsi-ld/v1/entities/e1"] {
        let read = strong.get(path).await;
        assert_eq!((read.status, read.headers.contains_key("retry-after")), (503, true), "{path}: {}", read.text);
        assert_ne!(eventual.get(path).await.status, 503, "{path}");
    }
    assert_eq!(strong.get("/health").await.status, 200);
    let write = eventual.post("/ngsi10/updateContext", &update("e1", "T", "a", 2)).await;
    assert_eq!((write.status, write.headers.contains_key("retry-after")), (503, true), "{}", write.text);
    faulty.away.store(false, Ordering::SeqCst);
    strong.set("e1", "T", "a", 3).await;
    assert_eq!(strong.get("/ngsi10/entity/e1").await.json["attributes"][0]["value"], 3);
}

/// A broker of upstream that takes subscriptions, all under the id `up`; how many it was asked for.
async fn upstream() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let subscribe = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { axum::Json(json!({"subscribeResponse": {"subscriptionId": "up"}})) }
    };
    let router = axum::Router::new().route("/ngsi10/subscribeContext", axum::routing::post(subscribe));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ngsi10", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_broker_tells_either_replica_reaches_the_subscriber() {
    let (discovery, sink) = (Discovery::start().await, Sink::start().await);
    let (url, asked) = upstream().await;
    let store: SharedStore = Faulty::new();
    let start = async || {
        Broker::with(Options { store: Arc::clone(&store), replica: true, discovery: Some(discovery.port()), ..Options::default() }).await
    };
    let (one, two) = (start().await, start().await);
    both_serve(&one, &two).await;
    discovery.put("u1", "U", &url);
    one.subscribe(&of_type("U", &sink.url())).await;
    until("the subscription at upstream's broker", || holds(asked.load(Ordering::SeqCst) > 0, "none")).await;
    for (value, broker) in [(1, &one), (2, &two)] {
        let told = json!({"subscriptionId": "up", "contextResponses": [
            {"contextElement": element("u1", "U", "a", value), "statusCode": {"code": 200}}]});
        let reply = broker.post("/ngsi10/notifyContext", &told).await;
        assert_eq!((reply.status, &reply.json["responseCode"]["code"]), (200, &json!(200)), "{}", reply.text);
        let arrived = || sink.values().contains(&("u1".to_owned(), json!(value)));
        until("what was told", || holds(arrived(), format!("{:?}", sink.values()))).await;
    }
    assert_eq!(sink.values().len(), 2, "once each: {:?}", sink.values());
}

/// One after the other, the leases of a store that is slow to answer would end before their turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_renewed_side_by_side() {
    let store = Faulty::new();
    let broker = Broker::with(Options { store: Arc::clone(&store) as _, replica: true, ..Options::default() }).await;
    tokio::time::timeout(Duration::from_secs(20), async {
        while slots_of(&broker).await != 16 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the only replica does not serve all");
    store.slow.store(true, Ordering::SeqCst);
    let most = || store.leasing_most.load(Ordering::SeqCst);
    until("several renewals at a time", || holds(most() > 1, most())).await;
    assert!(most() <= 4, "the connections of the store are not all taken: {}", most());
}

/// The only pod of a broker that is replaced ends in order before the next one has begun; its entities must not go meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_is_not_the_end_of_the_broker_and_a_broker_on_its_own_store_is() {
    for replica in [true, false] {
        let discovery = Discovery::start().await;
        let broker = Broker::with(Options { replica, discovery: Some(discovery.port()), ..Options::default() }).await;
        let id = broker.running.id.clone();
        discovery.knows(&id).await;
        broker.set("e1", "T", "a", 1).await;
        discovery.registered("e1", |_| true).await;
        broker.stop().await;
        let removed = discovery.requests("register").iter().any(|request| request["removed"][0]["id"] == id.as_str());
        assert_eq!(removed, !replica, "replica: {replica}");
    }
}
