//! Subscriptions (NGSIv2, "Subscriptions").

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::operations::{EntitySelector, Expression};
use crate::object::{decode_object, decode_str};
use crate::{DecodeError, Json, Timestamp};

/// How the entities of a notification are written (`attrsFormat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttributesFormat {
    /// Normalized.
    #[default]
    Normalized,
    /// Values by name.
    KeyValues,
    /// Values alone.
    Values,
}

/// The parts of a subscription that a broker acts on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscription {
    /// Alternatives, of which one must match.
    pub entities: Vec<EntitySelector>,
    /// Attributes of which one must be written; empty for any.
    pub condition_attributes: Vec<SmolStr>,
    /// Conditions that the entity must fulfil.
    pub expression: Expression,
    /// Which changes are told: `entityCreate`, `entityUpdate`, `entityChange`, `entityDelete`; empty for the default.
    pub alteration_types: Vec<SmolStr>,
    /// Where notifications go.
    pub url: SmolStr,
    /// Headers that are sent (`httpCustom.headers`).
    pub headers: Vec<(SmolStr, SmolStr)>,
    /// Attributes that are sent; empty for all.
    pub attributes: Vec<SmolStr>,
    /// Attributes that are left out.
    pub except: Vec<SmolStr>,
    /// Metadata that is sent; empty for all.
    pub metadata: Vec<SmolStr>,
    /// The representation.
    pub format: AttributesFormat,
    /// The shortest time between notifications in seconds; 0 for none.
    pub throttling: f64,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Whether it is paused.
    pub paused: bool,
}

#[derive(Default)]
struct Wire {
    subject: Option<Subject>,
    notification: Option<Target>,
    throttling: Option<f64>,
    expires: SmolStr,
    status: SmolStr,
}

decode_object!(Wire {
    "subject" => subject,
    "notification" => notification,
    "throttling" => throttling,
    "expires" => expires,
    "status" => status,
});

#[derive(Default)]
struct Subject {
    entities: Vec<EntitySelector>,
    condition: Condition,
}

decode_object!(Subject { "entities" => entities, "condition" => condition });

#[derive(Default)]
struct Condition {
    attributes: Vec<SmolStr>,
    expression: Expression,
    alteration_types: Vec<SmolStr>,
}

decode_object!(Condition { "attrs" => attributes, "expression" => expression, "alterationTypes" => alteration_types });

#[derive(Default)]
struct Target {
    http: Option<Http>,
    custom: Option<Http>,
    attributes: Vec<SmolStr>,
    except: Vec<SmolStr>,
    metadata: Vec<SmolStr>,
    format: SmolStr,
}

decode_object!(Target {
    "http" => http,
    "httpCustom" => custom,
    "attrs" => attributes,
    "exceptAttrs" => except,
    "metadata" => metadata,
    "attrsFormat" => format,
});

#[derive(Default)]
struct Http {
    url: SmolStr,
    headers: indexmap::IndexMap<SmolStr, SmolStr>,
}

decode_object!(Http { "url" => url, "headers" => headers });

impl Subscription {
    /// Reads a document. With `lenient` what upstream accepts is accepted: no `subject`, no `notification`.
    ///
    /// # Errors
    /// If a member is missing or wrong; the error names it.
    pub fn read(document: &Json, lenient: bool) -> Result<Self, DecodeError> {
        let wire: Wire = decode_str(document.as_text())?;
        let missing = |field: &str| DecodeError::data(field, "is missing");
        let subject = match wire.subject {
            Some(subject) if lenient || !subject.entities.is_empty() => subject,
            Some(_) => return Err(missing("subject.entities")),
            None if lenient => Subject::default(),
            None => return Err(missing("subject")),
        };
        for (index, selector) in subject.entities.iter().enumerate() {
            let needs = || DecodeError::data("", "needs id, idPattern, type or typePattern");
            let empty = *selector == EntitySelector::default();
            let checked = if empty && !lenient { Err(needs()) } else { selector.check() };
            checked.map_err(|error| error.within(&format!("subject.entities[{index}]")))?;
        }
        let expression = subject.condition.expression;
        let path = "subject.condition.expression";
        expression.queries().map_err(|error| error.within(path))?;
        if let Err(error) = expression.geo()
            && !lenient
        {
            return Err(error.within(path));
        }
        let target = match wire.notification {
            Some(target) => target,
            None if lenient => Target::default(),
            None => return Err(missing("notification")),
        };
        if target.http.is_some() && target.custom.is_some() {
            return Err(DecodeError::data("notification.httpCustom", "goes not with http"));
        }
        let http = target.custom.or(target.http).unwrap_or_default();
        if http.url.is_empty() && !lenient {
            return Err(missing("notification.http.url"));
        }
        if !target.attributes.is_empty() && !target.except.is_empty() {
            return Err(DecodeError::data("notification.exceptAttrs", "goes not with attrs"));
        }
        let format = match target.format.as_str() {
            "" | "normalized" | "legacy" => AttributesFormat::Normalized,
            "keyValues" | "simplifiedNormalized" | "simplifiedKeyValues" => AttributesFormat::KeyValues,
            "values" => AttributesFormat::Values,
            _ => return Err(DecodeError::data("notification.attrsFormat", "must be normalized, keyValues or values")),
        };
        let throttling = wire.throttling.unwrap_or_default();
        if throttling < 0.0 {
            return Err(DecodeError::data("throttling", "must not be negative"));
        }
        let expires = match wire.expires.as_str() {
            "" => None,
            time => Some(time.parse().map_err(|_| DecodeError::data("expires", "must be an ISO 8601 time"))?),
        };
        let paused = match wire.status.as_str() {
            "" | "active" | "oneshot" => false,
            "inactive" => true,
            _ if lenient => false,
            _ => return Err(DecodeError::data("status", "must be active, inactive or oneshot")),
        };
        Ok(Subscription {
            entities: subject.entities,
            condition_attributes: subject.condition.attributes,
            expression,
            alteration_types: subject.condition.alteration_types,
            url: http.url,
            headers: http.headers.into_iter().collect(),
            attributes: target.attributes,
            except: target.except,
            metadata: target.metadata,
            format,
            throttling,
            expires,
            paused,
        })
    }
}

/// The document with the members of `patch` in place of its own (`PATCH /v2/subscriptions/{id}`).
#[must_use]
pub fn apply_patch(document: &Map<String, Value>, patch: Map<String, Value>) -> Map<String, Value> {
    let mut out = document.clone();
    out.extend(patch.into_iter().filter(|(key, _)| key != "id"));
    out
}
