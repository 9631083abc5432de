//! Operators: what a task runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pod::PodSettings;

/// A unit of processing, given by images, executables or inline code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operator {
    /// Unique name.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Named settings; each task of the operator gets them.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    /// Images for the docker and kubernetes engines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dockerimages: Vec<DockerImage>,
    /// Commands for the process engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executables: Vec<Executable>,
    /// A function of one entity, which every engine can run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What it asks of Kubernetes for its pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<PodSettings>,
    /// The scene of upstream's visual editor, kept as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub designboard: Option<Value>,
}

/// A named setting of an operator. Upstream's older form `values` (a list) is read as its first value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "ParameterForm")]
pub struct Parameter {
    /// The name, for example `service_port`.
    pub name: String,
    /// The value as text.
    pub value: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Parameter")]
struct ParameterForm {
    name: String,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    values: Vec<Value>,
}

impl From<ParameterForm> for Parameter {
    fn from(form: ParameterForm) -> Self {
        let value = match form.value.or_else(|| form.values.into_iter().next()) {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        Parameter { name: form.name, value }
    }
}

/// One image of an operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DockerImage {
    /// The operator it belongs to.
    #[serde(default, rename = "operatorName", alias = "OperatorName")]
    pub operator_name: String,
    /// Repository, for example `fogflow/dummy`.
    pub name: String,
    /// Tag; `latest` by default.
    #[serde(default = "latest")]
    pub tag: String,
    /// `X86`, `ARM`, `ARM64` or `any`.
    #[serde(default, rename = "hwType")]
    pub hw_type: String,
    /// `Linux`, `Windows` or `any`.
    #[serde(default, rename = "osType")]
    pub os_type: String,
    /// Whether workers pull it before a task needs it.
    #[serde(default)]
    pub prefetched: bool,
}

fn latest() -> String {
    "latest".to_owned()
}

/// A command for the process engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Executable {
    /// Program and arguments; executed as given, without a shell.
    pub command: Vec<String>,
    /// Working directory; the worker's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment beside what every task gets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `X86`, `ARM`, `ARM64` or `any` (also when left out).
    #[serde(default, rename = "hwType", skip_serializing_if = "Option::is_none")]
    pub hw_type: Option<String>,
    /// `Linux`, … or `any` (also when left out).
    #[serde(default, rename = "osType", skip_serializing_if = "Option::is_none")]
    pub os_type: Option<String>,
}

/// A function of one entity, as in `sdk/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Code {
    /// `python` or `javascript`.
    pub language: String,
    /// The source text: `handleEntity(entity, publish)` in Python, `export function handler(entity, publish)` in JavaScript.
    pub source: String,
}
