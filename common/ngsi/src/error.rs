//! Why a request body could not be understood.

use std::fmt;

/// What is wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Whether the text is no JSON at all, or JSON that does not say what it should.
    pub kind: DecodeErrorKind,
    /// The path of the member, as `restriction.scopes[0].scopeValue`; empty when the whole input is meant.
    pub field: String,
    /// What is wrong, in a sentence without the path.
    pub message: String,
}

/// The class of a [`DecodeError`]; NGSI-LD gives each its own problem type (ETSI GS CIM 009, clause 6.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// The input is not valid UTF-8 or not valid JSON.
    Syntax,
    /// The input is JSON, but a member is missing, of a wrong type, or has a value that is not allowed.
    Data,
    /// A `@context` that the input names is not among those that were handed in.
    Context,
}

impl DecodeError {
    /// A [`DecodeErrorKind::Data`] error.
    #[must_use]
    pub fn data(field: impl Into<String>, message: impl Into<String>) -> Self {
        DecodeError { kind: DecodeErrorKind::Data, field: field.into(), message: message.into() }
    }

    /// A [`DecodeErrorKind::Syntax`] error about the whole input.
    #[must_use]
    pub fn syntax(message: impl Into<String>) -> Self {
        DecodeError { kind: DecodeErrorKind::Syntax, field: String::new(), message: message.into() }
    }

    /// The same error, seen from the object that has the erroneous input as its member `field`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => field.to_owned(),
            inner if inner.starts_with('[') => format!("{field}{inner}"),
            inner => format!("{field}.{inner}"),
        };
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

impl std::error::Error for DecodeError {}
