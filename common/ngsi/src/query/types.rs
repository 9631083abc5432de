//! Type selection (ETSI GS CIM 009, clause 4.17): `Vehicle`, `Car,Bus`, `(Home|Flat);Rented`.

use winnow::prelude::*;
use winnow::token::take_till;

use super::expression::Expression;
use crate::{DecodeError, Name};

/// Which types an entity must have.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeQuery(Expression<Option<Name>>);

impl TypeQuery {
    /// Parses a text; `expand` gives the name that a term stands for. `*` means any type.
    ///
    /// # Errors
    /// If the text is no type selection.
    pub fn parse(text: &str, expand: &dyn Fn(&str) -> Name) -> Result<Self, DecodeError> {
        let mut leaf = |input: &mut &str| {
            take_till(1.., [';', ',', '|', '(', ')', '"', '<', '>', ' '])
                .map(|term: &str| (term != "*").then(|| expand(term)))
                .parse_next(input)
        };
        Expression::parse(text, &['|', ','], &mut leaf).map(TypeQuery)
    }

    /// Whether an entity of these types is meant.
    #[must_use]
    pub fn matches(&self, types: &[Name]) -> bool {
        self.0.holds(&|name| name.as_ref().is_none_or(|name| types.contains(name)))
    }

    /// The types, if having one of them is all that is asked for; empty for any type. `None` for an expression that says
    /// more than that.
    #[must_use]
    pub fn alternatives(&self) -> Option<Vec<Name>> {
        let one = |part: &Expression<Option<Name>>| match part {
            Expression::Leaf(name) => Some(name.clone()),
            _ => None,
        };
        let names = match &self.0 {
            Expression::Any(parts) => parts.iter().map(one).collect::<Option<Vec<_>>>()?,
            Expression::All(_) => return None,
            Expression::Leaf(name) => vec![name.clone()],
        };
        Some(names.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default())
    }
}

impl std::fmt::Display for TypeQuery {
    /// The selection with expanded names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.write(f, &|name, f| f.write_str(name.as_ref().map_or("*", Name::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, types: &[&str]) -> bool {
        let types: Vec<Name> = types.iter().map(|name| Name::new(name)).collect();
        TypeQuery::parse(text, &|term| Name::new(term)).unwrap().matches(&types)
    }

    #[test]
    fn alternatives_and_conjunctions() {
        assert!(matches("Car,Bus", &["Bus"]));
        assert!(matches("(Home|Flat);Rented", &["Rented", "Flat"]));
        assert!(!matches("(Home|Flat);Rented", &["Flat"]));
        assert!(matches("*", &["Anything"]));
        let text = TypeQuery::parse("(Home|Flat);Rented", &|term| Name::new(term)).unwrap().to_string();
        assert_eq!(text, "(Home|Flat);Rented");
        let plain = TypeQuery::parse("A|B", &|term| Name::new(term)).unwrap();
        assert_eq!(plain.alternatives().unwrap().len(), 2);
        assert_eq!(TypeQuery::parse("A;B", &|term| Name::new(term)).unwrap().alternatives(), None);
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["", "A;", "(A", "A)", "A||B", &"(".repeat(10_000)] {
            assert!(TypeQuery::parse(text, &|term| Name::new(term)).is_err(), "{text}");
        }
    }
}
