//! A site of the system as real processes, on free ports and in a directory of its own.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::servers::RabbitMq;
use crate::{Http, wait_for};

/// A site: its configuration, its directory, and how to start what belongs to it.
pub struct Site {
    directory: tempfile::TempDir,
    config: Value,
}

/// A started program. It is killed when dropped.
pub struct Started {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Site {
    /// A site on the loopback address with free ports and the in-process bus.
    #[must_use]
    pub fn new(site_id: &str) -> Self {
        let [broker, discovery, designer, agent, rest, master_agent, worker] = free_ports();
        let directory = tempfile::Builder::new().prefix("fogflow-site-").tempdir().expect("a temporary directory");
        let config = json!({
            "my_hostip": "127.0.0.1",
            "site_id": site_id,
            "physical_location": {"latitude": 47.6, "longitude": -122.3},
            "discovery": {"http_port": discovery},
            "broker": {"http_port": broker, "heartbeat_interval": 1},
            "designer": {"webSrvPort": designer, "agentPort": agent},
            "master": {"rest_api_port": rest, "ngsi_agent_port": master_agent},
            "worker": {"container_management": "process", "capacity": 8, "http_port": worker},
            "bus": {"engine": "inprocess"},
        });
        Site { directory, config }
    }

    /// An edge site whose core services are those of `cloud`.
    #[must_use]
    pub fn edge_of(cloud: &Site, site_id: &str) -> Self {
        let mut site = Site::new(site_id);
        site.config["coreservice_ip"] = json!("127.0.0.1");
        for section in ["discovery", "designer", "master", "rabbitmq", "bus"] {
            if !cloud.config[section].is_null() {
                site.config[section] = cloud.config[section].clone();
            }
        }
        site
    }

    /// Uses a RabbitMQ instead of the in-process bus.
    #[must_use]
    pub fn on_rabbitmq(self, rabbit: &RabbitMq) -> Self {
        self.with(|config| {
            config["bus"] = json!({"engine": "rabbitmq"});
            config["rabbitmq"] = json!({"host_ip": "127.0.0.1", "port": rabbit.port(), "username": "guest", "password": "guest"});
        })
    }

    /// Changes the configuration; for what is started afterwards.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// The directory of the site; state lies in `data` below it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The base URL of a section's main port: `broker`, `discovery`, `designer`, `master` or `worker`.
    #[must_use]
    pub fn url(&self, section: &str) -> String {
        let key = match section {
            "designer" => "webSrvPort",
            "master" => "rest_api_port",
            _ => "http_port",
        };
        format!("http://127.0.0.1:{}", self.config[section][key])
    }

    /// The port of a section's NGSI agent, if it has one.
    #[must_use]
    pub fn agent_port(&self, section: &str) -> Option<u16> {
        let key = match section {
            "designer" => "agentPort",
            "master" => "ngsi_agent_port",
            _ => return None,
        };
        self.config[section][key].as_u64().and_then(|port| u16::try_from(port).ok())
    }

    /// Starts a program of the workspace with this site's configuration. Its output goes to a file in the directory.
    #[must_use]
    pub fn start(&self, program: &str, arguments: &[&str]) -> Started {
        let (config, data) = (self.write_config(), self.directory.path().join("data"));
        let log = self.directory.path().join(format!("{program}{}.log", arguments.join("_").replace(['/', ':', '@'], "_")));
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = Command::new(binary(program));
        if program == "fogflow" {
            command.arg("up");
        }
        let child = command
            .args(arguments)
            .arg("-f")
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .current_dir(self.directory.path())
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Started { name: program.to_owned(), child, log }
    }

    /// Runs a command of `fogflow` with this site's configuration to its end: whether it went well, and all that it printed.
    pub async fn command(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary("fogflow"));
        command.args(arguments).arg("-f").arg(self.write_config()).arg("--data").arg(self.directory.path().join("data"));
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("fogflow can be started");
        let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (ended.status.success(), text)
    }

    fn write_config(&self) -> PathBuf {
        let config = self.directory.path().join("config.json");
        // Renamed into place: a program that was started a moment ago may be reading it.
        let draft = self.directory.path().join("config.json.draft");
        std::fs::write(&draft, self.config.to_string()).expect("the configuration can be written");
        std::fs::rename(&draft, &config).expect("the configuration can be put in place");
        config
    }

    /// Waits until the main ports of these sections say that they are ready.
    pub async fn ready(&self, sections: &[&str]) {
        let http = Http::new();
        for section in sections {
            let url = format!("{}/ready", self.url(section));
            wait_for(&format!("{section} to be ready"), Duration::from_secs(60), async || http.ok(&url).await).await;
        }
    }

    /// Starts `fogflow up` and waits until all five services are ready.
    pub async fn up(&self, arguments: &[&str]) -> Started {
        let node = self.start("fogflow", arguments);
        self.ready(&["discovery", "broker", "designer", "master", "worker"]).await;
        node
    }
}

impl Drop for Site {
    /// Process tasks outlive a killed worker by design; here they end with the test.
    fn drop(&mut self) {
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
            if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder.starts_with(self.directory.path())) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Started {
    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// What it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then waits for the end.
    pub async fn terminate(&mut self, bound: Duration) -> ExitStatus {
        if let Some(pid) = Pid::from_raw(self.pid()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        self.ended(bound).await
    }

    /// Waits for the end.
    pub async fn ended(&mut self, bound: Duration) -> ExitStatus {
        let (name, child, log) = (&self.name, &mut self.child, &self.log);
        wait_for(&format!("{name} to end"), bound, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}; its log ends with: {}", tail(log))),
        })
        .await
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let mut stderr = std::io::stderr();
            let _ = std::io::Write::write_all(
                &mut stderr,
                format!("--- the log of {} ends with:\n{}\n", self.name, tail(&self.log)).as_bytes(),
            );
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The program in the folder where cargo puts binaries, beside the one that runs this test.
#[must_use]
pub fn binary(program: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test program");
    let folder = test
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"))
        .and_then(Path::parent)
        .expect("cargo's layout");
    let path = folder.join(program);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// Ports of the loopback address that are free now.
#[must_use]
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    std::array::from_fn(|index| sockets[index].local_addr().expect("a bound socket has an address").port())
}
