//! Boolean expressions, which all query languages of NGSI-LD have in common.

use winnow::combinator::{cut_err, opt};
use winnow::prelude::*;
use winnow::token::one_of;

use super::MAX_LENGTH;
use crate::DecodeError;

/// How deep parentheses may be nested.
const MAX_NESTING: usize = 32;

/// Leaves joined by *and* (`;`), *or* (`|` and, where it has no other meaning, `,`) and parentheses; *and* binds tighter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression<T> {
    Leaf(T),
    All(Vec<Expression<T>>),
    Any(Vec<Expression<T>>),
}

type Leaf<'p, 'i, T> = &'p mut dyn FnMut(&mut &'i str) -> ModalResult<T>;

impl<T> Expression<T> {
    /// Parses a whole text; `or` are the characters that mean *or*.
    pub(super) fn parse(text: &str, or: &[char], leaf: &mut dyn FnMut(&mut &str) -> ModalResult<T>) -> Result<Self, DecodeError> {
        if text.len() > MAX_LENGTH {
            return Err(DecodeError::data("", format!("the query is longer than {MAX_LENGTH} bytes")));
        }
        // Counted before the recursive parser runs, so that its depth is bounded.
        let mut depth = 0_usize;
        for byte in text.bytes() {
            match byte {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_NESTING {
                return Err(DecodeError::data("", format!("the query is nested deeper than {MAX_NESTING} parentheses")));
            }
        }
        let mut rest = text;
        let parsed = any(&mut rest, or, leaf);
        match parsed {
            Ok(expression) if rest.is_empty() => Ok(expression),
            _ => {
                let at = text.len() - rest.len();
                let near: String = rest.chars().take(20).collect();
                let place = if near.is_empty() { "its end".to_owned() } else { format!("`{near}`") };
                Err(DecodeError::data("", format!("the query is not understood at position {at}, near {place}")))
            }
        }
    }

    /// Whether it holds, given which leaves hold.
    pub(super) fn holds(&self, leaf: &dyn Fn(&T) -> bool) -> bool {
        match self {
            Expression::Leaf(inner) => leaf(inner),
            Expression::All(parts) => parts.iter().all(|part| part.holds(leaf)),
            Expression::Any(parts) => parts.iter().any(|part| part.holds(leaf)),
        }
    }

    /// Calls `visit` for each leaf.
    pub(super) fn leaves(&self, visit: &mut dyn FnMut(&T)) {
        match self {
            Expression::Leaf(inner) => visit(inner),
            Expression::All(parts) | Expression::Any(parts) => parts.iter().for_each(|part| part.leaves(visit)),
        }
    }

    /// Writes it so that it parses to the same again.
    pub(super) fn write(
        &self,
        f: &mut std::fmt::Formatter<'_>,
        leaf: &dyn Fn(&T, &mut std::fmt::Formatter<'_>) -> std::fmt::Result,
    ) -> std::fmt::Result {
        let (parts, separator) = match self {
            Expression::Leaf(inner) => return leaf(inner, f),
            Expression::All(parts) => (parts, ";"),
            Expression::Any(parts) => (parts, "|"),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(separator)?;
            }
            if matches!(part, Expression::Leaf(_)) {
                part.write(f, leaf)?;
            } else {
                f.write_str("(")?;
                part.write(f, leaf)?;
                f.write_str(")")?;
            }
        }
        Ok(())
    }
}

fn any<'i, T>(input: &mut &'i str, or: &[char], leaf: Leaf<'_, 'i, T>) -> ModalResult<Expression<T>> {
    let mut parts = vec![all(input, or, leaf)?];
    while opt(one_of(or)).parse_next(input)?.is_some() {
        parts.push(all(input, or, leaf)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Any(parts) })
}

fn all<'i, T>(input: &mut &'i str, or: &[char], leaf: Leaf<'_, 'i, T>) -> ModalResult<Expression<T>> {
    let mut parts = vec![primary(input, or, leaf)?];
    while opt(';').parse_next(input)?.is_some() {
        parts.push(primary(input, or, leaf)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::All(parts) })
}

fn primary<'i, T>(input: &mut &'i str, or: &[char], leaf: Leaf<'_, 'i, T>) -> ModalResult<Expression<T>> {
    if opt('(').parse_next(input)?.is_some() {
        let inner = any(input, or, leaf)?;
        cut_err(')').parse_next(input)?;
        return Ok(inner);
    }
    leaf(input).map(Expression::Leaf)
}
