//! Replies in NGSI-LD's form.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fogflow_ngsi::DecodeError;
use fogflow_ngsi::context::{CORE_CONTEXT_URL, Context};
use fogflow_ngsi::ld::{Problem, ProblemType};

use super::call::Media;
use crate::command::Refusal;
use crate::engine::Refused;

/// An error answer: problem details.
#[derive(Debug)]
pub(super) struct Fault(pub(super) Problem);

impl Fault {
    pub(super) fn new(problem_type: ProblemType, detail: impl Into<String>) -> Self {
        Fault(Problem::new(problem_type, detail))
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Fault::new(ProblemType::BadRequestData, detail)
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Fault::new(ProblemType::InvalidRequest, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Fault::new(ProblemType::ResourceNotFound, detail)
    }

    pub(super) fn with_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let problem_type = match status.as_u16() {
            404 => ProblemType::ResourceNotFound,
            409 => ProblemType::AlreadyExists,
            405 | 415 | 406 => ProblemType::OperationNotSupported,
            400..=499 => ProblemType::InvalidRequest,
            _ => ProblemType::InternalError,
        };
        let mut problem = Problem::new(problem_type, detail);
        problem.status = status.as_u16();
        Fault(problem)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Fault(Problem::from(&error))
    }
}

impl From<&Refusal> for Fault {
    fn from(refusal: &Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound | Refusal::NoSuchAttribute => Fault::not_found(detail),
            Refusal::AlreadyExists => Fault::new(ProblemType::AlreadyExists, detail),
            Refusal::Invalid(_) => Fault::bad(detail),
            other => Fault::with_status(StatusCode::from_u16(other.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), detail),
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::Invalid(_) => Fault::bad(detail),
            Refused::AlreadyExists => Fault::new(ProblemType::AlreadyExists, detail),
            Refused::NotFound => Fault::not_found(detail),
            other => Fault::with_status(StatusCode::from_u16(other.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), detail),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

/// The form of errors that arise outside of handlers.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    Fault::with_status(status, message).into_response()
}

/// A body in the media type that was asked for; with plain JSON the context goes into a `Link` header.
pub(super) fn body(status: StatusCode, media: Media, context: &Context, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media.as_str()));
    if media != Media::JsonLd {
        match context.link() {
            None | Some(CORE_CONTEXT_URL) => drop(headers.append(header::LINK, CORE_LINK.clone())),
            Some(url) => push_link(headers, context_link(url)),
        }
    }
    response
}

/// The `Link` header of most answers.
static CORE_LINK: LazyLock<HeaderValue> =
    LazyLock::new(|| HeaderValue::try_from(context_link(CORE_CONTEXT_URL)).unwrap_or(HeaderValue::from_static("")));

/// The value of the `Link` header for a context.
fn context_link(url: &str) -> String {
    format!("<{url}>; rel=\"http://www.w3.org/ns/json-ld#context\"; type=\"application/ld+json\"")
}

/// Adds a `Link` header.
pub(super) fn push_link(headers: &mut HeaderMap, link: String) {
    if let Ok(value) = HeaderValue::try_from(link) {
        headers.append(header::LINK, value);
    }
}

/// 201 with the place of what was made.
pub(super) fn created(location: &str) -> Response {
    (StatusCode::CREATED, [(header::LOCATION, location.to_owned())]).into_response()
}

/// 204
pub(super) fn done() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
