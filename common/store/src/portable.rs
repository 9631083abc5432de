//! A store as text, to move it between engines and to back it up while it runs.
//!
//! One JSON object per line. The first names the form: `{"form":"fogflow-store","version":1}`. Then documents,
//! `{"collection":"entity","tenant":"","id":"…","value":{…}}`: a value that is JSON stands there as it is, another one as
//! `"base64":"…"`, and neither of them means that the document was deleted. A later line of the same document counts. The
//! last line is `{"end":true,"lines":n,"sequence":s}`; without it the text was cut off.
//!
//! The text is consistent although the store goes on: it is the state after the commit with the sequence of the last line.
//! Documents change their versions and sequences by the way, so a position in the feed that a service has stored (a cursor)
//! means nothing in the imported store: whoever exports names the collections of such documents, and they stay behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use crate::contract::Store;
use crate::model::{Batch, Document, Expect, Feed, Key, Outcome, Sequence, StoreError, Write};

const FORM: &str = "fogflow-store";
const VERSION: u32 = 1;
/// Documents read or written at once.
const PAGE: usize = 500;

/// Why an export or import ended early.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The text is not what an export writes.
    #[error("line {line}: {reason}")]
    Text {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An import goes only into a store without documents.
    #[error("the store is not empty")]
    NotEmpty,
    /// Changes came faster than they could be exported.
    #[error("the store changes faster than it can be exported")]
    TooFast,
}

#[derive(Serialize, Deserialize)]
struct Header {
    form: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    collection: &'a str,
    tenant: &'a str,
    id: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Deserialize)]
struct OwnedLine {
    collection: String,
    tenant: String,
    id: String,
    value: Option<Box<RawValue>>,
    base64: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: bool,
    lines: u64,
    #[serde(default)]
    sequence: Sequence,
}

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable {
    /// Lines between the first and the last.
    pub lines: u64,
    /// The commit in the exported store whose state it is.
    pub sequence: Sequence,
}

/// Writes all documents of a store but those of the collections in `without`.
///
/// # Errors
/// See [`PortableError`].
pub async fn export(store: &dyn Store, without: &[&str], to: &mut (impl AsyncWrite + Unpin)) -> Result<Portable, PortableError> {
    put_line(to, &Header { form: FORM.to_owned(), version: VERSION }).await?;
    let mut position = store.head().await?;
    let mut lines = 0;
    for collection in store.collections().await?.into_iter().filter(|name| !without.contains(&name.as_str())) {
        let mut after = None;
        loop {
            let page = store.scan(None, &collection, after.as_ref(), PAGE).await?;
            for document in &page.documents {
                put_document(to, document).await?;
            }
            lines += page.documents.len() as u64;
            after = page.documents.last().map(|document| document.key.clone());
            if !page.more {
                break;
            }
        }
    }
    // What changed meanwhile, up to a head that was asked for after the scan: the state of that moment.
    let head = store.head().await?;
    while position < head {
        match store.feed(position, PAGE).await? {
            Feed::Changes(changes) => {
                let wanted = |change: &&Document| change.sequence <= head && !without.contains(&change.key.collection.as_str());
                for change in changes.iter().filter(wanted) {
                    put_document(to, change).await?;
                    lines += 1;
                }
                position = changes.last().map_or(head, |change| change.sequence);
            }
            Feed::Truncated { .. } => return Err(PortableError::TooFast),
        }
    }
    put_line(to, &End { end: true, lines, sequence: head }).await?;
    to.flush().await?;
    Ok(Portable { lines, sequence: head })
}

/// What the last line of a text says, where it is complete; `end` is the text or the end of it.
#[must_use]
pub fn last_line(end: &[u8]) -> Option<Portable> {
    let line = end.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()?;
    let End { lines, sequence, .. } = serde_json::from_slice(line).ok()?;
    Some(Portable { lines, sequence })
}

/// Whether a store has no documents.
///
/// # Errors
/// See [`StoreError`].
pub async fn is_empty(store: &dyn Store) -> Result<bool, StoreError> {
    for collection in store.collections().await? {
        if !store.scan(None, &collection, None, 1).await?.documents.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes every document. Others that write meanwhile may leave some.
///
/// # Errors
/// See [`PortableError`].
pub async fn clear(store: &dyn Store) -> Result<(), PortableError> {
    for collection in store.collections().await? {
        loop {
            let page = store.scan(None, &collection, None, PAGE).await?;
            let mut writes =
                page.documents.into_iter().map(|document| Write { key: document.key, expect: Expect::Any, value: None }).collect();
            commit(store, &mut writes).await?;
            if !page.more {
                break;
            }
        }
    }
    Ok(())
}

/// Reads what [`export`] wrote into a store without documents.
///
/// # Errors
/// See [`PortableError`]. The store may be filled in part then; throw it away.
pub async fn import(store: &dyn Store, from: &mut (impl AsyncBufRead + Unpin)) -> Result<Portable, PortableError> {
    if !is_empty(store).await? {
        return Err(PortableError::NotEmpty);
    }
    let mut lines = from.lines();
    let mut number = 1;
    let header: Header = parse(number, &lines.next_line().await?.unwrap_or_default())?;
    if header.form != FORM || header.version != VERSION {
        return Err(wrong(number, format!("the form {} {} is not known", header.form, header.version)));
    }
    let mut writes = Vec::with_capacity(PAGE);
    let mut read = 0;
    while let Some(line) = lines.next_line().await? {
        number += 1;
        if let Ok(End { lines, sequence, .. }) = serde_json::from_str(&line) {
            if lines != read {
                return Err(wrong(number, format!("{lines} lines were written and {read} are here")));
            }
            commit(store, &mut writes).await?;
            return Ok(Portable { lines, sequence });
        }
        writes.push(write_of(number, &line)?);
        read += 1;
        if writes.len() >= PAGE {
            commit(store, &mut writes).await?;
        }
    }
    Err(wrong(number, "the text ends too early".to_owned()))
}

async fn commit(store: &dyn Store, writes: &mut Vec<Write>) -> Result<(), PortableError> {
    let outcomes = store.commit(Batch::independent(writes.drain(..))).await?;
    if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })) {
        Ok(())
    } else {
        // Unconditional writes cannot conflict.
        Err(PortableError::Store(StoreError::Damaged("an unconditional write met a conflict".to_owned())))
    }
}

fn write_of(number: u64, line: &str) -> Result<Write, PortableError> {
    let line: OwnedLine = parse(number, line)?;
    let value = match (line.value, line.base64) {
        (Some(value), None) => Some(Bytes::from(String::from(Box::<str>::from(value)))),
        (None, Some(text)) => Some(Bytes::from(STANDARD.decode(text).map_err(|error| wrong(number, error.to_string()))?)),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(wrong(number, "both value and base64".to_owned())),
    };
    Ok(Write { key: Key::new(line.collection, line.tenant, line.id), expect: Expect::Any, value })
}

async fn put_document(to: &mut (impl AsyncWrite + Unpin), document: &Document) -> Result<(), PortableError> {
    let Key { collection, tenant, id } = &document.key;
    // JSON over several lines, or with spaces around it, would not come back the same.
    let json = document
        .value
        .as_deref()
        .and_then(|value| serde_json::from_slice::<&RawValue>(value).ok().filter(|json| json.get().len() == value.len()));
    let json = json.filter(|json| !json.get().contains(['\n', '\r']) && json.get() != "null");
    let base64 = document.value.as_deref().filter(|_| json.is_none()).map(|value| STANDARD.encode(value));
    put_line(to, &Line { collection, tenant, id, value: json, base64 }).await
}

async fn put_line(to: &mut (impl AsyncWrite + Unpin), line: &impl Serialize) -> Result<(), PortableError> {
    let mut text = serde_json::to_vec(line).map_err(std::io::Error::other)?;
    text.push(b'\n');
    Ok(to.write_all(&text).await?)
}

fn parse<T: serde::de::DeserializeOwned>(number: u64, line: &str) -> Result<T, PortableError> {
    serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))
}

fn wrong(line: u64, reason: String) -> PortableError {
    PortableError::Text { line, reason }
}
