//! Names and labels: how a worker finds again what it made.

use std::collections::BTreeMap;

use fogflow_orchestration::ScheduledTaskInstance;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Who applies.
pub(crate) const FIELD_MANAGER: &str = "fogflow-worker";
/// Label of everything that a worker makes; its value is [`FIELD_MANAGER`].
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the name of a task's objects. Alone it selects the task's pods.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: the worker, by its id as a label's value.
pub(crate) const WORKER: &str = "fogflow.io/worker";
/// Annotation: the task id in full.
pub(crate) const TASK: &str = "fogflow.io/task";
/// Annotation: hash of the manifests, so that unchanged ones are not sent again.
pub(crate) const SPEC: &str = "fogflow.io/spec";
/// Label of task pods.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
/// Value of [`NAME`].
pub(crate) const TASK_NAME: &str = "fogflow-task";

/// The name of a task's objects, the same whenever this worker or a replica of it makes them: there cannot be two.
pub(crate) fn object_name(worker_id: &str, task_id: &str) -> String {
    let hash = Sha256::new().chain_update(worker_id.as_bytes()).chain_update([0]).chain_update(task_id.as_bytes()).finalize();
    format!("fogflow-task-{}", hex::encode(&hash[..8]))
}

/// The task's objects to which a pod belongs, by the pod's name (`<object>-<hash>-<random>`).
pub(crate) fn object_of_pod(pod: &str) -> Option<&str> {
    let object = pod.rsplitn(3, '-').nth(2)?;
    object.starts_with("fogflow-task-").then_some(object)
}

/// Selects what a worker made.
pub(crate) fn selector(worker_id: &str) -> String {
    format!("{MANAGED_BY}={FIELD_MANAGER},{WORKER}={}", label_value(worker_id))
}

/// The name of something that a worker has one of, such as its Lease.
pub(crate) fn worker_object(worker_id: &str) -> String {
    let name: String = worker_id.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("fogflow-{}", name.trim_matches('-'))
}

/// Text as a label's value: at most 63 letters, digits and `-_.`; what does not fit is told apart by a hash.
pub(crate) fn label_value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let fits = text.len() <= 63 && text.chars().all(|c| plain(c) || "-_.".contains(c));
    if fits && text.starts_with(plain) && text.ends_with(plain) || text.is_empty() {
        return text.to_owned();
    }
    let readable: String = text.chars().filter(|c| plain(*c) || *c == '-').take(40).collect();
    let hash = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
    format!("{}-{hash}", readable.trim_matches('-')).trim_start_matches('-').to_owned()
}

/// Labels of what belongs to one task.
pub(crate) fn labels(worker_id: &str, name: &str, task: &ScheduledTaskInstance) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (NAME, TASK_NAME.to_owned()),
        (INSTANCE, name.to_owned()),
        (MANAGED_BY, FIELD_MANAGER.to_owned()),
        ("app.kubernetes.io/part-of", "fogflow".to_owned()),
        (WORKER, label_value(worker_id)),
        (TASK, label_value(&task.id)),
        ("fogflow.io/topology", label_value(&task.topology_name)),
        ("fogflow.io/intent", label_value(&task.service_intent_id)),
        ("fogflow.io/tenant", label_value(task.tenant.as_deref().unwrap_or_default())),
    ])
}

/// A short hash of manifests.
pub(crate) fn hash(value: &Value) -> String {
    hex::encode(&Sha256::digest(value.to_string().as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_deterministic_differ_by_worker_and_are_found_again_in_a_pods_name() {
        let name = object_name("Worker.001", "Task.1");
        assert_eq!(name, object_name("Worker.001", "Task.1"));
        assert_ne!(name, object_name("Worker.002", "Task.1"));
        assert_eq!(object_of_pod(&format!("{name}-7c9d5b8f-x2x4z")), Some(name.as_str()));
        assert_eq!(object_of_pod("cloud-broker-7c9d5b8f-x2x4z"), None);
        assert_eq!(worker_object("Worker.site_1.2"), "fogflow-worker-site-1-2");
    }

    proptest! {
        #[test]
        fn label_values_are_valid_and_different_for_different_texts(a in ".{0,100}", b in ".{0,100}") {
            let value = label_value(&a);
            prop_assert!(value.len() <= 63);
            prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            prop_assert!(value.is_empty() || value.starts_with(|c: char| c.is_ascii_alphanumeric()) && value.ends_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert_eq!(a == b, value == label_value(&b));
        }
    }
}
