//! What the registry accepts. Every refusal names the field and says what would be right. No I/O.

mod graph;
mod scope;

use axum::http::Uri;
use fogflow_orchestration::{DockerImage, Executable, Operator, ServiceIntent, Topology};

use crate::error::{ApiError, ApiResult};
use crate::records::{Device, ForwardedSubscription};

pub(crate) use scope::geoscope;

/// Longest name or id.
const LONGEST: usize = 256;
/// Largest source of inline code, in bytes.
const LARGEST_CODE: usize = 512 * 1024;
/// Most tasks of a topology.
const MOST_TASKS: usize = 1000;

/// A name of ours: it becomes part of task ids, routing keys and URL paths.
///
/// # Errors
/// 400 if it is empty, longer than 256 bytes, or holds anything but letters, digits, `.`, `_`, `-` and `:`.
pub(crate) fn name(field: &str, name: &str) -> ApiResult<()> {
    if name.is_empty() {
        return Err(ApiError::bad(format!("{field} is missing")));
    }
    if name.len() > LONGEST {
        return Err(ApiError::bad(format!("{field} is longer than {LONGEST} bytes")));
    }
    match name.chars().find(|c| !(c.is_alphanumeric() || "._-:".contains(*c))) {
        Some(wrong) => Err(ApiError::bad(format!("{field} {name:?} holds {wrong:?}; use letters, digits, '.', '_', '-' and ':'"))),
        None if name.chars().all(|c| c == '.') => Err(ApiError::bad(format!("{field} {name:?} is made of dots only"))),
        None => Ok(()),
    }
}

/// An entity id or type: what NGSI allows in them.
///
/// # Errors
/// 400 if it is empty, too long, or holds white space, control characters or one of `< > " ' = ; ( ) & ? / #`
/// (`/`, `#`, `?`, `&` are allowed in a URI, one with `://`).
pub(crate) fn ngsi_name(field: &str, text: &str) -> ApiResult<()> {
    if text.is_empty() {
        return Err(ApiError::bad(format!("{field} is missing")));
    }
    if text.len() > LONGEST {
        return Err(ApiError::bad(format!("{field} is longer than {LONGEST} bytes")));
    }
    let uri = text.contains("://");
    let wrong = |c: char| c.is_whitespace() || c.is_control() || "<>\"'=;()".contains(c) || (!uri && "&?/#".contains(c));
    match text.chars().find(|c| wrong(*c)) {
        Some(c) => Err(ApiError::bad(format!("{field} {text:?} holds {c:?}, which NGSI does not allow there"))),
        None => Ok(()),
    }
}

/// An operator with its images, executables and code.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn operator(operator: &Operator) -> ApiResult<()> {
    name("name", &operator.name)?;
    for (index, parameter) in operator.parameters.iter().enumerate() {
        if parameter.name.is_empty() {
            return Err(ApiError::bad(format!("parameters[{index}].name is missing")));
        }
    }
    operator.dockerimages.iter().enumerate().try_for_each(|(index, image)| docker_image(&format!("dockerimages[{index}]"), image))?;
    operator.executables.iter().enumerate().try_for_each(|(index, command)| executable(&format!("executables[{index}]"), command))?;
    if let Some(code) = &operator.code {
        if !["python", "javascript"].contains(&code.language.as_str()) {
            return Err(ApiError::bad(format!("code.language {:?} is not known; use python or javascript", code.language)));
        }
        if code.source.trim().is_empty() {
            return Err(ApiError::bad("code.source is empty"));
        }
        if code.source.len() > LARGEST_CODE {
            return Err(ApiError::bad(format!("code.source is larger than {LARGEST_CODE} bytes")));
        }
    }
    Ok(())
}

/// An image of an operator.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn docker_image(at: &str, image: &DockerImage) -> ApiResult<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if image.name.is_empty() {
        return Err(ApiError::bad(format!("{at}.name is missing")));
    }
    if image.name.len() > LONGEST || !image.name.chars().all(plain) || image.name.starts_with(['-', '/']) {
        return Err(ApiError::bad(format!("{at}.name {:?} is not the name of an image", image.name)));
    }
    let tag = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if image.tag.is_empty() || image.tag.len() > 128 || !image.tag.chars().all(tag) {
        return Err(ApiError::bad(format!("{at}.tag {:?} is not a tag", image.tag)));
    }
    one_of(&format!("{at}.hwType"), &image.hw_type, &["", "X86", "ARM", "ARM64", "any"])?;
    one_of(&format!("{at}.osType"), &image.os_type, &["", "Linux", "Windows", "any"])
}

fn executable(at: &str, executable: &Executable) -> ApiResult<()> {
    if executable.command.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(ApiError::bad(format!("{at}.command is empty; give program and arguments as a list")));
    }
    let strings = executable.command.iter().chain(executable.env.keys()).chain(executable.env.values()).chain(&executable.cwd);
    if strings.into_iter().any(|text| text.contains('\0')) {
        return Err(ApiError::bad(format!("{at} holds a NUL character")));
    }
    if let Some(wrong) = executable.env.keys().find(|key| key.is_empty() || key.contains('=')) {
        return Err(ApiError::bad(format!("{at}.env holds {wrong:?}, which is not the name of a variable")));
    }
    one_of(&format!("{at}.hwType"), executable.hw_type.as_deref().unwrap_or_default(), &["", "X86", "ARM", "ARM64", "any"])
}

fn one_of(field: &str, value: &str, allowed: &[&str]) -> ApiResult<()> {
    if allowed.iter().any(|word| word.eq_ignore_ascii_case(value)) {
        return Ok(());
    }
    let words: Vec<&str> = allowed.iter().copied().filter(|word| !word.is_empty()).collect();
    Err(ApiError::bad(format!("{field} {value:?} is not known; use {}", words.join(", "))))
}

/// A topology: names, operators that exist, unique tasks, inputs and outputs with types, no cycle.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn topology(topology: &Topology, operator_exists: impl Fn(&str) -> bool) -> ApiResult<()> {
    name("topology.name", &topology.name)?;
    if topology.tasks.is_empty() {
        return Err(ApiError::bad(format!("topology {:?} has no tasks", topology.name)));
    }
    if topology.tasks.len() > MOST_TASKS {
        return Err(ApiError::bad(format!("topology {:?} has more than {MOST_TASKS} tasks", topology.name)));
    }
    let mut names = std::collections::HashSet::new();
    for (index, task) in topology.tasks.iter().enumerate() {
        let at = format!("tasks[{index}]");
        name(&format!("{at}.name"), &task.name)?;
        if !names.insert(&task.name) {
            return Err(ApiError::bad(format!("{at}.name {:?} is there twice", task.name)));
        }
        name(&format!("{at}.operator"), &task.operator)?;
        if !operator_exists(&task.operator) {
            return Err(ApiError::bad(format!("{at}.operator {:?} is not registered; register it first (POST /operator)", task.operator)));
        }
        if task.input_streams.is_empty() {
            return Err(ApiError::bad(format!("{at}.input_streams is empty: nothing would ever start the task")));
        }
        for (position, input) in task.input_streams.iter().enumerate() {
            ngsi_name(&format!("{at}.input_streams[{position}].selected_type"), &input.selected_type)?;
            if input.groupby.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(ApiError::bad(format!(
                    "{at}.input_streams[{position}].groupby {:?} is neither ALL, EntityID, EntityType nor the name of a metadata item",
                    input.groupby
                )));
            }
        }
        for (position, output) in task.output_streams.iter().enumerate() {
            ngsi_name(&format!("{at}.output_streams[{position}].entity_type"), &output.entity_type)?;
        }
    }
    graph::acyclic(topology)
}

/// An intent. The topology is checked by the caller, who knows which there are.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn intent(intent: &ServiceIntent) -> ApiResult<()> {
    name("id", &intent.id)?;
    name("topology", &intent.topology)?;
    // Upstream's pages write `default`, `Max Throughput`, `Min-cost` for the same objectives.
    let objective = intent.qos.to_ascii_uppercase().replace([' ', '-'], "_");
    if !["", "DEFAULT", "NONE", "MAX_THROUGHPUT", "MIN_LATENCY", "MIN_COST"].contains(&objective.as_str()) {
        return Err(ApiError::bad(format!("qos {:?} is not known; use NONE, MAX_THROUGHPUT, MIN_LATENCY or MIN_COST", intent.qos)));
    }
    geoscope(&intent.geoscope)
}

/// A device.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn device(device: &Device) -> ApiResult<()> {
    ngsi_name("id", &device.id)?;
    ngsi_name("type", &device.device_type)?;
    for (kind, items) in [("attributes", &device.attributes), ("metadata", &device.metadata)] {
        for (key, item) in items {
            ngsi_name(&format!("a name in {kind}"), key)?;
            if item.value_type.eq_ignore_ascii_case("point") {
                scope::point(&format!("{kind}.{key}.value"), &item.value)?;
            }
        }
    }
    Ok(())
}

/// A subscription on behalf of another broker.
///
/// # Errors
/// 400 with the field that is wrong.
pub(crate) fn subscription(subscription: &ForwardedSubscription) -> ApiResult<()> {
    ngsi_name("entity_type", &subscription.entity_type)?;
    let url = &subscription.reference_url;
    let uri: Uri = url.parse().map_err(|_| ApiError::bad(format!("reference_url {url:?} is not a URL")))?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if uri.host().is_none_or(str::is_empty) || !["http", "https"].contains(&scheme) {
        return Err(ApiError::bad(format!("reference_url {url:?} has to begin with http:// or https://")));
    }
    if subscription.tenant.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ApiError::bad(format!("tenant {:?} holds white space", subscription.tenant)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
