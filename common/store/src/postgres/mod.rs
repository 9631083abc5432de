//! The PostgreSQL engine: one database, any number of replicas.
//!
//! A service has a schema of its own (`fogflow_broker`, …) with its documents, the change log, leases, and one row that
//! counts the sequence. Commits of one replica are collected into batches; each batch is one statement that locks the
//! counter row, so sequences are in commit order and without gaps. Other replicas learn of it by a notification, which
//! is only a hint, and by asking every 200 ms.

mod batch;
mod connect;
mod head;
mod schema;
mod watcher;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deadpool_postgres::{Object, Pool};
use fogflow_background::Spawner;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

use self::batch::{Statements, as_int, key_of, number};
use self::connect::{Target, connection, error_of};
use self::head::Head;
use self::schema::LogSize;
use self::watcher::Watcher;
use self::writer::{Request, Writer};
use crate::contract::Store;
use crate::model::{Batch, Document, Feed, Key, Lease, Outcome, Page, Sequence, StoreError};

/// Commits that may wait for the writer; more wait in their callers.
const QUEUE: usize = 4096;
/// Limit of one read.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long opening waits for the server.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// Sizes of a PostgreSQL store.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Changes per partition of the change log. All replicas must agree. Default 250 000.
    pub log_partition: u64,
    /// Changes that the log keeps at least. Default one million.
    pub log_keep: u64,
    /// Whether replicas are told of changes by NOTIFY where the server can do that. Default true.
    pub notify: bool,
    /// Where its two tasks are watched.
    pub spawner: Spawner,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        PostgresOptions { log_partition: 250_000, log_keep: 1_000_000, notify: true, spawner: Spawner::default() }
    }
}

/// The store in PostgreSQL.
pub struct PostgresStore {
    pool: Pool,
    schema: String,
    head: Arc<Head>,
    stop: CancellationToken,
    running: Mutex<Option<Running>>,
}

struct Running {
    queue: mpsc::Sender<Request>,
    /// Ends without a message when the writer has ended.
    writer: oneshot::Receiver<()>,
}

impl PostgresStore {
    /// Opens a service's store at a libpq URL, waits up to 60 s for the server, and creates the tables that are missing.
    /// When the database later loses commits that it has acknowledged, a task of the store fails.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is wrong or the server refuses or does not come.
    pub async fn open(url: &str, service: &str) -> Result<Self, StoreError> {
        Self::open_with(url, service, PostgresOptions::default()).await
    }

    /// [`open`](Self::open) with other sizes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, service: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let target = Target::parse(url)?;
        let (pool, schema) = (target.pool()?, schema::name(service));
        let log_size = LogSize { partition: options.log_partition.max(1), keep: options.log_keep };
        await_server(&pool).await?;
        schema::migrate(&pool, &schema).await?;
        let head = read_head(&connection(&pool).await?, &schema).await?;
        schema::add_partitions(&pool, &schema, log_size, head).await?;
        let channel = (options.notify && schema::can_notify(&pool).await?).then(|| format!("{schema}_head"));
        let head = Arc::new(Head::new(head));
        let stop = CancellationToken::new();
        let statements = Statements::new(&schema, channel.as_deref());
        let writer = Writer::new(pool.clone(), schema.clone(), statements, log_size, Arc::clone(&head));
        let watcher = Watcher { target, pool: pool.clone(), schema: schema.clone(), channel, log_size, head: Arc::clone(&head) };
        let (queue, requests) = mpsc::channel(QUEUE);
        let (ended, end) = oneshot::channel();
        options.spawner.spawn("store writer", async move {
            let _ended: oneshot::Sender<()> = ended;
            writer.run(requests).await;
            Ok(())
        });
        options.spawner.spawn("store watcher", watcher.run(stop.clone()));
        Ok(PostgresStore { pool, schema, head, stop, running: Mutex::new(Some(Running { queue, writer: end })) })
    }

    fn queue(&self) -> Result<mpsc::Sender<Request>, StoreError> {
        self.running.lock().as_ref().map(|running| running.queue.clone()).ok_or_else(closed)
    }

    /// Runs a statement and returns its rows.
    async fn query(&self, sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, StoreError> {
        self.queue()?;
        let client = connection(&self.pool).await?;
        match timeout(READ_LIMIT, client.query_typed(sql, parameters)).await {
            Ok(rows) => rows.map_err(|error| error_of(&error)),
            Err(_) => {
                // Its answer may still come; nobody else shall wait behind it.
                drop(Object::take(client));
                Err(StoreError::Unavailable(format!("PostgreSQL did not answer within {READ_LIMIT:?}")))
            }
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<Outcome>, StoreError> {
        batch.check()?;
        let (answer, outcome) = oneshot::channel();
        let deadline = Instant::now() + writer::LIMIT;
        let queued = timeout_at(deadline, self.queue()?.send(Request { batch, deadline, answer })).await;
        queued.map_err(|_| StoreError::Unavailable("too many commits wait".to_owned()))?.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    async fn get(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let select = format!(
            "SELECT collection, tenant, id, version, sequence, value FROM {}.documents
             WHERE collection = $1 AND tenant = $2 AND id = $3 AND value IS NOT NULL",
            self.schema
        );
        let parts = [key.collection.as_str(), key.tenant.as_str(), key.id.as_str()];
        let rows = self.query(&select, &[(&parts[0], Type::TEXT), (&parts[1], Type::TEXT), (&parts[2], Type::TEXT)]).await?;
        Ok(rows.first().map(document))
    }

    async fn scan(&self, tenant: Option<&str>, collection: &str, after: Option<&Key>, limit: usize) -> Result<Page, StoreError> {
        let wanted = as_int(limit as u64).saturating_add(1);
        // A key before everything that is asked for says nothing; one behind it leaves nothing.
        let after = after.filter(|after| **after >= Key::new(collection, tenant.unwrap_or_default(), ""));
        if after.is_some_and(|after| after.collection != collection || tenant.is_some_and(|tenant| after.tenant != tenant)) {
            return Ok(Page { documents: Vec::new(), more: false });
        }
        let begins = match (tenant, after) {
            (Some(_), Some(_)) => "AND tenant = $2 AND id > $3",
            (Some(_), None) => "AND tenant = $2 AND $3 = ''",
            (None, _) => "AND (tenant, id) > ($2, $3)",
        };
        let (from_tenant, from_id) = after.map_or((tenant.unwrap_or_default(), ""), |after| (after.tenant.as_str(), after.id.as_str()));
        // Before the first possible key of all tenants there is only the empty one, which may exist.
        let begins = if tenant.is_none() && after.is_none() { "AND (tenant, id) >= ($2, $3)" } else { begins };
        let select = format!(
            "SELECT collection, tenant, id, version, sequence, value FROM {}.documents
             WHERE collection = $1 {begins} AND value IS NOT NULL ORDER BY tenant, id LIMIT $4",
            self.schema
        );
        let parameters: [(&(dyn ToSql + Sync), Type); 4] =
            [(&collection, Type::TEXT), (&from_tenant, Type::TEXT), (&from_id, Type::TEXT), (&wanted, Type::INT8)];
        let rows = self.query(&select, &parameters).await?;
        Ok(Page { documents: rows.iter().take(limit).map(document).collect(), more: rows.len() > limit })
    }

    async fn collections(&self) -> Result<Vec<String>, StoreError> {
        // Jumps from each to the next instead of reading all documents.
        let select = format!(
            "WITH RECURSIVE names AS (
                 (SELECT collection FROM {schema}.documents ORDER BY collection LIMIT 1)
                 UNION ALL
                 SELECT (SELECT d.collection FROM {schema}.documents d WHERE d.collection > n.collection ORDER BY d.collection LIMIT 1)
                 FROM names n WHERE n.collection IS NOT NULL)
             SELECT collection FROM names WHERE collection IS NOT NULL",
            schema = self.schema
        );
        let rows = self.query(&select, &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn feed(&self, from: Sequence, limit: usize) -> Result<Feed, StoreError> {
        let select = format!(
            "SELECT s.head, s.log_from, c.* FROM {schema}.state s LEFT JOIN LATERAL (
                 SELECT collection, tenant, id, version, sequence, value FROM {schema}.changes
                 WHERE sequence > $1 ORDER BY sequence LIMIT $2) c ON true",
            schema = self.schema
        );
        let rows = self.query(&select, &[(&as_int(from), Type::INT8), (&as_int(limit as u64), Type::INT8)]).await?;
        if let Some(first) = rows.first()
            && from < number(first, 1)
        {
            return Ok(Feed::Truncated { resume: number(first, 0) });
        }
        let changes = rows.iter().filter(|row| row.get::<_, Option<i64>>(5).is_some()).map(|row| document_at(row, 2));
        Ok(Feed::Changes(changes.collect()))
    }

    async fn head(&self) -> Result<Sequence, StoreError> {
        let rows = self.query(&format!("SELECT head FROM {}.state", self.schema), &[]).await?;
        rows.first().map(|row| number(row, 0)).ok_or_else(|| StoreError::Damaged("the counter row is missing".to_owned()))
    }

    fn head_hint(&self) -> watch::Receiver<Sequence> {
        self.head.watch()
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let take = format!(
            "INSERT INTO {}.leases AS l (name, holder, epoch, until) VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = clock_timestamp() + $3 * interval '1 millisecond',
                 epoch = CASE WHEN l.until > clock_timestamp() THEN l.epoch ELSE l.epoch + 1 END
                 WHERE l.holder = excluded.holder OR l.until <= clock_timestamp()
             RETURNING holder, epoch",
            self.schema
        );
        let millis = u32::try_from(ttl.as_millis()).map_or(f64::from(u32::MAX), f64::from);
        let taken = self.query(&take, &[(&name, Type::TEXT), (&holder, Type::TEXT), (&millis, Type::FLOAT8)]).await?;
        if let Some(row) = taken.first() {
            return Ok(Lease { holder: row.get(0), epoch: number(row, 1), granted: true });
        }
        let select = format!("SELECT holder, epoch FROM {}.leases WHERE name = $1", self.schema);
        let held = self.query(&select, &[(&name, Type::TEXT)]).await?;
        let row = held.first().ok_or_else(|| StoreError::Unavailable("the lease went away while it was asked for".to_owned()))?;
        Ok(Lease { holder: row.get(0), epoch: number(row, 1), granted: false })
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let free = format!(
            "UPDATE {}.leases SET until = clock_timestamp() WHERE name = $1 AND holder = $2 AND until > clock_timestamp()",
            self.schema
        );
        self.query(&free, &[(&name, Type::TEXT), (&holder, Type::TEXT)]).await.map(|_| ())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let Some(Running { queue, writer }) = self.running.lock().take() else { return Ok(()) };
        drop(queue);
        // An error is how its end is told.
        let _ = writer.await;
        self.stop.cancel();
        self.pool.close();
        Ok(())
    }
}

/// Waits for a server that is starting; what it refuses for good is an error at once.
async fn await_server(pool: &Pool) -> Result<(), StoreError> {
    let start = Instant::now();
    loop {
        let error = match pool.get().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let refused = match &error {
            deadpool_postgres::PoolError::Backend(error) => error.as_db_error().filter(|db| !db.code().code().starts_with("57")),
            _ => None,
        };
        if let Some(db) = refused {
            return Err(StoreError::Unavailable(format!("PostgreSQL refuses: {}", db.message())));
        }
        if start.elapsed() > OPEN_LIMIT {
            return Err(StoreError::Unavailable(format!("no connection to PostgreSQL within {OPEN_LIMIT:?}: {error}")));
        }
        tracing::warn!(%error, "waiting for PostgreSQL");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn read_head(client: &Object, schema: &str) -> Result<Sequence, StoreError> {
    let row = client.query_typed_one(&format!("SELECT head FROM {schema}.state"), &[]).await;
    row.map(|row| number(&row, 0)).map_err(|error| error_of(&error))
}

fn document(row: &Row) -> Document {
    document_at(row, 0)
}

/// A document in six columns of a row.
fn document_at(row: &Row, first: usize) -> Document {
    let value = row.get::<_, Option<&[u8]>>(first + 5).map(Bytes::copy_from_slice);
    Document { key: key_of(row, first), version: number(row, first + 3), sequence: number(row, first + 4), value }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
