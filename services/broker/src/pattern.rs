//! Patterns of clients, most of which are no real regular expressions.
//!
//! A compiled regular expression takes tens of kilobytes. Of 100 000 subscriptions nearly all say `.*`, a prefix, or a
//! part of an id; those are recognised and kept as what they are.

use fogflow_ngsi::query;
use regex::Regex;
use smol_str::SmolStr;

/// An unanchored pattern.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Matches everything.
    Any,
    /// The text occurs somewhere.
    Contains(SmolStr),
    /// The text is the beginning.
    Prefix(SmolStr),
    /// The text is the end.
    Suffix(SmolStr),
    /// The text is all.
    Exact(SmolStr),
    /// Anything else.
    Regex(Box<Regex>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A sentence for the client when it is no regular expression or too big a one.
    pub fn new(text: &str) -> Result<Self, String> {
        // `.` does not match a line end, which no id has: ids are one line.
        let (start, rest) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (start, rest) = match rest.strip_prefix(".*") {
            Some(rest) => (false, rest),
            None => (start, rest),
        };
        let (end, rest) = match rest.strip_suffix('$').filter(|rest| !rest.ends_with('\\')) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (end, middle) = match rest.strip_suffix(".*").filter(|rest| !rest.ends_with('\\')) {
            Some(middle) => (false, middle),
            None => (end, rest),
        };
        let is_plain = middle.chars().all(|c| c.is_alphanumeric() || " _-:/@,;=%&!~'\"<>".contains(c));
        Ok(match (start, end, middle) {
            _ if !is_plain => Pattern::Regex(Box::new(query::pattern(text).map_err(|error| error.to_string())?)),
            (false, _, "") | (true, false, "") => Pattern::Any,
            (true, true, middle) => Pattern::Exact(middle.into()),
            (true, false, middle) => Pattern::Prefix(middle.into()),
            (false, true, middle) => Pattern::Suffix(middle.into()),
            (false, false, middle) => Pattern::Contains(middle.into()),
        })
    }

    /// Whether it matches somewhere in the text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Contains(part) => text.contains(part.as_str()),
            Pattern::Prefix(part) => text.starts_with(part.as_str()),
            Pattern::Suffix(part) => text.ends_with(part.as_str()),
            Pattern::Exact(part) => text == part,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_recognised_means_the_same_as_its_regular_expression(
            pattern in r"\^?(\.\*)?[ab.:\\]{0,4}(\.\*)?\$?",
            text in "[ab:.]{0,6}",
        ) {
            match (Pattern::new(&pattern), Regex::new(&pattern)) {
                (Ok(ours), Ok(regex)) => prop_assert_eq!(ours.is_match(&text), regex.is_match(&text), "{} as {:?}", pattern, ours),
                (ours, regex) => prop_assert_eq!(ours.is_ok(), regex.is_ok()),
            }
        }
    }

    #[test]
    fn common_patterns_are_kept_without_an_automaton() {
        for pattern in [".*", "", "^.*$", "^", "Device.*", "^urn:ngsi-ld:Vehicle:", "^Room1$", ".*A1$", "Room"] {
            assert!(!matches!(Pattern::new(pattern).unwrap(), Pattern::Regex(_)), "{pattern}");
        }
        for pattern in ["Device\\.temp", "a|b", "[0-9]+", "a.b", "x*"] {
            assert!(matches!(Pattern::new(pattern).unwrap(), Pattern::Regex(_)), "{pattern}");
        }
        assert!(Pattern::new("(").is_err());
    }
}
