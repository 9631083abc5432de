//! A request without its body.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use fogflow_config::Compatibility;
use fogflow_ngsi::v2::Rules;

use super::reply::Fault;
use crate::command::{Action, Answer, Command, Done, Refusal};
use crate::engine::Engine;
use crate::face::params::Params;
use crate::identity::Identity;

/// Identity, parameters and media type.
pub(super) struct Call {
    pub(super) identity: Identity,
    pub(super) params: Params,
    pub(super) content_type: String,
    /// Whether upstream's manners are asked for.
    pub(super) lenient: bool,
}

impl FromRequestParts<Engine> for Call {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, engine: &Engine) -> Result<Self, Fault> {
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Call {
            identity: Identity::of(&parts.headers, engine.config().compatibility).map_err(Fault::bad)?,
            content_type: content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
            params: Params::from_request_parts(parts, engine).await.map_err(|(_, message)| Fault::bad(message))?,
            lenient: engine.config().compatibility == Compatibility::Fogflow3,
        })
    }
}

impl Call {
    /// Whether the body is JSON. Upstream and many devices do not say what they send.
    pub(super) fn check_json(&self) -> Result<(), Fault> {
        if self.lenient || matches!(self.content_type.as_str(), "" | "application/json") {
            return Ok(());
        }
        Err(Fault::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("not supported content type: {}", self.content_type)))
    }

    /// How bodies are read; `fragment` when `id` and `type` may be absent.
    pub(super) fn rules(&self, fragment: bool) -> Rules {
        Rules { key_values: self.params.option("keyValues"), fragment, lenient: self.lenient }
    }

    /// Carries out one command.
    pub(super) async fn write(&self, engine: &Engine, id: &str, action: Action) -> Answer {
        let command = Command { key: self.identity.key(id), action };
        engine.write(&self.identity, vec![command]).await.pop().unwrap_or(Err(Refusal::Unavailable("no answer".to_owned())))
    }

    /// As [`write`](Self::write), with refusals in NGSIv2's form.
    pub(super) async fn must(&self, engine: &Engine, id: &str, action: Action) -> Result<Done, Fault> {
        self.write(engine, id, action).await.map_err(|refusal| Fault::from(&refusal))
    }
}

/// The body as text.
pub(super) fn text(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body).map_err(|_| Fault::bad("the body is not valid UTF-8"))
}
