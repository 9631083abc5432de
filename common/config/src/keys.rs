//! What every key means, for `docs/configuration.md` and `fogflow config show --docs`.

use serde_json::Value;

use crate::sections::Config;

/// A key, its meaning and default.
#[derive(Debug)]
pub struct KeyDoc {
    /// Dotted path.
    pub key: &'static str,
    /// One line.
    pub meaning: &'static str,
    /// As JSON.
    pub default: String,
}

const MEANINGS: &[(&str, &str)] = &[
    (
        "my_hostip",
        "address of this node, as tasks and peers reach it; loopback makes a node for this machine only (alias `internal_hostip`)",
    ),
    ("coreservice_ip", "address of the cloud node (discovery, message bus, designer); empty: this node"),
    ("external_ip", "address of this node seen from outside, for example behind NAT; empty: `my_hostip` (alias `external_hostip`)"),
    ("physical_location.longitude", "degrees east; 0 and 0 mean unknown"),
    ("physical_location.latitude", "degrees north"),
    ("physical_location.section", "free text, of very old files"),
    ("physical_location.district", "free text, of very old files"),
    ("physical_location.city", "free text, of very old files"),
    ("site_id", "unique name of the site, part of component ids: letters, digits, `-`, `_`"),
    ("listen", "IP address to listen on; empty: loopback when `my_hostip` is loopback, else all"),
    ("data_dir", "directory of all state, one directory per service (`--data`)"),
    ("logging.info", "where normal lines go: `stdout`, `stderr`, `discard`"),
    ("logging.protocol", "where messages between components are shown"),
    ("logging.error", "where warnings and errors go"),
    ("logging.debug", "where details go"),
    ("logging.format", "`text` or `json`"),
    ("logging.level", "`error`, `warn`, `info`, `debug`, `trace`; null: as the four targets imply. `RUST_LOG` goes before"),
    ("discovery.host_ip", "host of discovery; empty: `coreservice_ip`, then `my_hostip`"),
    ("discovery.http_port", "NGSI-9 port"),
    ("discovery.https_port", "TLS port when `https.enabled`"),
    ("discovery.store", "`{engine, url}` of discovery alone; null: `store`"),
    ("broker.host_ip", "host of the broker, also in its advertised URL; empty: `external_ip`, then `my_hostip`"),
    ("broker.http_port", "port of all NGSI faces of this node's broker"),
    ("broker.https_port", "TLS port when `https.enabled`"),
    ("broker.heartbeat_interval", "seconds between heartbeats to discovery; three missed ones end the broker's lease"),
    ("broker.durability", "`fsync`: acknowledged means on disk; `relaxed`: acknowledged means handed to the operating system"),
    ("broker.consistency", "`strong`: a read sees every acknowledged write, on any replica; `eventual`: what this replica has"),
    ("broker.compatibility", "`standard`: NGSI-LD's status codes; `fogflow-3`: those of FogFlow 3 where they differ"),
    ("broker.max_body_bytes", "largest request body"),
    ("broker.max_batch", "most entities of one batch request"),
    ("broker.max_subscriptions", "most subscriptions kept"),
    ("broker.max_page_size", "largest page of a query"),
    ("broker.store", "`{engine, url}` of the broker alone; null: `store`"),
    ("master.host_ip", "host of the master; empty: `external_ip`, then `my_hostip`"),
    ("master.ngsi_agent_port", "port for availability notifications"),
    ("master.rest_api_port", "port of the status interface"),
    ("master.store", "`{engine, url}` of the master alone; null: `store`"),
    ("designer.host_ip", "host of the designer; empty: `coreservice_ip`, then `my_hostip`"),
    ("designer.webSrvPort", "port of the page and the REST interface"),
    ("designer.https_webSrvPort", "TLS port when `https.enabled`"),
    ("designer.agentPort", "port for notifications to browsers"),
    ("designer.ldAgentPort", "accepted for old files; nothing listens there"),
    ("designer.store", "`{engine, url}` of the designer alone; null: `store`"),
    ("worker.host_ip", "host of the worker's HTTP interface; empty: `external_ip`, then `my_hostip`"),
    ("worker.container_management", "`process`, `docker`, `kubernetes` or `mec`; in a pod the default is `kubernetes`"),
    ("worker.http_port", "port of the worker's HTTP interface (health, metrics, tasks, logs)"),
    ("worker.app_namespace", "namespace of task pods; empty: the worker's own"),
    ("worker.edge_controller_port", "port of the edge controller (`mec`)"),
    ("worker.registry.username", "user at the image registry"),
    ("worker.registry.password", "its password; better `password_file`"),
    ("worker.registry.email", "its mail address"),
    ("worker.registry.serveraddress", "the image registry"),
    ("worker.container_autoremove", "remove a container after it stopped"),
    ("worker.start_actual_task", "false: dry run, everything but the start"),
    ("worker.capacity", "most tasks at once"),
    ("worker.heartbeat_interval", "seconds between a worker's heartbeats; null: 2 (upstream's workers: 10)"),
    ("worker.detection_duration", "a worker is dead after this many missed heartbeats"),
    ("worker.kubernetes.owner", "Deployment of the worker in the tasks' namespace, with which all that it makes is removed; empty: none"),
    ("worker.kubernetes.lease_seconds", "a standby takes over from a worker that is silent for this long"),
    ("worker.kubernetes.requests_per_second", "most requests to the API server, after a burst of twice as many"),
    ("worker.kubernetes.task_port", "port that tasks listen on in their pods"),
    ("worker.kubernetes.node_loss_seconds", "a task leaves a node that has been unreachable for this long"),
    ("worker.kubernetes.endpoint", "`dns`: brokers reach tasks by the name of a Service; `ip`: by its address"),
    (
        "worker.kubernetes.image_pull_policy",
        "`IfNotPresent`, `Always` or `Never`; empty: `Always` for the tag `latest`, else `IfNotPresent`",
    ),
    ("worker.kubernetes.code_image_python", "image that runs inline Python"),
    ("worker.kubernetes.code_image_javascript", "image that runs inline JavaScript"),
    ("worker.kubernetes.external_ips", "addresses at which an operator's `service_port` is reached from outside the cluster"),
    (
        "worker.kubernetes.allowed_objects",
        "what operators may use of the namespace: `secret/NAME`, `configmap/NAME`, `persistentvolumeclaim/NAME`; `*` at the end matches any rest",
    ),
    ("worker.kubernetes.pod", "settings of every task's pod, in the form of an operator's `kubernetes` (docs/operators.md)"),
    ("worker.kubernetes.network_policy.enabled", "whether task pods are closed to all but their broker and the cluster's DNS"),
    (
        "worker.kubernetes.network_policy.broker_labels",
        "labels of the broker's pods; null: `{\"app.kubernetes.io/component\": \"broker\"}`",
    ),
    ("worker.kubernetes.network_policy.broker_namespace", "namespace of the broker; empty: the worker's own"),
    ("worker.kubernetes.network_policy.broker_cidrs", "brokers outside the cluster, for example `192.0.2.7/32`"),
    ("worker.kubernetes.network_policy.ingress", "further ingress rules of task pods, as in a NetworkPolicy"),
    ("worker.kubernetes.network_policy.egress", "further egress rules of task pods, as in a NetworkPolicy"),
    ("rabbitmq.host_ip", "host of RabbitMQ; empty: `coreservice_ip`, then `my_hostip`"),
    ("rabbitmq.port", "AMQP port"),
    ("rabbitmq.username", "user"),
    ("rabbitmq.password", "password; better `password_file`"),
    ("rabbitmq.tls", "speak `amqps`"),
    ("https.enabled", "open TLS listeners with mutual authentication, and call peers by TLS"),
    ("https.my_certificate", "PEM file: certificate chain of this node (needs a subjectAltName)"),
    ("https.my_key", "PEM file: its private key"),
    ("https.my_ca", "PEM file: the certificates that peers are verified against"),
    ("security.authentication", "`off`, or `token`: routes ask for the role that they are declared with (docs/operations.md)"),
    (
        "security.admin_token",
        "token of the administrator; empty: in `data_dir/admin-token`, made at the first start; better `admin_token_file`",
    ),
    (
        "security.component_token",
        "token of components; empty: in `data_dir/component-token`, made at the first start; an edge needs its cloud's; better `component_token_file`",
    ),
    ("security.tokens_file", "hashes of the tokens of users, kept by `fogflow token`; empty: `data_dir/tokens.json`"),
    ("store.engine", "`embedded` (files in `data_dir`), `postgres`, or `dgraph` (designer only)"),
    ("store.url", "server of the engine, for example `postgres://user@host/db`; with a password better `url_file`"),
    ("bus.engine", "`inprocess` or `rabbitmq`; null: `inprocess` in `fogflow up`, `rabbitmq` for separate processes"),
    (
        "bus.queue_type",
        "`classic`, or `quorum` for a cluster of RabbitMQ: queues that survive the loss of a member; one that exists stays what it is",
    ),
    ("telemetry.otlp_endpoint", "base URL of an OTLP/HTTP collector for traces; empty: none"),
    ("persistent_storage.host_ip", "upstream's Dgraph: accepted with a notice, not used"),
    ("persistent_storage.port", "upstream's Dgraph: accepted with a notice, not used"),
    ("prometheus.address", "accepted, not used: metrics are at `/metrics` of each service"),
    ("prometheus.data_port", "accepted, not used"),
    ("prometheus.admin_port", "accepted, not used"),
];

/// Every key in the order of the file.
#[must_use]
pub fn key_docs() -> Vec<KeyDoc> {
    let defaults = serde_json::to_value(Config::default()).unwrap_or(Value::Null);
    MEANINGS
        .iter()
        .map(|(key, meaning)| {
            let default = key.split('.').try_fold(&defaults, |value, name| value.get(name)).unwrap_or(&Value::Null);
            KeyDoc { key, meaning, default: default.to_string() }
        })
        .collect()
}

/// The table of keys as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| Key | Default | Meaning |\n|---|---|---|\n");
    for KeyDoc { key, meaning, default } in key_docs() {
        out.push_str(&format!("| `{key}` | `{default}` | {meaning} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(path: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (name, inner) in map {
                    let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(&inner_path, inner, out);
                }
            }
            _ => out.push(path.to_owned()),
        }
    }

    #[test]
    fn every_key_of_the_configuration_has_a_meaning_and_no_meaning_is_left_over() {
        let mut keys = Vec::new();
        leaves("", &serde_json::to_value(Config::default()).unwrap(), &mut keys);
        keys.sort();
        let mut documented: Vec<String> = MEANINGS.iter().map(|(key, _)| (*key).to_owned()).collect();
        documented.sort();
        assert_eq!(keys, documented);
    }
}
