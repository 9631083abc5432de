//! The parser of `q`.

use smol_str::SmolStr;
use winnow::combinator::{alt, delimited, fail, opt, preceded, separated};
use winnow::prelude::*;
use winnow::token::{take_till, take_while};

use super::expression::Expression;
use super::pattern::pattern;
use super::q::{Check, Dialect, Literal, Operand, Test};
use crate::{DecodeError, Name};

/// Names of attributes of attributes, and members inside a value, that one condition may name.
const MAX_STEPS: usize = 16;

#[derive(Clone, Copy)]
enum Operator {
    Equal,
    Unequal,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Matches,
    MatchesNot,
}

pub(super) fn parse(text: &str, dialect: Dialect, expand: &dyn Fn(&str) -> Name) -> Result<Expression<Test>, DecodeError> {
    // A pattern that is no regular expression has a better message than "not understood at position".
    let mut bad_pattern = None;
    let parsed = Expression::parse(text, &['|'], &mut |input: &mut &str| test(input, dialect, expand, &mut bad_pattern));
    parsed.map_err(|error| bad_pattern.unwrap_or(error))
}

fn test(input: &mut &str, dialect: Dialect, expand: &dyn Fn(&str) -> Name, bad_pattern: &mut Option<DecodeError>) -> ModalResult<Test> {
    let negated = opt('!').parse_next(input)?.is_some();
    let mut steps = names(input, dialect)?;
    let mut path =
        opt(delimited('[', separated(1..=MAX_STEPS, step(&['.', ']'], false), '.'), ']')).parse_next(input)?.unwrap_or_else(Vec::new);
    let kept = match dialect {
        Dialect::Ld => steps.len(),
        Dialect::V2 => 1,
        Dialect::V2Metadata => 2,
    };
    if steps.len() > kept {
        path.splice(0..0, steps.drain(kept..));
    }
    if steps.len() + path.len() > MAX_STEPS {
        return fail.parse_next(input);
    }
    // Only an attribute's name is shown through a context; system members as `observedAt` are core terms anyway.
    let names = steps.iter().map(|step| expand(step)).collect();
    let check = check(input, dialect, bad_pattern)?;
    let check = match (negated, check) {
        (false, check) => check,
        (true, Check::Exists) => Check::Absent,
        (true, _) => return fail.parse_next(input),
    };
    Ok(Test { names, path, check })
}

/// A name in angle brackets, as our own `Display` writes it, or one that ends before any character of the language.
fn step<'i>(ends: &'static [char], colon_ends: bool) -> impl FnMut(&mut &'i str) -> ModalResult<SmolStr> {
    move |input: &mut &'i str| {
        let bracketed = delimited('<', take_till(1.., ['>']), '>');
        let plain = take_while(1.., move |c: char| {
            !(ends.contains(&c) || "=!<>~;|(),\"'[]".contains(c) || c.is_whitespace() || colon_ends && c == ':')
        });
        alt((bracketed, plain)).map(SmolStr::new).parse_next(input)
    }
}

fn names(input: &mut &str, dialect: Dialect) -> ModalResult<Vec<SmolStr>> {
    // Dots of a plain IRI belong to it: its attributes can only be reached when it is in brackets.
    if dialect == Dialect::Ld && (input.starts_with("http://") || input.starts_with("https://")) {
        return step(&[], false).map(|name| vec![name]).parse_next(input);
    }
    separated(1..=MAX_STEPS, step(&['.'], dialect != Dialect::Ld), '.').parse_next(input)
}

fn operator(input: &mut &str, dialect: Dialect) -> ModalResult<Option<Operator>> {
    let colon = (dialect != Dialect::Ld && input.starts_with(':')).then_some(1);
    let (length, operator) = match (colon, input.as_bytes()) {
        (Some(length), _) => (length, Operator::Equal),
        (_, [b'!', b'~', b'=', ..]) => (3, Operator::MatchesNot),
        (_, [b'=', b'=', ..]) => (2, Operator::Equal),
        (_, [b'!', b'=', ..]) => (2, Operator::Unequal),
        (_, [b'<', b'=', ..]) => (2, Operator::LessOrEqual),
        (_, [b'>', b'=', ..]) => (2, Operator::GreaterOrEqual),
        (_, [b'~', b'=', ..]) => (2, Operator::Matches),
        (_, [b'<', ..]) => (1, Operator::Less),
        (_, [b'>', ..]) => (1, Operator::Greater),
        _ => return Ok(None),
    };
    *input = &input[length..];
    Ok(Some(operator))
}

fn check(input: &mut &str, dialect: Dialect, bad_pattern: &mut Option<DecodeError>) -> ModalResult<Check> {
    let Some(operator) = operator(input, dialect)? else { return Ok(Check::Exists) };
    Ok(match operator {
        Operator::Equal => Check::Equal(operands(input, dialect)?),
        Operator::Unequal => Check::Unequal(operands(input, dialect)?),
        Operator::Less => Check::Less(literal(input, dialect)?),
        Operator::LessOrEqual => Check::LessOrEqual(literal(input, dialect)?),
        Operator::Greater => Check::Greater(literal(input, dialect)?),
        Operator::GreaterOrEqual => Check::GreaterOrEqual(literal(input, dialect)?),
        Operator::Matches | Operator::MatchesNot => {
            let text = pattern_text(input)?;
            match pattern(&text) {
                Ok(regex) if matches!(operator, Operator::Matches) => Check::Matches(regex),
                Ok(regex) => Check::MatchesNot(regex),
                Err(error) => {
                    *bad_pattern = Some(error);
                    return fail.parse_next(input);
                }
            }
        }
    })
}

fn operands(input: &mut &str, dialect: Dialect) -> ModalResult<Vec<Operand>> {
    let mut list = vec![operand(input, dialect)?];
    while opt(',').parse_next(input)?.is_some() {
        list.push(operand(input, dialect)?);
    }
    Ok(list)
}

fn operand(input: &mut &str, dialect: Dialect) -> ModalResult<Operand> {
    let from = literal(input, dialect)?;
    match opt(preceded("..", |input: &mut &str| literal(input, dialect))).parse_next(input)? {
        Some(to) => Ok(Operand::Range(from, to)),
        None => Ok(Operand::One(from)),
    }
}

fn literal(input: &mut &str, dialect: Dialect) -> ModalResult<Literal> {
    if input.starts_with('"') {
        return quoted('"').map(|text| Literal::text(&text)).parse_next(input);
    }
    if dialect != Dialect::Ld && input.starts_with('\'') {
        return quoted('\'').map(|text| Literal::text(&text)).parse_next(input);
    }
    let all = input.find([';', '|', ')', ',', '(', '"']).unwrap_or(input.len());
    let length = input[..all].find("..").unwrap_or(all);
    let (bare, rest) = input.split_at(length);
    let bare_text = bare.trim();
    if bare_text.is_empty() {
        return fail.parse_next(input);
    }
    *input = rest;
    Ok(match bare_text {
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        "null" => Literal::Null,
        text => match text.parse::<f64>() {
            // Rust would also read `inf` and `nan`.
            Ok(number) if text.starts_with(['-', '+', '.']) || text.as_bytes()[0].is_ascii_digit() => Literal::Number(number),
            _ => Literal::text(text),
        },
    })
}

fn quoted<'i>(quote: char) -> impl FnMut(&mut &'i str) -> ModalResult<String> {
    move |input: &mut &'i str| {
        let mut chars = input.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                *input = &input[at + c.len_utf8()..];
                return Ok(text);
            }
            // `\"` and `\\` are escapes; before anything else a backslash is itself, as patterns need it.
            match (c, input[at + c.len_utf8()..].chars().next()) {
                ('\\', Some(next)) if next == quote || next == '\\' => {
                    text.push(next);
                    chars.next();
                }
                _ => text.push(c),
            }
        }
        fail.parse_next(input)
    }
}

/// A pattern is quoted, or ends at the first `;`, `|` or `)` that is outside of its own parentheses and brackets.
fn pattern_text(input: &mut &str) -> ModalResult<String> {
    if input.starts_with('"') {
        return quoted('"').parse_next(input);
    }
    if input.starts_with('\'') {
        return quoted('\'').parse_next(input);
    }
    let mut depth = 0_usize;
    let mut escaped = false;
    let end = input.char_indices().find(|(_, c)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = true,
            '(' | '[' => depth += 1,
            ')' | ']' if depth > 0 => depth -= 1,
            ';' | '|' | ')' if depth == 0 => return true,
            _ => {}
        }
        false
    });
    let (text, rest) = input.split_at(end.map_or(input.len(), |(at, _)| at));
    if text.is_empty() {
        return fail.parse_next(input);
    }
    *input = rest;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::q::Query;
    use super::*;
    use crate::{Attribute, Detail, Entity, Json, Kind, Timestamp};

    fn entity() -> Entity {
        let at = Timestamp(1_600_000_000_000_000);
        let mut entity = Entity::new("urn:ngsi-ld:Vehicle:1", Some("Vehicle"), at);
        let mut push = |name: &str, kind: Kind, value: &str, detail: Option<Detail>| {
            let mut attribute = Attribute::property(name, Json::parse(value).unwrap(), at);
            attribute.kind = kind;
            attribute.detail = detail.map(Box::new);
            entity.attributes.push(attribute);
        };
        let unit = Attribute::property("accuracy", Json::from(0.9), at);
        let detail = Detail { observed_at: Some(at), unit_code: Some("KMH".into()), attributes: vec![unit], ..Detail::default() };
        push("speed", Kind::Property, "50", Some(detail));
        push("brand", Kind::Property, "\"Mercedes\"", None);
        push("address", Kind::Property, r#"{"city":"Berlin","geo":{"zip":10115}}"#, None);
        push("colors", Kind::Property, r#"["red","blue"]"#, None);
        push("parked", Kind::Property, "true", None);
        push("inside", Kind::Relationship, "\"urn:ngsi-ld:Garage:7\"", None);
        push("since", Kind::Property, r#"{"@type":"DateTime","@value":"2020-01-01T00:00:00.000Z"}"#, None);
        push("name", Kind::LanguageProperty, r#"{"en":"car","de":"Auto"}"#, None);
        push("category", Kind::VocabProperty, "\"https://uri.etsi.org/ngsi-ld/default-context/nonCommercial\"", None);
        entity
    }

    fn query(text: &str, dialect: Dialect) -> Query {
        Query::parse(text, dialect, &|term| Name::new(term)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn ngsi_ld_queries_hold_or_not() {
        for (text, expected) in [
            ("speed==50", true),
            ("speed>=50;brand==\"Mercedes\"", true),
            ("speed>50|brand==\"Mercedes\"", true),
            ("speed>50;(brand==\"Mercedes\"|parked==true)", false),
            ("speed==10..60", true),
            ("speed==10,20", false),
            ("speed!=10,20", true),
            ("brand==\"Audi\",\"Mercedes\"", true),
            ("brand~=\"^Merc\"", true),
            ("brand~=^(Merc|Aud)", true),
            ("brand!~=\"^Merc\"", false),
            ("brand", true),
            ("missing", false),
            ("!missing", true),
            ("!brand", false),
            ("missing!=5", false),
            ("speed.accuracy>0.5", true),
            ("speed.unitCode==\"KMH\"", true),
            ("speed.observedAt<2021-01-01T00:00:00Z", true),
            ("speed.observedAt==2020-01-01T00:00:00Z..2021-01-01T00:00:00Z", true),
            ("address[city]==\"Berlin\"", true),
            ("address[geo.zip]==10115", true),
            ("address[city]==\"Paris\"", false),
            ("colors==\"red\"", true),
            ("colors!=\"red\"", false),
            ("colors!=\"green\"", true),
            ("inside==urn:ngsi-ld:Garage:7", true),
            ("inside==\"urn:ngsi-ld:Garage:7\"", true),
            ("since==2020-01-01T00:00:00Z", true),
            ("name[en]==\"car\"", true),
            ("name[de]==\"car\"", false),
            ("name[*]==\"Auto\"", true),
            ("category==\"nonCommercial\"", true),
            ("https://uri.etsi.org/ngsi-ld/default-context/speed==50", true),
            ("createdAt<2021-01-01T00:00:00Z", true),
            ("modifiedAt>2021-01-01T00:00:00Z", false),
            ("parked==false", false),
            ("speed==\"50\"", false),
        ] {
            assert_eq!(query(text, Dialect::Ld).matches(&entity()), expected, "{text}");
        }
    }

    #[test]
    fn v2_queries_lead_into_values_and_mq_into_metadata() {
        for (text, expected) in [
            ("speed==50", true),
            ("speed:50", true),
            ("brand==Mercedes", true),
            ("brand=='Mercedes'", true),
            ("brand==Audi,Mercedes", true),
            ("address.city==Berlin", true),
            ("address.geo.zip==10115;speed>1", true),
            ("brand~=Merc", true),
            ("!missing;brand", true),
            ("since>2019-01-01", true),
        ] {
            assert_eq!(query(text, Dialect::V2).matches(&entity()), expected, "{text}");
        }
        assert!(query("speed.accuracy>0.5", Dialect::V2Metadata).matches(&entity()));
    }

    #[test]
    fn nonsense_is_an_error_that_says_where() {
        for text in [
            "",
            "speed==",
            "speed>",
            ";",
            "speed==5;",
            "(speed==5",
            "speed==5)",
            "speed=5",
            "brand==\"x",
            "a[b==5",
            "!a==5",
            "brand~=(",
            "a==",
        ] {
            assert!(Query::parse(text, Dialect::Ld, &|term| Name::new(term)).is_err(), "{text}");
        }
        let error = Query::parse("speed==5;=7", Dialect::Ld, &|term| Name::new(term)).unwrap_err();
        assert!(error.message.contains("position 9"), "{error}");
        assert!(Query::parse(&"(".repeat(8000), Dialect::Ld, &|term| Name::new(term)).is_err());
        assert!(Query::parse(&"a;".repeat(8000), Dialect::Ld, &|term| Name::new(term)).is_err());
    }

    #[test]
    fn expanded_text_means_the_same_without_a_context() {
        for text in ["speed==50", "a.b[c.d]>=\"x\\\"y\\\\\"|!z;(n!=1,2..3;q~=\"^a[b]\")", "since<2020-01-01T00:00:00Z", "ok==true;no==null"]
        {
            let expand = |term: &str| Name::new(&format!("https://example.org/{term}"));
            let parsed = Query::parse(text, Dialect::Ld, &expand).unwrap();
            let again = query(&parsed.to_string(), Dialect::Ld);
            assert_eq!(again, parsed, "{parsed}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_without_panic(text in "\\PC{0,40}") {
            for dialect in [Dialect::Ld, Dialect::V2, Dialect::V2Metadata] {
                if let Ok(query) = Query::parse(&text, dialect, &|term| Name::new(term)) {
                    let _ = query.matches(&entity());
                }
            }
        }

        #[test]
        fn text_of_the_languages_own_characters_parses_or_fails_without_panic(text in "[a-c0-9.;|()=!<>~,\"'\\[\\]\\\\]{0,30}") {
            for dialect in [Dialect::Ld, Dialect::V2] {
                if let Ok(query) = Query::parse(&text, dialect, &|term| Name::new(term)) {
                    let _ = query.matches(&entity());
                    if dialect == Dialect::Ld {
                        let again = Query::parse(&query.to_string(), Dialect::Ld, &|term| Name::new(term));
                        prop_assert_eq!(again.unwrap(), query);
                    }
                }
            }
        }
    }
}
