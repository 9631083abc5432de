//! The worker's part of the configuration, in the form in which the worker uses it.

use std::path::PathBuf;
use std::time::Duration;

use fogflow_config::{Config, ContainerManagement, KubernetesConfig, RegistryConfig};
use fogflow_orchestration::Location;

use crate::task::restart::RestartPolicy;

/// What a worker is told once, at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `Worker.<site>[.<n>]`
    pub worker_id: String,
    /// Where it stands.
    pub location: Location,
    /// Most tasks at once.
    pub capacity: u32,
    /// Address at which the broker reaches tasks of this machine (`my_hostip`).
    pub host: String,
    /// Address at which others reach services of tasks: `external_ip`, else `my_hostip` (FAULT 21).
    pub service_ip: String,
    /// `…/ngsi10` of the broker that its tasks use.
    pub broker_url: String,
    /// Which engine.
    pub engine: ContainerManagement,
    /// False: the dry run.
    pub start_actual_task: bool,
    /// Whether a stopped container is removed.
    pub container_autoremove: bool,
    /// Where the docker engine listens (`DOCKER_HOST`); the usual socket when unset.
    pub docker_host: Option<String>,
    /// How tasks become pods.
    pub kubernetes: KubernetesConfig,
    /// Namespace of task pods; empty: the worker's own.
    pub app_namespace: String,
    /// Where the cluster is; the usual places when unset.
    pub kubeconfig: Option<PathBuf>,
    /// Credentials for images.
    pub registry: RegistryConfig,
    /// Its directory.
    pub directory: PathBuf,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// How often a task's subscriptions are looked for at the broker.
    pub subscription_check: Duration,
    /// How tasks that end are started again.
    pub restart: RestartPolicy,
}

impl Settings {
    /// The worker's settings in a node's configuration.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Settings {
            worker_id: config.worker_id(&config.instance),
            location: Location { latitude: config.physical_location.latitude, longitude: config.physical_location.longitude },
            capacity: config.worker.capacity,
            host: config.my_hostip.clone(),
            service_ip: service_ip(config),
            broker_url: config.plain_broker_url(),
            engine: config.worker.container_management,
            start_actual_task: config.worker.start_actual_task,
            container_autoremove: config.worker.container_autoremove,
            docker_host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
            kubernetes: config.worker.kubernetes.clone(),
            app_namespace: config.worker.app_namespace.clone(),
            kubeconfig: None,
            registry: config.worker.registry.clone(),
            directory: config.service_dir("worker"),
            heartbeat: config.worker_heartbeat(),
            subscription_check: Duration::from_secs(60),
            restart: RestartPolicy::default(),
        }
    }
}

/// Where ports of tasks are reached from outside: on Kubernetes those that their Services are given.
fn service_ip(config: &Config) -> String {
    let of_services = config.worker.kubernetes.external_ips.first();
    match of_services.filter(|_| config.worker.container_management == ContainerManagement::Kubernetes) {
        Some(address) => address.clone(),
        None if config.external_ip.is_empty() => config.my_hostip.clone(),
        None => config.external_ip.clone(),
    }
}
