//! A store as text, to move it between engines and to back it up while it runs.
//!
//! One JSON object per line. The first names the form: `{"form":"fogflow-store","version":1}`. Then documents,
//! `{"collection":"entity","tenant":"","id":"…","value":{…}}`: a value that is JSON stands there as it is, another one as
//! `"base64":"…"`, and neither of them means that the document was deleted. A later line of the same document counts. The
//! last line is `{"end":true,"lines":n}`; without it the text was cut off.
//!
//! The text is consistent although the store goes on: it is the state at the moment when the export had read the last
//! change. Documents change their versions and sequences by the way, so a position in the feed that a service had stored
//! (a cursor) means nothing in the imported store; one beyond its head is such a position.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use crate::contract::Store;
use crate::model::{Batch, Document, Expect, Feed, Key, Outcome, StoreError, Write};

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
    /// An import goes only into a store that was never written.
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
}

/// Writes all documents of a store, and returns how many lines they took.
///
/// # Errors
/// See [`PortableError`].
pub async fn export(store: &dyn Store, to: &mut (impl AsyncWrite + Unpin)) -> Result<u64, PortableError> {
    put_line(to, &Header { form: FORM.to_owned(), version: VERSION }).await?;
    let mut position = store.head().await?;
    let mut lines = 0;
    for collection in store.collections().await? {
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
                for change in changes.iter().filter(|change| change.sequence <= head) {
                    put_document(to, change).await?;
                    lines += 1;
                }
                position = changes.last().map_or(head, |change| change.sequence);
            }
            Feed::Truncated { .. } => return Err(PortableError::TooFast),
        }
    }
    put_line(to, &End { end: true, lines }).await?;
    to.flush().await?;
    Ok(lines)
}

/// Reads what [`export`] wrote into an empty store, and returns how many lines it had.
///
/// # Errors
/// See [`PortableError`]. The store may be filled in part then; throw it away.
pub async fn import(store: &dyn Store, from: &mut (impl AsyncBufRead + Unpin)) -> Result<u64, PortableError> {
    if store.head().await? != 0 {
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
        if let Ok(End { lines, .. }) = serde_json::from_str(&line) {
            if lines != read {
                return Err(wrong(number, format!("{lines} lines were written and {read} are here")));
            }
            commit(store, &mut writes).await?;
            return Ok(read);
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
