//! The HTTP client of a process: one, cloned; pooled, with timeouts, without redirects, and never to a link-local address.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderValue, header};
use fogflow_config::{Authentication, Config};

use crate::access::component_token;
use crate::outbound::Guarded;
use crate::tls;

const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(10);
/// Below the idle limit of common servers (Node: 5 s), so that a request is not sent into a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(4);
const POOL_PER_HOST: usize = 64;

/// A client for calls to components and subscribers. 5 s to connect, 10 s for all; a request may set its own timeout. With
/// `https.enabled` it presents this node's certificate.
///
/// # Errors
/// When a certificate cannot be used.
pub fn http_client(config: &Config) -> anyhow::Result<reqwest::Client> {
    Ok(builder(config)?.build()?)
}

/// [`http_client`] for calls to components of FogFlow only: while `security.authentication` is on it shows their token.
///
/// # Errors
/// When a certificate or the token cannot be used.
pub fn component_client(config: &Config) -> anyhow::Result<reqwest::Client> {
    let mut headers = HeaderMap::new();
    if config.security.authentication == Authentication::Token {
        let mut token = HeaderValue::try_from(format!("Bearer {}", component_token(config)?)).context("the component token is no text")?;
        token.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, token);
    }
    Ok(builder(config)?.default_headers(headers).build()?)
}

fn builder(config: &Config) -> anyhow::Result<reqwest::ClientBuilder> {
    tls::install_provider();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config(&config.https)?)
        .connect_timeout(CONNECT)
        .timeout(TOTAL)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_PER_HOST)
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(Guarded))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("fogflow/", env!("CARGO_PKG_VERSION"))))
}
