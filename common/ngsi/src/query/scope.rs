//! `scopeQ` (ETSI GS CIM 009, clause 4.19): `/Madrid/Gardens`, `/Madrid/+/Park`, `/Company/#`.

use smol_str::SmolStr;
use winnow::prelude::*;
use winnow::token::take_till;

use super::expression::Expression;
use crate::DecodeError;

/// Which scopes an entity must have.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeQuery(Expression<Vec<SmolStr>>);

impl ScopeQuery {
    /// Parses a text. A `#` may stand at the end of a scope only.
    ///
    /// # Errors
    /// If the text is no scope query.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let mut leaf = |input: &mut &str| take_till(1.., [';', ',', '|', '(', ')']).verify_map(levels).parse_next(input);
        Expression::parse(text, &['|', ','], &mut leaf).map(ScopeQuery)
    }

    /// Whether an entity of these scopes is meant.
    #[must_use]
    pub fn matches(&self, scopes: &[SmolStr]) -> bool {
        self.0.holds(&|wanted| scopes.iter().any(|scope| scope_matches(wanted, scope)))
    }
}

fn levels(text: &str) -> Option<Vec<SmolStr>> {
    let levels: Vec<SmolStr> = text.strip_prefix('/').unwrap_or(text).split('/').map(SmolStr::new).collect();
    let last = levels.len() - 1;
    let good = levels.iter().enumerate().all(|(index, level)| !level.is_empty() && (level != "#" || index == last));
    (good || levels == ["#"]).then_some(levels)
}

fn scope_matches(wanted: &[SmolStr], scope: &str) -> bool {
    let mut have = scope.strip_prefix('/').unwrap_or(scope).split('/');
    for level in wanted {
        if level == "#" {
            return true;
        }
        match have.next() {
            Some(part) if level == "+" || level == part => {}
            _ => return false,
        }
    }
    have.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, scopes: &[&str]) -> bool {
        let scopes: Vec<SmolStr> = scopes.iter().map(SmolStr::new).collect();
        ScopeQuery::parse(text).unwrap().matches(&scopes)
    }

    #[test]
    fn levels_and_wildcards() {
        assert!(matches("/Madrid/Gardens", &["/Madrid/Gardens"]));
        assert!(!matches("/Madrid", &["/Madrid/Gardens"]));
        assert!(matches("/Madrid/#", &["/Madrid/Gardens/Park"]));
        assert!(matches("/Madrid/#", &["/Madrid"]));
        assert!(matches("/+/Gardens", &["/Madrid/Gardens"]));
        assert!(!matches("/+", &["/Madrid/Gardens"]));
        assert!(matches("/A,/B", &["/B"]));
        assert!(matches("/A;/B", &["/B", "/A"]));
        assert!(!matches("/A;/B", &["/B"]));
        assert!(!matches("/#", &[]));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "/A/", "/#/A", "//", "/A;"] {
            assert!(ScopeQuery::parse(text).is_err(), "{text}");
        }
    }
}
