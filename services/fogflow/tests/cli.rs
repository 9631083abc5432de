//! The command line without a node: exit codes, messages, files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::TcpListener;

use support::command;

#[test]
fn wrong_options_values_and_files_end_with_code_2_and_say_why_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.json"), "{").unwrap();
    std::fs::write(folder.path().join("pod.yaml"), "kind: Pod\n").unwrap();
    for (arguments, reason) in [
        (vec!["up", "--set", "broker.http_port=none"], "configuration key `broker.http_port`"),
        (vec!["up", "-f", "missing.json"], "missing.json"),
        (vec!["up", "-f", "broken.json"], "broken.json is not valid JSON"),
        (vec!["up", "--demo-speed", "0"], "--demo-speed"),
        (vec!["config", "check", "--set", "site_id=a.b"], "site_id"),
        (vec!["apply", "-f", "pod.yaml"], "unknown kind \"Pod\""),
        (vec!["run", "nowhere"], "fogflow new function"),
        (vec!["get", "tasks", "--server", "ftp://x"], "only http and https"),
        (vec!["restore", "missing.tar"], "missing.tar"),
        (vec!["backup", "missing/b.tar"], "missing/b.tar"),
    ] {
        let output = command(folder.path(), &arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(told.contains(reason) && told.lines().count() == 1, "{arguments:?}: {told}");
    }
    assert_eq!(command(folder.path(), &["frobnicate"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_port_that_is_taken_ends_the_node_with_code_2_and_names_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("discovery.http_port={}", taken.local_addr().unwrap().port());
    let output = command(folder.path(), &["up", "--no-demo", "--set", &setting]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("discovery cannot listen on 127.0.0.1"), "{output:?}");
}

#[test]
fn a_node_that_is_not_there_is_said_so_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = command(folder.path(), &["status", "--server", &free.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&format!("http://{free}")) && told.contains("cannot be reached"), "{told}");
}

#[test]
fn the_configuration_can_be_checked_and_shown_without_its_passwords() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"site_id": "7", "rabbitmq": {"password": "hush"}, "oops": 1}"#).unwrap();
    let checked = command(folder.path(), &["config", "check"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(0));
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(told.contains("unknown configuration key `oops`") && told.ends_with("the configuration is valid\n"), "{told}");
    for format in ["json", "yaml", "table"] {
        let shown = command(folder.path(), &["config", "show", "-o", format]).output().unwrap();
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.status.success() && text.contains("site_id") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = command(folder.path(), &["completions", shell]).output().unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("fogflow"), "{shell}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [vec!["--help"], vec!["--version"], vec!["up", "--help"], vec!["apply", "--help"]] {
        let output = command(folder.path(), &arguments).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}
