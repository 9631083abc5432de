//! Who asks, for which tenant: read once from the headers of a request, and needed to make any key.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use fogflow_config::Compatibility;
use fogflow_ngsi::{EntityKey, Tenant};
use smol_str::SmolStr;

use crate::change::Origin;
use crate::engine::Engine;
use crate::filter::PathScope;

/// `User-Agent` by which brokers, upstream's included, mark what they send to each other.
pub const PEER: &str = fogflow_client::PEER_USER_AGENT;
/// Longest tenant name and service path.
const LONGEST: usize = 256;

/// The identity of a request.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `NGSILD-Tenant`, else `Fiware-Service`, else the default tenant.
    pub tenant: Tenant,
    /// `Fiware-ServicePath`, if given.
    pub path: Option<SmolStr>,
    /// What the state is told of the writer.
    pub origin: Origin,
}

/// The headers that matter.
#[derive(Default)]
struct Found<'a> {
    ld_tenant: &'a str,
    service: &'a str,
    path: &'a str,
    correlator: &'a str,
    trace: &'a str,
    internal: bool,
}

fn readable<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, String> {
    value.to_str().map_err(|_| format!("{name}: not readable as text"))
}

impl Identity {
    /// Reads the headers. In compatibility with upstream a path may lack its first slash.
    ///
    /// # Errors
    /// A sentence for the client when a tenant or path has characters that it must not have.
    pub fn of(headers: &HeaderMap, compatibility: Compatibility) -> Result<Self, String> {
        let mut found = Found::default();
        // One pass: a request has few headers, and each look-up by name would hash it.
        for (name, value) in headers {
            match name.as_str() {
                "ngsild-tenant" => found.ld_tenant = readable("NGSILD-Tenant", value)?,
                "fiware-service" => found.service = readable("Fiware-Service", value)?,
                "fiware-servicepath" => found.path = readable("Fiware-ServicePath", value)?,
                "fiware-correlator" => found.correlator = value.to_str().unwrap_or_default(),
                "traceparent" => found.trace = value.to_str().unwrap_or_default(),
                "user-agent" => found.internal = value == PEER,
                _ => {}
            }
        }
        let tenant = if found.ld_tenant.is_empty() { found.service } else { found.ld_tenant };
        if tenant.len() > LONGEST || !tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:@~".contains(&byte)) {
            return Err(format!("the tenant {tenant:?} may only have letters, digits and _ - . : @ ~"));
        }
        // What the write causes later belongs to this request, which in turn belongs to its caller.
        let trace = fogflow_chassis::current_traceparent().map_or_else(|| found.trace.into(), SmolStr::from);
        let path = if found.path.is_empty() || found.path.starts_with('/') || compatibility == Compatibility::Standard {
            Cow::Borrowed(found.path)
        } else {
            Cow::Owned(format!("/{}", found.path))
        };
        if !path.is_empty() && (path.len() > LONGEST || !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f)) {
            return Err(format!("Fiware-ServicePath: {path:?} must begin with / and have no spaces"));
        }
        Ok(Identity {
            tenant: Tenant(tenant.into()),
            path: (!path.is_empty()).then(|| path.into()),
            origin: Origin { correlator: found.correlator.into(), trace, internal: found.internal },
        })
    }

    /// The key under which an entity of this request is written.
    #[must_use]
    pub fn key(&self, id: &str) -> EntityKey {
        let path = self.path.as_deref().unwrap_or("/").trim_end_matches('#');
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        EntityKey { tenant: self.tenant.clone(), path: path.into(), id: id.into() }
    }

    /// The service paths that this request reads: all without the header, `/a/#` with all below.
    #[must_use]
    pub fn scope(&self) -> PathScope {
        match self.path.as_deref() {
            None => PathScope::Any,
            Some(path) => match path.strip_suffix("/#") {
                Some("") => PathScope::Any,
                Some(root) => PathScope::Below(root.into()),
                None => PathScope::Exact(self.key("").path),
            },
        }
    }

    /// The path of a read by id; `None` for any.
    #[must_use]
    pub fn read_path(&self) -> Option<&str> {
        self.path.as_deref().filter(|path| !path.ends_with('#'))
    }
}

impl FromRequestParts<Engine> for Identity {
    /// The chassis puts it into the form of the face.
    type Rejection = (StatusCode, String);

    async fn from_request_parts(parts: &mut Parts, engine: &Engine) -> Result<Self, Self::Rejection> {
        Identity::of(&parts.headers, engine.config().compatibility).map_err(|message| (StatusCode::BAD_REQUEST, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(headers: &[(&'static str, &'static str)]) -> Result<Identity, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), (*value).parse().unwrap())).collect();
        Identity::of(&headers, Compatibility::Standard)
    }

    #[test]
    fn the_tenant_is_ngsilds_else_fiwares_else_the_default() {
        assert_eq!(identity(&[("ngsild-tenant", "a"), ("fiware-service", "b")]).unwrap().tenant.0, "a");
        assert_eq!(identity(&[("ngsild-tenant", ""), ("fiware-service", "b")]).unwrap().tenant.0, "b");
        assert!(identity(&[]).unwrap().tenant.is_default());
        assert!(identity(&[("fiware-service", "a b")]).is_err());
    }

    #[test]
    fn a_path_writes_to_one_place_and_reads_from_it_or_below() {
        let plain = identity(&[("fiware-servicepath", "/a/")]).unwrap();
        assert_eq!(plain.key("x").path, "/a");
        assert_eq!(plain.scope(), PathScope::Exact("/a".into()));
        let below = identity(&[("fiware-servicepath", "/a/#")]).unwrap();
        assert!(below.scope().contains("/a/b") && below.scope().contains("/a") && !below.scope().contains("/ab"));
        assert_eq!(identity(&[]).unwrap().key("x").path, "/");
        assert_eq!(identity(&[("fiware-servicepath", "/#")]).unwrap().scope(), PathScope::Any);
        assert!(identity(&[("fiware-servicepath", "a")]).is_err());
        let headers = [("fiware-servicepath".parse().unwrap(), "a".parse().unwrap())].into_iter().collect();
        assert_eq!(Identity::of(&headers, Compatibility::Fogflow3).unwrap().key("x").path, "/a");
    }

    #[test]
    fn a_broker_is_known_by_its_user_agent() {
        assert!(identity(&[("user-agent", "lightweight-iot-broker")]).unwrap().origin.internal);
        assert!(!identity(&[("user-agent", "curl/8")]).unwrap().origin.internal);
    }
}
