//! The container of a task: pure.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding};
use fogflow_orchestration::{Parameter, ScheduledTaskInstance};
use sha2::{Digest, Sha256};

use super::address::Addresses;
use crate::contract;
use crate::engine::source::Language;
use crate::engine::{EngineError, Launch};

/// Label: the worker whose container it is.
pub(crate) const WORKER_LABEL: &str = "fogflow.io/worker";
/// Label: the task id.
pub(crate) const TASK_LABEL: &str = "fogflow.io/task";
/// Label: what it was started with.
pub(crate) const FINGERPRINT_LABEL: &str = "fogflow.io/fingerprint";
/// Label: the port that is published.
pub(crate) const PORT_LABEL: &str = "fogflow.io/port";

const DEFAULT_MEMORY: i64 = 512 << 20;
const DEFAULT_CPU: f64 = 1.0;
const DEFAULT_PIDS: i64 = 256;

/// Which image, and which files go into the container before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// `name:tag`
    pub(crate) image: String,
    /// Arguments that replace those of the image.
    pub(crate) arguments: Option<Vec<String>>,
    /// Path and text; directories end with a slash.
    pub(crate) files: Vec<(String, String)>,
}

/// What a task runs: its image, or its code in the sdk's base image. Upstream's `FunctionCode` goes to
/// `/app/function.js`, by upload and not through a file in `/tmp` that others could replace (FAULT 37).
pub(crate) fn content(task: &ScheduledTaskInstance) -> Result<Content, EngineError> {
    if !task.docker_image.is_empty() {
        let files = match task.function_code.as_str() {
            "" => Vec::new(),
            code => vec![("app/".to_owned(), String::new()), ("app/function.js".to_owned(), code.to_owned())],
        };
        return Ok(Content { image: task.docker_image.clone(), arguments: None, files });
    }
    let Some(code) = &task.code else {
        return Err(EngineError::Unrunnable(format!(
            "operator {} has neither an image nor code for this worker, which runs containers",
            task.operator_name
        )));
    };
    let language = Language::from_name(&code.language)
        .ok_or_else(|| EngineError::Unrunnable(format!("code in {:?} cannot be run; python and javascript can", code.language)))?;
    let file = language.function_file(&code.source);
    Ok(Content {
        image: language.base_image().to_owned(),
        arguments: Some(vec![file.to_owned()]),
        files: vec![("task/".to_owned(), String::new()), (format!("task/{file}"), code.source.clone())],
    })
}

/// The name of a task's container: the same for the same worker and task, so that there cannot be two.
pub(crate) fn name(worker_id: &str, task_id: &str) -> String {
    let hash = Sha256::new().chain_update(worker_id.as_bytes()).chain_update([0]).chain_update(task_id.as_bytes()).finalize();
    format!("fogflow-task-{}", hex::encode(&hash[..8]))
}

/// Base URL of a task whose port is published.
pub(crate) fn endpoint(addresses: &Addresses, port: u16) -> String {
    format!("http://{}:{port}", addresses.reference_host)
}

/// The container as the engine is asked for it.
pub(crate) fn container(launch: &Launch, worker_id: &str, content: &Content, addresses: &Addresses, port: u16) -> ContainerCreateBody {
    let task = &launch.task;
    let environment = contract::environment(task, port, &addresses.broker_url, &endpoint(addresses, port));
    let mut ports = vec![port];
    ports.extend(contract::service_ports(&task.parameters));
    ports.dedup();
    let bindings = ports.iter().map(|port| {
        let binding = PortBinding { host_ip: Some(addresses.publish.to_string()), host_port: Some(port.to_string()) };
        (format!("{port}/tcp"), Some(vec![binding]))
    });
    let capabilities = contract::parameter(&task.parameters, "capabilities").map(words).filter(|list| !list.is_empty());
    let host_config = HostConfig {
        port_bindings: Some(bindings.collect()),
        memory: Some(contract::memory_limit(&task.parameters).and_then(|bytes| bytes.try_into().ok()).unwrap_or(DEFAULT_MEMORY)),
        nano_cpus: Some(nano_cpus(&task.parameters)),
        pids_limit: Some(number(&task.parameters, "pids").unwrap_or(DEFAULT_PIDS)),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: capabilities,
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        extra_hosts: addresses.relay.map(|(from, _)| vec![format!("host.docker.internal:{}", from.ip())]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "10m".to_owned()), ("max-file".to_owned(), "2".to_owned())])),
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(content.image.clone()),
        cmd: content.arguments.clone(),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        exposed_ports: Some(ports.iter().map(|port| format!("{port}/tcp")).collect()),
        labels: Some(labels(launch, worker_id, port)),
        host_config: Some(host_config),
        ..Default::default()
    }
}

fn labels(launch: &Launch, worker_id: &str, port: u16) -> HashMap<String, String> {
    let task = &launch.task;
    let mut labels = HashMap::from([
        ("app.kubernetes.io/managed-by".to_owned(), "fogflow-worker".to_owned()),
        (WORKER_LABEL.to_owned(), worker_id.to_owned()),
        (TASK_LABEL.to_owned(), task.id.clone()),
        (FINGERPRINT_LABEL.to_owned(), launch.fingerprint.clone()),
        (PORT_LABEL.to_owned(), port.to_string()),
        ("fogflow.io/topology".to_owned(), task.topology_name.clone()),
        ("fogflow.io/intent".to_owned(), task.service_intent_id.clone()),
    ]);
    if let Some(generation) = task.generation {
        labels.insert("fogflow.io/generation".to_owned(), generation.to_string());
    }
    labels
}

fn words(list: &str) -> Vec<String> {
    list.split([',', ';', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn number(parameters: &[Parameter], name: &str) -> Option<i64> {
    contract::parameter(parameters, name)?.parse().ok().filter(|number| *number > 0)
}

/// Parameter `cpu` in processors, for example `0.5`.
fn nano_cpus(parameters: &[Parameter]) -> i64 {
    let cpus =
        contract::parameter(parameters, "cpu").and_then(|text| text.parse::<f64>().ok()).filter(|cpus| (0.01..=1024.0).contains(cpus));
    #[expect(clippy::cast_possible_truncation, reason = "within 1024e9 by the filter")]
    let nano = (cpus.unwrap_or(DEFAULT_CPU) * 1e9) as i64;
    nano
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::docker::address;
    use fogflow_orchestration::Code;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn launch(task: ScheduledTaskInstance) -> Launch {
        Launch { fingerprint: contract::fingerprint(&task), task: Arc::new(task), directory: "/d".into(), cancel: CancellationToken::new() }
    }

    fn body(parameters: &[(&str, &str)]) -> ContainerCreateBody {
        let parameters =
            parameters.iter().map(|(name, value)| Parameter { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        let task = ScheduledTaskInstance {
            id: "Task.1".to_owned(),
            docker_image: "a:1".to_owned(),
            parameters,
            generation: Some(7),
            ..Default::default()
        };
        let addresses = address::decide("127.0.0.1", "http://127.0.0.1:8070/ngsi10", "172.17.0.1".parse().ok());
        let content = content(&task).unwrap();
        container(&launch(task), "Worker.001", &content, &addresses, 40_000)
    }

    #[test]
    fn fault_37_a_container_has_limits_no_privileges_and_labels() {
        let body = body(&[]);
        let host = body.host_config.unwrap();
        assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(512 << 20), Some(1_000_000_000), Some(256)));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        let labels = body.labels.unwrap();
        assert_eq!(
            (labels[WORKER_LABEL].as_str(), labels[TASK_LABEL].as_str(), labels["fogflow.io/generation"].as_str()),
            ("Worker.001", "Task.1", "7")
        );
    }

    #[test]
    fn parameters_set_limits_and_wrong_ones_leave_the_defaults() {
        let host = body(&[("memory", "64Mi"), ("cpu", "0.5"), ("pids", "20"), ("capabilities", "CHOWN,SETUID")]).host_config.unwrap();
        assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(64 << 20), Some(500_000_000), Some(20)));
        assert_eq!(host.cap_add.unwrap(), ["CHOWN", "SETUID"]);
        let host = body(&[("memory", "much"), ("cpu", "-1"), ("pids", "0")]).host_config.unwrap();
        assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(512 << 20), Some(1_000_000_000), Some(256)));
    }

    #[test]
    fn fault_21_service_ports_are_published_and_exposed_beside_the_tasks_own() {
        let body = body(&[("service-port", "4041;7896")]);
        let mut exposed = body.exposed_ports.unwrap();
        exposed.sort();
        assert_eq!(exposed, ["40000/tcp", "4041/tcp", "7896/tcp"]);
        let bindings = body.host_config.unwrap().port_bindings.unwrap();
        assert_eq!(bindings["4041/tcp"].as_ref().unwrap()[0].host_port.as_deref(), Some("4041"));
    }

    #[test]
    fn code_runs_in_the_base_image_and_an_image_goes_before_code() {
        let code = Some(Code { language: "javascript".to_owned(), source: "exports.handler = 1".to_owned() });
        let task = ScheduledTaskInstance { code: code.clone(), ..Default::default() };
        let content_of_code = content(&task).unwrap();
        assert_eq!(content_of_code.image, "fogflow/task-javascript:latest");
        assert_eq!(content_of_code.arguments.unwrap(), ["function.cjs"]);
        assert_eq!(content(&ScheduledTaskInstance { docker_image: "a:1".to_owned(), code, ..Default::default() }).unwrap().image, "a:1");
        assert!(matches!(content(&ScheduledTaskInstance::default()), Err(EngineError::Unrunnable(_))));
    }

    #[test]
    fn names_are_deterministic_and_differ_by_worker() {
        assert_eq!(name("Worker.001", "Task.1"), name("Worker.001", "Task.1"));
        assert_ne!(name("Worker.001", "Task.1"), name("Worker.002", "Task.1"));
    }
}
