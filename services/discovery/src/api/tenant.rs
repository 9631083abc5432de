//! Whose entities a request is about.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use fogflow_ngsi::Tenant;
use smol_str::SmolStr;

/// The tenant of a request by its headers: `NGSILD-Tenant`, else `Fiware-Service`, else the default one. A `Tenant` member of
/// the body, which only components send, goes before it.
#[derive(Clone, Debug, Default)]
pub(super) struct OfHeaders(pub(super) Tenant);

impl<S: Send + Sync> FromRequestParts<S> for OfHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty());
        Ok(OfHeaders(named(header("ngsild-tenant").or_else(|| header("fiware-service")).unwrap_or_default())))
    }
}

impl OfHeaders {
    /// The tenant that a body names, else that of the headers.
    pub(super) fn or(self, in_body: &SmolStr) -> Tenant {
        if in_body.is_empty() { self.0 } else { named(in_body) }
    }
}

/// `default` is how upstream spells the default tenant.
pub(super) fn named(name: &str) -> Tenant {
    if name.eq_ignore_ascii_case("default") { Tenant::default() } else { Tenant(SmolStr::new(name)) }
}
