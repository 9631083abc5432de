//! The settings of a task's pod: what is built in, what the worker's configuration says, what the operator asks for,
//! and whether it may.

use std::collections::BTreeMap;

use fogflow_orchestration::{PodSettings, Resources, ScheduledTaskInstance};
use serde_json::Value;

use crate::contract;
use crate::engine::EngineError;

/// The user that a task runs as when nobody says otherwise: images made for root run under it too, mostly.
pub(crate) const USER: u32 = 65532;

/// Kinds of volumes that an operator may ask for; none of them reaches the node.
const VOLUMES: [&str; 5] = ["emptyDir", "configMap", "secret", "persistentVolumeClaim", "downwardAPI"];

fn built_in() -> PodSettings {
    let quantities = |list: &[(&str, &str)]| list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PodSettings {
        resources: Resources {
            requests: quantities(&[("cpu", "5m"), ("memory", "24Mi")]),
            limits: quantities(&[("cpu", "1"), ("memory", "512Mi")]),
        },
        ..PodSettings::default()
    }
}

/// The settings of one task: built in, then `configured`, then the operator's own, then its parameters `cpu` and
/// `memory`, which set limits as under docker.
///
/// # Errors
/// [`EngineError::Unrunnable`] when the operator asks for something that `allowed` does not name.
pub(crate) fn settings(task: &ScheduledTaskInstance, configured: &PodSettings, allowed: &[String]) -> Result<PodSettings, EngineError> {
    let mut settings = built_in().overlaid(configured);
    if let Some(own) = &task.kubernetes {
        permit(own, allowed)?;
        settings = settings.overlaid(own);
    }
    if let Some(bytes) = contract::memory_limit(&task.parameters) {
        settings.resources.limits.insert("memory".to_owned(), bytes.to_string());
    }
    if let Some(cpu) = contract::parameter(&task.parameters, "cpu").filter(|text| text.parse::<f64>().is_ok_and(|cpus| cpus > 0.0)) {
        settings.resources.limits.insert("cpu".to_owned(), cpu.to_owned());
    }
    fit(&mut settings.resources);
    Ok(settings)
}

/// A request above its limit is refused by the server; a limit that somebody lowered lowers the default request too.
fn fit(resources: &mut Resources) {
    let built_in = built_in().resources.requests;
    for (name, request) in &mut resources.requests {
        if let (Some(limit), true) = (resources.limits.get(name), built_in.get(name) == Some(request))
            && quantity(limit) < quantity(request)
        {
            request.clone_from(limit);
        }
    }
}

/// A quantity in its base unit; one that is none is endless, and refused by the server.
fn quantity(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        _ => f64::INFINITY,
    };
    digits.parse::<f64>().unwrap_or(f64::INFINITY) * factor
}

/// Whoever may describe operators must not thereby read any secret of the namespace, or reach a node.
fn permit(settings: &PodSettings, allowed: &[String]) -> Result<(), EngineError> {
    let mut named: Vec<(&str, &str)> = settings.image_pull_secrets.iter().map(|name| ("secret", name.as_str())).collect();
    for volume in &settings.volumes {
        let kind = volume.as_object().into_iter().flat_map(|map| map.keys()).find(|key| *key != "name");
        if !kind.is_some_and(|kind| VOLUMES.contains(&kind.as_str())) || volume.as_object().is_none_or(|map| map.len() != 2) {
            return Err(EngineError::Unrunnable(format!("kubernetes.volumes: {volume} is not a name and one of {}", VOLUMES.join(", "))));
        }
        named.extend(text(volume, &["configMap", "name"]).map(|name| ("configmap", name)));
        named.extend(text(volume, &["secret", "secretName"]).map(|name| ("secret", name)));
        named.extend(text(volume, &["persistentVolumeClaim", "claimName"]).map(|name| ("persistentvolumeclaim", name)));
    }
    for variable in &settings.env {
        named.extend(text(variable, &["valueFrom", "secretKeyRef", "name"]).map(|name| ("secret", name)));
        named.extend(text(variable, &["valueFrom", "configMapKeyRef", "name"]).map(|name| ("configmap", name)));
    }
    for source in &settings.env_from {
        named.extend(text(source, &["secretRef", "name"]).map(|name| ("secret", name)));
        named.extend(text(source, &["configMapRef", "name"]).map(|name| ("configmap", name)));
    }
    match named.iter().find(|(kind, name)| !is_allowed(kind, name, allowed)) {
        None => Ok(()),
        Some((kind, name)) => {
            Err(EngineError::Unrunnable(format!("the operator uses {kind}/{name}, which worker.kubernetes.allowed_objects does not name")))
        }
    }
}

fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

fn is_allowed(kind: &str, name: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|entry| {
        let Some((entry_kind, pattern)) = entry.split_once('/') else { return false };
        let matches = pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix));
        entry_kind.eq_ignore_ascii_case(kind) && matches
    })
}

/// Labels given as a JSON object.
pub(crate) fn labels_of(value: Option<&Value>) -> Option<BTreeMap<String, String>> {
    value.and_then(|value| serde_json::from_value(value.clone()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_orchestration::Parameter;
    use serde_json::json;

    fn task(kubernetes: Value, parameters: &[(&str, &str)]) -> ScheduledTaskInstance {
        ScheduledTaskInstance {
            kubernetes: Some(serde_json::from_value(kubernetes).unwrap()),
            parameters: parameters.iter().map(|(name, value)| Parameter { name: (*name).to_owned(), value: (*value).to_owned() }).collect(),
            ..Default::default()
        }
    }

    fn refused(kubernetes: Value, allowed: &[&str]) -> Option<String> {
        let allowed: Vec<String> = allowed.iter().map(|entry| (*entry).to_owned()).collect();
        settings(&task(kubernetes, &[]), &PodSettings::default(), &allowed).err().map(|error| error.to_string())
    }

    #[test]
    fn a_task_asks_for_little_by_default_and_parameters_set_limits() {
        let settings_of = |task: &ScheduledTaskInstance| settings(task, &PodSettings::default(), &[]).unwrap().resources;
        let resources = settings_of(&ScheduledTaskInstance::default());
        assert_eq!((resources.requests["cpu"].as_str(), resources.limits["memory"].as_str()), ("5m", "512Mi"));
        let resources = settings_of(&task(json!({"resources": {"requests": {"cpu": "2m"}}}), &[("memory", "16Mi"), ("cpu", "0.5")]));
        assert_eq!((resources.requests["cpu"].as_str(), resources.limits["cpu"].as_str()), ("2m", "0.5"));
        assert_eq!((resources.requests["memory"].as_str(), resources.limits["memory"].as_str()), ("16777216", "16777216"));
    }

    #[test]
    fn an_operator_reads_only_secrets_that_are_meant_for_operators() {
        let by_variable = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]});
        assert!(refused(by_variable.clone(), &[]).unwrap().contains("secret/db"));
        assert!(refused(by_variable.clone(), &["configmap/db"]).is_some());
        assert_eq!(refused(by_variable, &["secret/d*"]), None);
        for settings in [
            json!({"envFrom": [{"secretRef": {"name": "db"}}]}),
            json!({"imagePullSecrets": ["db"]}),
            json!({"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}),
        ] {
            assert!(refused(settings.clone(), &["secret/db2"]).is_some(), "{settings}");
            assert_eq!(refused(settings, &["Secret/db"]), None);
        }
    }

    #[test]
    fn an_operator_does_not_reach_a_node_by_a_volume() {
        for volume in [
            json!({"name": "v", "hostPath": {"path": "/"}}),
            json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}),
            json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {}}]}}),
            json!({"name": "v"}),
            json!("v"),
        ] {
            assert!(refused(json!({"volumes": [volume]}), &["*/*"]).unwrap().contains("kubernetes.volumes"));
        }
        assert_eq!(refused(json!({"volumes": [{"name": "v", "emptyDir": {}}]}), &[]), None);
    }
}
