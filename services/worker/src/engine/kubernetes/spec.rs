//! The manifests of a task: pure.
//!
//! | Object | Name | Why |
//! |---|---|---|
//! | Deployment, 1 replica, `Recreate` | `fogflow-task-<hash>` | Kubernetes itself moves the task off a lost node, and never runs two on purpose |
//! | Service | the same | an address that outlives the pod; applied last, so that it marks a task that was made completely |
//! | ConfigMap | `…-code` | inline code, when there is some |
//! | Service, NetworkPolicy | `…-ports` | ports that the operator offers to others, when there are some |
//!
//! All but the Deployment belong to it, so that the cluster's garbage collection removes them with it.

use fogflow_config::KubernetesConfig;
use fogflow_orchestration::{PodSettings, ScheduledTaskInstance};
use serde_json::{Value, json};

use super::names::{self, INSTANCE, SPEC, TASK};
use super::{pod, policy};
use crate::contract;
use crate::engine::EngineError;
use crate::engine::source::Language;

/// Between SIGTERM and SIGKILL (seconds).
const GRACE_SECONDS: u32 = 10;
const CONTAINER: &str = "task";
/// A ConfigMap holds 1 MiB, its other parts included.
const LARGEST_CODE: usize = 1_000_000;

/// What is the same for all tasks of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) worker_id: String,
    /// Where tasks are.
    pub(crate) namespace: String,
    /// Where the worker is.
    pub(crate) own_namespace: String,
    /// `…/ngsi10` as pods call it.
    pub(crate) broker_url: String,
    pub(crate) config: KubernetesConfig,
    /// `config.pod`, read.
    pub(crate) pod: PodSettings,
}

/// The objects of one task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifests {
    /// Name of Deployment and Service.
    pub(crate) name: String,
    /// Changes with anything below.
    pub(crate) hash: String,
    pub(crate) deployment: Value,
    /// Without the Service.
    pub(crate) dependents: Vec<Value>,
    pub(crate) service: Value,
}

/// What runs: image, arguments, and files by path.
struct Content {
    image: String,
    arguments: Option<Vec<String>>,
    /// Mount path and text of one file.
    file: Option<(String, String)>,
    is_ours: bool,
}

fn content(task: &ScheduledTaskInstance, config: &KubernetesConfig) -> Result<Content, EngineError> {
    let content = if !task.docker_image.is_empty() {
        let file = (!task.function_code.is_empty()).then(|| ("/app/function.js".to_owned(), task.function_code.clone()));
        Content { image: task.docker_image.clone(), arguments: None, file, is_ours: false }
    } else if let Some(code) = &task.code {
        let language = Language::from_name(&code.language)
            .ok_or_else(|| EngineError::Unrunnable(format!("code in {:?} cannot be run; python and javascript can", code.language)))?;
        let image = match language {
            Language::Python => &config.code_image_python,
            Language::JavaScript => &config.code_image_javascript,
        };
        let file = language.function_file(&code.source);
        Content {
            image: image.clone(),
            arguments: Some(vec![file.to_owned()]),
            file: Some((format!("/task/{file}"), code.source.clone())),
            is_ours: true,
        }
    } else {
        return Err(EngineError::Unrunnable(format!(
            "operator {} has neither an image nor code for this worker, which runs pods",
            task.operator_name
        )));
    };
    match &content.file {
        Some((_, text)) if text.len() > LARGEST_CODE => {
            Err(EngineError::Unrunnable(format!("its code is larger than {LARGEST_CODE} bytes, more than a ConfigMap holds")))
        }
        _ => Ok(content),
    }
}

/// Base URL of a task by the name of its Service.
pub(crate) fn dns_endpoint(site: &Site, name: &str) -> String {
    format!("http://{name}.{}.svc:{}", site.namespace, site.config.task_port)
}

/// The broker as pods of another namespace call it: a Service's short name is only known in its own.
pub(crate) fn broker_for_pods(broker_url: &str, own_namespace: &str, namespace: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(broker_url) else { return broker_url.to_owned() };
    let Some(host) = url.host_str().map(str::to_owned) else { return broker_url.to_owned() };
    let is_short = !host.contains(['.', ':', '[']) && host != "localhost";
    if !is_short || own_namespace == namespace || url.set_host(Some(&format!("{host}.{own_namespace}.svc"))).is_err() {
        return broker_url.to_owned();
    }
    url.as_str().trim_end_matches('/').to_owned()
}

/// The objects of a task.
///
/// # Errors
/// [`EngineError::Unrunnable`] when there is nothing to run, or the operator asks for what it may not have.
pub(crate) fn manifests(task: &ScheduledTaskInstance, site: &Site) -> Result<Manifests, EngineError> {
    let content = content(task, &site.config)?;
    let settings = pod::settings(task, &site.pod, &site.config.allowed_objects)?;
    let name = names::object_name(&site.worker_id, &task.id);
    let port = site.config.task_port;
    let offered: Vec<u16> = contract::service_ports(&task.parameters).into_iter().filter(|offered| *offered != port).collect();

    let code = content.file.as_ref().map(|(path, text)| {
        let key = path.rsplit('/').next().unwrap_or_default();
        object(site, task, &name, "v1", "ConfigMap", "-code", json!({"data": {key: text}}))
    });
    let mut dependents: Vec<Value> = code.into_iter().collect();
    if !offered.is_empty() {
        let ports: Vec<Value> = offered.iter().map(|port| json!({"name": format!("p{port}"), "port": port, "targetPort": port})).collect();
        let mut spec = json!({"selector": {INSTANCE: name}, "ports": ports});
        if !site.config.external_ips.is_empty() {
            spec["externalIPs"] = json!(site.config.external_ips);
        }
        dependents.push(object(site, task, &name, "v1", "Service", "-ports", json!({"spec": spec})));
        if site.config.network_policy.enabled {
            let spec = policy::offered_ports(&name, &offered);
            dependents.push(object(site, task, &name, "networking.k8s.io/v1", "NetworkPolicy", "-ports", json!({"spec": spec})));
        }
    }
    let ports = json!([{"name": CONTAINER, "port": port, "targetPort": port}]);
    let service_spec = json!({"spec": {"selector": {INSTANCE: name}, "ports": ports}});
    let mut service = object(site, task, &name, "v1", "Service", "", service_spec);
    let template = json!({
        "metadata": {"labels": names::labels(&site.worker_id, &name, task), "annotations": {TASK: task.id}},
        "spec": pod_spec(task, site, &name, &content, &settings, &offered),
    });
    let spec = json!({
        "replicas": 1,
        "revisionHistoryLimit": 0,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {INSTANCE: name}},
        "template": template,
    });
    let mut deployment = object(site, task, &name, "apps/v1", "Deployment", "", json!({"spec": spec}));

    let hash = names::hash(&json!([deployment, dependents, service]));
    deployment["metadata"]["annotations"][SPEC] = json!(hash);
    deployment["spec"]["template"]["metadata"]["annotations"][SPEC] = json!(hash);
    service["metadata"]["annotations"][SPEC] = json!(hash);
    Ok(Manifests { name, hash, deployment, dependents, service })
}

fn object(site: &Site, task: &ScheduledTaskInstance, name: &str, api: &str, kind: &str, suffix: &str, body: Value) -> Value {
    let mut object = json!({
        "apiVersion": api,
        "kind": kind,
        "metadata": {
            "name": format!("{name}{suffix}"),
            "namespace": site.namespace,
            "labels": names::labels(&site.worker_id, name, task),
            "annotations": {TASK: task.id},
        },
    });
    if let (Value::Object(object), Value::Object(body)) = (&mut object, body) {
        object.extend(body);
    }
    object
}

fn pod_spec(task: &ScheduledTaskInstance, site: &Site, name: &str, content: &Content, settings: &PodSettings, offered: &[u16]) -> Value {
    let mut volumes = vec![json!({"name": "tmp", "emptyDir": {}})];
    if content.file.is_some() {
        volumes.push(json!({"name": "code", "configMap": {"name": format!("{name}-code")}}));
    }
    volumes.extend_from_slice(&settings.volumes);

    let user = settings.run_as_user.unwrap_or(pod::USER);
    let mut security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    if user != 0 {
        for key in ["runAsUser", "runAsGroup", "fsGroup"] {
            security[key] = json!(user);
        }
    }
    let mut spec = json!({
        "automountServiceAccountToken": false,
        // Otherwise each pod would get seven variables for every Service of the namespace.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": security,
        "containers": [container(task, site, name, content, settings, offered)],
        "tolerations": tolerations(site, settings),
        "volumes": volumes,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec[key] = value;
        }
    };
    set("nodeSelector", (!settings.node_selector.is_empty()).then(|| json!(settings.node_selector)));
    set("affinity", settings.affinity.clone());
    let spread = &settings.topology_spread_constraints;
    set("topologySpreadConstraints", (!spread.is_empty()).then(|| json!(spread)));
    set("runtimeClassName", settings.runtime_class_name.as_ref().map(|name| json!(name)));
    set("priorityClassName", settings.priority_class_name.as_ref().map(|name| json!(name)));
    let secrets: Vec<Value> = settings.image_pull_secrets.iter().map(|name| json!({"name": name})).collect();
    set("imagePullSecrets", (!secrets.is_empty()).then(|| json!(secrets)));
    spec
}

/// Those asked for, and how long the task waits for a node that is lost, unless the operator says that itself.
fn tolerations(site: &Site, settings: &PodSettings) -> Vec<Value> {
    let mut all = settings.tolerations.clone();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !all.iter().any(|toleration| toleration["key"] == key) {
            let seconds = site.config.node_loss_seconds;
            all.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
        }
    }
    all
}

fn container(task: &ScheduledTaskInstance, site: &Site, name: &str, content: &Content, settings: &PodSettings, offered: &[u16]) -> Value {
    let port = site.config.task_port;
    let own = contract::environment(task, port, &site.broker_url, &dns_endpoint(site, name));
    let mut env = settings.env.clone();
    env.retain(|variable| variable["name"].as_str().is_none_or(|name| !own.contains_key(name)));
    // `$(NAME)` would be replaced by the value of another variable.
    env.extend(own.into_iter().map(|(name, value)| json!({"name": name, "value": value.replace("$(", "$$(")})));

    let mut ports = vec![json!({"name": CONTAINER, "containerPort": port})];
    ports.extend(offered.iter().map(|port| json!({"name": format!("p{port}"), "containerPort": port})));
    let mut mounts = vec![json!({"name": "tmp", "mountPath": "/tmp"})];
    if let Some((path, _)) = &content.file {
        mounts.push(json!({"name": "code", "mountPath": path, "subPath": path.rsplit('/').next().unwrap_or_default(), "readOnly": true}));
    }
    mounts.extend_from_slice(&settings.volume_mounts);

    let mut capabilities = json!({"drop": ["ALL"]});
    if let Some(added) = contract::parameter(&task.parameters, "capabilities") {
        let added: Vec<&str> = added.split([',', ';', ' ']).filter(|word| !word.is_empty()).collect();
        if !added.is_empty() {
            capabilities["add"] = json!(added);
        }
    }
    let mut container = json!({
        "name": CONTAINER,
        "image": content.image,
        "ports": ports,
        "env": env,
        "resources": settings.resources,
        "volumeMounts": mounts,
        // There is no health endpoint in the contract; that it listens is all that can be asked of any task.
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": settings.read_only_root_filesystem.unwrap_or(content.is_ours),
            "capabilities": capabilities,
        },
    });
    if let Some(arguments) = &content.arguments {
        container["args"] = json!(arguments);
    }
    if !settings.env_from.is_empty() {
        container["envFrom"] = json!(settings.env_from);
    }
    if !site.config.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(site.config.image_pull_policy);
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_orchestration::{Code, OutputStream, Parameter};
    use std::path::Path;

    fn site() -> Site {
        let config = KubernetesConfig { external_ips: vec!["192.0.2.1".to_owned()], ..KubernetesConfig::default() };
        Site {
            worker_id: "Worker.001".to_owned(),
            namespace: "tasks".to_owned(),
            own_namespace: "fogflow".to_owned(),
            broker_url: "http://cloud-broker.fogflow.svc:8070/ngsi10".to_owned(),
            config,
            pod: serde_json::from_value(json!({"nodeSelector": {"kubernetes.io/os": "linux"}})).unwrap(),
        }
    }

    fn task() -> ScheduledTaskInstance {
        ScheduledTaskInstance {
            id: "Task.anomaly-detection.Detect.17".to_owned(),
            topology_name: "anomaly-detection".to_owned(),
            task_name: "Detect".to_owned(),
            service_intent_id: "ServiceIntent.7".to_owned(),
            operator_name: "anomaly".to_owned(),
            docker_image: "fogflow/anomaly:3.2".to_owned(),
            parameters: vec![
                Parameter { name: "service_port".to_owned(), value: "4041".to_owned() },
                Parameter { name: "greeting".to_owned(), value: "$(myport)".to_owned() },
            ],
            outputs: vec![OutputStream { entity_type: "Anomaly".to_owned(), stream_id: "Anomaly.17.1".to_owned(), annotations: None }],
            kubernetes: Some(
                serde_json::from_value(json!({
                    "tolerations": [{"key": "edge", "operator": "Exists"}],
                    "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "task-key", "key": "key"}}}, {"name": "myport", "value": "1"}],
                    "runtimeClassName": "gvisor",
                    "imagePullSecrets": ["task-registry"],
                }))
                .unwrap(),
            ),
            ..Default::default()
        }
    }

    /// Compares with a file beside the code; `UPDATE_GOLDEN=1` writes it.
    fn assert_golden(name: &str, value: &Value) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/kubernetes/golden").join(name);
        let text = format!("{}\n", serde_json::to_string_pretty(value).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name} differs");
    }

    fn all(manifests: &Manifests) -> Value {
        json!([manifests.deployment, manifests.dependents, manifests.service])
    }

    #[test]
    fn the_manifests_of_an_image_are_the_golden_ones() {
        let mut site = site();
        site.config.allowed_objects = vec!["secret/task-*".to_owned()];
        assert_golden("image.json", &all(&manifests(&task(), &site).unwrap()));
    }

    #[test]
    fn the_manifests_of_code_are_the_golden_ones() {
        let code = Code { language: "python".to_owned(), source: "def handleEntity(entity, publish):\n    pass\n".to_owned() };
        let task = ScheduledTaskInstance {
            id: "Task.t.main.1".to_owned(),
            code: Some(code),
            tenant: Some("city".to_owned()),
            ..Default::default()
        };
        assert_golden("code.json", &all(&manifests(&task, &site()).unwrap()));
    }

    #[test]
    fn the_policy_of_a_workers_tasks_is_the_golden_one() {
        let mut site = site();
        site.config.network_policy.broker_cidrs = vec!["192.0.2.7/32".to_owned()];
        site.config.network_policy.egress = Some(json!([{"to": [{"ipBlock": {"cidr": "198.51.100.0/24"}}]}]));
        assert_golden("policy.json", &policy::of_worker(&site));
    }

    #[test]
    fn the_hash_changes_with_anything_that_the_pod_is_made_of_and_with_nothing_else() {
        let task = ScheduledTaskInstance { kubernetes: None, ..task() };
        let hash = |task: &ScheduledTaskInstance| manifests(task, &site()).unwrap().hash;
        let mut other = task.clone();
        other.inputs.push(fogflow_orchestration::InputStream { id: "D.1".to_owned(), ..Default::default() });
        other.priority_level = 3;
        assert_eq!(hash(&task), hash(&other));
        other.kubernetes = serde_json::from_value(json!({"nodeSelector": {"a": "b"}})).unwrap();
        assert_ne!(hash(&task), hash(&other));
        let mut changed = site();
        changed.config.node_loss_seconds = 60;
        assert_ne!(hash(&task), manifests(&task, &changed).unwrap().hash);
    }

    #[test]
    fn an_operator_without_image_or_code_and_code_that_fits_no_config_map_are_refused_with_the_reason() {
        let reason = |task: &ScheduledTaskInstance| manifests(task, &site()).unwrap_err().to_string();
        assert!(reason(&ScheduledTaskInstance::default()).contains("neither an image nor code"));
        let code = |language: &str, source: String| ScheduledTaskInstance {
            code: Some(Code { language: language.to_owned(), source }),
            ..Default::default()
        };
        assert!(reason(&code("cobol", String::new())).contains("cobol"));
        assert!(reason(&code("python", "#".repeat(LARGEST_CODE + 1))).contains("ConfigMap"));
    }

    #[test]
    fn pods_of_another_namespace_call_the_broker_by_a_name_that_they_can_resolve() {
        let url = |url: &str, namespace: &str| broker_for_pods(url, "fogflow", namespace);
        assert_eq!(url("http://cloud-broker:8070/ngsi10", "fogflow"), "http://cloud-broker:8070/ngsi10");
        assert_eq!(url("http://cloud-broker:8070/ngsi10", "tasks"), "http://cloud-broker.fogflow.svc:8070/ngsi10");
        for unchanged in ["http://10.0.0.5:8070/ngsi10", "http://broker.example.com:8070/ngsi10", "http://[fd00::5]:8070/ngsi10"] {
            assert_eq!(url(unchanged, "tasks"), unchanged);
        }
    }
}
