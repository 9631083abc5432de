//! The worker's part that concerns Kubernetes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How tasks become pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// The Deployment that runs the worker, in the tasks' namespace: what the worker makes is removed with it. Empty: none.
    pub owner: String,
    /// Seconds after which a standby takes over from a worker that died.
    pub lease_seconds: u16,
    /// Most requests per second to the API server, after a burst of twice as many.
    pub requests_per_second: u16,
    /// The port that tasks listen on.
    pub task_port: u16,
    /// Seconds that a task stays bound to a node that does not answer.
    pub node_loss_seconds: u32,
    /// `dns` or `ip`.
    pub endpoint: TaskEndpoint,
    /// `IfNotPresent`, `Always` or `Never`; empty: Kubernetes' own rule.
    pub image_pull_policy: String,
    /// Image that runs inline Python.
    pub code_image_python: String,
    /// Image that runs inline JavaScript.
    pub code_image_javascript: String,
    /// Addresses at which ports that operators offer (`service_port`) are reached from outside.
    pub external_ips: Vec<String>,
    /// Objects of the namespace that operators may name: `<kind>/<name>`, with `*` at the end for any rest.
    pub allowed_objects: Vec<String>,
    /// Settings of every task's pod, in the form of an operator's `kubernetes`.
    pub pod: Option<Value>,
    /// Who talks to whom.
    pub network_policy: NetworkPolicyConfig,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        KubernetesConfig {
            owner: String::new(),
            lease_seconds: 10,
            requests_per_second: 50,
            task_port: 8080,
            node_loss_seconds: 15,
            endpoint: TaskEndpoint::Dns,
            image_pull_policy: String::new(),
            code_image_python: "fogflow/task-python:latest".to_owned(),
            code_image_javascript: "fogflow/task-javascript:latest".to_owned(),
            external_ips: Vec::new(),
            allowed_objects: Vec::new(),
            pod: None,
            network_policy: NetworkPolicyConfig::default(),
        }
    }
}

/// How a broker addresses a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskEndpoint {
    /// By the name of its Service.
    #[default]
    Dns,
    /// By the address of its Service, for brokers that do not use the cluster's DNS.
    Ip,
}

/// The NetworkPolicy of task pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkPolicyConfig {
    /// Whether the worker makes one.
    pub enabled: bool,
    /// Labels of the broker's pods; null: `app.kubernetes.io/component: broker`.
    pub broker_labels: Option<Value>,
    /// Their namespace; empty: the worker's own.
    pub broker_namespace: String,
    /// Brokers that are not in the cluster.
    pub broker_cidrs: Vec<String>,
    /// Further rules, as in a NetworkPolicy.
    pub ingress: Option<Value>,
    /// Further rules, as in a NetworkPolicy.
    pub egress: Option<Value>,
}

impl Default for NetworkPolicyConfig {
    fn default() -> Self {
        NetworkPolicyConfig {
            enabled: true,
            broker_labels: None,
            broker_namespace: String::new(),
            broker_cidrs: Vec::new(),
            ingress: None,
            egress: None,
        }
    }
}
