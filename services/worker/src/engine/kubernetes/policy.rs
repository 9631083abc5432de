//! NetworkPolicies of task pods: pure.
//!
//! One for all tasks of a worker closes them to everything but their broker and the cluster's DNS: no other task, no
//! message bus, no database, no API server. A task that offers ports to others gets a second one that opens these.

use serde_json::{Value, json};

use super::names::{self, FIELD_MANAGER, INSTANCE, MANAGED_BY, NAME, TASK_NAME, WORKER};
use super::pod;
use super::spec::Site;

/// Pods of the cluster's DNS are here, under whatever label.
const DNS_NAMESPACE: &str = "kube-system";
/// Address of a node's DNS cache, where there is one.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The policy of all tasks of a worker.
pub(crate) fn of_worker(site: &Site) -> Value {
    let config = &site.config.network_policy;
    let broker = broker_peers(site);
    let mut ingress = vec![json!({"from": broker, "ports": [{"protocol": "TCP", "port": site.config.task_port}]})];
    let dns = json!({
        "to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: DNS_NAMESPACE}}}, {"ipBlock": {"cidr": NODE_LOCAL_DNS}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    });
    // Without ports: the policy sees the port of the broker's pod, which its Service may map from another.
    let mut egress = vec![json!({"to": broker}), dns];
    ingress.extend(rules(config.ingress.as_ref()));
    egress.extend(rules(config.egress.as_ref()));
    let worker = names::label_value(&site.worker_id);
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": format!("{}-tasks", names::worker_object(&site.worker_id)),
            "namespace": site.namespace,
            "labels": {MANAGED_BY: FIELD_MANAGER, WORKER: worker, "app.kubernetes.io/part-of": "fogflow"},
        },
        "spec": {
            "podSelector": {"matchLabels": {NAME: TASK_NAME, WORKER: worker}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    })
}

fn broker_peers(site: &Site) -> Vec<Value> {
    let config = &site.config.network_policy;
    let labels = pod::labels_of(config.broker_labels.as_ref())
        .unwrap_or_else(|| [("app.kubernetes.io/component".to_owned(), "broker".to_owned())].into());
    let namespace = if config.broker_namespace.is_empty() { &site.own_namespace } else { &config.broker_namespace };
    let mut peers = vec![json!({
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
        "podSelector": {"matchLabels": labels},
    })];
    peers.extend(config.broker_cidrs.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})));
    peers
}

fn rules(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// What opens the ports that a task offers to others.
pub(crate) fn offered_ports(name: &str, ports: &[u16]) -> Value {
    let ports: Vec<Value> = ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
    json!({"podSelector": {"matchLabels": {INSTANCE: name}}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]})
}
