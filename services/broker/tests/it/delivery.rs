//! Subscribers that are slow, dead, or come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Broker, element, holds, of_type, until};
use crate::sink::Sink;

#[tokio::test]
async fn a_hanging_and_a_dead_subscriber_delay_no_other_f27() {
    let (broker, slow, good) = (Broker::alone().await, Sink::start().await, Sink::start().await);
    let mut dead = Sink::start().await;
    dead.down().await;
    slow.delay(Duration::from_secs(60));
    for url in [slow.url(), dead.url(), good.url()] {
        broker.subscribe(&of_type("T", &url)).await;
    }
    let begun = Instant::now();
    for value in 0..20 {
        broker.set("e1", "T", "a", value).await;
    }
    until("all changes at the good one", || holds(good.values().len() == 20, good.values().len())).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
    broker.stop().await;
}

#[tokio::test]
async fn a_subscriber_that_returns_gets_the_newest_state_of_each_entity_f6() {
    let broker = Broker::alone().await;
    let mut sink = Sink::start().await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    broker.set("e0", "T", "a", -1).await;
    until("the first", || holds(sink.values().len() == 1, "none")).await;
    sink.down().await;
    sink.forget();
    for value in 0..30 {
        broker.set(&format!("e{}", value % 3), "T", "a", value).await;
    }
    until("a failed attempt", || holds(true, "")).await;
    sink.up().await;
    let newest = |id: &str, value: i32| sink.values().iter().rev().find(|(other, _)| other == id).is_some_and(|(_, last)| *last == value);
    until("the newest states", || holds(newest("e0", 27) && newest("e1", 28) && newest("e2", 29), format!("{:?}", sink.values()))).await;
    assert!(sink.values().len() < 30, "what was overtaken is not repeated: {}", sink.values().len());
    // From then on every change counts again.
    sink.forget();
    for value in 100..110 {
        broker.set("e0", "T", "a", value).await;
    }
    until("every change", || holds(sink.values().len() == 10, format!("{:?}", sink.values()))).await;
    let order: Vec<Value> = sink.values().into_iter().map(|(_, value)| value).collect();
    assert_eq!(order, (100..110).map(Value::from).collect::<Vec<_>>());
}

/// FAULT 29: tasks answer a notification with 404 when they have taken it.
#[tokio::test]
async fn any_completed_exchange_counts_for_v1_tasks() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    sink.answer(404);
    broker.subscribe(&of_type("T", &sink.url())).await;
    for value in 0..5 {
        broker.set("e1", "T", "a", value).await;
    }
    until("five elements", || holds(sink.values().len() == 5, format!("{:?}", sink.values()))).await;
    broker.set("e1", "T", "a", 5).await;
    until("the sixth", || holds(sink.values().len() == 6, format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn a_burst_shares_requests_that_stay_small_and_in_order() {
    let (broker, sink) = (Broker::alone().await, Sink::start().await);
    sink.delay(Duration::from_millis(30));
    broker.subscribe(&of_type("T", &sink.url())).await;
    let text = "x".repeat(2000);
    for round in 0..3 {
        let elements: Vec<Value> = (0..100)
            .map(|number| {
                let mut element = element(&format!("e{number}"), "T", "n", round * 100 + number);
                element["attributes"].as_array_mut().unwrap().push(json!({"name": "text", "type": "string", "value": text}));
                element
            })
            .collect();
        broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    }
    until("all", || holds(sink.values().len() == 300, sink.values().len())).await;
    let order: Vec<Value> = sink.values().into_iter().map(|(_, value)| value).collect();
    assert_eq!(order, (0..300).map(Value::from).collect::<Vec<_>>());
    let largest = sink.received().iter().map(|one| one.body.to_string().len()).max().unwrap();
    assert!(largest < 100_000, "{largest} bytes: common body parsers refuse 100 kB");
    assert!(sink.received().len() < 100, "{} requests", sink.received().len());
}

#[tokio::test]
async fn memory_for_a_dead_subscriber_stays_bounded_and_nothing_newest_is_lost() {
    let broker = Broker::alone().await;
    let mut sink = Sink::start().await;
    sink.down().await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    for round in 0..15 {
        let elements: Vec<Value> = (0..2000).map(|number| element(&format!("e{}", round * 2000 + number), "T", "a", number)).collect();
        broker.post("/ngsi10/updateContext", &json!({"contextElements": elements, "updateAction": "UPDATE"})).await;
    }
    let metrics = broker.get("/metrics").await.text;
    let queued =
        metrics.lines().find_map(|line| line.strip_prefix("fogflow_broker_notifications_queued ")).unwrap().parse::<f64>().unwrap();
    assert!(queued <= 30_000.0, "{queued}");
    sink.up().await;
    // Looked at where they lie: copies of 30 000 elements with every look would take the time that the broker needs.
    let ids = || sink.count_ids();
    let complete = || {
        let count = ids();
        holds(count == 30_000, count)
    };
    until("all 30 000 entities", complete).await;
}

#[tokio::test]
async fn link_local_references_are_refused_f25() {
    let broker = Broker::alone().await;
    for reference in ["http://169.254.169.254/latest", "http://metadata.google.internal", "nonsense", "file:///etc/passwd"] {
        let reply = broker.post("/ngsi10/subscribeContext", &of_type("T", reference)).await;
        assert_eq!(reply.status, 400, "{reference}: {}", reply.text);
    }
}
