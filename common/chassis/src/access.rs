//! Who may call a route, and how a caller is judged.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Method, header};
use fogflow_config::Config;

/// Who may call a route. Declared for every route, also while authentication is off, so that turning it on changes no handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches the port.
    Anyone,
    /// Another component of FogFlow.
    Component,
    /// A user who may read.
    Viewer,
    /// A user who may change what runs.
    Operator,
    /// Whoever holds the admin token.
    Admin,
    /// A caller on this machine, or whoever holds the admin token: routes that bring code or commands.
    LocalOrAdmin,
}

impl Access {
    /// The word in OpenAPI's `x-access`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Access::Anyone => "anyone",
            Access::Component => "component",
            Access::Viewer => "viewer",
            Access::Operator => "operator",
            Access::Admin => "admin",
            Access::LocalOrAdmin => "local-or-admin",
        }
    }

    /// Whether a page of another origin could do harm here with the help of a user's browser.
    fn is_guarded_against_foreign_pages(self) -> bool {
        matches!(self, Access::Operator | Access::Admin | Access::LocalOrAdmin)
    }
}

/// What is needed to judge callers.
#[derive(Clone, Debug)]
pub struct Security {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    admin_token: String,
    /// Names under which this node is known, beside addresses and `localhost`.
    own_names: Vec<String>,
}

const TOKEN_FILE: &str = "admin-token";

impl Security {
    /// Reads the admin token from `<data_dir>/admin-token`; makes it at the first start, readable by its owner only.
    ///
    /// # Errors
    /// When the data directory cannot be made or the file neither read nor written.
    pub fn from_config(config: &Config) -> anyhow::Result<Self> {
        let admin_token = admin_token(&config.data_dir)?;
        let own_names = [&config.my_hostip, &config.external_ip, &config.coreservice_ip, &config.designer.host_ip]
            .into_iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        Ok(Security { inner: Arc::new(Inner { admin_token, own_names }) })
    }

    /// With a given token, for tests.
    #[must_use]
    pub fn with_token(token: &str) -> Self {
        Security { inner: Arc::new(Inner { admin_token: token.to_owned(), own_names: Vec::new() }) }
    }

    /// The admin token, for calls that a service makes to another on behalf of its administrator.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.inner.admin_token
    }

    /// Refuses a caller, with the reason.
    ///
    /// # Errors
    /// The reason, to be answered with 403. [`crate::Routes`] asks before each handler; a handler asks itself when the access depends on the body.
    pub fn check(&self, access: Access, method: &Method, headers: &HeaderMap, extensions: &Extensions) -> Result<(), &'static str> {
        if access.is_guarded_against_foreign_pages() && !method.is_safe() && is_foreign_page(headers) {
            return Err("a page of another origin may not call this route");
        }
        match access {
            Access::Anyone | Access::Component | Access::Viewer | Access::Operator => Ok(()),
            Access::Admin if self.has_token(headers) => Ok(()),
            Access::Admin => Err("this route needs the admin token: Authorization: Bearer <token>"),
            Access::LocalOrAdmin if self.is_local(headers, extensions) || self.has_token(headers) => Ok(()),
            Access::LocalOrAdmin => {
                Err("this route brings code: it needs a caller on the same machine or the admin token: Authorization: Bearer <token>")
            }
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        match bearer {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => same(token.trim(), &self.inner.admin_token),
            _ => false,
        }
    }

    /// The peer is on loopback, did not come through a proxy, and speaks to a name that is ours (a rebound DNS name is not).
    fn is_local(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>() else { return false };
        if !peer.ip().to_canonical().is_loopback() {
            return false;
        }
        if ["x-forwarded-for", "x-real-ip", "forwarded"].iter().any(|name| headers.contains_key(*name)) {
            return false;
        }
        let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()).map(without_port) else { return true };
        host.eq_ignore_ascii_case("localhost")
            || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
            || self.inner.own_names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// A browser says which page a request comes from; it is foreign when that is not the host that is called.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    match (origin, host) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => host,
        _ => authority,
    }
}

/// Compares in a time that does not tell how much was right.
fn same(given: &str, right: &str) -> bool {
    given.len() == right.len() && given.bytes().zip(right.bytes()).fold(0_u8, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn admin_token(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(TOKEN_FILE);
    for _ in 0..100 {
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            // Another process of this node is between creating and writing it.
            Ok(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(error) if error.kind() == ErrorKind::NotFound => create_token(data_dir, &path)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read the admin token {}", path.display())),
        }
    }
    anyhow::bail!("{} is empty: remove it, and a new admin token is made", path.display())
}

fn create_token(data_dir: &Path, path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    let token = hex::encode(rand::random::<[u8; 32]>());
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(format!("{token}\n").as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            file.sync_all().with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot make the admin token {}", path.display())),
    }
}
