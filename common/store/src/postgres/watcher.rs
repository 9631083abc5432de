//! The background task: follows the head (LISTEN where it works, and always by asking), and looks after the change log.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::batch::number;
use super::connect::{Target, connection, error_of};
use super::head::Head;
use super::schema::{self, LogSize};
use crate::model::{Sequence, StoreError};

/// Time between two questions for the head.
const POLL: Duration = Duration::from_millis(200);
/// Time between two looks at the change log.
const UPKEEP: Duration = Duration::from_secs(1);
/// Time before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// Limit of one question, of one look at the change log, and of a connection that is to listen.
const LIMIT: Duration = Duration::from_secs(5);

/// What the task owns.
pub(super) struct Watcher {
    pub(super) target: Target,
    pub(super) pool: Pool,
    pub(super) schema: String,
    pub(super) channel: Option<String>,
    pub(super) log_size: LogSize,
    pub(super) head: Arc<Head>,
}

impl Watcher {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// Why the store cannot go on.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        stop.run_until_cancelled(self.watch()).await.unwrap_or(Ok(()))
    }

    async fn watch(&self) -> Result<(), String> {
        let mut notifications = self.listen().await;
        let mut listen_at = None;
        let mut upkeep_at = Instant::now();
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First, as notifications may come faster than they are handled.
                biased;
                _ = poll.tick() => {
                    match timeout(LIMIT, self.ask()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "cannot ask for the head"),
                        Err(_) => tracing::debug!("no answer to the question for the head"),
                    }
                    if let Some(why) = self.head.gone_back() {
                        return Err(why.to_owned());
                    }
                    if Instant::now() >= upkeep_at {
                        upkeep_at = Instant::now() + UPKEEP;
                        match timeout(LIMIT, self.upkeep()).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "the change log was not looked after this time"),
                            Err(_) => tracing::debug!("the change log was not looked after in time"),
                        }
                    }
                    if listen_at.take_if(|at| Instant::now() >= *at).is_some() {
                        notifications = self.listen().await;
                    }
                }
                told = notifications.next() => match told {
                    Some(head) => self.head.moved(head),
                    None => {
                        // Gone, or never there. Asking goes on meanwhile.
                        notifications = stream::pending().boxed();
                        listen_at = Some(Instant::now() + LISTEN_AGAIN);
                    }
                },
            }
        }
    }

    async fn ask(&self) -> Result<(), StoreError> {
        let client = connection(&self.pool).await?;
        let before = self.head.seen();
        let select = format!("SELECT head, current_setting('transaction_read_only') = 'on' FROM {}.state", self.schema);
        let row = client.query_typed_one(&select, &[]).await.map_err(|error| error_of(&error))?;
        match row.get(1) {
            // A standby may be behind without anything being lost.
            true => self.head.moved(number(&row, 0)),
            false => self.head.answered(before, number(&row, 0)),
        }
        Ok(())
    }

    async fn upkeep(&self) -> Result<(), StoreError> {
        let head = self.head.seen();
        schema::add_partitions(&self.pool, &self.schema, self.log_size, head).await?;
        schema::drop_partitions(&self.pool, &self.schema, self.log_size, head).await?;
        schema::forget_writers(&self.pool, &self.schema).await
    }

    /// Heads as other replicas announce them; ends when listening does not work or the connection breaks.
    async fn listen(&self) -> BoxStream<'static, Sequence> {
        let Some(channel) = &self.channel else { return stream::pending().boxed() };
        let Ok(Ok((client, mut connection))) = timeout(LIMIT, self.target.config.connect(self.target.tls.clone())).await else {
            return stream::empty().boxed();
        };
        let listen = format!("LISTEN {channel}");
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        let heads = messages.take_while(|message| std::future::ready(message.is_ok())).filter_map(|message| async move {
            match message {
                Ok(AsyncMessage::Notification(notification)) => notification.payload().parse().ok(),
                _ => None,
            }
        });
        // The connection works only while it is polled, and the client must live as long as it.
        let listening = async move {
            if let Err(error) = client.batch_execute(&listen).await {
                tracing::debug!(%error, "cannot listen for changes; asking for them does as well");
            }
            std::future::pending::<()>().await;
            drop(client);
        };
        heads.take_until(listening).boxed()
    }
}
