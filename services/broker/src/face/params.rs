//! Query parameters of the faces that have them.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

/// The parameters of a request in their order, percent-decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The names of the parameters that are given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a parameter, if it is given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The items of a parameter that is a list; empty if it is not given.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.get(name).map(|value| value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()).unwrap_or_default()
    }

    /// Whether `options` has this word.
    pub(crate) fn option(&self, word: &str) -> bool {
        self.list("options").contains(&word)
    }

    /// Whether a parameter is `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A number that is not negative.
    ///
    /// # Errors
    /// A sentence for the client if it is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let number = |value: &str| value.parse().map_err(|_| format!("{name}: `{value}` is no whole number from 0 on"));
        self.get(name).map(number).transpose()
    }

    /// The parameters again, with another `offset`.
    pub(crate) fn at_offset(&self, offset: usize) -> String {
        let others = self.0.iter().filter(|(name, _)| name != "offset").map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        others.chain([format!("offset={offset}")]).collect::<Vec<_>>().join("&")
    }
}

/// A text as a part of a URL: everything but what RFC 3986 leaves unreserved, `:` and `,` is encoded.
pub(crate) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:,".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        if parts.uri.query().is_none_or(str::is_empty) {
            return Ok(Params::default());
        }
        let Query(pairs) = Query::try_from_uri(&parts.uri).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        Ok(Params(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_linked_with_all_other_parameters() {
        let params = Params(vec![("q".into(), "a==\"b c\"".into()), ("offset".into(), "5".into()), ("type".into(), "urn:T".into())]);
        assert_eq!(params.at_offset(20), "q=a%3D%3D%22b%20c%22&type=urn:T&offset=20");
    }
}
