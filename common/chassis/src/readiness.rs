//! Readiness as a set of latches: a process is ready when every part of it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

/// The parts of a process and what each waits for. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<RwLock<BTreeMap<String, Option<String>>>>,
}

/// One part's latch. It starts not ready.
#[derive(Clone, Debug)]
pub struct ReadyPart {
    name: String,
    parts: Arc<RwLock<BTreeMap<String, Option<String>>>>,
}

impl Readiness {
    /// Declares a part. Asking for the same name again gives the same latch, not ready.
    #[must_use]
    pub fn part(&self, name: &str) -> ReadyPart {
        self.parts.write().insert(name.to_owned(), Some("starting".to_owned()));
        ReadyPart { name: name.to_owned(), parts: self.parts.clone() }
    }

    /// Whether every declared part is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts.read().values().all(Option::is_none)
    }

    /// `<part>: <reason>` for each part that is not ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let parts = self.parts.read();
        parts.iter().filter_map(|(name, reason)| reason.as_ref().map(|reason| format!("{name}: {reason}"))).collect()
    }

    /// Each part with its reason, `None` when ready.
    pub(crate) fn parts(&self) -> BTreeMap<String, Option<String>> {
        self.parts.read().clone()
    }
}

impl ReadyPart {
    /// The part can serve.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The part cannot serve, and why.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, state: Option<String>) {
        if let Some(place) = self.parts.write().get_mut(&self.name) {
            *place = state;
        }
    }
}
