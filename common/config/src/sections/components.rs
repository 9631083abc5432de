//! The services: discovery, broker, master, designer, worker.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kubernetes::KubernetesConfig;
use super::platform::StoreConfig;

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
    /// How tasks become pods.
    pub kubernetes: KubernetesConfig,
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
            kubernetes: KubernetesConfig::default(),
        }
    }
}
