//! The bus inside one process, for `fogflow up` and tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::contract::{Bus, BusError, Delivery, Message, Queue, Subscription};
use crate::in_flight::{Flight, InFlight};
use crate::topic;

/// Messages that a queue holds; the oldest goes to the dead letters when one more comes.
const QUEUE_LIMIT: usize = 100_000;
/// Dead letters that are kept.
const DEAD_LIMIT: usize = 1000;
/// How long closing waits for deliveries in flight.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The bus inside one process. A queue stays, with its messages, when its consumers are gone.
pub struct InProcessBus {
    shared: Arc<Shared>,
    connected: watch::Sender<bool>,
}

struct Shared {
    queues: Mutex<BTreeMap<String, Arc<QueueState>>>,
    dead: Mutex<VecDeque<Message>>,
    closed: watch::Sender<bool>,
    in_flight: InFlight,
}

struct QueueState {
    name: String,
    bindings: Mutex<Vec<String>>,
    /// In the order of their places.
    ready: Mutex<VecDeque<Ready>>,
    /// The place of the next message.
    places: AtomicU64,
    arrived: Notify,
}

struct Ready {
    message: Message,
    /// Its place in the order of arrival.
    place: u64,
    redelivered: bool,
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcessBus {
    /// A bus without queues.
    #[must_use]
    pub fn new() -> Self {
        let shared =
            Shared { queues: Mutex::default(), dead: Mutex::default(), closed: watch::Sender::new(false), in_flight: InFlight::default() };
        InProcessBus { shared: Arc::new(shared), connected: watch::Sender::new(true) }
    }

    /// The rejected and displaced messages, oldest first; the newest 1000 of them.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Message> {
        self.shared.dead.lock().iter().cloned().collect()
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, message: Message) -> Result<(), BusError> {
        if *self.shared.closed.borrow() {
            return Err(BusError::Closed);
        }
        let queues: Vec<_> = self.shared.queues.lock().values().filter(|queue| queue.takes(&message.routing_key)).cloned().collect();
        if queues.is_empty() {
            tracing::debug!(routing_key = %message.routing_key, "no queue takes this message");
        }
        for queue in queues {
            if let Some(displaced) = queue.push(message.clone()) {
                tracing::warn!(queue = %queue.name, "the queue is full, its oldest message goes to the dead letters");
                self.shared.bury(displaced);
            }
        }
        Ok(())
    }

    async fn subscribe(&self, queue: Queue) -> Result<Box<dyn Subscription>, BusError> {
        if *self.shared.closed.borrow() {
            return Err(BusError::Closed);
        }
        let state = Arc::clone(self.shared.queues.lock().entry(queue.name.clone()).or_insert_with(|| {
            Arc::new(QueueState {
                name: queue.name,
                bindings: Mutex::default(),
                ready: Mutex::default(),
                places: AtomicU64::new(0),
                arrived: Notify::new(),
            })
        }));
        state.bind(queue.bindings);
        let permits = Arc::new(Semaphore::new(usize::from(queue.prefetch.max(1))));
        let closed = self.shared.closed.subscribe();
        Ok(Box::new(InProcessSubscription { shared: Arc::clone(&self.shared), queue: state, permits, closed }))
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    async fn close(&self) {
        self.shared.closed.send_replace(true);
        if !self.shared.in_flight.ended(CLOSE_LIMIT).await {
            tracing::warn!("the bus closes although messages are still being handled");
        }
        self.connected.send_replace(false);
    }
}

impl Shared {
    fn bury(&self, message: Message) {
        let mut dead = self.dead.lock();
        if dead.len() >= DEAD_LIMIT {
            dead.pop_front();
        }
        dead.push_back(message);
    }
}

impl QueueState {
    fn takes(&self, key: &str) -> bool {
        self.bindings.lock().iter().any(|pattern| topic::matches(pattern, key))
    }

    /// Adds bindings; as in AMQP, those of earlier subscribers stay.
    fn bind(&self, patterns: Vec<String>) {
        let mut bindings = self.bindings.lock();
        for pattern in patterns {
            if !bindings.contains(&pattern) {
                bindings.push(pattern);
            }
        }
    }

    /// Adds a message and returns the one that it displaced.
    fn push(&self, message: Message) -> Option<Message> {
        let displaced = {
            let mut ready = self.ready.lock();
            let displaced = if ready.len() >= QUEUE_LIMIT { ready.pop_front() } else { None };
            let place = self.places.fetch_add(1, Ordering::Relaxed);
            ready.push_back(Ready { message, place, redelivered: false });
            displaced
        };
        self.arrived.notify_one();
        displaced.map(|displaced| displaced.message)
    }

    /// Hands a message back, to its old place: several that are handed back together keep their order.
    fn put_back(&self, message: Message, place: u64) {
        let mut ready = self.ready.lock();
        let index = ready.partition_point(|other| other.place < place);
        ready.insert(index, Ready { message, place, redelivered: true });
        drop(ready);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Ready> {
        let mut ready = self.ready.lock();
        let first = ready.pop_front();
        if !ready.is_empty() {
            // Another consumer of this queue may be waiting for the rest.
            self.arrived.notify_one();
        }
        first
    }
}

struct InProcessSubscription {
    shared: Arc<Shared>,
    queue: Arc<QueueState>,
    permits: Arc<Semaphore>,
    closed: watch::Receiver<bool>,
}

#[async_trait]
impl Subscription for InProcessSubscription {
    async fn next(&mut self) -> Option<Box<dyn Delivery>> {
        let wait = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            loop {
                let arrived = self.queue.arrived.notified();
                if let Some(ready) = self.queue.pop() {
                    return Some((permit, ready));
                }
                arrived.await;
            }
        };
        // A closed bus hands out nothing more, even when something is ready.
        let (permit, ready) = tokio::select! {
            biased;
            _ = self.closed.wait_for(|closed| *closed) => None,
            taken = wait => taken,
        }?;
        Some(Box::new(InProcessDelivery {
            message: ready.message,
            place: ready.place,
            redelivered: ready.redelivered,
            queue: Arc::clone(&self.queue),
            shared: Arc::clone(&self.shared),
            decided: false,
            _permit: permit,
            _flight: self.shared.in_flight.begin(),
        }))
    }
}

impl Drop for InProcessSubscription {
    fn drop(&mut self) {
        // It may have been woken for a message that it will not take.
        self.queue.arrived.notify_one();
    }
}

struct InProcessDelivery {
    message: Message,
    place: u64,
    redelivered: bool,
    queue: Arc<QueueState>,
    shared: Arc<Shared>,
    decided: bool,
    _permit: OwnedSemaphorePermit,
    _flight: Flight,
}

#[async_trait]
impl Delivery for InProcessDelivery {
    fn message(&self) -> &Message {
        &self.message
    }

    fn redelivered(&self) -> bool {
        self.redelivered
    }

    async fn ack(mut self: Box<Self>) {
        self.decided = true;
    }

    async fn reject(mut self: Box<Self>) {
        self.decided = true;
        self.shared.bury(self.message.clone());
    }
}

impl Drop for InProcessDelivery {
    fn drop(&mut self) {
        if !self.decided {
            self.queue.put_back(self.message.clone(), self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_that_are_handed_back_together_come_again_in_their_order() {
        let bus = InProcessBus::new();
        let queue = Queue { name: "q".to_owned(), bindings: vec!["#".to_owned()], prefetch: 10 };
        let mut subscription = bus.subscribe(queue).await.unwrap();
        for body in ["1", "2", "3"] {
            bus.publish(Message { routing_key: "k".to_owned(), body: body.into(), traceparent: None }).await.unwrap();
        }
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push(subscription.next().await.unwrap());
        }
        drop(taken);
        let mut again = Vec::new();
        for _ in 0..3 {
            again.push(subscription.next().await.unwrap());
        }
        let bodies: Vec<_> = again.iter().map(|delivery| delivery.message().body.clone()).collect();
        assert_eq!(bodies, ["1", "2", "3"]);
    }
}
