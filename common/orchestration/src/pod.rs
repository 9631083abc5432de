//! What an operator asks of Kubernetes for its pods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Settings of a task's pod, each as in a pod's specification. An operator's are laid over the worker's own: maps and
/// lists are joined, single values replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSettings {
    /// Requests and limits.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Value>,
    /// Node, pod and anti-affinity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Value>,
    /// Spread over nodes or zones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<Value>,
    /// For example `gvisor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Priority among pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Names of secrets with credentials of image registries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Volumes: `emptyDir`, `configMap`, `secret`, `persistentVolumeClaim` or `downwardAPI`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Value>,
    /// Where they appear.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<Value>,
    /// Variables beside those of the task contract.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<Value>,
    /// Secrets and config maps whose entries become variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<Value>,
    /// The user id; 0 means the one that the image names, which must not be root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// Whether the image cannot be written to at run time; `/tmp` always can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
}

/// Quantities by resource, for example `cpu: 10m`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resources {
    /// What the scheduler reserves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, String>,
    /// What it may not exceed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

impl PodSettings {
    /// These settings under `over`.
    #[must_use]
    pub fn overlaid(mut self, over: &PodSettings) -> PodSettings {
        self.resources.requests.extend(over.resources.requests.clone());
        self.resources.limits.extend(over.resources.limits.clone());
        self.node_selector.extend(over.node_selector.clone());
        self.tolerations.extend_from_slice(&over.tolerations);
        self.topology_spread_constraints.extend_from_slice(&over.topology_spread_constraints);
        self.image_pull_secrets.extend_from_slice(&over.image_pull_secrets);
        self.volumes.extend_from_slice(&over.volumes);
        self.volume_mounts.extend_from_slice(&over.volume_mounts);
        self.env.extend_from_slice(&over.env);
        self.env_from.extend_from_slice(&over.env_from);
        PodSettings {
            affinity: over.affinity.clone().or(self.affinity),
            runtime_class_name: over.runtime_class_name.clone().or(self.runtime_class_name),
            priority_class_name: over.priority_class_name.clone().or(self.priority_class_name),
            run_as_user: over.run_as_user.or(self.run_as_user),
            read_only_root_filesystem: over.read_only_root_filesystem.or(self.read_only_root_filesystem),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(value: Value) -> PodSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_operators_settings_join_lists_and_maps_and_replace_single_values() {
        let common = settings(json!({"resources": {"requests": {"cpu": "5m", "memory": "16Mi"}}, "nodeSelector": {"a": "1"},
            "tolerations": [{"key": "edge"}], "runtimeClassName": "runc", "runAsUser": 1}));
        let own = settings(json!({"resources": {"requests": {"cpu": "1"}}, "nodeSelector": {"b": "2"}, "tolerations": [{"key": "gpu"}],
            "runtimeClassName": "gvisor"}));
        let expected = json!({"resources": {"requests": {"cpu": "1", "memory": "16Mi"}}, "nodeSelector": {"a": "1", "b": "2"},
            "tolerations": [{"key": "edge"}, {"key": "gpu"}], "runtimeClassName": "gvisor", "runAsUser": 1});
        assert_eq!(serde_json::to_value(common.overlaid(&own)).unwrap(), expected);
    }

    #[test]
    fn settings_without_content_are_an_empty_object() {
        assert_eq!(serde_json::to_value(PodSettings::default()).unwrap(), json!({}));
        assert_eq!(settings(json!({"later": 1})), PodSettings::default());
    }
}
