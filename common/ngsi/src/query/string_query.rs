//! NGSI-10's `stringQuery`: constraints on domain metadata, as `city=Heidelberg;floor=2`.

use smol_str::SmolStr;

use crate::{Attribute, DecodeError, Json};

/// Longest accepted text in bytes.
const MAX_LENGTH: usize = 4096;

/// Constraints that must all hold. The empty text holds for every entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StringQuery {
    text: SmolStr,
    constraints: Vec<Constraint>,
}

#[derive(Clone, Debug, PartialEq)]
struct Constraint {
    name: SmolStr,
    operator: Operator,
    value: SmolStr,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The longer spellings first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl StringQuery {
    /// Parses a text; a trailing `;` is allowed.
    ///
    /// # Errors
    /// If a constraint has no operator or no name, or the text is longer than 4 KiB (F 2).
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        if text.len() > MAX_LENGTH {
            return Err(DecodeError::data("stringQuery", "longer than 4096 bytes"));
        }
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let constraints = parts.map(constraint).collect::<Result<_, _>>()?;
        Ok(StringQuery { text: SmolStr::new(text), constraints })
    }

    /// The text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether domain metadata fulfils all constraints. Numbers and booleans are compared by value (upstream compares
    /// texts only); a named item that is missing fulfils nothing.
    pub fn matches<'a>(&self, metadata: impl Iterator<Item = &'a Attribute> + Clone) -> bool {
        self.constraints.iter().all(|constraint| {
            metadata.clone().filter(|item| item.name.as_str() == constraint.name).any(|item| constraint.holds(&item.value))
        })
    }
}

fn constraint(text: &str) -> Result<Constraint, DecodeError> {
    let fault = || DecodeError::data("stringQuery", format!("`{text}` is not of the form name=value"));
    let at = text.find(['=', '!', '<', '>']).ok_or_else(fault)?;
    let (name, rest) = text.split_at(at);
    let (spelling, operator) = OPERATORS.into_iter().find(|(spelling, _)| rest.starts_with(spelling)).ok_or_else(fault)?;
    let name = name.trim();
    if name.is_empty() {
        return Err(fault());
    }
    Ok(Constraint { name: SmolStr::new(name), operator, value: SmolStr::new(rest[spelling.len()..].trim()) })
}

impl Constraint {
    fn holds(&self, value: &Json) -> bool {
        let order = match (value.as_f64(), self.value.parse::<f64>().ok()) {
            (Some(ours), Some(theirs)) => ours.partial_cmp(&theirs),
            _ => match value.as_str() {
                Some(ours) => Some(ours.as_ref().cmp(self.value.as_str())),
                None => Some(value.as_text().cmp(self.value.as_str())),
            },
        };
        order.is_some_and(|order| match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::Unequal => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn metadata() -> Vec<Attribute> {
        let item = |name: &str, json: &str| Attribute::property(name, Json::parse(json).unwrap(), Timestamp::default());
        vec![item("city", "\"Heidelberg\""), item("floor", "2"), item("open", "true")]
    }

    fn holds(text: &str) -> bool {
        StringQuery::parse(text).unwrap().matches(metadata().iter())
    }

    #[test]
    fn values_are_compared_by_their_meaning() {
        assert!(holds("city=Heidelberg"));
        assert!(holds("city=Heidelberg;floor=2.0;open=true;"));
        assert!(holds(""));
        assert!(holds("floor>1;floor<=2"));
        assert!(!holds("city=Heidelberg;floor=3"));
        assert!(!holds("street=Main"));
    }

    #[test]
    fn f2_a_constraint_without_operator_is_an_error() {
        assert!(StringQuery::parse("city").is_err());
        assert!(StringQuery::parse("=x").is_err());
        assert!(StringQuery::parse("city!x").is_err());
    }
}
