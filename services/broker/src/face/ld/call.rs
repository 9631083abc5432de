//! What the headers of a request say: tenant, media types, context (ETSI GS CIM 009, clauses 6.3.4 to 6.3.6).

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use fogflow_config::Compatibility;
use fogflow_ngsi::context::Context;
use fogflow_ngsi::ld::{self, ProblemType, Rules};
use serde_json::Value;

use super::reply::Fault;
use crate::engine::Engine;
use crate::face::params::Params;
use crate::identity::Identity;

/// A media type of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    JsonLd,
    GeoJson,
}

impl Media {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::JsonLd => "application/ld+json",
            Media::GeoJson => "application/geo+json",
        }
    }
}

/// A media type of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    None,
    Json,
    JsonLd,
    MergePatch,
    Other,
}

/// A request without its body.
pub(super) struct Call {
    pub(super) identity: Identity,
    pub(super) params: Params,
    /// URL of the context in the `Link` header.
    link: Option<String>,
    content: Content,
    /// The media type for an answer, or the header if none of ours suits.
    accept: Result<Media, HeaderValue>,
    /// Whether upstream's manners are asked for.
    pub(super) lenient: bool,
}

impl FromRequestParts<Engine> for Call {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, engine: &Engine) -> Result<Self, Fault> {
        let identity = Identity::of(&parts.headers, engine.config().compatibility).map_err(Fault::bad)?;
        let params = Params::from_request_parts(parts, engine).await.map_err(|(_, message)| Fault::bad(message))?;
        let lenient = engine.config().compatibility == Compatibility::Fogflow3;
        if !lenient {
            check_params(&params)?;
        }
        Ok(Call {
            identity,
            params,
            link: link(&parts.headers, lenient),
            content: content(text(&parts.headers, header::CONTENT_TYPE)),
            accept: accept(text(&parts.headers, header::ACCEPT))
                .ok_or_else(|| parts.headers.get(header::ACCEPT).cloned().unwrap_or(HeaderValue::from_static(""))),
            lenient,
        })
    }
}

/// Every parameter of the interface.
const PARAMETERS: [&str; 36] = [
    "id",
    "type",
    "idPattern",
    "attrs",
    "pick",
    "omit",
    "q",
    "csf",
    "georel",
    "geometry",
    "coordinates",
    "geoproperty",
    "geometryProperty",
    "lang",
    "scopeQ",
    "limit",
    "offset",
    "count",
    "options",
    "format",
    "sysAttrs",
    "datasetId",
    "local",
    "details",
    "join",
    "joinLevel",
    "containedBy",
    "orderBy",
    "keep",
    "drop",
    "deleteAll",
    "reload",
    "kind",
    "expandValues",
    "splitEntities",
    "jsonKeys",
];

/// Every word of the parameter `options`.
const OPTIONS: [&str; 10] =
    ["normalized", "concise", "keyValues", "simplified", "sysAttrs", "count", "noOverwrite", "update", "replace", "details"];

/// A parameter that the interface does not know is an error (clause 6.3.20), as it may be a misspelt one.
fn check_params(params: &Params) -> Result<(), Fault> {
    if let Some(name) = params.names().find(|name| !PARAMETERS.contains(name)) {
        return Err(Fault::invalid(format!("{name}: is no parameter of this interface")));
    }
    if let Some(word) = params.list("options").into_iter().find(|word| !OPTIONS.contains(word)) {
        return Err(Fault::invalid(format!("options: `{word}` has no meaning")));
    }
    Ok(())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn content(value: &str) -> Content {
    const KNOWN: [(&str, Content); 4] = [
        ("application/json", Content::Json),
        ("application/ld+json", Content::JsonLd),
        ("application/merge-patch+json", Content::MergePatch),
        ("", Content::None),
    ];
    let media = value.split(';').next().unwrap_or_default().trim();
    KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(media)).map_or(Content::Other, |(_, content)| *content)
}

/// The media type that suits best: the highest weight, then the order in the header.
fn accept(value: &str) -> Option<Media> {
    const KNOWN: [(&str, Media); 5] = [
        ("application/json", Media::Json),
        ("application/ld+json", Media::JsonLd),
        ("*/*", Media::Json),
        ("application/geo+json", Media::GeoJson),
        ("application/*", Media::Json),
    ];
    if value.trim().is_empty() {
        return Some(Media::Json);
    }
    let mut best: Option<(f32, Media)> = None;
    for part in value.split(',') {
        let mut pieces = part.split(';').map(str::trim);
        let name = pieces.next().unwrap_or_default();
        let Some((_, media)) = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else { continue };
        let media = *media;
        let weight = pieces.find_map(|piece| piece.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if weight > 0.0 && best.is_none_or(|(other, _)| weight > other) {
            best = Some((weight, media));
        }
    }
    best.map(|(_, media)| media)
}

/// The first link to a context; upstream takes any link with a URL for one.
fn link(headers: &HeaderMap, lenient: bool) -> Option<String> {
    let links = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(",<"));
    links.filter_map(|link| link.trim_start().trim_start_matches('<').split_once('>')).find_map(|(url, rest)| {
        let is_context = rest.contains("json-ld#context") || lenient && url.starts_with("http");
        is_context.then(|| url.trim().to_owned())
    })
}

impl Call {
    /// The media type for an answer.
    pub(super) fn media(&self) -> Result<Media, Fault> {
        self.accept.as_ref().copied().map_err(|header| {
            let header = header.to_str().unwrap_or_default();
            Fault::with_status(StatusCode::NOT_ACCEPTABLE, format!("Accept: `{header}` is none of JSON's"))
        })
    }

    /// As [`media`](Self::media) where GeoJSON makes no sense.
    pub(super) fn plain_media(&self) -> Result<Media, Fault> {
        match self.media()? {
            Media::GeoJson => Err(Fault::with_status(StatusCode::NOT_ACCEPTABLE, "Accept: application/geo+json is for entities")),
            media => Ok(media),
        }
    }

    /// How bodies are read.
    pub(super) fn rules(&self, mode: ld::Mode) -> Rules {
        Rules { mode, lenient: self.lenient }
    }

    /// The context of a request whose body has none: that of the `Link` header, else the core.
    pub(super) async fn context(&self, engine: &Engine) -> Result<Arc<Context>, Fault> {
        match &self.link {
            Some(url) => self.resolve(engine, &Value::from(url.as_str())).await,
            None => Ok(Context::core()),
        }
    }

    /// The context of a request with this body, which must be an object or array in one of NGSI-LD's media types.
    pub(super) async fn body_context(&self, engine: &Engine, body: &[u8]) -> Result<Arc<Context>, Fault> {
        self.check_content()?;
        if matches!(body.trim_ascii(), b"{}" | b"[]") {
            return Err(Fault::invalid("the body is empty"));
        }
        if body.trim_ascii_start().starts_with(b"[") {
            let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(body);
            return Err(parsed.map_or_else(|error| Fault::invalid(error.to_string()), |_| Fault::bad("the body must be an object")));
        }
        self.choose(engine, body).await
    }

    /// The context of one element of a batch.
    pub(super) async fn element_context(&self, engine: &Engine, text: &str) -> Result<Arc<Context>, Fault> {
        self.choose(engine, text.as_bytes()).await
    }

    async fn choose(&self, engine: &Engine, body: &[u8]) -> Result<Arc<Context>, Fault> {
        if self.content != Content::JsonLd && !ld::may_have_context(body) {
            return self.context(engine).await;
        }
        match (self.content, ld::context_member(body)?) {
            (Content::JsonLd, Some(source)) => {
                if self.link.is_some() && !self.lenient {
                    return Err(Fault::bad("Link: the context of application/ld+json is in the body"));
                }
                self.resolve(engine, &source).await
            }
            (Content::JsonLd, None) => Err(Fault::bad("@context: is missing, which application/ld+json needs")),
            (_, Some(_)) if !self.lenient => {
                Err(Fault::bad("@context: is for application/ld+json; with application/json use a Link header"))
            }
            _ => self.context(engine).await,
        }
    }

    /// Whether the headers may come with a batch, whose elements have contexts of their own in `application/ld+json`.
    pub(super) fn check_batch(&self) -> Result<(), Fault> {
        self.check_content()?;
        if self.content == Content::JsonLd && self.link.is_some() && !self.lenient {
            return Err(Fault::bad("Link: the context of application/ld+json is in the body"));
        }
        Ok(())
    }

    /// Refuses an entity id that is no URI, unless the entity is there: other faces allow such ids.
    pub(super) fn check_id(&self, engine: &Engine, id: &str) -> Result<(), Fault> {
        if self.lenient || engine.has(&self.identity, id) {
            return Ok(());
        }
        Ok(ld::check_uri(id).map_err(|error| error.within("id"))?)
    }

    /// Whether the body is in one of NGSI-LD's media types.
    pub(super) fn check_content(&self) -> Result<(), Fault> {
        match self.content {
            Content::Json | Content::JsonLd | Content::MergePatch => Ok(()),
            _ if self.lenient => Err(Fault::bad("Missing Headers or Incorrect Header values!")),
            Content::None => Err(Fault::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type: is missing")),
            Content::Other => {
                Err(Fault::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type: must be application/json or application/ld+json"))
            }
        }
    }

    async fn resolve(&self, engine: &Engine, source: &Value) -> Result<Arc<Context>, Fault> {
        // Boxed: most requests name no context, and their futures need not hold the loading of one.
        match Box::pin(engine.contexts().resolve(source)).await {
            Ok(context) => Ok(context),
            // Upstream's clients name contexts that no longer exist.
            Err(error) if self.lenient => {
                tracing::info!(%error, "the core context stands in");
                Ok(Context::core())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A tenant in which nobody ever wrote anything does not exist (clause 6.3.14).
    pub(super) fn check_tenant(&self, engine: &Engine) -> Result<(), Fault> {
        let tenant = &self.identity.tenant;
        if tenant.is_default() || engine.state().with_space(tenant, |_| ()).is_some() {
            return Ok(());
        }
        Err(Fault::new(ProblemType::NonexistentTenant, format!("there is no tenant {}", tenant.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_of_the_highest_weight_is_chosen() {
        assert_eq!(accept(""), Some(Media::Json));
        assert_eq!(accept("application/json;q=0.5, application/ld+json"), Some(Media::JsonLd));
        assert_eq!(accept("text/html, */*;q=0.1"), Some(Media::Json));
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("application/json;q=0"), None);
    }

    #[test]
    fn a_link_is_a_context_if_it_says_so() {
        let headers = |value: &'static str| [(header::LINK, value.parse().unwrap())].into_iter().collect::<HeaderMap>();
        let good = headers("<https://example.org/c.jsonld>; rel=\"http://www.w3.org/ns/json-ld#context\"; type=\"application/ld+json\"");
        assert_eq!(link(&good, false).as_deref(), Some("https://example.org/c.jsonld"));
        let bare = headers("<https://example.org/c.jsonld>");
        assert_eq!(link(&bare, false), None);
        assert_eq!(link(&bare, true).as_deref(), Some("https://example.org/c.jsonld"));
        assert_eq!(link(&headers("<{{link}}>"), true), None);
    }
}
