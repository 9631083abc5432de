//! The names of task instances and of their outputs. They are part of the product's contract: stable across releases, equal
//! on every master, and different for different intents and tasks even when these group by the same values.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// One key of a group: `(<selected type>-<groupby>, value)`; the value in [`canonical`] form.
pub type GroupEntry<'a> = (&'a str, &'a str);

/// The suffix of a task instance: the first 8 bytes of the SHA-256 of
/// `["<tenant>","<intent>","<task>",[["<key>",<value>],…]]`, as 16 lower-case hexadecimal digits. The text is compact JSON
/// (RFC 8259, without spaces), keys are sorted by bytes, values are in [`canonical`] form; the default tenant is `""`.
#[must_use]
pub fn task_suffix(tenant: &str, intent: &str, task: &str, group: &[GroupEntry<'_>]) -> String {
    let mut sorted: Vec<GroupEntry<'_>> = group.to_vec();
    sorted.sort_unstable();
    let mut text = String::with_capacity(128);
    text.push('[');
    for part in [tenant, intent, task] {
        push_json_string(&mut text, part);
        text.push(',');
    }
    text.push('[');
    for (index, (key, value)) in sorted.iter().enumerate() {
        text.push_str(if index == 0 { "[" } else { ",[" });
        push_json_string(&mut text, key);
        text.push(',');
        text.push_str(value);
        text.push(']');
    }
    text.push_str("]]");
    let digest = Sha256::digest(text.as_bytes());
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    digest.iter().take(8).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// `Task.<topology>.<task>.<suffix>`
#[must_use]
pub fn task_id(topology: &str, task: &str, suffix: &str) -> String {
    ["Task", topology, task, suffix].join(".")
}

/// `<type>.<suffix>.<n>`; `n` counts the output streams of the task from 1.
#[must_use]
pub fn output_id(entity_type: &str, suffix: &str, n: usize) -> String {
    format!("{entity_type}.{suffix}.{n}")
}

/// The suffix of a task id: what follows the last dot.
#[must_use]
pub fn suffix_of(task_id: &str) -> &str {
    task_id.rsplit('.').next().unwrap_or(task_id)
}

/// A value as compact JSON text that does not depend on how it was written: object keys sorted, whole numbers without
/// fraction or exponent.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    push_canonical(&mut text, value);
    text
}

/// [`canonical`] of a string.
#[must_use]
pub fn canonical_string(string: &str) -> String {
    let mut text = String::with_capacity(string.len() + 2);
    push_json_string(&mut text, string);
    text
}

fn push_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_canonical(text, item);
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, item)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                push_json_string(text, key);
                text.push(':');
                push_canonical(text, item);
            }
            text.push('}');
        }
        Value::Number(number) => match number.as_f64() {
            // 2^53: up to here a double holds every whole number.
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 => {
                // Adding zero makes a negative zero positive.
                let _ = write!(text, "{:.0}", float + 0.0);
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "{number}");
            }
        },
        Value::String(string) => push_json_string(text, string),
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
    }
}

fn push_json_string(text: &mut String, string: &str) {
    if string.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        let _ = write!(text, "{}", Value::String(string.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// These never change: a release that prints other ids would stop and restart every task at an update.
    #[test]
    fn test_vectors_of_task_suffixes() {
        let vectors: [(&str, &str, &str, &[GroupEntry<'_>], &str); 5] = [
            ("", "ServiceIntent.1", "main", &[("Temperature-EntityID", r#""Device.temp001""#)], "51ecffce1d261820"),
            ("", "ServiceIntent.1", "main", &[("Temperature-ALL", r#""ALL""#)], "46fb0fcd42fcfbd0"),
            ("", "ServiceIntent.2", "main", &[("Temperature-ALL", r#""ALL""#)], "ea4d58a232db49f4"),
            ("acme", "ServiceIntent.1", "main", &[("Temperature-ALL", r#""ALL""#)], "10ceb3567f8c1231"),
            ("", "ServiceIntent.1", "join", &[("Rule-ALL", r#""ALL""#), ("PowerPanel-city", r#"{"lat":1}"#)], "353f18d7135ab5ae"),
        ];
        for (tenant, intent, task, group, suffix) in vectors {
            assert_eq!(task_suffix(tenant, intent, task, group), suffix, "{tenant} {intent} {task} {group:?}");
        }
    }

    #[test]
    fn fault_17_ids_differ_between_intents_tasks_tenants_and_keys_with_equal_values() {
        let group = [("A-EntityID", r#""x""#)];
        let all = [
            task_suffix("", "i", "t", &group),
            task_suffix("", "j", "t", &group),
            task_suffix("", "i", "u", &group),
            task_suffix("a", "i", "t", &group),
            task_suffix("", "i", "t", &[("B-EntityID", r#""x""#)]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one));
            assert_eq!(one.len(), 16);
        }
    }

    #[test]
    fn the_order_of_the_keys_does_not_matter() {
        let (one, two) = (("A-ALL", r#""ALL""#), ("B-ALL", r#""ALL""#));
        assert_eq!(task_suffix("", "i", "t", &[one, two]), task_suffix("", "i", "t", &[two, one]));
    }

    #[test]
    fn canonical_text_ignores_key_order_and_number_spelling() {
        assert_eq!(canonical(&json!({"b": 1.0, "a": [true, null, "é\n"]})), r#"{"a":[true,null,"é\n"],"b":1}"#);
        assert_eq!(canonical(&json!(1.5)), "1.5");
        assert_eq!(canonical(&json!(-0.0)), "0");
    }

    #[test]
    fn names_keep_upstreams_visible_pattern() {
        assert_eq!(task_id("ffTest", "main", "00ff"), "Task.ffTest.main.00ff");
        assert_eq!(output_id("Out", "00ff", 1), "Out.00ff.1");
        assert_eq!(suffix_of("Task.a.b.c.00ff"), "00ff");
    }
}
