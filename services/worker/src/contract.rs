//! The contract between a worker and a task, as seen from inside the task (upstream's engines set the same).
//!
//! A task finds two variables in its environment, `myport` and `adminCfg`, listens on that port for
//! `POST /notifyContext`, and writes to the broker that `adminCfg` names. Ours adds the operator's parameters as
//! `FOGFLOW_PARAM_<name>` and, for an operator's own use, `FOGFLOW_TASK_ID`.

use std::collections::BTreeMap;

use fogflow_orchestration::{Parameter, ScheduledTaskInstance};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Prefix of the variables that carry the operator's parameters.
pub const PARAMETER_PREFIX: &str = "FOGFLOW_PARAM_";

/// The admin commands of a task in the order of upstream's engines: `CONNECT_BROKER`, `SET_CORRELATORID`,
/// `SET_REFERENCE`, then one `SET_OUTPUTS` per output stream.
#[must_use]
pub fn admin_commands(task: &ScheduledTaskInstance, broker_url: &str, reference_url: &str) -> Value {
    let mut commands = vec![
        json!({"command": "CONNECT_BROKER", "brokerURL": broker_url}),
        json!({"command": "SET_CORRELATORID", "correlatorID": task.id}),
        json!({"command": "SET_REFERENCE", "url": reference_url}),
    ];
    commands
        .extend(task.outputs.iter().map(|output| json!({"command": "SET_OUTPUTS", "type": output.entity_type, "id": output.stream_id})));
    Value::Array(commands)
}

/// The environment of a task. What the contract itself needs cannot be overridden by an operator's own variables.
#[must_use]
pub fn environment(task: &ScheduledTaskInstance, port: u16, broker_url: &str, reference_url: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    if let Some(executable) = &task.executable {
        variables.extend(executable.env.clone());
    }
    for parameter in &task.parameters {
        variables.insert(format!("{PARAMETER_PREFIX}{}", variable_name(&parameter.name)), parameter.value.clone());
    }
    variables.insert("FOGFLOW_TASK_ID".to_owned(), task.id.clone());
    variables.insert("myport".to_owned(), port.to_string());
    variables.insert("adminCfg".to_owned(), admin_commands(task, broker_url, reference_url).to_string());
    // A zero byte cannot be part of an environment; it would fail the start with a message that names nothing.
    variables.retain(|name, value| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    variables
}

fn variable_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '_' }).collect()
}

/// The ports that a task offers to others beside `myport`: parameter `service_port` or `service-port`, any number of
/// times, each a list separated by semicolons. Upstream's documentation and its editor differ in the spelling.
#[must_use]
pub fn service_ports(parameters: &[Parameter]) -> Vec<u16> {
    let mut ports = Vec::new();
    for parameter in parameters.iter().filter(|parameter| matches!(parameter.name.as_str(), "service_port" | "service-port")) {
        for port in parameter.value.split([';', ',']).filter_map(|text| text.trim().parse::<u16>().ok()) {
            if port != 0 && !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    ports
}

/// The form in which a task wants its notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyFormat {
    /// NGSI-10, what every upstream operator of release 3 gets.
    NgsiV1,
    /// NGSI-LD.
    NgsiLd,
}

/// The form that the parameter `notify_format` (`ngsi-v1` or `ngsi-ld`) asks for; NGSI-10 without it.
#[must_use]
pub fn notify_format(parameters: &[Parameter]) -> NotifyFormat {
    match parameter(parameters, "notify_format") {
        Some(value) if matches!(value.to_ascii_lowercase().as_str(), "ngsi-ld" | "ngsild" | "ld") => NotifyFormat::NgsiLd,
        _ => NotifyFormat::NgsiV1,
    }
}

/// The value of a parameter; `-` and `_` in names are the same.
#[must_use]
pub fn parameter<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a str> {
    parameters.iter().find(|parameter| parameter.name.replace('-', "_").eq_ignore_ascii_case(name)).map(|parameter| parameter.value.trim())
}

/// The memory that parameter `memory` allows, in bytes; written as a number or with a unit (`256m`, `1Gi`). At least 6 MiB,
/// docker's own minimum. `None` without the parameter, or when it is no size.
#[must_use]
pub fn memory_limit(parameters: &[Parameter]) -> Option<u64> {
    let text = parameter(parameters, "memory")?.to_ascii_lowercase();
    let text = text.trim_end_matches("ib").trim_end_matches('b').trim_end_matches('i');
    let (digits, factor) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes >= 6 << 20)
}

/// A hash of everything that a running instance was started with. Inputs, priority and generation are not part of it:
/// they change while the instance runs on. Stable across restarts and releases.
#[must_use]
pub fn fingerprint(task: &ScheduledTaskInstance) -> String {
    let mut parts = json!([
        task.id,
        task.operator_name,
        task.docker_image,
        task.function_code,
        task.executable,
        task.code,
        task.parameters,
        task.outputs,
        task.tenant
    ]);
    // Only where there is something, so that the others keep the fingerprint that they had before.
    if let (Some(settings), Value::Array(parts)) = (&task.kubernetes, &mut parts) {
        parts.push(json!(settings));
    }
    hex::encode(&Sha256::digest(parts.to_string().as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogflow_orchestration::{Executable, InputStream, OutputStream};

    fn parameters(list: &[(&str, &str)]) -> Vec<Parameter> {
        list.iter().map(|(name, value)| Parameter { name: (*name).to_owned(), value: (*value).to_owned() }).collect()
    }

    #[test]
    fn admin_commands_are_those_of_upstream_in_its_order_and_spelling() {
        let task = ScheduledTaskInstance {
            id: "Task.ffTest.main.3321735966".to_owned(),
            outputs: vec![OutputStream { entity_type: "Out".to_owned(), stream_id: "Out.3321735966.1".to_owned(), annotations: None }],
            ..Default::default()
        };
        assert_eq!(
            admin_commands(&task, "http://10.0.0.5:8070/ngsi10", "http://fogflow-task-40123:40123").to_string(),
            concat!(
                r#"[{"command":"CONNECT_BROKER","brokerURL":"http://10.0.0.5:8070/ngsi10"},"#,
                r#"{"command":"SET_CORRELATORID","correlatorID":"Task.ffTest.main.3321735966"},"#,
                r#"{"command":"SET_REFERENCE","url":"http://fogflow-task-40123:40123"},"#,
                r#"{"command":"SET_OUTPUTS","type":"Out","id":"Out.3321735966.1"}]"#
            )
        );
    }

    #[test]
    fn parameters_reach_the_task_and_the_operators_own_variables_cannot_replace_the_contracts() {
        let task = ScheduledTaskInstance {
            id: "Task.t.m.1".to_owned(),
            parameters: parameters(&[("thresh-old", "30")]),
            executable: Some(Executable {
                env: [("myport", "1"), ("A", "b"), ("", "x"), ("Z", "a\0b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let variables = environment(&task, 4000, "http://b/ngsi10", "http://r");
        assert_eq!(variables["FOGFLOW_PARAM_thresh_old"], "30");
        assert_eq!(variables["myport"], "4000");
        assert_eq!(variables["A"], "b");
        assert!(!variables.contains_key("") && !variables.contains_key("Z"));
    }

    #[test]
    fn fault_21_both_spellings_of_the_service_port_are_one_parameter_and_may_be_repeated() {
        let list =
            parameters(&[("service_port", "1026;4041"), ("service-port", "4041; 7896"), ("other", "1"), ("service-port", "no;0;70000")]);
        assert_eq!(service_ports(&list), [1026, 4041, 7896]);
    }

    #[test]
    fn a_memory_limit_is_a_number_with_or_without_a_unit() {
        let limit = |text| memory_limit(&parameters(&[("memory", text)]));
        assert_eq!([limit("64Mi"), limit("64m"), limit("67108864"), limit("64 MB")], [Some(64 << 20); 4]);
        assert_eq!([limit("much"), limit(""), limit("-1"), limit("5m"), limit("99999999999g"), memory_limit(&[])], [None; 6]);
        assert_eq!(limit("2Gi"), Some(2 << 30));
    }

    #[test]
    fn fault_30_an_operator_can_ask_for_ngsi_ld_and_gets_ngsi_10_otherwise() {
        assert_eq!(notify_format(&parameters(&[("notify_format", "ngsi-ld")])), NotifyFormat::NgsiLd);
        assert_eq!(notify_format(&parameters(&[("notify-format", "NGSI-LD")])), NotifyFormat::NgsiLd);
        assert_eq!(notify_format(&parameters(&[("notify_format", "ngsi-v1")])), NotifyFormat::NgsiV1);
        assert_eq!(notify_format(&[]), NotifyFormat::NgsiV1);
    }

    #[test]
    fn inputs_and_priority_do_not_change_the_fingerprint_but_the_image_does() {
        let task = ScheduledTaskInstance { id: "t".to_owned(), docker_image: "a:1".to_owned(), ..Default::default() };
        let mut other = task.clone();
        other.inputs.push(InputStream { id: "D.1".to_owned(), ..Default::default() });
        other.priority_level = 7;
        other.generation = Some(9);
        assert_eq!(fingerprint(&task), fingerprint(&other));
        other.docker_image = "a:2".to_owned();
        assert_ne!(fingerprint(&task), fingerprint(&other));
    }
}
