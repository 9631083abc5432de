//! `q`: conditions on attributes (ETSI GS CIM 009, clause 4.9; NGSIv2, "Simple Query Language").

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use regex::Regex;
use serde_json::Value;
use smol_str::SmolStr;

use super::expression::Expression;
use crate::{Attribute, DecodeError, Entity, Json, Kind, Name, Timestamp};

/// Which language a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// NGSI-LD: `speed.unit=="km";address[city]=="Berlin"`.
    Ld,
    /// NGSIv2 `q`: `address.city==Berlin`; a dot leads into the value.
    V2,
    /// NGSIv2 `mq`: `speed.accuracy>0.5`; the first dot leads to metadata.
    V2Metadata,
}

/// A parsed query. Its `Display` is NGSI-LD text with expanded names, which parses to the same query without a context.
#[derive(Clone, Debug, PartialEq)]
pub struct Query(pub(super) Expression<Test>);

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    /// The attribute, then attributes of it.
    pub(super) names: Vec<Name>,
    /// Members inside the value; `*` is any.
    pub(super) path: Vec<SmolStr>,
    pub(super) check: Check,
}

#[derive(Clone, Debug)]
pub(super) enum Check {
    Exists,
    Absent,
    Equal(Vec<Operand>),
    Unequal(Vec<Operand>),
    Less(Literal),
    LessOrEqual(Literal),
    Greater(Literal),
    GreaterOrEqual(Literal),
    Matches(Regex),
    MatchesNot(Regex),
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        use Check::*;
        match (self, other) {
            (Exists, Exists) | (Absent, Absent) => true,
            (Equal(a), Equal(b)) | (Unequal(a), Unequal(b)) => a == b,
            (Less(a), Less(b)) | (LessOrEqual(a), LessOrEqual(b)) | (Greater(a), Greater(b)) | (GreaterOrEqual(a), GreaterOrEqual(b)) => {
                a == b
            }
            (Matches(a), Matches(b)) | (MatchesNot(a), MatchesNot(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// What a value is compared with: one value, or all from one to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    One(Literal),
    Range(Literal, Literal),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Number(f64),
    Bool(bool),
    Null,
    /// A text, and the time that it says, if it says one: times are compared as times, however they are written.
    Text(SmolStr, Option<Timestamp>),
}

impl Literal {
    pub(super) fn text(text: &str) -> Self {
        let starts_like_a_time = text.len() >= 10 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
        Literal::Text(SmolStr::new(text), if starts_like_a_time { text.parse().ok() } else { None })
    }
}

impl Query {
    /// Parses a text; `expand` gives the name that a term stands for.
    ///
    /// # Errors
    /// If the text is no query, or too long or deep a one; the message says where.
    pub fn parse(text: &str, dialect: Dialect, expand: &dyn Fn(&str) -> Name) -> Result<Self, DecodeError> {
        super::q_parser::parse(text, dialect, expand).map(Query)
    }

    /// Whether an entity fulfils it.
    #[must_use]
    pub fn matches(&self, entity: &Entity) -> bool {
        self.0.holds(&|test| test.holds(entity))
    }

    /// The attributes that it asks about.
    #[must_use]
    pub fn attributes(&self) -> Vec<Name> {
        let mut names = Vec::new();
        self.0.leaves(&mut |test: &Test| names.extend(test.names.first().cloned()));
        names
    }
}

impl Test {
    fn holds(&self, entity: &Entity) -> bool {
        let Some((first, rest)) = self.names.split_first() else { return false };
        let mut instances = entity.attributes.iter().filter(|attribute| attribute.name == *first).peekable();
        if instances.peek().is_none() && rest.is_empty() {
            let time = match first.as_str() {
                "createdAt" | "dateCreated" => Some(entity.created_at),
                "modifiedAt" | "dateModified" => Some(entity.modified_at),
                _ => None,
            };
            if let Some(time) = time {
                return self.check.holds(&Scalar::Text(Cow::Owned(time.to_string())));
            }
        }
        match self.check {
            Check::Absent => !instances.any(|attribute| self.reaches(attribute, rest)),
            _ => instances.any(|attribute| self.reaches(attribute, rest)),
        }
    }

    /// Whether the value that the remaining names lead to passes the check.
    fn reaches(&self, attribute: &Attribute, names: &[Name]) -> bool {
        let Some((next, rest)) = names.split_first() else { return self.value_passes(&attribute.value, attribute.kind) };
        if rest.is_empty()
            && let Some(text) = system_member(attribute, next.as_str())
        {
            return self.check.holds(&Scalar::Text(text));
        }
        attribute.attributes().iter().filter(|inner| inner.name == *next).any(|inner| self.reaches(inner, rest))
    }

    fn value_passes(&self, value: &Json, kind: Kind) -> bool {
        if self.path.is_empty() && kind == Kind::VocabProperty {
            // Vocabulary terms are stored expanded and asked for by their short form.
            return serde_json::from_str::<Value>(value.as_text()).is_ok_and(|tree| self.any_vocab(&tree));
        }
        if !self.path.is_empty() || value.is_array() || value.is_object() {
            return self.inside(&value.to_value(), &self.path, kind);
        }
        self.check.holds(&Scalar::of_json(value))
    }

    fn any_vocab(&self, tree: &Value) -> bool {
        match tree {
            Value::String(iri) => {
                self.check.holds(&Scalar::Text(Cow::Borrowed(iri)))
                    || self.check.holds(&Scalar::Text(Cow::Borrowed(Name::new(iri).as_str())))
            }
            Value::Array(items) => items.iter().any(|item| self.any_vocab(item)),
            other => self.check.holds(&Scalar::of_value(other)),
        }
    }

    fn inside(&self, value: &Value, path: &[SmolStr], kind: Kind) -> bool {
        match (path.split_first(), value) {
            (Some((first, rest)), Value::Object(members)) if first == "*" => members.values().any(|member| self.inside(member, rest, kind)),
            (Some((first, rest)), Value::Object(members)) => {
                members.get(first.as_str()).is_some_and(|member| self.inside(member, rest, kind))
            }
            (Some((first, rest)), Value::Array(items)) => match first.parse::<usize>() {
                Ok(index) => items.get(index).is_some_and(|item| self.inside(item, rest, kind)),
                Err(_) => items.iter().any(|item| self.inside(item, path, kind)),
            },
            (Some(_), _) => false,
            (None, Value::Array(items)) if !matches!(self.check, Check::Exists | Check::Absent) => {
                // Of a list, one item must pass; for a negative check, all must.
                let mut passes = items.iter().map(|item| self.inside(item, path, kind));
                if matches!(self.check, Check::Unequal(_) | Check::MatchesNot(_)) {
                    passes.all(|pass| pass)
                } else {
                    passes.any(|pass| pass)
                }
            }
            (None, Value::Object(members)) => match members.get("@value") {
                Some(typed) => self.check.holds(&Scalar::of_value(typed)),
                None if kind == Kind::LanguageProperty => members.values().any(|text| self.inside(text, path, kind)),
                None => self.check.holds(&Scalar::Other),
            },
            (None, other) => self.check.holds(&Scalar::of_value(other)),
        }
    }
}

fn system_member<'a>(attribute: &'a Attribute, name: &str) -> Option<Cow<'a, str>> {
    let detail = attribute.detail.as_deref();
    match name {
        "createdAt" | "dateCreated" => Some(Cow::Owned(attribute.created_at.to_string())),
        "modifiedAt" | "dateModified" => Some(Cow::Owned(attribute.modified_at.to_string())),
        "observedAt" => detail?.observed_at.map(|time| Cow::Owned(time.to_string())),
        "unitCode" => detail?.unit_code.as_deref().map(Cow::Borrowed),
        "datasetId" => detail?.dataset_id.as_deref().map(Cow::Borrowed),
        _ => None,
    }
}

enum Scalar<'a> {
    Number(f64),
    Bool(bool),
    Null,
    Text(Cow<'a, str>),
    /// An object or array, which equals nothing.
    Other,
}

impl<'a> Scalar<'a> {
    fn of_json(json: &'a Json) -> Self {
        if let Some(text) = json.as_str() {
            Scalar::Text(text)
        } else if let Some(number) = json.as_f64() {
            Scalar::Number(number)
        } else if let Some(boolean) = json.as_bool() {
            Scalar::Bool(boolean)
        } else if json.is_null() {
            Scalar::Null
        } else {
            Scalar::Other
        }
    }

    fn of_value(value: &'a Value) -> Self {
        match value {
            Value::Null => Scalar::Null,
            Value::Bool(boolean) => Scalar::Bool(*boolean),
            Value::Number(number) => number.as_f64().map_or(Scalar::Other, Scalar::Number),
            Value::String(text) => Scalar::Text(Cow::Borrowed(text)),
            _ => Scalar::Other,
        }
    }

    /// The order of the value to a literal of the same type.
    fn order(&self, literal: &Literal) -> Option<Ordering> {
        match (self, literal) {
            (Scalar::Number(ours), Literal::Number(theirs)) => ours.partial_cmp(theirs),
            (Scalar::Bool(ours), Literal::Bool(theirs)) => (ours == theirs).then_some(Ordering::Equal),
            (Scalar::Null, Literal::Null) => Some(Ordering::Equal),
            (Scalar::Text(ours), Literal::Text(theirs, time)) => match (time, ours.parse::<Timestamp>()) {
                (Some(theirs), Ok(ours)) => Some(ours.cmp(theirs)),
                _ => Some(ours.as_ref().cmp(theirs.as_str())),
            },
            _ => None,
        }
    }
}

impl Check {
    fn holds(&self, value: &Scalar<'_>) -> bool {
        let order = |literal: &Literal| value.order(literal);
        match self {
            Check::Exists | Check::Absent => true,
            Check::Equal(operands) => operands.iter().any(|operand| operand.includes(value)),
            Check::Unequal(operands) => !operands.iter().any(|operand| operand.includes(value)),
            Check::Less(literal) => order(literal).is_some_and(Ordering::is_lt),
            Check::LessOrEqual(literal) => order(literal).is_some_and(Ordering::is_le),
            Check::Greater(literal) => order(literal).is_some_and(Ordering::is_gt),
            Check::GreaterOrEqual(literal) => order(literal).is_some_and(Ordering::is_ge),
            Check::Matches(pattern) => matches!(value, Scalar::Text(text) if pattern.is_match(text)),
            Check::MatchesNot(pattern) => !matches!(value, Scalar::Text(text) if pattern.is_match(text)),
        }
    }
}

impl Operand {
    fn includes(&self, value: &Scalar<'_>) -> bool {
        match self {
            Operand::One(literal) => value.order(literal).is_some_and(Ordering::is_eq),
            Operand::Range(from, to) => value.order(from).is_some_and(Ordering::is_ge) && value.order(to).is_some_and(Ordering::is_le),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, &|test, f| test.write(f, &|name| name.as_str().to_owned()))
    }
}

impl Query {
    /// The text of the query in NGSI-LD, with the names that `show` gives.
    #[must_use]
    pub fn text(&self, show: &dyn Fn(&Name) -> String) -> String {
        struct Shown<'a>(&'a Query, &'a dyn Fn(&Name) -> String);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.0.write(f, &|test, f| test.write(f, self.1))
            }
        }
        Shown(self, show).to_string()
    }
}

/// Writes names joined by dots; one that is not made of plain characters goes into brackets.
fn write_steps(f: &mut fmt::Formatter<'_>, steps: impl Iterator<Item = impl AsRef<str>>) -> fmt::Result {
    for (index, step) in steps.enumerate() {
        if index > 0 {
            f.write_str(".")?;
        }
        let step = step.as_ref();
        let plain = !step.starts_with("http") && step.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '*'));
        if plain { f.write_str(step)? } else { write!(f, "<{step}>")? }
    }
    Ok(())
}

impl Test {
    fn write(&self, f: &mut fmt::Formatter<'_>, show: &dyn Fn(&Name) -> String) -> fmt::Result {
        if matches!(self.check, Check::Absent) {
            f.write_str("!")?;
        }
        write_steps(f, self.names.iter().map(show))?;
        if !self.path.is_empty() {
            f.write_str("[")?;
            write_steps(f, self.path.iter())?;
            f.write_str("]")?;
        }
        match &self.check {
            Check::Exists | Check::Absent => Ok(()),
            Check::Equal(operands) => write_operands(f, "==", operands),
            Check::Unequal(operands) => write_operands(f, "!=", operands),
            Check::Less(literal) => write!(f, "<{literal}"),
            Check::LessOrEqual(literal) => write!(f, "<={literal}"),
            Check::Greater(literal) => write!(f, ">{literal}"),
            Check::GreaterOrEqual(literal) => write!(f, ">={literal}"),
            Check::Matches(pattern) => write!(f, "~={}", Literal::text(pattern.as_str())),
            Check::MatchesNot(pattern) => write!(f, "!~={}", Literal::text(pattern.as_str())),
        }
    }
}

fn write_operands(f: &mut fmt::Formatter<'_>, operator: &str, operands: &[Operand]) -> fmt::Result {
    f.write_str(operator)?;
    for (index, operand) in operands.iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        match operand {
            Operand::One(literal) => write!(f, "{literal}")?,
            Operand::Range(from, to) => write!(f, "{from}..{to}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Number(number) => write!(f, "{number}"),
            Literal::Bool(boolean) => write!(f, "{boolean}"),
            Literal::Null => f.write_str("null"),
            Literal::Text(text, _) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}
