//! The typed configuration: one struct per section, each field with its default.
//!
//! Field names follow Rust's convention, keys of the file are upstream's (`serde(rename)` where they differ).

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// Discovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscoveryConfig {
    /// Host name or address; empty means `coreservice_ip`, then `my_hostip`.
    pub host_ip: String,
    /// NGSI-9 port.
    pub http_port: u16,
    /// TLS port, when `https.enabled`.
    pub https_port: u16,
    /// Overrides `store`.
    pub store: Option<StoreConfig>,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        DiscoveryConfig { host_ip: String::new(), http_port: 8090, https_port: 8092, store: None }
    }
}

/// When a write of the broker counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When it is on the disk (group commit).
    #[default]
    Fsync,
    /// When the operating system has it; a crash of the machine may lose the last moments.
    Relaxed,
}

/// What a read sees beside other replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Every write that was acknowledged before the read began.
    #[default]
    Strong,
    /// Whatever this replica has.
    Eventual,
}

/// Whose status codes the NGSI-LD face uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compatibility {
    /// ETSI GS CIM 009.
    #[default]
    #[serde(rename = "standard")]
    Standard,
    /// FogFlow 3 (upstream).
    #[serde(rename = "fogflow-3")]
    Fogflow3,
}

/// Context broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerConfig {
    /// Host name or address; empty means `external_ip`, then `my_hostip`.
    pub host_ip: String,
    /// Port of all NGSI faces.
    pub http_port: u16,
    /// TLS port, when `https.enabled`.
    pub https_port: u16,
    /// Seconds between heartbeats to discovery; three missed ones end the lease.
    pub heartbeat_interval: u32,
    /// `fsync` or `relaxed`.
    pub durability: Durability,
    /// `strong` or `eventual`.
    pub consistency: Consistency,
    /// `standard` or `fogflow-3`.
    pub compatibility: Compatibility,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Most entities of one batch request.
    pub max_batch: usize,
    /// Most subscriptions that the broker keeps.
    pub max_subscriptions: usize,
    /// Largest page of a query.
    pub max_page_size: usize,
    /// Overrides `store`.
    pub store: Option<StoreConfig>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            host_ip: String::new(),
            http_port: 8070,
            https_port: 8072,
            heartbeat_interval: 10,
            durability: Durability::Fsync,
            consistency: Consistency::Strong,
            compatibility: Compatibility::Standard,
            max_body_bytes: 8 * 1024 * 1024,
            max_batch: 10_000,
            max_subscriptions: 1_000_000,
            max_page_size: 1000,
            store: None,
        }
    }
}

/// Master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MasterConfig {
    /// Host of its agent and status interface; empty means `external_ip`, then `my_hostip`.
    pub host_ip: String,
    /// Port for availability notifications.
    pub ngsi_agent_port: u16,
    /// Port of its REST interface.
    pub rest_api_port: u16,
    /// Overrides `store`.
    pub store: Option<StoreConfig>,
}

impl Default for MasterConfig {
    fn default() -> Self {
        MasterConfig { host_ip: String::new(), ngsi_agent_port: 1060, rest_api_port: 8010, store: None }
    }
}

/// Designer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DesignerConfig {
    /// Host name or address; empty means `my_hostip`.
    pub host_ip: String,
    /// Port of the page and the REST interface.
    #[serde(rename = "webSrvPort")]
    pub web_srv_port: u16,
    /// TLS port, when `https.enabled`.
    #[serde(rename = "https_webSrvPort")]
    pub https_web_srv_port: u16,
    /// Port for notifications to browsers.
    #[serde(rename = "agentPort")]
    pub agent_port: u16,
    /// Accepted for old files; nothing listens there.
    #[serde(rename = "ldAgentPort")]
    pub ld_agent_port: u16,
    /// Overrides `store`.
    pub store: Option<StoreConfig>,
}

impl Default for DesignerConfig {
    fn default() -> Self {
        DesignerConfig {
            host_ip: String::new(),
            web_srv_port: 8080,
            https_web_srv_port: 8443,
            agent_port: 1030,
            ld_agent_port: 1090,
            store: None,
        }
    }
}

/// What runs the tasks of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerManagement {
    /// Processes of this machine.
    #[default]
    Process,
    /// The docker engine.
    Docker,
    /// Pods of the cluster.
    Kubernetes,
    /// An edge controller.
    Mec,
}

/// Credentials of an image registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryConfig {
    /// User.
    pub username: String,
    /// Password; better from `FOGFLOW_WORKER__REGISTRY__PASSWORD_FILE`.
    pub password: String,
    /// Mail address, for registries that ask.
    pub email: String,
    /// Address of the registry.
    pub serveraddress: String,
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

/// Worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerConfig {
    /// Host of its HTTP interface; empty means `external_ip`, then `my_hostip`.
    pub host_ip: String,
    /// `process`, `docker`, `kubernetes` or `mec`; in a pod the default is `kubernetes`.
    pub container_management: ContainerManagement,
    /// Port of its HTTP interface (health, metrics, tasks, logs).
    pub http_port: u16,
    /// Namespace of task pods; empty means the worker's own.
    pub app_namespace: String,
    /// Port of the edge controller (`mec`).
    pub edge_controller_port: u16,
    /// Image registry.
    pub registry: RegistryConfig,
    /// Whether a stopped container is removed.
    pub container_autoremove: bool,
    /// False: everything but the start of tasks (dry run).
    pub start_actual_task: bool,
    /// Most tasks at once; 0 means none.
    pub capacity: u32,
    /// Seconds between heartbeats of workers; unset means 2 for ours and 10 for upstream's.
    pub heartbeat_interval: Option<u32>,
    /// How many heartbeats may be missed.
    pub detection_duration: u32,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            host_ip: String::new(),
            container_management: ContainerManagement::Process,
            http_port: 8020,
            app_namespace: String::new(),
            edge_controller_port: 8008,
            registry: RegistryConfig::default(),
            container_autoremove: true,
            start_actual_task: true,
            capacity: 8,
            heartbeat_interval: None,
            detection_duration: 3,
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

/// The Bus seam.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BusConfig {
    /// `inprocess` or `rabbitmq`; unset means `inprocess` in `fogflow up` and `rabbitmq` for separate processes.
    pub engine: Option<BusEngine>,
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
