//! The `@context`s that requests and subscriptions name: fetched once, kept durably, compiled once.
//!
//! Three kinds (ETSI GS CIM 009, clause 5.13): *cached* ones were fetched from their URL, *hosted* ones were given by a
//! client to be served from here, *implicit* ones stand for the inline `@context` of a subscription, so that a `Link`
//! header can name them. A fetched one stays usable when its host is down, and after a restart.

mod entry;

use std::collections::HashMap;
use std::sync::Arc;

use fogflow_chassis::outbound;
use fogflow_ngsi::context::{Context, ContextError, core};
use fogflow_ngsi::{DecodeError, DecodeErrorKind, Timestamp};
use fogflow_store::{Batch, Expect, Key, SharedStore, StoreError, Write};
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use smol_str::{SmolStr, format_smolstr};

pub use entry::{Entry, Kind};

/// The collection of contexts in the store.
pub const COLLECTION: &str = "context";
/// Largest document that is fetched, in bytes.
const LARGEST: usize = 1024 * 1024;
/// Most documents that are kept; more are fetched but forgotten.
const MOST: usize = 2000;
/// Contexts that one context may make the broker fetch.
const FETCHES: usize = 32;
/// Compiled contexts that are kept.
const COMPILED: usize = 1000;

/// All contexts of a broker.
pub struct Contexts {
    store: SharedStore,
    client: reqwest::Client,
    /// URL under which hosted and implicit contexts are served; ends with a slash.
    base: String,
    entries: RwLock<HashMap<SmolStr, Arc<Entry>, RandomState>>,
    compiled: Cache<String, Arc<Context>>,
}

impl Contexts {
    /// Reads the stored contexts.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn load(store: SharedStore, client: reqwest::Client, base: String) -> Result<Self, StoreError> {
        let mut entries = HashMap::default();
        let mut after = None;
        loop {
            let page = store.scan(None, COLLECTION, after.as_ref(), 256).await?;
            after = page.documents.last().map(|document| document.key.clone());
            for document in page.documents {
                // One that cannot be read is fetched again.
                if let Ok(entry) = serde_json::from_slice::<Entry>(document.value.as_deref().unwrap_or_default()) {
                    entries.insert(entry.local_id.clone(), Arc::new(entry));
                }
            }
            if !page.more {
                break;
            }
        }
        Ok(Contexts { store, client, base, entries: RwLock::new(entries), compiled: Cache::new(COMPILED) })
    }

    /// Takes in what another replica keeps, or has forgotten with `None`.
    pub fn changed(&self, local_id: &str, value: Option<&[u8]>) {
        match value.and_then(|value| serde_json::from_slice::<Entry>(value).ok()) {
            Some(entry) if self.entries.read().get(local_id).is_some_and(|known| known.body == entry.body) => return,
            Some(entry) => self.insert(entry),
            None => {
                self.entries.write().remove(local_id);
            }
        }
        self.compiled.clear();
    }

    /// The compiled context of what stands behind `@context`, or of a `Link` header's URL; documents that it lacks are
    /// fetched.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Context`] when one cannot be had, [`DecodeErrorKind::Data`] when one is wrong.
    pub async fn resolve(&self, source: &Value) -> Result<Arc<Context>, DecodeError> {
        if is_core(source) {
            return Ok(Context::core());
        }
        self.count_use(source);
        let key = source.to_string();
        // Requests that name the same new context at the same time wait for one compilation.
        self.compiled.get_or_insert_async(&key, self.compile(source)).await
    }

    async fn compile(&self, source: &Value) -> Result<Arc<Context>, DecodeError> {
        for _ in 0..FETCHES {
            match Context::compile(source, &|url| self.document(url)) {
                Ok(context) => return Ok(Arc::new(context)),
                Err(ContextError::Missing(url)) => {
                    let body = self.fetch(&url).await.map_err(|why| unavailable(&url, &why))?;
                    self.keep(Entry::new(local_id(&url), Kind::Cached, Some(url.as_str().into()), body)).await;
                }
                Err(error) => return Err(DecodeError::data("@context", error.to_string())),
            }
        }
        Err(DecodeError::data("@context", format!("it refers to more than {FETCHES} other contexts")))
    }

    /// The same without fetching: what is compiled or can be compiled now; else the core context, so that names are
    /// shown in full.
    #[must_use]
    pub fn at_hand(&self, source: &str) -> Arc<Context> {
        if source.is_empty() {
            return Context::core();
        }
        if let Some(context) = self.compiled.get(source) {
            return context;
        }
        let Ok(value) = serde_json::from_str::<Value>(source) else { return Context::core() };
        match Context::compile(&value, &|url| self.document(url)) {
            Ok(context) => {
                let context = Arc::new(context);
                self.compiled.insert(source.to_owned(), Arc::clone(&context));
                context
            }
            Err(error) => {
                tracing::warn!(%error, "a subscription's @context is not at hand");
                Context::core()
            }
        }
    }

    fn document(&self, url: &str) -> Option<Arc<Value>> {
        let id = url.strip_prefix(self.base.as_str()).map_or_else(|| local_id(url), SmolStr::new);
        self.entries.read().get(&id).map(|entry| Arc::clone(&entry.body))
    }

    /// Counts a request's use of each context that it names by URL.
    fn count_use(&self, source: &Value) {
        match source {
            Value::String(url) => {
                if let Some(entry) = self.get(url) {
                    entry.used();
                }
            }
            Value::Array(parts) => parts.iter().for_each(|part| self.count_use(part)),
            _ => {}
        }
    }

    async fn fetch(&self, url: &str) -> Result<Value, String> {
        let checked = outbound::check(url)?;
        let request = self.client.get(checked).header("accept", "application/ld+json, application/json;q=0.9");
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST {
                return Err(format!("it is larger than {LARGEST} bytes"));
            }
        }
        let value: Value = serde_json::from_slice(&body).map_err(|error| format!("it is not JSON: {error}"))?;
        if value.get("@context").is_none() {
            return Err("it has no member @context".to_owned());
        }
        Ok(value)
    }

    /// Keeps a document; one that cannot be stored is kept in memory only, since it can be fetched again.
    async fn keep(&self, entry: Entry) {
        if let Err(error) = self.save(&entry).await {
            tracing::warn!(%error, context = %entry.local_id, "a fetched @context is not stored");
        }
        self.insert(entry);
    }

    fn insert(&self, entry: Entry) {
        let mut entries = self.entries.write();
        if entries.len() < MOST || entries.contains_key(&entry.local_id) {
            entries.insert(entry.local_id.clone(), Arc::new(entry));
        }
    }

    async fn save(&self, entry: &Entry) -> Result<(), StoreError> {
        let value = serde_json::to_vec(entry).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let key = Key::new(COLLECTION, "", entry.local_id.clone());
        self.store.commit(Batch::one(Write { key, expect: Expect::Any, value: Some(value.into()) })).await.map(|_| ())
    }

    /// Hosts a client's context. Returns its local id.
    ///
    /// # Errors
    /// If it is no context, or names one that cannot be had, or the store refuses.
    pub async fn host(&self, document: Value) -> Result<SmolStr, DecodeError> {
        let Some(source) = document.get("@context") else { return Err(DecodeError::data("@context", "is missing")) };
        self.resolve(source).await?;
        let id = format_smolstr!("{}", uuid::Uuid::new_v4());
        self.add(Entry::new(id.clone(), Kind::Hosted, None, document)).await?;
        Ok(id)
    }

    /// A URL for a context that has none of its own, for `Link` headers.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn link(&self, context: &Context) -> Result<String, DecodeError> {
        if let Some(url) = context.link() {
            return Ok(url.to_owned());
        }
        let value = context.to_value();
        let id = local_id(&value.to_string());
        if !self.entries.read().contains_key(&id) {
            let body = serde_json::json!({ "@context": value });
            self.add(Entry::new(id.clone(), Kind::ImplicitlyCreated, None, body)).await?;
        }
        Ok(self.url(&id))
    }

    async fn add(&self, entry: Entry) -> Result<(), DecodeError> {
        self.save(&entry).await.map_err(|error| unavailable(&entry.local_id, &error.to_string()))?;
        self.insert(entry);
        Ok(())
    }

    /// The URL under which a context is served from here.
    #[must_use]
    pub fn url(&self, local_id: &str) -> String {
        format!("{}{local_id}", self.base)
    }

    /// A context by its local id or by its URL.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Entry>> {
        let entries = self.entries.read();
        entries.get(id).or_else(|| entries.get(id.strip_prefix(self.base.as_str())?)).or_else(|| entries.get(&local_id(id))).cloned()
    }

    /// All contexts, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.entries.read().values().cloned().collect();
        all.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.local_id.cmp(&b.local_id)));
        all
    }

    /// Forgets a context; with `reload` a cached one is fetched again instead, and stands if that fails.
    ///
    /// # Errors
    /// If it cannot be fetched, or the store refuses.
    pub async fn remove(&self, entry: &Entry, reload: bool) -> Result<(), DecodeError> {
        if let (true, Some(url)) = (reload, &entry.url) {
            let body = self.fetch(url).await.map_err(|why| unavailable(url, &why))?;
            self.keep(Entry::new(entry.local_id.clone(), Kind::Cached, Some(url.clone()), body)).await;
        } else {
            let key = Key::new(COLLECTION, "", entry.local_id.clone());
            let removed = self.store.commit(Batch::one(Write { key, expect: Expect::Any, value: None })).await;
            removed.map_err(|error| unavailable(&entry.local_id, &error.to_string()))?;
            self.entries.write().remove(&entry.local_id);
        }
        // What was compiled may have been made of it.
        self.compiled.clear();
        Ok(())
    }
}

fn is_core(source: &Value) -> bool {
    match source {
        Value::Null => true,
        Value::String(url) => core::is_core_context(url),
        Value::Array(parts) => parts.iter().all(is_core),
        _ => false,
    }
}

fn unavailable(url: &str, why: &str) -> DecodeError {
    DecodeError { kind: DecodeErrorKind::Context, field: "@context".to_owned(), message: format!("`{url}` cannot be had: {why}") }
}

/// The id of a context that is known by its URL: no longer than a key of the store may be, and without slashes.
fn local_id(url: &str) -> SmolStr {
    hex::encode(&Sha256::digest(url.as_bytes())[..16]).into()
}

impl Entry {
    fn new(local_id: SmolStr, kind: Kind, url: Option<SmolStr>, body: Value) -> Self {
        Entry { local_id, kind, url, created: Timestamp::now(), body: Arc::new(body), usage: entry::Usage::default() }
    }
}
