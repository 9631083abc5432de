//! Entities and fragments of them, decoded.

use serde_json::Value;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::attribute::{decode_fragment, decode_instances};
use crate::context::{Context, core};
use crate::object::{Members, decode, decode_str};
use crate::{DecodeError, Entity, Name, Timestamp};

/// The URI that stands for null, where a null deletes (clause 4.5.0).
pub const NULL: &str = "urn:ngsi-ld:null";

/// What kind of body it is; this decides what must and what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A whole entity: `id` and `type` are needed, nothing may be null.
    Entity,
    /// Attributes to add or replace: `id` and `type` may be absent, nothing may be null.
    Fragment,
    /// Attributes to write, of which [`NULL`] deletes one.
    Update,
    /// A merge patch: [`NULL`] deletes, and attributes may lack their values.
    MergePatch,
}

impl Mode {
    /// Whether [`NULL`] may stand for a value.
    #[must_use]
    pub fn deletes(self) -> bool {
        matches!(self, Mode::Update | Mode::MergePatch)
    }
}

/// How strictly a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What kind of body it is.
    pub mode: Mode,
    /// Accept what upstream accepts: geometries that make no sense (which then are at no place), ids that are no URIs,
    /// blank type names, and times without a zone (which then are in UTC).
    pub lenient: bool,
}

impl From<Mode> for Rules {
    fn from(mode: Mode) -> Self {
        Rules { mode, lenient: false }
    }
}

/// The `@context` member of a body that is an object; `None` if it has none or is an array.
///
/// # Errors
/// If the body is no JSON.
pub fn context_member(body: &[u8]) -> Result<Option<Value>, DecodeError> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Ok(None);
    }
    let members: Members<'_> = decode(body)?;
    let found = members.0.iter().find(|(key, _)| key == "@context");
    found.map(|(_, raw)| decode_str(raw.get())).transpose()
}

/// Whether [`context_member`] has to be asked: a look at the bytes that spares most bodies a parse of their own. Of one that
/// looks like an object without the member it is not known whether it is JSON.
#[must_use]
pub fn may_have_context(body: &[u8]) -> bool {
    let lacks = |text: &str| text.trim_start().starts_with('{') && !text.contains('\\') && !text.contains("\"@context\"");
    !std::str::from_utf8(body).is_ok_and(lacks)
}

/// The elements of a body that is an array, each as its text, for [`decode_entity`] one by one.
///
/// # Errors
/// If the body is no JSON array.
pub fn decode_list(body: &[u8]) -> Result<Vec<&str>, DecodeError> {
    let list: Vec<&RawValue> = decode(body)?;
    Ok(list.into_iter().map(RawValue::get).collect())
}

/// Decodes an entity or a fragment in normalized, concise or simplified form, or a mix of them; times become `now`.
///
/// # Errors
/// If the text is no JSON object, or a member is missing or wrong; the error names it.
pub fn decode_entity(text: &str, context: &Context, rules: impl Into<Rules>, now: Timestamp) -> Result<Entity, DecodeError> {
    let rules = rules.into();
    let members: Members<'_> = decode_str(text)?;
    let mut entity = Entity::new("", None, Timestamp::default());
    let (mut has_id, mut has_type) = (false, false);
    entity.attributes.reserve(members.0.len());
    for (key, raw) in &members.0 {
        match key.as_ref() {
            "id" | "@id" => {
                entity.id = text_member(raw).ok_or_else(|| DecodeError::data("id", "must be a string"))?;
                if !rules.lenient {
                    check_uri(&entity.id).map_err(|error| error.within("id"))?;
                }
                has_id = true;
            }
            "type" | "@type" => {
                for name in texts_member(raw).ok_or_else(|| DecodeError::data("type", "must be a string or an array of strings"))? {
                    if name.trim().is_empty() && !rules.lenient || name.is_empty() {
                        return Err(DecodeError::data("type", "must not be empty"));
                    }
                    // These terms are keywords of JSON-LD and stand for no type.
                    if matches!(name.as_str(), "id" | "type") || name.starts_with('@') {
                        return Err(DecodeError::data("type", format!("`{name}` cannot be a type")));
                    }
                    let name = context.expand(&name);
                    if !entity.types.contains(&name) {
                        entity.types.push(name);
                    }
                }
                has_type = !entity.types.is_empty();
            }
            "scope" => {
                if rules.mode.deletes() && raw.get() == "\"urn:ngsi-ld:null\"" {
                    continue;
                }
                let scopes = texts_member(raw).ok_or_else(|| DecodeError::data("scope", "must be a string or an array of strings"))?;
                entity.scopes = scopes.into_iter().map(|scope| check_scope(&scope)).collect::<Result<_, _>>()?;
            }
            // The broker sets these; what a client says about them is ignored (clause 4.8).
            "@context" | "createdAt" | "modifiedAt" | "deletedAt" => {}
            name => {
                let name = attribute_name(name, context)?;
                decode_instances(&name, raw, context, rules, &mut entity.attributes).map_err(|error| error.within(key))?;
            }
        }
    }
    if members.0.is_empty() {
        return Err(DecodeError::syntax("the object is empty"));
    }
    if rules.mode == Mode::Entity {
        if !has_id {
            return Err(DecodeError::data("id", "is missing"));
        }
        if !has_type {
            return Err(DecodeError::data("type", "is missing"));
        }
    }
    entity.stamp(now);
    Ok(entity)
}

/// Decodes the body of a request to one attribute (`PATCH` or `PUT …/attrs/{name}`) into a fragment with just that.
///
/// # Errors
/// As [`decode_entity`].
pub fn decode_attribute_fragment(
    name: &str,
    text: &str,
    context: &Context,
    rules: impl Into<Rules>,
    now: Timestamp,
) -> Result<Entity, DecodeError> {
    let raw: &RawValue = decode_str(text)?;
    let mut entity = Entity::new("", None, now);
    decode_fragment(&attribute_name(name, context)?, raw, context, rules.into(), &mut entity.attributes)?;
    entity.stamp(now);
    Ok(entity)
}

/// The name of an attribute that a member name means.
pub(super) fn attribute_name(text: &str, context: &Context) -> Result<Name, DecodeError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(context.expand(text));
    }
    let bad =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\'' | '=' | ';' | '(' | ')' | '`' | '{' | '}');
    if text.is_empty() || text.starts_with('@') || text.contains(bad) {
        return Err(DecodeError::data(text, "is no valid attribute name"));
    }
    Ok(context.expand(text))
}

/// Whether a text is a URI: a scheme, a colon, and something without white space (RFC 3986, roughly).
///
/// # Errors
/// If it is not; the message does not name a member.
pub fn check_uri(text: &str) -> Result<(), DecodeError> {
    let good = text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
            && !rest.contains(|c: char| {
                c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
            })
    });
    if good { Ok(()) } else { Err(DecodeError::data("", format!("`{text}` is no URI"))) }
}

fn check_scope(text: &str) -> Result<SmolStr, DecodeError> {
    let level = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if text.strip_prefix('/').unwrap_or(text).split('/').all(level) {
        Ok(if text.starts_with('/') { SmolStr::new(text) } else { smol_str::format_smolstr!("/{text}") })
    } else {
        Err(DecodeError::data("scope", format!("`{text}` is no scope")))
    }
}

/// A string, also in the form `[{"@value": …}]` or `[{"@id": …}]` of an expanded document.
pub(super) fn text_member(raw: &RawValue) -> Option<SmolStr> {
    match serde_json::from_str(raw.get()) {
        Ok(text) => Some(text),
        Err(_) => match super::attribute::unwrap_expanded(&serde_json::from_str(raw.get()).ok()?) {
            Value::String(text) => Some(text.into()),
            _ => None,
        },
    }
}

fn texts_member(raw: &RawValue) -> Option<Vec<SmolStr>> {
    match serde_json::from_str::<SmolStr>(raw.get()) {
        Ok(one) => Some(vec![one]),
        Err(_) => serde_json::from_str(raw.get()).ok(),
    }
}

/// The core term of a member name, which may be an IRI in an expanded document.
pub(super) fn core_member(key: &str) -> &str {
    if key.starts_with("http") { core::term_of(key).unwrap_or(key) } else { key }
}
