//! Slow and dead subscribers: they delay nobody, and get the newest state when they return.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use fogflow_tests::sink::Manner;
use fogflow_tests::{Http, Sink, Site, http, wait_for};
use serde_json::{Value, json};

async fn subscribe(http: &Http, broker: &str, reference: &str) {
    let body = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ""}], "reference": reference});
    let (_, answer) = http.post(&format!("{broker}/ngsi10/subscribeContext"), &body).await.unwrap();
    assert!(answer["subscribeResponse"]["subscriptionId"].is_string(), "{answer}");
}

async fn write(http: &Http, broker: &str, id: &str, value: u64) {
    let (_, answer) =
        http.post(&format!("{broker}/ngsi10/updateContext"), &http::update(id, "Thing", &[("value", json!(value))])).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
}

async fn newest(sink: &Sink, id: &str, value: u64, bound: Duration) {
    wait_for(&format!("{id} = {value} at the subscriber"), bound, async || match sink.values(id, "value").last() {
        Some(last) if *last == json!(value) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_dead_and_a_hanging_subscriber_delay_no_other() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let (http, broker) = (Http::new(), site.url("broker"));
    let (good, hanging, mut dead) = (Sink::start().await, Sink::start().await, Sink::start().await);
    hanging.behave(Manner { status: 200, delay: Duration::from_secs(3600) });
    for sink in [&good, &hanging, &dead] {
        subscribe(&http, &broker, &sink.url()).await;
    }
    dead.stop().await;
    let start = Instant::now();
    for value in 1..=200 {
        write(&http, &broker, "Thing.1", value).await;
    }
    newest(&good, "Thing.1", 200, Duration::from_secs(5)).await;
    assert!(start.elapsed() < Duration::from_secs(15), "two bad subscribers slowed a third down: {:?}", start.elapsed());
    let expected: Vec<Value> = (1..=200).map(|value| json!(value)).collect();
    assert_eq!(good.values("Thing.1", "value"), expected, "a healthy subscriber gets every change, in order");
}

#[tokio::test]
async fn a_subscriber_that_returns_gets_the_newest_state_of_each_entity_it_missed() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let (http, broker) = (Http::new(), site.url("broker"));
    let mut sink = Sink::start().await;
    subscribe(&http, &broker, &sink.url()).await;
    write(&http, &broker, "Thing.1", 1).await;
    newest(&sink, "Thing.1", 1, Duration::from_secs(5)).await;
    sink.stop().await;
    for value in 2..=50 {
        write(&http, &broker, "Thing.1", value).await;
        write(&http, &broker, "Thing.2", value).await;
    }
    sink.resume().await;
    newest(&sink, "Thing.1", 50, Duration::from_secs(15)).await;
    newest(&sink, "Thing.2", 50, Duration::from_secs(15)).await;
}

#[tokio::test]
async fn what_a_subscriber_missed_is_delivered_across_a_restart_of_the_broker() {
    let site = Site::new("001");
    let mut node = site.up(&["--no-demo"]).await;
    let (http, broker) = (Http::new(), site.url("broker"));
    let mut sink = Sink::start().await;
    subscribe(&http, &broker, &sink.url()).await;
    write(&http, &broker, "Thing.1", 1).await;
    newest(&sink, "Thing.1", 1, Duration::from_secs(5)).await;
    sink.stop().await;
    for value in 2..=20 {
        write(&http, &broker, "Thing.1", value).await;
    }
    node.kill();
    let _node = site.up(&["--no-demo"]).await;
    sink.resume().await;
    newest(&sink, "Thing.1", 20, Duration::from_secs(15)).await;
}
