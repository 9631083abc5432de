//! JSON-LD contexts, compiled once into tables (ETSI GS CIM 009, clause 5.5.7; JSON-LD 1.1).
//!
//! Nothing here fetches anything: [`Context::compile`] says which URL it lacks, and its caller loads that and tries
//! again. The core context is built in, comes last and wins, as the specification demands.
//!
//! The core context stands before the others as well, so that they may use its prefixes. A term that a context maps to
//! `null` is one that it does not define. Of several terms for one IRI the shortest is shown, whatever they say of values.
//!
//! Not supported, because no context of the NGSI-LD world was found to need it: scoped and nested contexts inside a
//! term, `@reverse`, `@nest`, `@base`, `@language`, `@propagate`, and aliases of keywords beyond the core's `id` and `type`.

mod compile;
pub mod core;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use smol_str::SmolStr;

pub use self::compile::{ContextError, Limits};
use crate::Name;

/// The URL that replies name for the core context.
pub const CORE_CONTEXT_URL: &str = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.8.jsonld";

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What a term says about its values (`@type` in a term definition).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coercion {
    /// Nothing.
    #[default]
    None,
    /// They are URIs.
    Id,
    /// They are terms.
    Vocab,
    /// They are points in time.
    DateTime,
    /// They are JSON that no context touches.
    Json,
    /// They are literals of another type.
    Literal,
}

/// How a term holds several values (`@container`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// As a plain value or array.
    #[default]
    None,
    /// In order.
    List,
    /// Without order.
    Set,
    /// By language tag.
    Language,
    /// By another index.
    Index,
}

/// The meaning of one term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// What it stands for.
    pub name: Name,
    /// What its values are.
    pub coercion: Coercion,
    /// How it holds several.
    pub container: Container,
    /// Whether it may be the first part of a compact IRI, as `schema:name`.
    pub prefix: bool,
}

/// A compiled context: every term that it defines, with the core terms last.
#[derive(Clone, Debug, Default)]
pub struct Context {
    terms: Map<SmolStr, Term>,
    /// The term to show for a name: the shortest, and of equally short ones the first by its letters.
    shown: Map<Name, SmolStr>,
    /// IRI and term of each prefix, the longest IRI first.
    prefixes: Vec<(SmolStr, SmolStr)>,
    /// What a client gave as `@context`; nothing for the core context alone.
    source: Option<Value>,
}

static CORE: LazyLock<Arc<Context>> = LazyLock::new(|| {
    let mut context = Context::default();
    context.close();
    Arc::new(context)
});

impl Context {
    /// The core context alone.
    #[must_use]
    pub fn core() -> Arc<Context> {
        CORE.clone()
    }

    /// Compiles what stands behind `@context`: a URL, an object, an array of these, or a document that has an `@context`
    /// member. `resolve` gives the document of a URL, or `None` when it has not been loaded.
    ///
    /// # Errors
    /// [`ContextError::Missing`] names a URL that `resolve` did not know; the other errors are final.
    pub fn compile(source: &Value, resolve: &dyn Fn(&str) -> Option<Arc<Value>>) -> Result<Context, ContextError> {
        compile::compile(source, resolve, &Limits::default())
    }

    /// The name that a term, a compact IRI or an IRI of a document stands for.
    #[must_use]
    pub fn expand(&self, text: &str) -> Name {
        // The core's own terms are protected, and without a user's context a short name is its own name.
        if self.terms.is_empty() && !text.contains(':') {
            return Name::new(text);
        }
        if core::iri_of(text).is_some() {
            return Name::new(text);
        }
        if let Some(term) = self.terms.get(text) {
            return term.name.clone();
        }
        match text.split_once(':') {
            Some((prefix, local)) if !local.starts_with("//") && prefix != "_" => match self.prefix_iri(prefix) {
                Some(iri) => Name::new(&format!("{iri}{local}")),
                None => Name::new(text),
            },
            _ => Name::new(text),
        }
    }

    fn prefix_iri(&self, prefix: &str) -> Option<Cow<'_, str>> {
        if let Some(iri) = core::prefix_iri(prefix) {
            return Some(Cow::Borrowed(iri));
        }
        self.terms.get(prefix).filter(|term| term.prefix).map(|term| term.name.iri())
    }

    /// The shortest text that [`expand`](Self::expand)s to this name.
    #[must_use]
    pub fn compact<'a>(&'a self, name: &'a Name) -> Cow<'a, str> {
        if let Some(term) = self.shown.get(name) {
            return Cow::Borrowed(term);
        }
        let short = name.as_str();
        // A user's context may give a short name of the default context another meaning.
        if !short.contains(':') && (!self.terms.contains_key(short) || core::iri_of(short).is_some()) {
            return Cow::Borrowed(short);
        }
        let iri = name.iri();
        let full = iri.as_ref();
        let compacted = self.prefixes.iter().filter_map(|(base, term)| {
            let local = full.strip_prefix(base.as_str()).filter(|local| !local.is_empty() && !local.starts_with("//"))?;
            let text = format!("{term}:{local}");
            (!self.terms.contains_key(text.as_str())).then_some(text)
        });
        compacted.min_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b))).map_or(iri, Cow::Owned)
    }

    /// The definition of a term by a user's context; core terms and unknown ones have none.
    #[must_use]
    pub fn term(&self, term: &str) -> Option<&Term> {
        self.terms.get(term)
    }

    /// Whether this is the core context alone.
    #[must_use]
    pub fn is_core(&self) -> bool {
        self.source.is_none()
    }

    /// The value for the `@context` member of a document: as a client gave it, or the core context. Who reads NGSI-LD adds
    /// the core by itself (clause 5.5.7).
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.source.clone().unwrap_or_else(|| Value::from(CORE_CONTEXT_URL))
    }

    /// The one URL for a `Link` header, if one can stand for the whole context.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        match &self.source {
            None => Some(CORE_CONTEXT_URL),
            Some(Value::String(url)) => Some(url),
            Some(Value::Array(parts)) => {
                let mut users = parts.iter().filter(|part| !part.as_str().is_some_and(core::is_core_context));
                match (users.next(), users.next()) {
                    (Some(Value::String(url)), None) => Some(url),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Builds what compaction needs, once all terms are there.
    fn close(&mut self) {
        self.prefixes = core::PREFIXES.iter().map(|(term, iri)| (SmolStr::new_static(iri), SmolStr::new_static(term))).collect();
        for (text, term) in &self.terms {
            if term.prefix {
                self.prefixes.push((SmolStr::new(term.name.iri()), text.clone()));
            }
            let better = |old: &SmolStr| (text.len(), text.as_str()) < (old.len(), old.as_str());
            // A core term keeps its own name: it cannot be overridden.
            if core::iri_of(term.name.as_str()).is_none() && self.shown.get(&term.name).is_none_or(better) {
                self.shown.insert(term.name.clone(), text.clone());
            }
        }
        self.prefixes.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
    }
}
