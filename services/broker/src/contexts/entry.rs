//! One context that is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use fogflow_ngsi::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

/// Where a context comes from (ETSI GS CIM 009, clause 5.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Fetched from its URL.
    Cached,
    /// Given by a client to be served from here.
    Hosted,
    /// Made for an inline context that had to have a URL.
    ImplicitlyCreated,
}

impl Kind {
    /// The name that the API uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Cached => "Cached",
            Kind::Hosted => "Hosted",
            Kind::ImplicitlyCreated => "ImplicitlyCreated",
        }
    }
}

/// A kept context.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its id here.
    pub local_id: SmolStr,
    /// Where it comes from.
    pub kind: Kind,
    /// The URL from which it was fetched.
    pub url: Option<SmolStr>,
    /// When it was fetched or made.
    pub created: Timestamp,
    /// The document, with the member `@context`.
    pub body: Arc<Value>,
    /// Counted since the start.
    #[serde(skip)]
    pub(super) usage: Usage,
}

#[derive(Debug, Default)]
pub(super) struct Usage {
    last: AtomicI64,
    hits: AtomicU64,
}

impl Entry {
    /// Counts a use.
    pub fn used(&self) {
        self.usage.last.store(Timestamp::now().0, Ordering::Relaxed);
        self.usage.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// When it was last used since the start.
    #[must_use]
    pub fn last_usage(&self) -> Option<Timestamp> {
        Some(Timestamp(self.usage.last.load(Ordering::Relaxed))).filter(|time| time.0 > 0)
    }

    /// How often it was used since the start.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.usage.hits.load(Ordering::Relaxed)
    }
}
