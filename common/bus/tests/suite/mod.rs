//! The conformance suite: what every engine of the Bus seam must do. [`conformance!`] makes one test per promise.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use fogflow_bus::{BusError, Message, Queue, SharedBus, Subscription};

use crate::support::{bounded, message, next, queue, take, text};

/// An engine under test, empty at the beginning.
#[async_trait]
pub(crate) trait Fixture: Send {
    /// Another component's access to the same bus.
    async fn bus(&self) -> SharedBus;
    /// Waits for the next dead letter.
    async fn dead_letter(&self) -> Message;
}

/// Makes the suite of one engine. `$fixture` is an async function from the test's name to `Option<impl Fixture>`;
/// `None` when the engine cannot run here, which it has said itself.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $fixture:expr) => {
        mod $name {
            $crate::conformance!(@tests $fixture;
                each_matching_queue_gets_the_message_once, consumers_of_one_queue_share_its_messages, a_queue_keeps_messages_for_later_consumers,
                one_publisher_to_one_consumer_keeps_its_order, prefetch_bounds_what_is_unacknowledged, a_dropped_delivery_comes_again,
                a_rejected_message_becomes_a_dead_letter, the_traceparent_travels, nobody_listening_is_no_error,
                many_publishers_at_once_lose_nothing, a_cancelled_next_loses_nothing, closing_waits_for_what_is_in_flight,
                a_closed_bus_refuses, large_messages_pass
            );
        }
    };
    (@tests $fixture:expr; $($test:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                use super::*;
                let Some(fixture) = $fixture(stringify!($test)).await else { return };
                $crate::suite::$test(fixture).await;
            }
        )+
    };
}

/// Says that nothing more comes: a marker sent now is the next message.
async fn nothing_more(bus: &SharedBus, key: &str, subscription: &mut Box<dyn Subscription>) {
    bus.publish(message(key, "marker")).await.unwrap();
    assert_eq!(take(subscription).await, "marker");
}

pub(crate) async fn each_matching_queue_gets_the_message_once(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut master = bus.subscribe(queue("Master.001", &["Master.001.", "heartbeat.*", "task.", "orchestration.*"])).await.unwrap();
    let mut worker = bus.subscribe(queue("Worker.001", &["Worker.001.*", "Worker.#"])).await.unwrap();
    let mut designer = bus.subscribe(queue("fogflow-designer", &["designer.*", "task."])).await.unwrap();
    for key in ["heartbeat.", "Worker.001.", "task.", "Worker.002.", "designer.", "Master.001.", "Master.002."] {
        fixture.bus().await.publish(message(key, key)).await.unwrap();
    }
    assert_eq!(take(&mut master).await, "heartbeat.");
    assert_eq!(take(&mut master).await, "task.");
    assert_eq!(take(&mut master).await, "Master.001.");
    nothing_more(&bus, "task.", &mut master).await;
    assert_eq!(take(&mut worker).await, "Worker.001.");
    assert_eq!(take(&mut worker).await, "Worker.002.");
    nothing_more(&bus, "Worker.001.", &mut worker).await;
    assert_eq!(take(&mut designer).await, "task.");
    assert_eq!(take(&mut designer).await, "designer.");
}

pub(crate) async fn consumers_of_one_queue_share_its_messages(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut first = bus.subscribe(Queue { prefetch: 1, ..queue("q", &["a."]) }).await.unwrap();
    let another = fixture.bus().await;
    let mut second = another.subscribe(Queue { prefetch: 1, ..queue("q", &["a."]) }).await.unwrap();
    for number in 0..20 {
        bus.publish(message("a.", &number.to_string())).await.unwrap();
    }
    let mut seen = BTreeSet::new();
    // Each holds one, so neither can have taken all.
    let (one, two) = (next(&mut first).await, next(&mut second).await);
    for delivery in [one, two] {
        assert!(seen.insert(text(&*delivery)), "no message comes to both");
        delivery.ack().await;
    }
    while seen.len() < 20 {
        let delivery = bounded("a message", async {
            tokio::select! { one = first.next() => one, two = second.next() => two }
        })
        .await
        .unwrap();
        assert!(seen.insert(text(&*delivery)), "no message comes to both");
        delivery.ack().await;
    }
}

pub(crate) async fn a_queue_keeps_messages_for_later_consumers(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    drop(bus.subscribe(queue("q", &["a."])).await.unwrap());
    bus.publish(message("a.", "1")).await.unwrap();
    bus.publish(message("a.", "2")).await.unwrap();
    let mut later = bus.subscribe(queue("q", &["b."])).await.unwrap();
    assert_eq!(take(&mut later).await, "1");
    assert_eq!(take(&mut later).await, "2");
    bus.publish(message("a.", "old binding")).await.unwrap();
    bus.publish(message("b.", "new binding")).await.unwrap();
    assert_eq!(take(&mut later).await, "old binding");
    assert_eq!(take(&mut later).await, "new binding");
}

pub(crate) async fn one_publisher_to_one_consumer_keeps_its_order(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    for number in 0..300 {
        bus.publish(message("a.", &number.to_string())).await.unwrap();
    }
    for number in 0..300 {
        assert_eq!(take(&mut subscription).await, number.to_string());
    }
}

pub(crate) async fn prefetch_bounds_what_is_unacknowledged(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut slow = bus.subscribe(Queue { prefetch: 3, ..queue("q", &["a."]) }).await.unwrap();
    for number in 0..5 {
        bus.publish(message("a.", &number.to_string())).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut slow).await);
    }
    // The fourth does not come to this one; another consumer gets it.
    let mut other = bus.subscribe(Queue { prefetch: 1, ..queue("q", &["a."]) }).await.unwrap();
    assert_eq!(text(&*next(&mut other).await), "3");
    assert!(tokio::time::timeout(Duration::from_millis(100), slow.next()).await.is_err(), "three are unacknowledged already");
    drop(other);
    held.remove(0).ack().await;
    let fourth = next(&mut slow).await;
    assert!(["3", "4"].contains(&text(&*fourth).as_str()));
}

pub(crate) async fn a_dropped_delivery_comes_again(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    bus.publish(message("a.", "1")).await.unwrap();
    let first = next(&mut subscription).await;
    assert!(!first.redelivered());
    drop(first);
    let second = next(&mut subscription).await;
    assert_eq!((text(&*second).as_str(), second.redelivered()), ("1", true));
    second.ack().await;
    nothing_more(&bus, "a.", &mut subscription).await;
}

pub(crate) async fn a_rejected_message_becomes_a_dead_letter(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    bus.publish(message("a.", "poison")).await.unwrap();
    next(&mut subscription).await.reject().await;
    nothing_more(&bus, "a.", &mut subscription).await;
    let dead = bounded("the dead letter", fixture.dead_letter()).await;
    assert_eq!((dead.routing_key.as_str(), &dead.body[..]), ("a.", &b"poison"[..]));
}

pub(crate) async fn the_traceparent_travels(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let sent = Message { traceparent, ..message("a.", "{}") };
    bus.publish(sent.clone()).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message(), &sent);
}

pub(crate) async fn nobody_listening_is_no_error(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    for _ in 0..3 {
        bus.publish(message("nobody.", "x")).await.unwrap();
    }
    let mut subscription = bus.subscribe(queue("q", &["nobody."])).await.unwrap();
    nothing_more(&bus, "nobody.", &mut subscription).await;
}

pub(crate) async fn many_publishers_at_once_lose_nothing(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a.#"])).await.unwrap();
    let mut publishers = Vec::new();
    for publisher in 0..8 {
        let bus = bus.clone();
        publishers.push(tokio::spawn(async move {
            for number in 0..100 {
                bus.publish(message(&format!("a.{publisher}."), &format!("{publisher} {number}"))).await.unwrap();
            }
        }));
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 800 {
        assert!(seen.insert(take(&mut subscription).await), "a message came twice");
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

pub(crate) async fn a_cancelled_next_loses_nothing(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(Queue { prefetch: 1, ..queue("q", &["a."]) }).await.unwrap();
    for number in 0..50 {
        // Cancelled at different moments, also while the message is on its way.
        for micros in [0, 50, 300] {
            let waited = tokio::time::timeout(Duration::from_micros(micros), subscription.next()).await;
            assert!(waited.is_err(), "nothing was published yet");
        }
        bus.publish(message("a.", &number.to_string())).await.unwrap();
        let arrived = match tokio::time::timeout(Duration::from_micros(number * 7), subscription.next()).await {
            Ok(arrived) => arrived.unwrap(),
            Err(_) => next(&mut subscription).await,
        };
        assert_eq!(text(&*arrived), number.to_string());
        arrived.ack().await;
    }
}

pub(crate) async fn closing_waits_for_what_is_in_flight(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    bus.publish(message("a.", "1")).await.unwrap();
    let delivery = next(&mut subscription).await;
    let closing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.close().await }
    });
    let end = bounded("the end of the subscription", subscription.next()).await;
    assert!(end.is_none(), "a closing bus hands out nothing more");
    assert!(!closing.is_finished(), "one message is still being handled");
    delivery.ack().await;
    bounded("closing", closing).await.unwrap();
    bounded("the disconnection", bus.connected().wait_for(|connected| !connected)).await.unwrap();
}

pub(crate) async fn a_closed_bus_refuses(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut connected = bus.connected();
    bounded("the connection", connected.wait_for(|connected| *connected)).await.unwrap();
    bounded("closing", bus.close()).await;
    bounded("closing again", bus.close()).await;
    assert!(matches!(bus.publish(message("a.", "x")).await, Err(BusError::Closed)));
    assert!(matches!(bus.subscribe(queue("q", &["a."])).await, Err(BusError::Closed)));
}

pub(crate) async fn large_messages_pass(fixture: impl Fixture) {
    let bus = fixture.bus().await;
    let mut subscription = bus.subscribe(queue("q", &["a."])).await.unwrap();
    let sent = Message { body: vec![b'x'; 2 * 1024 * 1024].into(), ..message("a.", "") };
    bus.publish(sent.clone()).await.unwrap();
    assert_eq!(next(&mut subscription).await.message(), &sent);
}
