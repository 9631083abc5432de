//! The tables of a service, in a schema of its own, and how they come to be.
//!
//! Every replica that starts runs [`migrate`]; the row of `state` is the lock between them, so neither an advisory lock
//! nor a leader is needed. A later version of the schema says which oldest program version it still serves, so that a
//! replica of the version before can go on while the newer one starts.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::connect::{connection, error_of};
use crate::model::{Sequence, StoreError};

/// The migrations, oldest first. Each is plain SQL without extensions or triggers; `{s}` is the schema. A migration,
/// once released, never changes.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE IF NOT EXISTS {s}.documents (
        collection text COLLATE \"C\" NOT NULL,
        tenant text COLLATE \"C\" NOT NULL,
        id text COLLATE \"C\" NOT NULL,
        version int8 NOT NULL,
        previous int8 NOT NULL,
        sequence int8 NOT NULL,
        value bytea,
        PRIMARY KEY (collection, tenant, id)
    ) WITH (fillfactor = 80);
    CREATE TABLE IF NOT EXISTS {s}.changes (
        sequence int8 PRIMARY KEY,
        collection text COLLATE \"C\" NOT NULL,
        tenant text COLLATE \"C\" NOT NULL,
        id text COLLATE \"C\" NOT NULL,
        version int8 NOT NULL,
        value bytea
    ) PARTITION BY RANGE (sequence);
    CREATE TABLE IF NOT EXISTS {s}.leases (
        name text PRIMARY KEY,
        holder text NOT NULL,
        epoch int8 NOT NULL,
        until timestamptz NOT NULL
    );
    CREATE TABLE IF NOT EXISTS {s}.writers (
        id text PRIMARY KEY,
        fence int8 NOT NULL,
        batch int8 NOT NULL,
        seen timestamptz NOT NULL
    );
"];

/// The oldest schema version that this program's tables still serve.
const SERVES_FROM: i32 = 1;

/// Attempts at the first step, which starters at the same moment spoil for each other.
const ATTEMPTS: u32 = 20;

/// The change log: partitions of so many changes, of which so many changes at least are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSize {
    pub(super) partition: u64,
    pub(super) keep: u64,
}

/// The schema's name for a service: `fogflow_` and its letters, digits and underscores.
pub(super) fn name(service: &str) -> String {
    let clean: String = service.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("fogflow_{clean}")
}

/// Creates what is missing.
///
/// # Errors
/// `Unavailable` when the server refuses or when the tables are of a newer program that does not serve this one.
pub(super) async fn migrate(pool: &Pool, schema: &str) -> Result<(), StoreError> {
    let client = connection(pool).await?;
    let first = format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS {schema}.state (
             one boolean PRIMARY KEY DEFAULT true CHECK (one),
             version int4 NOT NULL, serves_from int4 NOT NULL, head int8 NOT NULL, log_from int8 NOT NULL);
         INSERT INTO {schema}.state (version, serves_from, head, log_from) VALUES (0, 0, 0, 0) ON CONFLICT (one) DO NOTHING;"
    );
    let mut attempt = 1;
    // `IF NOT EXISTS` still fails when another starter creates the same thing in the same moment.
    while let Err(error) = client.batch_execute(&first).await {
        if attempt == ATTEMPTS || !is_race(&error) {
            return Err(error_of(&error));
        }
        tokio::time::sleep(Duration::from_millis(20 * u64::from(attempt))).await;
        attempt += 1;
    }
    let work = async {
        client.batch_execute("BEGIN").await?;
        let state = client.query_typed(&format!("SELECT version, serves_from FROM {schema}.state FOR UPDATE"), &[]).await?;
        let (version, serves_from) = state.first().map_or((0, 0), |row| (row.get::<_, i32>(0), row.get::<_, i32>(1)));
        let known = MIGRATIONS.len() as i32;
        for (number, migration) in (1..).zip(MIGRATIONS) {
            if number > version {
                client.batch_execute(&migration.replace("{s}", schema)).await?;
            }
        }
        if version < known {
            client.batch_execute(&format!("UPDATE {schema}.state SET version = {known}, serves_from = {SERVES_FROM}")).await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok::<_, tokio_postgres::Error>((serves_from, known))
    };
    match work.await {
        Ok((serves_from, known)) if serves_from > known => {
            Err(StoreError::Unavailable(format!("the tables in {schema} are of a newer version than this program can use")))
        }
        Ok(_) => Ok(()),
        Err(error) => {
            // The connection may be in a failed transaction; nobody else shall get it.
            drop(deadpool_postgres::Object::take(client));
            Err(error_of(&error))
        }
    }
}

/// Creates the partitions of the change log up to one beyond `head`.
pub(super) async fn add_partitions(pool: &Pool, schema: &str, size: LogSize, head: Sequence) -> Result<(), StoreError> {
    let client = connection(pool).await?;
    let current = head / size.partition;
    for number in [current, current + 1] {
        let (from, to) = (number * size.partition + 1, (number + 1) * size.partition + 1);
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {schema}.changes_{number} PARTITION OF {schema}.changes FOR VALUES FROM ({from}) TO ({to})"
        );
        if let Err(error) = client.batch_execute(&create).await {
            // Another replica was faster.
            if !is_race(&error) {
                return Err(error_of(&error));
            }
        }
    }
    Ok(())
}

/// Drops partitions of the change log that are older than what is kept.
pub(super) async fn drop_partitions(pool: &Pool, schema: &str, size: LogSize, head: Sequence) -> Result<(), StoreError> {
    let Some(keep_from) = head.checked_sub(size.keep) else { return Ok(()) };
    let client = connection(pool).await?;
    let state = client.query_typed(&format!("SELECT log_from FROM {schema}.state"), &[]).await.map_err(|error| error_of(&error))?;
    let log_from = state.first().map_or(0, |row| row.get::<_, i64>(0)).max(0) as u64;
    for number in log_from / size.partition..keep_from / size.partition {
        let end = (number + 1) * size.partition;
        // Readers ask `log_from` and the changes in one statement, so they see both before or both after.
        let script = format!(
            "BEGIN; SET LOCAL lock_timeout = '500ms'; DROP TABLE IF EXISTS {schema}.changes_{number};
             UPDATE {schema}.state SET log_from = {end} WHERE log_from < {end}; COMMIT"
        );
        if let Err(error) = client.batch_execute(&script).await {
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(error_of(&error));
        }
    }
    Ok(())
}

/// Forgets writers that have not been seen for a day.
pub(super) async fn forget_writers(pool: &Pool, schema: &str) -> Result<(), StoreError> {
    let client = connection(pool).await?;
    let delete = format!("DELETE FROM {schema}.writers WHERE seen < clock_timestamp() - interval '1 day'");
    client.execute_typed(&delete, &[]).await.map(|_| ()).map_err(|error| error_of(&error))
}

/// Says whether `NOTIFY` works here.
pub(super) async fn can_notify(pool: &Pool) -> Result<bool, StoreError> {
    let client = connection(pool).await?;
    let asked = client.query_typed("SELECT pg_notify($1, '')", &[(&"fogflow_probe", Type::TEXT)]).await;
    Ok(asked.is_ok())
}

/// Whether an error only says that somebody else did the same at the same time.
fn is_race(error: &tokio_postgres::Error) -> bool {
    const CODES: [&SqlState; 7] = [
        &SqlState::UNIQUE_VIOLATION,
        &SqlState::DUPLICATE_SCHEMA,
        &SqlState::DUPLICATE_TABLE,
        &SqlState::DUPLICATE_OBJECT,
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::INTERNAL_ERROR,
    ];
    error.code().is_some_and(|code| CODES.contains(&code))
}
