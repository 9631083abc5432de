//! The typed configuration: one struct per section, each field with its default.
//!
//! Field names follow Rust's convention, keys of the file are upstream's (`serde(rename)` where they differ).

mod components;
mod kubernetes;
mod platform;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use components::{
    BrokerConfig, Compatibility, Consistency, ContainerManagement, DesignerConfig, DiscoveryConfig, Durability, MasterConfig,
    RegistryConfig, WorkerConfig,
};
pub use kubernetes::{KubernetesConfig, NetworkPolicyConfig, TaskEndpoint};
pub use platform::{
    Authentication, BusConfig, BusEngine, HttpsConfig, LogFormat, LogLevel, LogTarget, LoggingConfig, PersistentStorage, PrometheusConfig,
    QueueType, RabbitmqConfig, SecurityConfig, StoreConfig, StoreEngine, TelemetryConfig,
};

/// The whole configuration of a node. [`Config::default`] is a complete loopback node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Address of this node as tasks and peers reach it. Loopback makes a node that only its own machine can reach.
    pub my_hostip: String,
    /// Address of the cloud node (discovery, message bus); empty means this node.
    pub coreservice_ip: String,
    /// Address of this node as seen from outside (NAT); empty means `my_hostip`.
    pub external_ip: String,
    /// Where the node stands.
    pub physical_location: PhysicalLocation,
    /// Unique name of the site; part of component ids.
    pub site_id: String,
    /// Address to listen on; empty means loopback when `my_hostip` is loopback, else all addresses.
    pub listen: String,
    /// Where services keep their state, one directory each.
    pub data_dir: PathBuf,
    /// Logs.
    pub logging: LoggingConfig,
    /// Discovery.
    pub discovery: DiscoveryConfig,
    /// Context broker.
    pub broker: BrokerConfig,
    /// Master.
    pub master: MasterConfig,
    /// Designer.
    pub designer: DesignerConfig,
    /// Worker.
    pub worker: WorkerConfig,
    /// Message bus server.
    pub rabbitmq: RabbitmqConfig,
    /// Mutual TLS.
    pub https: HttpsConfig,
    /// Who may do what.
    pub security: SecurityConfig,
    /// Store engine of every service that names none of its own.
    pub store: StoreConfig,
    /// Bus engine.
    pub bus: BusConfig,
    /// Traces.
    pub telemetry: TelemetryConfig,
    /// Upstream's Dgraph address: accepted with a notice, not used.
    pub persistent_storage: PersistentStorage,
    /// Upstream's unused section: accepted, not used; metrics are on each service's main port.
    pub prometheus: PrometheusConfig,
    /// Which of several equal processes of a site this one is (`-i`); 0 and empty are the first.
    #[serde(skip)]
    pub instance: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            my_hostip: "127.0.0.1".to_owned(),
            coreservice_ip: String::new(),
            external_ip: String::new(),
            physical_location: PhysicalLocation::default(),
            site_id: "001".to_owned(),
            listen: String::new(),
            data_dir: PathBuf::from("data"),
            logging: LoggingConfig::default(),
            discovery: DiscoveryConfig::default(),
            broker: BrokerConfig::default(),
            master: MasterConfig::default(),
            designer: DesignerConfig::default(),
            worker: WorkerConfig::default(),
            rabbitmq: RabbitmqConfig::default(),
            https: HttpsConfig::default(),
            security: SecurityConfig::default(),
            store: StoreConfig::default(),
            bus: BusConfig::default(),
            telemetry: TelemetryConfig::default(),
            persistent_storage: PersistentStorage::default(),
            prometheus: PrometheusConfig::default(),
            instance: String::new(),
        }
    }
}

/// A place in degrees; (0, 0) means unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhysicalLocation {
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Free text of very old files.
    pub section: String,
    /// Free text of very old files.
    pub district: String,
    /// Free text of very old files.
    pub city: String,
}
