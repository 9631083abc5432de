//! Who may call a route, and how a caller is judged.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogflow_config::{Authentication, Config};

use crate::tokens::{self, Role, Tokens};

const ADMIN_FILE: &str = "admin-token";
const COMPONENT_FILE: &str = "component-token";

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
    /// A caller on this machine (while authentication is off), or whoever holds the admin token: routes that bring code or commands.
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

    /// Whether a caller with this role is let in.
    fn is_open_to(self, role: Role) -> bool {
        match self {
            Access::Anyone | Access::Viewer => true,
            Access::Component => matches!(role, Role::Component | Role::Admin),
            Access::Operator => matches!(role, Role::Operator | Role::Admin),
            Access::Admin | Access::LocalOrAdmin => role == Role::Admin,
        }
    }

    /// Whether a page of another origin could do harm here with the help of a user's browser.
    fn is_guarded_against_foreign_pages(self) -> bool {
        matches!(self, Access::Operator | Access::Admin | Access::LocalOrAdmin)
    }
}

/// Why a caller is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 401 when it is not known who calls, 403 when it is known, or does not matter.
    pub status: StatusCode,
    /// For the caller.
    pub reason: &'static str,
}

/// What is needed to judge callers.
#[derive(Clone, Debug)]
pub struct Security {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Whether routes ask for their roles.
    required: bool,
    admin_token: String,
    /// Empty while authentication is off.
    component_token: String,
    users: Option<Tokens>,
    /// Names under which this node is known, beside addresses and `localhost`.
    own_names: Vec<String>,
}

impl Security {
    /// With the tokens that the configuration names. Those that it leaves to us are made at the first start, in files of the data
    /// directory that only their owner may read.
    ///
    /// # Errors
    /// When the data directory cannot be made or a file neither read nor written.
    pub fn from_config(config: &Config) -> anyhow::Result<Self> {
        let required = config.security.authentication == Authentication::Token;
        let own_names = [&config.my_hostip, &config.external_ip, &config.coreservice_ip, &config.designer.host_ip]
            .into_iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        Ok(Security {
            inner: Arc::new(Inner {
                required,
                admin_token: chosen(&config.security.admin_token, config, ADMIN_FILE)?,
                component_token: if required { component_token(config)? } else { String::new() },
                users: Some(Tokens::open(config)?),
                own_names,
            }),
        })
    }

    /// With a given admin token and authentication off, for tests.
    #[must_use]
    pub fn with_token(token: &str) -> Self {
        let (admin_token, component_token) = (token.to_owned(), String::new());
        Security { inner: Arc::new(Inner { required: false, admin_token, component_token, users: None, own_names: Vec::new() }) }
    }

    /// The admin token, for calls that a service makes to another on behalf of its administrator.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.inner.admin_token
    }

    /// Refuses a caller, with the reason.
    ///
    /// # Errors
    /// What is to be answered. [`crate::Routes`] asks before each handler; a handler asks itself when the access depends on the body.
    pub fn check(&self, access: Access, method: &Method, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Refusal> {
        if access.is_guarded_against_foreign_pages() && !method.is_safe() && is_foreign_page(headers) {
            return Err(forbidden("a page of another origin may not call this route"));
        }
        if self.inner.required {
            return self.check_role(access, headers);
        }
        match access {
            Access::Anyone | Access::Component | Access::Viewer | Access::Operator => Ok(()),
            Access::Admin if self.role(headers) == Some(Role::Admin) => Ok(()),
            Access::Admin => Err(forbidden("this route needs the admin token: Authorization: Bearer <token>")),
            Access::LocalOrAdmin if self.is_local(headers, extensions) || self.role(headers) == Some(Role::Admin) => Ok(()),
            Access::LocalOrAdmin => Err(forbidden(
                "this route brings code: it needs a caller on the same machine or the admin token: Authorization: Bearer <token>",
            )),
        }
    }

    fn check_role(&self, access: Access, headers: &HeaderMap) -> Result<(), Refusal> {
        if access == Access::Anyone {
            return Ok(());
        }
        match self.role(headers) {
            Some(role) if access.is_open_to(role) => Ok(()),
            Some(_) => Err(forbidden("the role of this token may not call this route")),
            None => {
                let reason = "this route needs a token: Authorization: Bearer <token>, or as the password of Basic";
                Err(Refusal { status: StatusCode::UNAUTHORIZED, reason })
            }
        }
    }

    fn role(&self, headers: &HeaderMap) -> Option<Role> {
        let token = token(headers)?;
        let Inner { admin_token, component_token, users, .. } = &*self.inner;
        if same(&token, admin_token) {
            return Some(Role::Admin);
        }
        if !component_token.is_empty() && same(&token, component_token) {
            return Some(Role::Component);
        }
        users.as_ref()?.role(&token)
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

/// The token of components of this node.
pub(crate) fn component_token(config: &Config) -> anyhow::Result<String> {
    chosen(&config.security.component_token, config, COMPONENT_FILE)
}

fn chosen(configured: &str, config: &Config, file: &str) -> anyhow::Result<String> {
    if configured.is_empty() { tokens::own(&config.data_dir.join(file)) } else { Ok(configured.to_owned()) }
}

/// The caller's token. Browsers ask their user for name and password by themselves; the password is the token then.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    login.split_once(':').map(|(_, password)| password.to_owned())
}

fn forbidden(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::FORBIDDEN, reason }
}
