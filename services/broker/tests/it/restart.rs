//! What survives the end of the process.

use std::sync::Arc;

use serde_json::json;

use crate::faulty::Faulty;
use crate::harness::{Broker, Options, holds, of_type, until};
use crate::sink::Sink;

async fn on(store: &Arc<Faulty>) -> Broker {
    Broker::with(Options { store: Arc::clone(store) as _, ..Options::default() }).await
}

#[tokio::test]
async fn entities_and_subscriptions_survive_with_their_ids_f29() {
    let (store, sink) = (Faulty::new(), Sink::start().await);
    let broker = on(&store).await;
    broker.set("e1", "T", "a", 1).await;
    let id = broker.subscribe(&of_type("T", &sink.url())).await;
    let before = broker.get("/ngsi10/entity/e1").await.json;
    broker.kill().await;
    let broker = on(&store).await;
    assert_eq!(broker.get("/ngsi10/entity/e1").await.json, before);
    assert_eq!(broker.get(&format!("/ngsi10/subscription/{id}")).await.status, 200);
    sink.forget();
    broker.set("e1", "T", "a", 2).await;
    let told = || sink.received().iter().any(|one| one.body["subscriptionId"] == id.as_str() && sink.values().iter().any(|(_, v)| *v == 2));
    until("a notification after the restart", || holds(told(), format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn what_a_dead_subscriber_missed_arrives_after_a_restart_of_the_broker() {
    let store = Faulty::new();
    let mut sink = Sink::start().await;
    let broker = on(&store).await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    broker.set("e1", "T", "a", 1).await;
    until("the first", || holds(sink.values().len() == 1, "none")).await;
    sink.down().await;
    sink.forget();
    broker.set("e1", "T", "a", 2).await;
    broker.set("e2", "T", "a", 3).await;
    broker.set("e1", "T", "a", 4).await;
    broker.kill().await;
    let broker = on(&store).await;
    sink.up().await;
    let has = |id: &str, value: i32| sink.values().iter().any(|(other, got)| other == id && *got == value);
    until("the newest states", || holds(has("e1", 4) && has("e2", 3), format!("{:?}", sink.values()))).await;
    broker.stop().await;
}

#[tokio::test]
async fn an_orderly_stop_leaves_nothing_to_repeat() {
    let (store, sink) = (Faulty::new(), Sink::start().await);
    let broker = on(&store).await;
    broker.set("e0", "T", "a", 0).await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    broker.set("e1", "T", "a", 1).await;
    until("both", || holds(sink.values().len() == 2, format!("{:?}", sink.values()))).await;
    broker.stop().await;
    sink.forget();
    let broker = on(&store).await;
    broker.set("e2", "T", "a", 2).await;
    until("the new one", || holds(!sink.values().is_empty(), "none")).await;
    assert_eq!(sink.values(), [("e2".to_owned(), json!(2))]);
}

#[tokio::test]
async fn a_subscriber_that_was_dead_from_the_beginning_gets_the_present_state_after_a_restart() {
    let store = Faulty::new();
    let mut sink = Sink::start().await;
    sink.down().await;
    let broker = on(&store).await;
    broker.set("e1", "T", "a", 1).await;
    broker.subscribe(&of_type("T", &sink.url())).await;
    broker.kill().await;
    sink.up().await;
    let _broker = on(&store).await;
    until("the state", || holds(sink.values() == [("e1".to_owned(), json!(1))], format!("{:?}", sink.values()))).await;
}

#[tokio::test]
async fn a_stop_delivers_what_was_accepted() {
    let (store, sink) = (Faulty::new(), Sink::start().await);
    let broker = on(&store).await;
    sink.delay(std::time::Duration::from_millis(100));
    broker.subscribe(&of_type("T", &sink.url())).await;
    for value in 0..5 {
        broker.set("e1", "T", "a", value).await;
    }
    broker.stop().await;
    assert_eq!(sink.values().last(), Some(&("e1".to_owned(), json!(4))), "{:?}", sink.values());
}
