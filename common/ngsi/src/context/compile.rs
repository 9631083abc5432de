//! From the JSON of a context to its table.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::{Coercion, Container, Context, Term, core};
use crate::Name;

/// How large a context may be, so that a hostile one costs little.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Terms of all its parts together.
    pub terms: usize,
    /// Contexts that it consists of, all together.
    pub parts: usize,
    /// How deep contexts may refer to contexts.
    pub nesting: usize,
    /// The longest term or IRI in bytes.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { terms: 20_000, parts: 64, nesting: 8, text: 2048 }
    }
}

/// Why a context cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The document of this URL is needed first.
    #[error("the @context `{0}` is not loaded")]
    Missing(String),
    /// The JSON is no context.
    #[error("invalid @context: {0}")]
    Invalid(String),
    /// The context exceeds [`Limits`].
    #[error("the @context is too large: {0}")]
    TooLarge(&'static str),
}

struct Compiler<'a> {
    resolve: &'a dyn Fn(&str) -> Option<Arc<Value>>,
    limits: &'a Limits,
    parts: usize,
    vocab: Option<String>,
    context: Context,
}

pub(super) fn compile(source: &Value, resolve: &dyn Fn(&str) -> Option<Arc<Value>>, limits: &Limits) -> Result<Context, ContextError> {
    let mut compiler = Compiler { resolve, limits, parts: 0, vocab: None, context: Context::default() };
    let source = source.get("@context").unwrap_or(source);
    compiler.part(source, 0)?;
    let is_core = |part: &Value| part.is_null() || part.as_str().is_some_and(core::is_core_context);
    let only_core = match source {
        Value::Array(parts) => parts.iter().all(is_core),
        one => is_core(one),
    };
    compiler.context.source = (!only_core).then(|| source.clone());
    compiler.context.close();
    Ok(compiler.context)
}

impl Compiler<'_> {
    fn part(&mut self, part: &Value, depth: usize) -> Result<(), ContextError> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(ContextError::TooLarge("too many parts"));
        }
        if depth > self.limits.nesting {
            return Err(ContextError::TooLarge("contexts refer to contexts too deep"));
        }
        match part {
            // `null` resets what came before (JSON-LD 1.1, 4.1.2).
            Value::Null => {
                self.context.terms.clear();
                self.vocab = None;
                Ok(())
            }
            Value::String(url) if core::is_core_context(url) => Ok(()),
            Value::String(url) => {
                let document = (self.resolve)(url).ok_or_else(|| ContextError::Missing(url.clone()))?;
                let inner = document.get("@context").ok_or_else(|| ContextError::Invalid(format!("`{url}` has no member `@context`")))?;
                self.part(inner, depth + 1)
            }
            Value::Array(parts) => parts.iter().try_for_each(|part| self.part(part, depth + 1)),
            Value::Object(definitions) => {
                if let Some(import) = definitions.get("@import") {
                    self.part(import, depth + 1)?;
                }
                self.definitions(definitions)
            }
            _ => Err(ContextError::Invalid("it must be a URL, an object or an array".to_owned())),
        }
    }

    fn definitions(&mut self, definitions: &Map<String, Value>) -> Result<(), ContextError> {
        if let Some(vocab) = definitions.get("@vocab") {
            // A term, a compact IRI, or an end that is added to the vocabulary so far.
            self.vocab = vocab.as_str().map(|vocab| self.known(vocab));
        }
        if self.context.terms.len() + definitions.len() > self.limits.terms {
            return Err(ContextError::TooLarge("too many terms"));
        }
        let mut open = HashSet::new();
        let mut done = HashSet::new();
        for term in definitions.keys() {
            self.define(term, definitions, &mut open, &mut done)?;
        }
        Ok(())
    }

    /// Defines a term, after those that its definition refers to ("Create Term Definition" of the JSON-LD 1.1 algorithms).
    fn define<'d>(
        &mut self,
        term: &'d str,
        definitions: &'d Map<String, Value>,
        open: &mut HashSet<&'d str>,
        done: &mut HashSet<&'d str>,
    ) -> Result<(), ContextError> {
        // Keywords are no terms, and core terms are protected: a context may repeat them, without effect.
        if term.starts_with('@') || term.is_empty() || core::is_protected(term) || done.contains(term) {
            return Ok(());
        }
        let Some((term, definition)) = definitions.get_key_value(term) else { return Ok(()) };
        let term = term.as_str();
        let fault = |message: &str| ContextError::Invalid(format!("term `{term}`: {message}"));
        if open.len() > 64 || !open.insert(term) {
            return Err(fault("it is defined by itself, or by too many others"));
        }
        self.context.terms.remove(term);
        let (target, details) = match definition {
            Value::Null => (None, None),
            Value::String(target) => (Some(target.as_str()), None),
            Value::Object(details) => match details.get("@id") {
                Some(Value::String(target)) => (Some(target.as_str()), Some(details)),
                Some(Value::Null) => (None, Some(details)),
                Some(_) => return Err(fault("`@id` must be a string")),
                None => (Some(term), Some(details)),
            },
            _ => return Err(fault("its definition must be a string or an object")),
        };
        let iri = match target {
            Some(target) if target.len() > self.limits.text || term.len() > self.limits.text => {
                return Err(ContextError::TooLarge("a term or IRI is too long"));
            }
            Some(target) if target == term => Some(self.own_iri(term, definitions, open, done)?),
            Some(target) => self.iri(target, definitions, open, done)?,
            None => None,
        };
        let Some(iri) = iri else {
            open.remove(term);
            done.insert(term);
            return Ok(());
        };
        let looks_like_iri = term.contains('/') || split(term).is_some_and(|(_, local)| !local.is_empty());
        if looks_like_iri && target != Some(term) {
            if let Some((prefix, _)) = split(term) {
                self.define(prefix, definitions, open, done)?;
            }
            if self.known(term) != iri {
                return Err(fault("it looks like an IRI and is defined as another one"));
            }
        }
        open.remove(term);
        done.insert(term);
        let prefix = match details.and_then(|details| details.get("@prefix")) {
            Some(Value::Bool(_)) if term.contains([':', '/']) => return Err(fault("it cannot be a prefix")),
            Some(Value::Bool(prefix)) => *prefix,
            Some(_) => return Err(fault("`@prefix` must be true or false")),
            // A simple definition makes a prefix if its IRI ends with a delimiter.
            None => {
                details.is_none()
                    && target != Some(term)
                    && !term.contains([':', '/'])
                    && (iri.ends_with([':', '/', '?', '#', '[', ']', '@']) || iri.starts_with("_:"))
            }
        };
        let (coercion, container) = details.map_or((Coercion::None, Container::None), kinds);
        let definition = Term { name: Name::new(&iri), coercion, container, prefix };
        self.context.terms.insert(SmolStr::new(term), definition);
        Ok(())
    }

    /// The IRI that the right side of a definition means ("IRI Expansion"), or `None` if it is a keyword.
    fn iri<'d>(
        &mut self,
        target: &'d str,
        definitions: &'d Map<String, Value>,
        open: &mut HashSet<&'d str>,
        done: &mut HashSet<&'d str>,
    ) -> Result<Option<String>, ContextError> {
        if target.starts_with('@') {
            return Ok(None);
        }
        self.define(target, definitions, open, done)?;
        if !self.context.terms.contains_key(target)
            && let Some((prefix, local)) = split(target)
            && !local.starts_with("//")
        {
            self.define(prefix, definitions, open, done)?;
        }
        Ok(Some(self.known(target)))
    }

    /// The IRI of a term whose definition names none: that of its prefix, which need not be declared as one here, else that of
    /// the vocabulary.
    fn own_iri<'d>(
        &mut self,
        term: &'d str,
        definitions: &'d Map<String, Value>,
        open: &mut HashSet<&'d str>,
        done: &mut HashSet<&'d str>,
    ) -> Result<String, ContextError> {
        let Some((prefix, local)) = split(term) else { return Ok(self.in_vocabulary(term)) };
        self.define(prefix, definitions, open, done)?;
        let base = core::prefix_iri(prefix).map(str::to_owned);
        let base = base.or_else(|| self.context.terms.get(prefix).map(|known| known.name.iri().into_owned()));
        Ok(base.map_or_else(|| term.to_owned(), |base| format!("{base}{local}")))
    }

    /// The IRI that a text means by what is defined so far.
    fn known(&self, text: &str) -> String {
        if let Some(term) = self.context.terms.get(text) {
            return term.name.iri().into_owned();
        }
        if let Some(iri) = core::iri_of(text) {
            return iri.into_owned();
        }
        match split(text) {
            Some((prefix, local)) if prefix != "_" && !local.starts_with("//") => {
                self.context.prefix_iri(prefix).map_or_else(|| text.to_owned(), |base| format!("{base}{local}"))
            }
            Some(_) => text.to_owned(),
            None => self.in_vocabulary(text),
        }
    }

    fn in_vocabulary(&self, term: &str) -> String {
        format!("{}{term}", self.vocab.as_deref().unwrap_or(crate::model::DEFAULT_CONTEXT))
    }
}

/// Both parts of a compact IRI: a colon that comes first does not make one.
fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once(':').filter(|(prefix, _)| !prefix.is_empty())
}

fn kinds(details: &Map<String, Value>) -> (Coercion, Container) {
    let coercion = match details.get("@type").and_then(Value::as_str) {
        None | Some("@none") => Coercion::None,
        Some("@id") => Coercion::Id,
        Some("@vocab") => Coercion::Vocab,
        Some("@json") => Coercion::Json,
        Some(iri) if iri.ends_with("DateTime") || iri.ends_with("dateTime") => Coercion::DateTime,
        Some(_) => Coercion::Literal,
    };
    let container = match details.get("@container") {
        Some(Value::Array(several)) => several.iter().find_map(Value::as_str),
        Some(one) => one.as_str(),
        None => None,
    };
    let container = match container {
        Some("@list") => Container::List,
        Some("@set") => Container::Set,
        Some("@language") => Container::Language,
        Some(_) => Container::Index,
        None => Container::None,
    };
    (coercion, container)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn compiled(source: &Value) -> Context {
        Context::compile(source, &|_| None).unwrap()
    }

    #[test]
    fn terms_prefixes_and_the_default_expand_and_compact() {
        let context = compiled(&json!([{
            "schema": "https://schema.org/",
            "name": "schema:name",
            "Vehicle": {"@id": "https://example.org/Vehicle"},
            "brand": {"@id": "schema:brand", "@type": "@vocab"},
        }, "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"]));
        for (short, iri) in [
            ("name", "https://schema.org/name"),
            ("Vehicle", "https://example.org/Vehicle"),
            ("schema:price", "https://schema.org/price"),
            ("speed", "https://uri.etsi.org/ngsi-ld/default-context/speed"),
            ("location", "https://uri.etsi.org/ngsi-ld/location"),
            ("ngsi-ld:foo", "https://uri.etsi.org/ngsi-ld/foo"),
            ("urn:other:x", "urn:other:x"),
        ] {
            let name = context.expand(short);
            assert_eq!(name.iri(), iri);
            assert_eq!(context.expand(iri), name);
            assert_eq!(context.compact(&name), short);
        }
        assert_eq!(context.term("brand").unwrap().coercion, Coercion::Vocab);
    }

    #[test]
    fn core_terms_cannot_be_overridden() {
        let context = compiled(&json!({"location": "https://example.org/place", "observedAt": "https://example.org/time"}));
        assert_eq!(context.expand("location").iri(), "https://uri.etsi.org/ngsi-ld/location");
    }

    #[test]
    fn the_last_definition_wins_and_null_removes() {
        let context =
            compiled(&json!([{"a": "https://one.example/a", "b": "https://one.example/b"}, {"a": "https://two.example/a", "b": null}]));
        assert_eq!(context.expand("a").iri(), "https://two.example/a");
        assert_eq!(context.expand("b"), Name::new("b"));
    }

    #[test]
    fn a_name_of_the_default_context_is_never_shown_as_a_term_of_another_meaning() {
        let context = compiled(&json!({"speed": "https://example.org/speed"}));
        let name = Name::new("speed");
        assert_eq!(context.compact(&name), "ngsi-ld:default-context/speed");
        assert_eq!(context.expand(&context.compact(&name)), name);
    }

    #[test]
    fn the_shortest_term_is_shown_and_of_equal_ones_the_first() {
        let context = compiled(&json!({"zz": "https://example.org/x", "aa": "https://example.org/x", "long": "https://example.org/x"}));
        assert_eq!(context.compact(&Name::new("https://example.org/x")), "aa");
    }

    #[test]
    fn urls_are_resolved_and_missing_ones_named() {
        let source = json!(["https://example.org/c.jsonld", {"x": "ex:x"}]);
        let missing = Context::compile(&source, &|_| None).unwrap_err();
        assert_eq!(missing, ContextError::Missing("https://example.org/c.jsonld".to_owned()));
        let document = Arc::new(json!({"@context": {"ex": "https://example.org/"}}));
        let context = Context::compile(&source, &|_| Some(document.clone())).unwrap();
        assert_eq!(context.expand("x").iri(), "https://example.org/x");
        assert_eq!(context.link(), None);
        assert_eq!(context.to_value(), source);
    }

    #[test]
    fn cycles_and_monsters_are_errors() {
        assert!(Context::compile(&json!({"a": "b", "b": "a"}), &|_| None).is_err());
        assert!(Context::compile(&json!(5), &|_| None).is_err());
        let document = Arc::new(json!({"@context": "https://example.org/self"}));
        let error = Context::compile(&json!("https://example.org/self"), &|_| Some(document.clone())).unwrap_err();
        assert!(matches!(error, ContextError::TooLarge(_)));
    }

    proptest! {
        #[test]
        fn compaction_is_undone_by_expansion(
            pairs in proptest::collection::btree_map("[a-c]{1,2}", "(https://x\\.org/[a-c]{0,2}|[a-c]:[a-c]{0,2}|[a-c]{1,2})", 0..8),
            text in "(https://x\\.org/[a-c]{1,3}|[a-c]{1,3}|[a-c]:[a-c]{1,2}|urn:[a-c]{1,2})",
        ) {
            if let Ok(context) = Context::compile(&serde_json::to_value(pairs).unwrap(), &|_| None) {
                let name = context.expand(&text);
                let shown = context.compact(&name).into_owned();
                prop_assert_eq!(context.expand(&shown), name, "through `{}`", shown);
            }
        }

        #[test]
        fn any_json_compiles_or_fails_without_panic(value in crate::testing::json()) {
            let _ = Context::compile(&value.to_value(), &|_| None);
        }
    }
}
