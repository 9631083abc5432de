//! The configuration as a JSON tree: case-insensitive keys, aliases, text values from the environment.
//!
//! The serialised default configuration is the schema: what it contains are the known keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A tree being assembled, and where each value came from.
pub(crate) struct Tree {
    root: Value,
    origins: BTreeMap<String, String>,
    pub(crate) warnings: Vec<String>,
}

/// How a given path relates to the known keys.
pub(crate) enum Lookup {
    /// The path with every name in its right spelling.
    Known(Vec<String>),
    /// The path ends in `_file`; this is the path of the text that the file holds.
    SecretFile(Vec<String>),
    /// The names that are known, then the first that is not.
    Unknown,
}

/// Older names: what the documentation of upstream still says.
fn alias(path: &[String], name: &str) -> Option<&'static str> {
    match (path, name) {
        ([], "external_hostip") => Some("external_ip"),
        ([], "internal_hostip") => Some("my_hostip"),
        _ => None,
    }
}

impl Tree {
    pub(crate) fn new(defaults: Value) -> Self {
        Tree { root: defaults, origins: BTreeMap::new(), warnings: Vec::new() }
    }

    pub(crate) fn into_parts(self) -> (Value, BTreeMap<String, String>, Vec<String>) {
        (self.root, self.origins, self.warnings)
    }

    /// Whether something other than the default set this path.
    pub(crate) fn is_set(&self, dotted: &str) -> bool {
        self.origins.contains_key(dotted)
    }

    /// Whether a path is a key, in any letter case.
    pub(crate) fn knows(&self, given: &[String]) -> bool {
        !matches!(self.lookup(given), Lookup::Unknown)
    }

    /// Lays an object of a file over the tree.
    pub(crate) fn overlay(&mut self, object: Map<String, Value>, origin: &str) -> Result<(), crate::ConfigError> {
        self.overlay_at(&[], object, origin)
    }

    fn overlay_at(&mut self, path: &[String], object: Map<String, Value>, origin: &str) -> Result<(), crate::ConfigError> {
        for (name, value) in object {
            // A comment, as people write them in JSON.
            if name.starts_with("//") || name.starts_with('$') {
                continue;
            }
            let mut given = path.to_vec();
            given.push(name);
            match self.lookup(&given) {
                Lookup::Known(known) => match value {
                    Value::Object(inner) if self.is_section(&known) => self.overlay_at(&known, inner, origin)?,
                    value => self.set(&known, value, origin),
                },
                Lookup::SecretFile(known) => {
                    let Value::String(file) = value else {
                        return Err(wrong(&given, origin, "expected the name of a file"));
                    };
                    let text = secret(&given, origin, &file)?;
                    self.set(&known, Value::String(text), &format!("{origin}, file {file}"));
                }
                Lookup::Unknown => self.warnings.push(format!("unknown configuration key `{}` in {origin} is ignored", given.join("."))),
            }
        }
        Ok(())
    }

    /// Sets one key from text (environment or `--set`). Numbers and booleans are recognised where the key wants them.
    pub(crate) fn set_text(&mut self, given: &[String], text: &str, origin: &str) -> Result<(), crate::ConfigError> {
        match self.lookup(given) {
            Lookup::Known(known) => {
                let value = self.value_of_text(&known, text);
                match value {
                    Value::Object(inner) if self.is_section(&known) => self.overlay_at(&known, inner, origin)?,
                    value => self.set(&known, value, origin),
                }
            }
            Lookup::SecretFile(known) => {
                let content = secret(given, origin, text)?;
                self.set(&known, Value::String(content), origin);
            }
            Lookup::Unknown => {
                self.warnings.push(format!("unknown configuration key `{}` in {origin} is ignored", given.join(".")));
            }
        }
        Ok(())
    }

    fn value_of_text(&self, path: &[String], text: &str) -> Value {
        let wants_text = matches!(self.at(path), Some(Value::String(_)));
        if wants_text {
            return Value::String(text.to_owned());
        }
        if text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
    }

    fn set(&mut self, path: &[String], value: Value, origin: &str) {
        let Some((last, sections)) = path.split_last() else { return };
        let mut place = &mut self.root;
        for name in sections {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(map) = place else { return };
            place = map.entry(name.clone()).or_insert(Value::Null);
        }
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        if let Value::Object(map) = place {
            map.insert(last.clone(), value);
        }
        self.origins.insert(path.join("."), origin.to_owned());
    }

    fn at(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |value, name| value.get(name))
    }

    fn is_section(&self, path: &[String]) -> bool {
        is_service_store(path) || matches!(self.at(path), Some(Value::Object(_)))
    }

    fn lookup(&self, given: &[String]) -> Lookup {
        let mut known: Vec<String> = Vec::with_capacity(given.len());
        for (depth, name) in given.iter().enumerate() {
            let lower = name.to_ascii_lowercase();
            if let Some(found) = self.child(&known, &lower) {
                known.push(found);
                continue;
            }
            let is_last = depth + 1 == given.len();
            if let Some(stem) = lower.strip_suffix("_file").filter(|_| is_last)
                && let Some(found) = self.child(&known, stem)
            {
                known.push(found);
                return Lookup::SecretFile(known);
            }
            return Lookup::Unknown;
        }
        Lookup::Known(known)
    }

    /// The right spelling of a lower-case name below a path.
    fn child(&self, path: &[String], lower: &str) -> Option<String> {
        if let Some(name) = alias(path, lower) {
            return Some(name.to_owned());
        }
        if is_service_store(path) {
            return ["engine", "url"].iter().find(|name| **name == lower).map(|name| (*name).to_owned());
        }
        let Some(Value::Object(map)) = self.at(path) else { return None };
        map.keys().find(|name| name.eq_ignore_ascii_case(lower)).cloned()
    }
}

/// `<service>.store` is null by default, so the defaults do not show what it may contain.
fn is_service_store(path: &[String]) -> bool {
    matches!(path, [_, name] if name == "store")
}

fn wrong(path: &[String], origin: &str, reason: &str) -> crate::ConfigError {
    crate::ConfigError::Value { key: path.join("."), origin: origin.to_owned(), reason: reason.to_owned() }
}

fn secret(path: &[String], origin: &str, file: &str) -> Result<String, crate::ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|e| wrong(path, origin, &format!("cannot read {file}: {e}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
