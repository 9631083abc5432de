//! The background task: follows the head (LISTEN where it works, and always by asking), and looks after the change log.

use std::time::Duration;

use deadpool_postgres::Pool;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use super::batch::number;
use super::connect::{Target, connection, error_of};
use super::schema::{self, LogSize};
use crate::model::{Sequence, StoreError};

/// Time between two questions for the head.
const POLL: Duration = Duration::from_millis(200);
/// Time between two looks at the change log.
const UPKEEP: Duration = Duration::from_secs(1);
/// Time before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);
/// Limit of one question.
const LIMIT: Duration = Duration::from_secs(5);

/// What the task owns.
pub(super) struct Watcher {
    pub(super) target: Target,
    pub(super) pool: Pool,
    pub(super) schema: String,
    pub(super) channel: Option<String>,
    pub(super) log_size: LogSize,
    pub(super) head: watch::Sender<Sequence>,
}

impl Watcher {
    /// Works until it is told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.watch()).await;
    }

    async fn watch(&self) {
        let mut notifications = self.listen().await;
        let mut listen_at = None;
        let mut upkeep_at = Instant::now();
        loop {
            tokio::select! {
                told = notifications.next() => match told {
                    Some(head) => self.moved(head),
                    None => {
                        // Gone, or never there. Asking goes on meanwhile.
                        notifications = stream::pending().boxed();
                        listen_at = Some(Instant::now() + LISTEN_AGAIN);
                    }
                },
                () = tokio::time::sleep(POLL) => {
                    match timeout(LIMIT, self.ask()).await {
                        Ok(Ok(head)) => self.moved(head),
                        Ok(Err(error)) => tracing::debug!(%error, "cannot ask for the head"),
                        Err(_) => tracing::debug!("no answer to the question for the head"),
                    }
                    if Instant::now() >= upkeep_at {
                        upkeep_at = Instant::now() + UPKEEP;
                        if let Err(error) = self.upkeep().await {
                            tracing::debug!(%error, "the change log was not looked after this time");
                        }
                    }
                    if listen_at.take_if(|at| Instant::now() >= *at).is_some() {
                        notifications = self.listen().await;
                    }
                }
            }
        }
    }

    fn moved(&self, head: Sequence) {
        self.head.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
    }

    async fn ask(&self) -> Result<Sequence, StoreError> {
        let client = connection(&self.pool).await?;
        let row = client.query_typed_one(&format!("SELECT head FROM {}.state", self.schema), &[]).await;
        row.map(|row| number(&row, 0)).map_err(|error| error_of(&error))
    }

    async fn upkeep(&self) -> Result<(), StoreError> {
        let head = *self.head.borrow();
        schema::add_partitions(&self.pool, &self.schema, self.log_size, head).await?;
        schema::drop_partitions(&self.pool, &self.schema, self.log_size, head).await?;
        schema::forget_writers(&self.pool, &self.schema).await
    }

    /// Heads as other replicas announce them; ends when listening does not work or the connection breaks.
    async fn listen(&self) -> BoxStream<'static, Sequence> {
        let Some(channel) = &self.channel else { return stream::pending().boxed() };
        let Ok((client, mut connection)) = self.target.config.connect(self.target.tls.clone()).await else {
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
