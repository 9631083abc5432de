//! Problem details (RFC 7807) with the error types of ETSI GS CIM 009, clause 6.3.2.

use serde::Serialize;

use crate::{DecodeError, DecodeErrorKind};

/// The error types, each with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemType {
    /// 400: not JSON, or not a request at all.
    InvalidRequest,
    /// 400: the content is wrong.
    BadRequestData,
    /// 404
    ResourceNotFound,
    /// 409
    AlreadyExists,
    /// 422
    OperationNotSupported,
    /// 404
    NonexistentTenant,
    /// 503: a remote `@context` cannot be had (504 in older versions of the standard).
    LdContextNotAvailable,
    /// 403: the result would be too large.
    TooManyResults,
    /// 403
    TooComplexQuery,
    /// 409
    Conflict,
    /// 500
    InternalError,
}

impl ProblemType {
    /// The URI for `type`.
    #[must_use]
    pub fn uri(self) -> String {
        format!("https://uri.etsi.org/ngsi-ld/errors/{self:?}")
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            ProblemType::InvalidRequest | ProblemType::BadRequestData => 400,
            ProblemType::ResourceNotFound | ProblemType::NonexistentTenant => 404,
            ProblemType::AlreadyExists | ProblemType::Conflict => 409,
            ProblemType::OperationNotSupported => 422,
            ProblemType::LdContextNotAvailable => 503,
            ProblemType::TooManyResults | ProblemType::TooComplexQuery => 403,
            ProblemType::InternalError => 500,
        }
    }

    fn title(self) -> &'static str {
        match self {
            ProblemType::InvalidRequest => "Invalid request",
            ProblemType::BadRequestData => "Bad request data",
            ProblemType::ResourceNotFound => "Resource not found",
            ProblemType::AlreadyExists => "Already exists",
            ProblemType::OperationNotSupported => "Operation not supported",
            ProblemType::NonexistentTenant => "Tenant does not exist",
            ProblemType::LdContextNotAvailable => "JSON-LD context not available",
            ProblemType::TooManyResults => "Too many results",
            ProblemType::TooComplexQuery => "Query too complex",
            ProblemType::Conflict => "Conflict",
            ProblemType::InternalError => "Internal error",
        }
    }
}

/// The body of an error reply (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The URI of a [`ProblemType`].
    #[serde(rename = "type")]
    pub problem_type: String,
    /// Its title.
    pub title: String,
    /// What in particular is wrong; names the member or parameter.
    pub detail: String,
    /// The HTTP status.
    pub status: u16,
}

impl Problem {
    /// A problem of this type.
    #[must_use]
    pub fn new(problem_type: ProblemType, detail: impl Into<String>) -> Self {
        Problem {
            problem_type: problem_type.uri(),
            title: problem_type.title().to_owned(),
            detail: detail.into(),
            status: problem_type.status(),
        }
    }
}

impl From<&DecodeError> for Problem {
    fn from(error: &DecodeError) -> Self {
        let problem_type = match error.kind {
            DecodeErrorKind::Syntax => ProblemType::InvalidRequest,
            DecodeErrorKind::Data => ProblemType::BadRequestData,
            DecodeErrorKind::Context => ProblemType::LdContextNotAvailable,
        };
        Problem::new(problem_type, error.to_string())
    }
}
