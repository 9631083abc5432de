//! The connection: one task that opens it, watches it, and opens the next one when it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fogflow_background::Spawner;
use futures::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::AmqpSettings;
use super::topology::Topology;
use crate::contract::{BusError, Queue};
use crate::in_flight::InFlight;

/// Limit for opening a connection with everything on it.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Limit for declaring one queue.
const DECLARE_LIMIT: Duration = Duration::from_secs(10);
/// How long closing waits for deliveries in flight, and for the server's goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two attempts grows from the first to the second of these.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A connection that works as far as we know.
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) connection: Connection,
    /// The channel in confirm mode for all publishers.
    pub(super) publisher: Channel,
}

/// The connection as publishers and consumers see it.
pub(super) struct Link {
    pub(super) topology: Topology,
    pub(super) component: String,
    pub(super) in_flight: InFlight,
    /// Cancelled when the bus begins to close: consumers end.
    pub(super) closing: CancellationToken,
    /// Cancelled when nothing of the connection is needed any more.
    stopped: CancellationToken,
    live: watch::Sender<Option<Arc<Live>>>,
    connected: watch::Sender<bool>,
    queues: Mutex<BTreeMap<String, Queue>>,
    /// The generation that someone found to be broken.
    suspect: watch::Sender<u64>,
    /// Why there is no connection, for errors.
    reason: Mutex<String>,
    generations: AtomicU64,
}

impl Link {
    /// Starts the task.
    pub(super) fn start(uri: AMQPUri, settings: AmqpSettings, spawner: &Spawner) -> Arc<Self> {
        let link = Arc::new(Link {
            topology: Topology { exchange: settings.exchange, quorum: settings.quorum },
            component: settings.component,
            in_flight: InFlight::default(),
            closing: CancellationToken::new(),
            stopped: CancellationToken::new(),
            live: watch::Sender::new(None),
            connected: watch::Sender::new(false),
            queues: Mutex::default(),
            suspect: watch::Sender::new(0),
            reason: Mutex::new("not connected yet".to_owned()),
            generations: AtomicU64::new(0),
        });
        let task = Arc::clone(&link);
        spawner.spawn("bus connection", async move {
            let stopped = task.stopped.clone();
            stopped.run_until_cancelled(task.keep(uri)).await;
            task.connected.send_replace(false);
            task.live.send_replace(None);
            Ok(())
        });
        link
    }

    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Tells that a connection does not work although nobody has closed it.
    pub(super) fn suspect(&self, generation: u64) {
        self.suspect.send_if_modified(|known| {
            let newer = generation > *known;
            *known = generation.max(*known);
            newer
        });
    }

    /// A connection newer than `after`, when there is one before the deadline.
    pub(super) async fn live(&self, after: u64, deadline: Option<Instant>) -> Result<Arc<Live>, BusError> {
        let mut watched = self.live.subscribe();
        let wait = async { watched.wait_for(|live| live.as_ref().is_some_and(|live| live.generation > after)).await.ok()?.clone() };
        let found = async {
            match deadline {
                Some(deadline) => timeout_at(deadline, wait).await.unwrap_or_default(),
                None => wait.await,
            }
        };
        match self.stopped.run_until_cancelled(found).await {
            None => Err(BusError::Closed),
            Some(None) => Err(BusError::Unconfirmed(self.reason.lock().clone())),
            Some(Some(live)) => Ok(live),
        }
    }

    /// Returns when a connection is no longer the live one.
    pub(super) async fn replaced(&self, generation: u64) {
        let mut watched = self.live.subscribe();
        let _ = watched.wait_for(|live| live.as_ref().is_none_or(|live| live.generation != generation)).await;
    }

    /// Declares a queue now, if there is a connection, and on every later connection.
    pub(super) async fn declare(&self, queue: &Queue) -> Result<(), BusError> {
        if self.closing.is_cancelled() {
            return Err(BusError::Closed);
        }
        self.queues.lock().insert(queue.name.clone(), queue.clone());
        let live = self.live.borrow().clone();
        let Some(live) = live else { return Ok(()) };
        match timeout(DECLARE_LIMIT, self.topology.declare_queue(&live.connection, queue)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if live.connection.status().connected() => {
                self.queues.lock().remove(&queue.name);
                Err(BusError::Refused(error.to_string()))
            }
            _ => {
                // The connection broke meanwhile; the next one declares it.
                self.suspect(live.generation);
                Ok(())
            }
        }
    }

    /// Ends consumers, waits for what is in flight, and says goodbye to the server.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        if !self.in_flight.ended(CLOSE_LIMIT).await {
            tracing::warn!("the bus closes although messages are still being handled; they will be delivered again");
        }
        let live = self.live.borrow().clone();
        self.stop();
        if let Some(live) = live {
            // Closing the connection also flushes the last acknowledgements.
            let _ = timeout(CLOSE_LIMIT, live.connection.close(200, "bye".into())).await;
        }
    }

    /// Ends the task.
    pub(super) fn stop(&self) {
        self.closing.cancel();
        self.stopped.cancel();
    }

    /// Opens connections, one after the other, for ever.
    async fn keep(&self, uri: AMQPUri) {
        let server = shown(&uri);
        let mut pause = PAUSE.0;
        loop {
            let opened = match timeout(OPEN_LIMIT, self.open(&uri)).await {
                Ok(opened) => opened.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no answer within {OPEN_LIMIT:?}")),
            };
            let since = Instant::now();
            let reason = match opened {
                Ok(live) => {
                    tracing::info!(server, "connected to RabbitMQ");
                    self.live.send_replace(Some(Arc::clone(&live)));
                    self.connected.send_replace(true);
                    let reason = self.watch(&live).await;
                    self.connected.send_replace(false);
                    self.live.send_replace(None);
                    let _ = timeout(CLOSE_LIMIT, live.connection.close(200, "reconnecting".into())).await;
                    reason
                }
                Err(reason) => reason,
            };
            tracing::warn!(server, reason, "no connection to RabbitMQ, trying again");
            *self.reason.lock() = format!("not connected to {server}: {reason}");
            pause = if since.elapsed() > PAUSE.1 { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
        }
    }

    async fn open(&self, uri: &AMQPUri) -> Result<Arc<Live>, lapin::Error> {
        let properties = ConnectionProperties::default().with_connection_name(self.component.as_str().into());
        let connection = Connection::connect_uri(uri.clone(), properties).await?;
        self.topology.declare_exchanges(&connection).await?;
        let queues: Vec<Queue> = self.queues.lock().values().cloned().collect();
        for queue in queues {
            self.topology.declare_queue(&connection, &queue).await?;
        }
        let publisher = connection.create_channel().await?;
        publisher.confirm_select(ConfirmSelectOptions::default()).await?;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Arc::new(Live { generation, connection, publisher }))
    }

    /// Returns why the connection is gone, when it is.
    async fn watch(&self, live: &Live) -> String {
        let mut events = Box::pin(live.connection.events_listener());
        let mut suspect = self.suspect.subscribe();
        loop {
            if !live.connection.status().connected() {
                return "the connection was closed".to_owned();
            }
            tokio::select! {
                event = events.next() => match event {
                    // A soft error closes one channel only; whoever used it deals with it.
                    Some(Event::Error(error)) if error.is_amqp_soft_error() => {}
                    Some(Event::Error(error)) => return error.to_string(),
                    Some(Event::ConnectionBlocked(reason)) => tracing::warn!(reason, "RabbitMQ takes no messages for now"),
                    Some(_) => {}
                    None => return "the connection ended".to_owned(),
                },
                _ = suspect.wait_for(|generation| *generation >= live.generation) => {
                    return "a channel was closed or the server does not answer".to_owned();
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }
}

/// The server without user and password.
pub(super) fn shown(uri: &AMQPUri) -> String {
    let scheme = if uri.scheme == AMQPScheme::AMQPS { "amqps" } else { "amqp" };
    format!("{scheme}://{}:{}/{}", uri.authority.host, uri.authority.port, uri.vhost.trim_start_matches('/'))
}
