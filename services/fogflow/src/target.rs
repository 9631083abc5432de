//! Which node a command speaks to, and with which token.

use std::path::PathBuf;

use clap::Args;
use fogflow_chassis::{CommonArgs, UsageError, http_client, load_config};
use fogflow_client::{BrokerClient, DesignerClient, DiscoveryClient, Endpoint};
use fogflow_config::Config;

/// Options of every command that speaks to a node.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerArgs {
    /// Address of the node's designer [default: what the configuration says, else http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "FOGFLOW_SERVER")]
    server: Option<String>,
    /// Configuration file that says where the node is [default: config.json in the working directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the node; the admin token is read from it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Admin token, for nodes on other machines
    #[arg(long, value_name = "TOKEN", env = "FOGFLOW_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// A node to speak to. Everything goes through its designer.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) designer: DesignerClient,
    pub(crate) broker: BrokerClient,
    pub(crate) discovery: DiscoveryClient,
    pub(crate) http: reqwest::Client,
}

impl ServerArgs {
    /// Finds the node. Does not call it yet.
    pub(crate) fn open(&self) -> anyhow::Result<Target> {
        let common = CommonArgs { file: self.config.clone(), data: self.data.clone(), ..CommonArgs::default() };
        let config = load_config(&common)?.config;
        let base = match &self.server {
            Some(url) => checked(url)?,
            None => config.designer_url(),
        };
        let token = self.token.clone().or_else(|| admin_token(&config));
        Target::new(http_client(&config)?, &base, token)
    }
}

impl Target {
    pub(crate) fn new(http: reqwest::Client, designer_url: &str, token: Option<String>) -> anyhow::Result<Self> {
        let base = designer_url.trim_end_matches('/');
        let at = |path: &str| Endpoint::new(http.clone(), &format!("{base}{path}")).with_token(token.clone());
        Ok(Target {
            designer: DesignerClient::new(at("")),
            broker: BrokerClient::new(at("/ngsi10")),
            discovery: DiscoveryClient::new(at("/ngsi9")),
            http: http.clone(),
        })
    }
}

/// The token that a node of this configuration has made for its administrator, if this user may read it.
pub(crate) fn admin_token(config: &Config) -> Option<String> {
    let text = std::fs::read_to_string(config.data_dir.join("admin-token")).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

fn checked(url: &str) -> Result<String, UsageError> {
    if url.starts_with("http://") || url.starts_with("https://") {
        return Ok(url.to_owned());
    }
    if url.contains("://") {
        return Err(UsageError(format!("--server {url}: only http and https")));
    }
    Ok(format!("http://{url}"))
}
