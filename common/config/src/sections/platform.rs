//! What the services stand on: logs, message bus, TLS, stores, traces.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where lines of one level go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    Discard,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Least important lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Errors and warnings.
    Warn,
    /// Also normal events.
    Info,
    /// Also details for finding faults.
    Debug,
    /// Everything.
    Trace,
}

/// Logs. `info`, `protocol`, `error` and `debug` are upstream's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoggingConfig {
    /// Where normal events go.
    pub info: LogTarget,
    /// Where messages between components are shown (trace level).
    pub protocol: LogTarget,
    /// Where errors and warnings go.
    pub error: LogTarget,
    /// Where details go.
    pub debug: LogTarget,
    /// `text` or `json`.
    pub format: LogFormat,
    /// Overrides what the four targets imply; `RUST_LOG` overrides this in turn.
    pub level: Option<LogLevel>,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        LoggingConfig {
            info: LogTarget::Stdout,
            protocol: LogTarget::Discard,
            error: LogTarget::Stderr,
            debug: LogTarget::Discard,
            format: LogFormat::Text,
            level: None,
        }
    }
}

/// RabbitMQ.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RabbitmqConfig {
    /// Host name or address; empty means `coreservice_ip`, then `my_hostip`.
    pub host_ip: String,
    /// AMQP port.
    pub port: u16,
    /// User.
    pub username: String,
    /// Password; better from `FOGFLOW_RABBITMQ__PASSWORD_FILE`.
    pub password: String,
    /// Whether to speak TLS (`amqps`).
    pub tls: bool,
}

impl Default for RabbitmqConfig {
    fn default() -> Self {
        RabbitmqConfig { host_ip: String::new(), port: 5672, username: "guest".to_owned(), password: "guest".to_owned(), tls: false }
    }
}

impl fmt::Debug for RabbitmqConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitmqConfig")
            .field("host_ip", &self.host_ip)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Mutual TLS between broker and discovery, and TLS for the designer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpsConfig {
    /// Whether a second, encrypted listener is opened and peers are called by it.
    pub enabled: bool,
    /// PEM file with this node's certificate chain.
    pub my_certificate: String,
    /// PEM file with its private key.
    pub my_key: String,
    /// PEM file with the certificates that peers are verified against.
    pub my_ca: String,
}

/// Whether callers have to say who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// No: whoever reaches a port may do what its routes offer, but for administration and code.
    #[default]
    Off,
    /// By a token whose role the route asks for.
    Token,
}

/// Who may do what.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityConfig {
    /// Whether routes ask for their roles.
    pub authentication: Authentication,
    /// Empty: the one in `<data_dir>/admin-token`, which is made at the first start.
    pub admin_token: String,
    /// What components show each other. Empty: the one in `<data_dir>/component-token`, which is made at the first start.
    pub component_token: String,
    /// Tokens of users, as hashes; empty: `<data_dir>/tokens.json`.
    pub tokens_file: PathBuf,
}

impl fmt::Debug for SecurityConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityConfig").field("authentication", &self.authentication).finish_non_exhaustive()
    }
}

/// An engine of the Store seam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// Files in `data_dir`.
    #[default]
    Embedded,
    /// PostgreSQL.
    Postgres,
    /// Dgraph (the designer's registry only).
    Dgraph,
}

/// The Store seam.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// `embedded`, `postgres` or `dgraph`.
    pub engine: StoreEngine,
    /// Where the server is, for example `postgres://user@host/db`. May hold a password: better from `FOGFLOW_STORE__URL_FILE`.
    pub url: String,
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// An engine of the Bus seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusEngine {
    /// Within one process (`fogflow up`).
    Inprocess,
    /// RabbitMQ.
    Rabbitmq,
}

/// How RabbitMQ keeps a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    /// On one member.
    #[default]
    Classic,
    /// On most members of a cluster, so that it survives the loss of one.
    Quorum,
}

/// The Bus seam.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusConfig {
    /// `inprocess` or `rabbitmq`; unset means `inprocess` in `fogflow up` and `rabbitmq` for separate processes.
    pub engine: Option<BusEngine>,
    /// What queues are declared as at RabbitMQ. A queue that exists already stays what it is.
    pub queue_type: QueueType,
}

/// Traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// Base URL of an OTLP/HTTP collector, for example `http://127.0.0.1:4318`; empty means no traces.
    pub otlp_endpoint: String,
}

/// Upstream's Dgraph address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PersistentStorage {
    /// Host.
    pub host_ip: String,
    /// gRPC port.
    pub port: u16,
}

/// Upstream's unused metrics section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrometheusConfig {
    /// Address.
    pub address: String,
    /// Port.
    pub data_port: u16,
    /// Port.
    pub admin_port: u16,
}
