//! `config.json` and the environment to one typed, validated configuration.
//!
//! Precedence, lowest first: the defaults, the file, the environment (`FOGFLOW_SECTION__KEY`), `--set section.key=value`.
//! Keys are those of upstream's `config.json`, matched without regard to case, plus ours; a key that nobody knows is a
//! warning, a value of the wrong type or out of range is an error that names the key.
//!
//! ```
//! let loaded = fogflow_config::Config::load(None, [], &["broker.http_port=8060".to_owned()]).unwrap();
//! assert_eq!(loaded.config.broker_url(), "http://127.0.0.1:8060/ngsi10");
//! ```

mod address;
mod keys;
mod load;
mod sections;
mod tree;
mod validate;

pub use address::bracketed;
pub use keys::{KeyDoc, key_docs, markdown};
pub use load::Loaded;
pub use sections::{
    Authentication, BrokerConfig, BusConfig, BusEngine, Compatibility, Config, Consistency, ContainerManagement, DesignerConfig,
    DiscoveryConfig, Durability, HttpsConfig, KubernetesConfig, LogFormat, LogLevel, LogTarget, LoggingConfig, MasterConfig,
    NetworkPolicyConfig, PersistentStorage, PhysicalLocation, PrometheusConfig, QueueType, RabbitmqConfig, RegistryConfig, SecurityConfig,
    StoreConfig, StoreEngine, TaskEndpoint, TelemetryConfig, WorkerConfig,
};

/// Why a configuration is refused. The text is one line and names the key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file is not JSON.
    #[error("{path} is not valid JSON: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser found, with line and column.
        reason: String,
    },
    /// A value has the wrong type, is out of range, or contradicts another.
    #[error("configuration key `{key}` (from {origin}): {reason}")]
    Value {
        /// Dotted path, for example `worker.capacity`.
        key: String,
        /// `config.json`, `FOGFLOW_…` or `--set`.
        origin: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// `--set` without `=`.
    #[error("--set {0}: expected section.key=value")]
    Override(String),
}
