//! Regular expressions from clients.

use regex::{Regex, RegexBuilder};

use crate::DecodeError;

/// Longest accepted pattern in bytes.
const MAX_LENGTH: usize = 1024;

/// Largest compiled form in bytes.
const MAX_COMPILED: usize = 256 * 1024;

/// Compiles an unanchored pattern, whose matching takes linear time whatever it is.
///
/// # Errors
/// If the text is no regular expression, or too long or too deep a one.
pub fn pattern(text: &str) -> Result<Regex, DecodeError> {
    if text.len() > MAX_LENGTH {
        return Err(DecodeError::data("", format!("a pattern is longer than {MAX_LENGTH} bytes")));
    }
    let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).nest_limit(32).build();
    built.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        DecodeError::data("", format!("`{text}` is no usable regular expression: {reason}"))
    })
}
