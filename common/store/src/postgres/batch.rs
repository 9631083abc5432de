//! One batch as two statements: how the keys stand, and the write of everything in one go.
//!
//! The write is guarded. It fails as a whole when a document is not at the version that was read (`STALE`), or when this
//! writer was fenced off (`FENCED`). It locks the counter row, so commits happen in the order of their sequences and a
//! reader of the log can never see a later change before an earlier one.

use std::collections::HashMap;

use bytes::Bytes;
use deadpool_postgres::Object;
use foldhash::fast::RandomState;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::evaluate::Standing;
use crate::model::{Document, Key, Sequence};

/// Division by zero: the guard's way to say that a version was not the expected one.
pub(super) const STALE: SqlState = SqlState::DIVISION_BY_ZERO;
/// A text that is no number: the guard's way to say that the writer's fence was raised.
pub(super) const FENCED: SqlState = SqlState::INVALID_TEXT_REPRESENTATION;
/// A change that has no partition yet.
pub(super) const NO_PARTITION: SqlState = SqlState::CHECK_VIOLATION;

/// Limits that the server sets itself, so that a lost connection leaves no lock behind and nothing is applied later.
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '4s'; SET LOCAL lock_timeout = '4s'; \
                     SET LOCAL idle_in_transaction_session_timeout = '4s'";

/// What was read of documents.
pub(super) type Found = HashMap<Key, Document, RandomState>;

/// The statements of one schema.
pub(super) struct Statements {
    read: String,
    write: String,
}

/// Who writes; see [`super::writer`].
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) fence: i64,
    pub(super) batch: i64,
}

impl Statements {
    /// With a channel, every write tells it the new head.
    pub(super) fn new(schema: &str, channel: Option<&str>) -> Self {
        // LIMIT makes the planner look up each key, whatever it believes about the table.
        let read = format!(
            "SELECT k.collection, k.tenant, k.id, d.version, d.sequence, d.live, d.value
             FROM unnest($1::text[], $2::text[], $3::text[]) AS k(collection, tenant, id)
             CROSS JOIN LATERAL (
                 SELECT version, sequence, value IS NOT NULL AS live, CASE WHEN $4 THEN value END AS value FROM {schema}.documents d
                 WHERE d.collection = k.collection AND d.tenant = k.tenant AND d.id = k.id LIMIT 1) d"
        );
        let notify = channel.map_or(String::new(), |channel| format!(", pg_notify('{channel}', (SELECT base + $4 FROM moved)::text)"));
        // A key that occurs more than once in the batch is logged each time and stored once: -1 marks the others.
        let write = format!(
            "WITH fenced AS (UPDATE {schema}.writers SET batch = $1, seen = clock_timestamp() WHERE id = $2 AND fence = $3 RETURNING 1),
             moved AS (UPDATE {schema}.state SET head = head + $4 WHERE one RETURNING head - $4 AS base),
             input AS (SELECT * FROM unnest($5::text[], $6::text[], $7::text[], $8::int8[], $9::int8[], $10::bytea[])
                 WITH ORDINALITY AS t(collection, tenant, id, version, previous, value, place)),
             logged AS (INSERT INTO {schema}.changes (sequence, collection, tenant, id, version, value)
                 SELECT base + place, collection, tenant, id, version, value FROM input, moved),
             stored AS (INSERT INTO {schema}.documents AS d (collection, tenant, id, version, previous, sequence, value)
                 SELECT collection, tenant, id, version, previous, base + place, value FROM input, moved WHERE previous >= 0
                 ON CONFLICT (collection, tenant, id) DO UPDATE SET version = excluded.version, previous = excluded.previous,
                     sequence = excluded.sequence, value = excluded.value
                     WHERE d.version = excluded.previous
                 RETURNING 1)
             SELECT (SELECT base FROM moved) AS base,
                 CASE WHEN (SELECT count(*) FROM fenced) = 0 THEN ('fenced' || (SELECT count(*) FROM fenced))::int4 ELSE 1 END,
                 1 / (CASE WHEN (SELECT count(*) FROM stored) = $11 THEN 1 ELSE 0 END){notify}"
        );
        Statements { read, write }
    }

    /// Reads documents; their values only if asked for.
    pub(super) async fn read(&self, client: &Object, keys: &[Key], values: bool) -> Result<Found, tokio_postgres::Error> {
        let columns = Columns::of(keys.iter());
        let rows = client
            .query_typed(
                &self.read,
                &[
                    (&columns.collections, Type::TEXT_ARRAY),
                    (&columns.tenants, Type::TEXT_ARRAY),
                    (&columns.ids, Type::TEXT_ARRAY),
                    (&values, Type::BOOL),
                ],
            )
            .await?;
        let document = |row: &Row| {
            let live: bool = row.get(5);
            let value = row.get::<_, Option<&[u8]>>(6).map(Bytes::copy_from_slice).or_else(|| live.then(Bytes::new));
            Document { key: key_of(row, 0), version: number(row, 3), sequence: number(row, 4), value }
        };
        Ok(rows.iter().map(document).map(|document| (document.key.clone(), document)).collect())
    }

    /// Writes changes, whose keys stood as `before` says, and returns the head that they follow.
    pub(super) async fn write(
        &self,
        client: &Object,
        who: &Identity,
        changes: &[Document],
        before: impl Fn(&Key) -> Standing,
    ) -> Result<Sequence, tokio_postgres::Error> {
        let columns = Columns::of(changes.iter().map(|change| &change.key));
        let mut newest: HashMap<&Key, usize, RandomState> = HashMap::default();
        for (place, change) in changes.iter().enumerate() {
            newest.insert(&change.key, place);
        }
        let previous = |(place, change): (usize, &Document)| match newest.get(&change.key) {
            Some(newest) if *newest == place => as_int(before(&change.key).version),
            _ => -1,
        };
        let previous: Vec<i64> = changes.iter().enumerate().map(previous).collect();
        let versions: Vec<i64> = changes.iter().map(|change| as_int(change.version)).collect();
        let values: Vec<Option<&[u8]>> = changes.iter().map(|change| change.value.as_deref()).collect();
        let (count, stored) = (as_int(changes.len() as u64), as_int(newest.len() as u64));
        let parameters: [(&(dyn ToSql + Sync), Type); 11] = [
            (&who.batch, Type::INT8),
            (&who.id, Type::TEXT),
            (&who.fence, Type::INT8),
            (&count, Type::INT8),
            (&columns.collections, Type::TEXT_ARRAY),
            (&columns.tenants, Type::TEXT_ARRAY),
            (&columns.ids, Type::TEXT_ARRAY),
            (&versions, Type::INT8_ARRAY),
            (&previous, Type::INT8_ARRAY),
            (&values, Type::BYTEA_ARRAY),
            (&stored, Type::INT8),
        ];
        // All three travel together; after an error in the middle, COMMIT rolls back.
        let (begun, rows, ended) =
            tokio::join!(client.batch_execute(BEGIN), client.query_typed_one(&self.write, &parameters), client.batch_execute("COMMIT"));
        begun?;
        let base = number(&rows?, 0);
        ended?;
        Ok(base)
    }
}

/// Keys as one array per part.
struct Columns<'a> {
    collections: Vec<&'a str>,
    tenants: Vec<&'a str>,
    ids: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut columns = Columns { collections: Vec::new(), tenants: Vec::new(), ids: Vec::new() };
        for key in keys {
            columns.collections.push(key.collection.as_str());
            columns.tenants.push(key.tenant.as_str());
            columns.ids.push(key.id.as_str());
        }
        columns
    }
}

/// The key in three columns of a row.
pub(super) fn key_of(row: &Row, first: usize) -> Key {
    Key::new(row.get::<_, &str>(first), row.get::<_, &str>(first + 1), row.get::<_, &str>(first + 2))
}

/// A number that is never negative.
pub(super) fn number(row: &Row, column: usize) -> u64 {
    u64::try_from(row.get::<_, i64>(column)).unwrap_or_default()
}

/// Versions and sequences are counted from 0 and stay far below the limit.
pub(super) fn as_int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
