//! The transactions on documents, the change log and the counter.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::http::{Answer, Failure, Http};
use super::nodes::{Names, encode, first_number, read};
use crate::evaluate::{Current, Staged, Standing};
use crate::model::{Batch, Document, Key, Outcome, Sequence, StoreError};

/// Time between two questions for the head.
const POLL: Duration = Duration::from_millis(200);
/// Time between two looks at the change log.
const UPKEEP: Duration = Duration::from_secs(10);
/// Changes that are deleted in one transaction.
const TRIM: u64 = 500;
/// Most nodes that one answer has.
pub(super) const PAGE_LIMIT: usize = 100_000;

/// What the store and its background task share.
pub(super) struct Inner {
    pub(super) http: Http,
    pub(super) names: Names,
    pub(super) head: watch::Sender<Sequence>,
    /// Commits of one process would only abort each other.
    pub(super) turn: Mutex<()>,
    pub(super) closed: AtomicBool,
    pub(super) log_keep: u64,
}

impl Inner {
    /// Adds the schema and the counter node.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        // Altering disturbs transactions of others, so it is done only when something is missing.
        let predicates = self.names.predicates();
        let known = self.http.query(&format!("schema(pred: [{}]) {{ type }}", predicates.join(", ")), &[]).await?;
        if known.data["schema"].as_array().map_or(0, Vec::len) < predicates.len() {
            self.http.alter(&self.names.schema()).await?;
        }
        let answer = self.http.query(&format!("{{ {} }}", self.state_block()), &[]).await?;
        if answer.data["state"][0]["uid"].is_string() {
            return Ok(());
        }
        let node = json!({
            "uid": "_:state",
            self.names.of("state"): "counter",
            self.names.of("head"): 0,
            self.names.of("log_from"): 0,
        });
        self.http.commit(answer.start_ts, &[node], &[]).await
    }

    pub(super) fn state_block(&self) -> String {
        let of = |name| self.names.of(name);
        format!(
            "state(func: eq({}, \"counter\")) {{ uid head: {} log_from: {} writer: {} }}",
            of("state"),
            of("head"),
            of("log_from"),
            of("writer")
        )
    }

    /// Asks for the head, and looks after the change log, until it is dropped.
    pub(super) async fn follow(&self) {
        let mut upkeep_at = Instant::now();
        loop {
            match self.http.query(&format!("{{ {} }}", self.state_block()), &[]).await {
                Ok(answer) => self.moved(first_number(answer.data.get("state"), "head")),
                Err(failure) => tracing::debug!(error = %StoreError::from(failure), "cannot ask for the head"),
            }
            if Instant::now() >= upkeep_at {
                upkeep_at = Instant::now() + UPKEEP;
                while let Ok(true) = self.trim().await {}
            }
            sleep(POLL).await;
        }
    }

    pub(super) fn moved(&self, head: Sequence) {
        self.head.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
    }

    /// Deletes some of the oldest changes beyond what is kept; true when there are more.
    async fn trim(&self) -> Result<bool, Failure> {
        let _turn = self.turn.lock().await;
        let answer = self.http.query(&format!("{{ {} }}", self.state_block()), &[]).await?;
        let (head, log_from) = (first_number(answer.data.get("state"), "head"), first_number(answer.data.get("state"), "log_from"));
        let until = head.saturating_sub(self.log_keep).min(log_from + TRIM);
        if until <= log_from {
            return Ok(false);
        }
        let change = self.names.of("change");
        let query = format!("{{ {} changes(func: le({change}, {until})) {{ uid }} }}", self.state_block());
        let answer = self.http.query(&query, &[]).await?;
        let gone = ["change", "changed", "version", "live", "value", "writer"];
        let delete = |node: &Value| {
            let mut fields = json!({ "uid": node["uid"] });
            for name in gone {
                fields[self.names.of(name)] = Value::Null;
            }
            fields
        };
        let deletions: Vec<Value> = answer.data["changes"].as_array().into_iter().flatten().map(delete).collect();
        let state = json!({ "uid": answer.data["state"][0]["uid"], self.names.of("log_from"): until });
        self.http.commit(answer.start_ts, &[state], &deletions).await?;
        Ok(until < head.saturating_sub(self.log_keep))
    }

    /// One transaction.
    pub(super) async fn attempt(&self, batch: &Batch, writer: &str) -> Result<Vec<Outcome>, Failure> {
        let keys: Vec<String> = batch.groups.iter().flatten().map(|write| encode(&write.key)).collect();
        let block = format!("documents(func: eq({}, {})) {{ {} }}", self.names.of("key"), json!(keys), self.names.document_fields());
        let answer = self.http.query(&format!("{{ {} {block} }}", self.state_block()), &[]).await?;
        let head = first_number(answer.data.get("state"), "head");
        let found = Found::of(&answer).map_err(Failure::Refused)?;
        let mut staged = Staged::after(head);
        let outcomes = staged.stage(batch.clone(), &found).map_err(Failure::Refused)?;
        if staged.documents.is_empty() {
            return Ok(outcomes);
        }
        let last = head + staged.documents.len() as u64;
        let mut newest: HashMap<&Key, &Document> = HashMap::new();
        for document in &staged.documents {
            newest.insert(&document.key, document);
        }
        let mut nodes = vec![json!({
            "uid": answer.data["state"][0]["uid"],
            self.names.of("head"): last,
            self.names.of("writer"): writer,
        })];
        for document in newest.into_values() {
            let uid = found.0.get(&document.key).map_or_else(|| format!("_:document{}", document.sequence), |(uid, _)| uid.clone());
            nodes.push(self.names.document(&uid, document));
        }
        nodes.extend(staged.documents.iter().map(|change| self.names.change(change, writer)));
        match self.http.commit(answer.start_ts, &nodes, &[]).await {
            Ok(()) => {}
            Err(Failure::Silent(error)) if self.clear_up(head + 1, writer).await? => {
                tracing::info!(%error, "committed although no answer came")
            }
            Err(failure) => return Err(failure),
        }
        self.moved(last);
        Ok(outcomes)
    }

    /// After a silence: whether the change with this sequence is the writer's. If not, it never will be.
    async fn clear_up(&self, first: Sequence, writer: &str) -> Result<bool, Failure> {
        let of = |name| self.names.of(name);
        loop {
            let block = format!("changes(func: eq({}, {first})) {{ writer: {} }}", of("change"), of("writer"));
            let attempt = async {
                let answer = self.http.query(&format!("{{ {} {block} }}", self.state_block()), &[]).await?;
                if answer.data["changes"][0]["writer"].as_str() == Some(writer) {
                    return Ok(true);
                }
                let head = first_number(answer.data.get("state"), "head");
                // The same number again: enough to abort whoever read the counter before.
                let state = json!({ "uid": answer.data["state"][0]["uid"], of("head"): head, of("writer"): format!("after {writer}") });
                self.http.commit(answer.start_ts, &[state], &[]).await?;
                Ok::<_, Failure>(false)
            };
            // The caller's deadline ends this.
            match attempt.await {
                Ok(committed) => return Ok(committed),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Documents from a key on, in order.
    pub(super) async fn page(&self, from: &str, inclusive: bool, to: &str, live: bool, limit: usize) -> Result<Vec<Document>, StoreError> {
        let (key, is_live) = (self.names.of("key"), self.names.of("live"));
        let begin = if inclusive { "ge" } else { "gt" };
        let limit = limit.min(PAGE_LIMIT);
        let only = if live { format!(" AND eq({is_live}, true)") } else { String::new() };
        let query = format!(
            "query q($from: string, $to: string) {{
                documents(func: {begin}({key}, $from), orderasc: {key}, first: {limit}) @filter(lt({key}, $to){only}) {{ {} }} }}",
            self.names.document_fields()
        );
        let answer = self.http.query(&query, &[("$from", from.to_owned()), ("$to", to.to_owned())]).await?;
        answer.data["documents"].as_array().into_iter().flatten().map(read).collect()
    }
}

/// The documents that a transaction has read, with their nodes.
struct Found(HashMap<Key, (String, Document)>);

impl Found {
    fn of(answer: &Answer) -> Result<Self, StoreError> {
        let mut found = HashMap::new();
        for node in answer.data["documents"].as_array().into_iter().flatten() {
            let document = read(node)?;
            let uid = node["uid"].as_str().unwrap_or_default().to_owned();
            found.insert(document.key.clone(), (uid, document));
        }
        Ok(Found(found))
    }
}

impl Current for Found {
    fn standing(&self, key: &Key) -> Result<Standing, StoreError> {
        let standing = |(_, document): &(String, Document)| Standing { version: document.version, live: document.value.is_some() };
        Ok(self.0.get(key).map(standing).unwrap_or_default())
    }

    fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        Ok(self.0.get(key).map(|(_, document)| document.clone()))
    }
}
