//! Assembling a configuration from defaults, file, environment and command line.

use std::path::Path;

use serde_json::Value;

use crate::sections::{Config, ContainerManagement};
use crate::tree::Tree;
use crate::{ConfigError, validate};

/// A configuration, and what its reader should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, valid.
    pub config: Config,
    /// One line each: unknown keys, accepted but unused ones.
    pub warnings: Vec<String>,
}

impl Config {
    /// Loads and validates. `path` `None` means defaults only. From `env` the names that begin with `FOGFLOW_` are used:
    /// `FOGFLOW_WORKER__CAPACITY=4`, or `FOGFLOW_RABBITMQ__PASSWORD_FILE=/run/secrets/bus`; `KUBERNETES_SERVICE_HOST` makes
    /// `kubernetes` the default engine. `overrides` are `section.key=value`.
    ///
    /// # Errors
    /// The first thing that is wrong, naming the key and where it was set.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>, overrides: &[String]) -> Result<Loaded, ConfigError> {
        let defaults = serde_json::to_value(Config::default()).map_err(|e| ConfigError::Value {
            key: String::new(),
            origin: "defaults".to_owned(),
            reason: e.to_string(),
        })?;
        let mut tree = Tree::new(defaults);
        if let Some(path) = path {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable { path: shown.clone(), reason: e.to_string() })?;
            let value: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                .map_err(|e| ConfigError::Syntax { path: shown.clone(), reason: e.to_string() })?;
            let Value::Object(object) = value else {
                return Err(ConfigError::Syntax { path: shown, reason: "expected an object".to_owned() });
            };
            tree.overlay(object, &shown)?;
        }
        let mut in_pod = false;
        let mut from_env: Vec<(String, String)> = Vec::new();
        for (name, value) in env {
            if name == "KUBERNETES_SERVICE_HOST" {
                in_pod = !value.is_empty();
            } else if name.starts_with("FOGFLOW_") {
                from_env.push((name, value));
            }
        }
        from_env.sort();
        for (name, value) in from_env {
            // `FOGFLOW_SERVER` and the like belong to other programs; a typing error in a section's name is worth a warning.
            let is_section = name.contains("__");
            let key: Vec<String> = name.trim_start_matches("FOGFLOW_").split("__").map(str::to_ascii_lowercase).collect();
            if is_section || tree.knows(&key) {
                tree.set_text(&key, &value, &name)?;
            }
        }
        for item in overrides {
            let (key, value) = item.split_once('=').ok_or_else(|| ConfigError::Override(item.clone()))?;
            let key: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
            tree.set_text(&key, value, "--set")?;
        }
        let engine_is_default = !tree.is_set("worker.container_management");
        let storage_is_set = tree.is_set("persistent_storage.port") || tree.is_set("persistent_storage.host_ip");
        let (value, origins, mut warnings) = tree.into_parts();
        let mut config: Config = serde_path_to_error::deserialize(value).map_err(|e| {
            let key = e.path().to_string();
            let origin = origins.get(&key).cloned().unwrap_or_else(|| "defaults".to_owned());
            ConfigError::Value { key, origin, reason: e.into_inner().to_string() }
        })?;
        if engine_is_default && in_pod {
            config.worker.container_management = ContainerManagement::Kubernetes;
        }
        if storage_is_set {
            warnings
                .push("`persistent_storage` is accepted but not used: the engine of every store is chosen by `store.engine`".to_owned());
        }
        validate::check(&config).map_err(|(key, reason)| {
            let origin = origins.get(key).cloned().unwrap_or_else(|| "defaults".to_owned());
            ConfigError::Value { key: key.to_owned(), origin, reason }
        })?;
        Ok(Loaded { config, warnings })
    }

    /// The effective configuration as JSON, passwords replaced by `***` (also those within URLs).
    #[must_use]
    pub fn redacted(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        redact(&mut value);
        value
    }
}

fn redact(value: &mut Value) {
    let Value::Object(map) = value else { return };
    for (name, inner) in map {
        match inner {
            Value::String(text) if (name == "password" || name.ends_with("_token")) && !text.is_empty() => "***".clone_into(text),
            Value::String(text) if name == "url" => {
                if let Some((scheme, rest)) = text.split_once("://")
                    && let Some((login, host)) = rest.rsplit_once('@')
                    && let Some((user, _)) = login.split_once(':')
                {
                    *text = format!("{scheme}://{user}:***@{host}");
                }
            }
            inner => redact(inner),
        }
    }
}
