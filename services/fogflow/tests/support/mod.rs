//! A node in a directory of its own, driven by its command line.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Bound of every wait.
const BOUND: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) folder: TempDir,
    pub(crate) ports: [u16; 7],
    child: Option<Child>,
}

impl Node {
    /// A configuration on free ports of loopback. Nothing runs yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sockets: [TcpListener; 7] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
        let [broker, discovery, designer, agent, rest, master_agent, worker] = ports;
        let config = json!({
            "discovery": {"http_port": discovery},
            "broker": {"http_port": broker},
            "designer": {"webSrvPort": designer, "agentPort": agent},
            "master": {"rest_api_port": rest, "ngsi_agent_port": master_agent},
            "worker": {"http_port": worker},
        });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Node { folder, ports, child: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn up(&mut self, arguments: &[&str]) {
        let log = File::create(self.path().join("log")).unwrap();
        let child = command(self.path(), &[&["up"], arguments].concat()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        self.wait(
            "the node to be ready",
            || self.cli(&["status", "-o", "json"]),
            |output| {
                let picture: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let kinds: Vec<&str> =
                    picture["components"].as_array().into_iter().flatten().filter_map(|part| part["component"].as_str()).collect();
                let ready = picture["components"].as_array().is_some_and(|parts| parts.iter().all(|part| part["state"] == "ready"));
                ready && ["designer", "discovery", "broker", "master", "worker"].iter().all(|kind| kinds.contains(kind))
            },
        );
    }

    /// One command in the node's directory.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        command(self.path(), arguments).output().unwrap()
    }

    /// The output of a command that has to succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// Repeats a command until its output satisfies.
    pub(crate) fn wait(&self, what: &str, run: impl Fn() -> Output, satisfies: impl Fn(&Output) -> bool) {
        let began = Instant::now();
        loop {
            let output = run();
            if satisfies(&output) {
                return;
            }
            assert!(began.elapsed() < BOUND, "waited for {what}, last: {output:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGTERM; the exit status and how long it took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < BOUND, "the node does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program in a directory, without the environment of whoever runs the tests.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fogflow"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).env_remove("FOGFLOW_SERVER").env_remove("FOGFLOW_ADMIN_TOKEN");
    command
}
