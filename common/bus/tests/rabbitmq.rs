//! What only the RabbitMQ engine promises: it outlives its server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test helper fails its test")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_bus::rabbitmq::{AmqpSettings, RabbitBus};
use fogflow_bus::{Bus, BusError, Queue};
use fogflow_tests::servers::{RabbitMq, free_port};
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::watch;

use crate::support::{bounded, message, next, queue, take, text};

fn settings(url: String) -> AmqpSettings {
    AmqpSettings { url, exchange: "fogflow".to_owned(), component: "Worker.001".to_owned(), quorum: false }
}

async fn connected(bus: &RabbitBus) {
    bounded("the connection", bus.connected().wait_for(|connected| *connected)).await.unwrap();
}

/// Publishes numbers without a pause while the server is stopped, killed and started again. Whoever is told that a
/// message was not confirmed sends it again, as an outbox does.
async fn restarts(kill: bool) {
    let Some(mut server) = RabbitMq::start("restarts").await else { return };
    let publisher = Arc::new(RabbitBus::connect(settings(server.url())).await.unwrap());
    let consumer = Arc::new(RabbitBus::connect(settings(server.url())).await.unwrap());
    connected(&publisher).await;
    connected(&consumer).await;
    let mut subscription = consumer.subscribe(queue("Worker.001", &["Worker.001.*"])).await.unwrap();
    let end = tokio_util::sync::CancellationToken::new();
    let publishing = tokio::spawn({
        let (publisher, end) = (Arc::clone(&publisher), end.clone());
        async move {
            let (mut confirmed, mut refused) = (0_u64, 0_u64);
            while !end.is_cancelled() {
                let start = Instant::now();
                match publisher.publish(message("Worker.001.", &confirmed.to_string())).await {
                    Ok(()) => confirmed += 1,
                    Err(BusError::Unconfirmed(_)) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
                assert!(start.elapsed() < Duration::from_secs(7), "publishing is bounded to 5 s");
            }
            (confirmed, refused)
        }
    });
    let seen = watch::Sender::new(BTreeSet::new());
    let consuming = tokio::spawn({
        let seen = seen.clone();
        async move {
            loop {
                let delivery = next(&mut subscription).await;
                let number: u64 = text(&*delivery).parse().unwrap();
                seen.send_modify(|seen| {
                    seen.insert(number);
                });
                delivery.ack().await;
            }
        }
    });
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        if kill {
            server.kill().await;
        } else {
            server.stop().await;
        }
        bounded("the publisher to notice", publisher.connected().wait_for(|connected| !connected)).await.unwrap();
        server.restart().await;
        connected(&publisher).await;
        connected(&consumer).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    end.cancel();
    let (confirmed, refused) = bounded("the publisher", publishing).await.unwrap();
    // Order over reconnects is not promised, so wait for all of them rather than for the last.
    let mut arrived = seen.subscribe();
    let all = arrived.wait_for(|seen| (0..confirmed).all(|number| seen.contains(&number)));
    if tokio::time::timeout(Duration::from_secs(30), all).await.is_err() {
        let seen = seen.borrow();
        let lost: Vec<u64> = (0..confirmed).filter(|number| !seen.contains(number)).collect();
        panic!("confirmed and lost: {lost:?} of {confirmed}");
    }
    consuming.abort();
    println!("{confirmed} confirmed, {refused} times unconfirmed");
    assert!(confirmed > 100);
    consumer.close().await;
    publisher.close().await;
}

/// FAULT 1: a dead RabbitMQ connection was used on, and a deaf process went on beating.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_and_starts_again_loses_no_confirmed_message() {
    restarts(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_no_confirmed_message() {
    restarts(true).await;
}

/// FAULT 1: a dead RabbitMQ connection was used on, and a deaf process went on beating.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_hears_again_after_a_server_was_silent_for_long() {
    let Some(server) = RabbitMq::start("a_consumer_hears_again").await else { return };
    let bus = RabbitBus::connect(settings(server.url())).await.unwrap();
    connected(&bus).await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    bus.publish(message("a.", "1")).await.unwrap();
    assert_eq!(take(&mut subscription).await, "1");
    let received = tokio::spawn(async move { take(&mut subscription).await });
    server.freeze();
    // Unconfirmed, so that the connection is given up while nobody has closed it.
    assert!(matches!(bus.publish(message("a.", "2")).await, Err(BusError::Unconfirmed(_))));
    bounded("the connection to be given up", bus.connected().wait_for(|connected| !connected)).await.unwrap();
    server.thaw();
    connected(&bus).await;
    bus.publish(message("a.", "3")).await.unwrap();
    let heard = bounded("the message", received).await.unwrap();
    assert!(["2", "3"].contains(&heard.as_str()), "the unconfirmed one, if it had reached the server: {heard}");
    bus.close().await;
}

/// FAULT 1: a dead RabbitMQ connection was used on, and a deaf process went on beating.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_may_start_before_the_server() {
    let Some(mut server) = RabbitMq::start("components_may_start_before_the_server").await else { return };
    server.stop().await;
    let bus = RabbitBus::connect(settings(server.url())).await.unwrap();
    assert!(!*bus.connected().borrow());
    let start = Instant::now();
    let refused = bus.publish(message("a.", "x")).await;
    assert!(matches!(&refused, Err(BusError::Unconfirmed(why)) if why.contains("127.0.0.1") && !why.contains("guest")), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    server.restart().await;
    connected(&bus).await;
    bus.publish(message("a.", "1")).await.unwrap();
    assert_eq!(take(&mut subscription).await, "1");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_deleted_under_its_consumer_is_declared_again() {
    let Some(server) = RabbitMq::shared("a_queue_deleted_under_its_consumer").await else { return };
    let bus = RabbitBus::connect(AmqpSettings { exchange: "deleted".to_owned(), ..settings(server.url()) }).await.unwrap();
    connected(&bus).await;
    let mut subscription = bus.subscribe(queue("deleted.q", &["a."])).await.unwrap();
    bus.publish(message("a.", "1")).await.unwrap();
    assert_eq!(take(&mut subscription).await, "1");
    let other = Connection::connect(&format!("{}%2f", server.url()), ConnectionProperties::default()).await.unwrap();
    let channel = other.create_channel().await.unwrap();
    channel.queue_delete("deleted.q".into(), QueueDeleteOptions::default()).await.unwrap();
    let received = tokio::spawn(async move { take(&mut subscription).await });
    // The exchange deletes itself with its last queue, as upstream's does; publishing survives that, too.
    bounded("the new queue", async {
        while !received.is_finished() {
            let _ = bus.publish(message("a.", "2")).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(received.await.unwrap(), "2");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_upstream_declared_is_used_as_it_is() {
    let Some(server) = RabbitMq::shared("a_queue_that_upstream_declared").await else { return };
    let upstream = Connection::connect(&format!("{}%2f", server.url()), ConnectionProperties::default()).await.unwrap();
    let channel = upstream.create_channel().await.unwrap();
    let options = QueueDeclareOptions { durable: true, auto_delete: true, ..Default::default() };
    channel.queue_declare("Worker.777".into(), options, FieldTable::default()).await.unwrap();
    let bus = RabbitBus::connect(AmqpSettings { exchange: "upstream".to_owned(), ..settings(server.url()) }).await.unwrap();
    connected(&bus).await;
    let mut subscription = bus.subscribe(queue("Worker.777", &["Worker.777.*"])).await.unwrap();
    bus.publish(message("Worker.777.", "1")).await.unwrap();
    assert_eq!(take(&mut subscription).await, "1");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_of_the_type_that_is_asked_for_and_stay_of_the_type_they_have() {
    let Some(server) = RabbitMq::shared("queues_are_of_the_type_that_is_asked_for").await else { return };
    for (quorum, later) in [(false, true), (true, false)] {
        let exchange = format!("typed-{quorum}");
        let name = format!("{exchange}.q");
        for quorum in [quorum, later] {
            let bus = RabbitBus::connect(AmqpSettings { exchange: exchange.clone(), quorum, ..settings(server.url()) }).await.unwrap();
            connected(&bus).await;
            let mut subscription = bus.subscribe(queue(&name, &["a."])).await.unwrap();
            bus.publish(message("a.", "1")).await.unwrap();
            assert_eq!(take(&mut subscription).await, "1");
            bus.close().await;
        }
        // Only a quorum queue refuses a consumer with a limit for its whole channel.
        for queue in [name, format!("{exchange}.dead")] {
            let other = Connection::connect(&format!("{}%2f", server.url()), ConnectionProperties::default()).await.unwrap();
            let channel = other.create_channel().await.unwrap();
            channel.basic_qos(1, BasicQosOptions { global: true }).await.unwrap();
            let consumer =
                channel.basic_consume(queue.as_str().into(), "test".into(), BasicConsumeOptions::default(), FieldTable::default()).await;
            assert_eq!(consumer.is_err(), quorum, "{queue}: {consumer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_reported_without_showing_it() {
    let Some(server) = RabbitMq::shared("a_wrong_password").await else { return };
    let wrong = settings(format!("amqp://guest:geheim@127.0.0.1:{}/", server.port()));
    assert!(!format!("{wrong:?}").contains("geheim"));
    let bus = RabbitBus::connect(wrong).await.unwrap();
    let Err(BusError::Unconfirmed(why)) = bus.publish(message("a.", "x")).await else { panic!("published with a wrong password") };
    assert!(!why.contains("geheim"), "{why}");
    assert!(why.to_lowercase().contains("refused"), "{why}");
    assert!(!*bus.connected().borrow());
    bus.close().await;
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_at_once() {
    for url in ["", "http://localhost", "amqp://u:geheim@host:99999/", "nonsense"] {
        let Err(BusError::Refused(why)) = RabbitBus::connect(settings(url.to_owned())).await else { panic!("{url} was accepted") };
        assert!(!why.contains("geheim"), "{why}");
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_a_server_that_was_never_there() {
    let bus = RabbitBus::connect(settings(format!("amqp://guest:guest@127.0.0.1:{}/", free_port()))).await.unwrap();
    let mut subscription = bus.subscribe(Queue { prefetch: 0, ..queue("q", &["#"]) }).await.unwrap();
    let start = Instant::now();
    bus.close().await;
    assert!(bounded("the end", subscription.next()).await.is_none());
    assert!(start.elapsed() < Duration::from_secs(2));
}
