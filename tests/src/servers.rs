//! Real RabbitMQ and PostgreSQL servers for tests: each on free ports with its own data directory, ended with its test.
//!
//! They are Debian's (`apt-get install rabbitmq-server postgresql pgbouncer`). Where one is not installed, `start` prints
//! that the test was skipped and returns `None`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::skip;

/// How long a server may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs the rest of its arguments, and kills the whole process group when its standard input ends: a test process that
/// is killed leaves no server behind.
const GUARD: &str = "exec 3<&0 </dev/null; (cat <&3 >/dev/null; kill -KILL 0) & exec 3<&-; exec \"$@\"";

/// A RabbitMQ node with its own Erlang port mapper.
pub struct RabbitMq {
    dir: TempDir,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    epmd: Option<Child>,
    server: Option<Child>,
}

impl RabbitMq {
    /// The node that the tests running now in this process share; the last one that lets it go ends it.
    pub async fn shared(test: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<RabbitMq>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start(test).await?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// Starts a node and waits until it takes connections; `None`, with a line that says so, where it is not installed.
    pub async fn start(test: &str) -> Option<Self> {
        let Some((_, epmd)) = rabbitmq_binary().zip(in_path("epmd")) else {
            skip(test, "rabbitmq-server is not installed");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let epmd_port = free_port();
        let mut command = Command::new(epmd);
        let epmd = guarded(command.arg("-port").arg(epmd_port.to_string()).args(["-address", "127.0.0.1"])).spawn().unwrap();
        let mut node = RabbitMq { dir, port: free_port(), distribution_port: free_port(), epmd_port, epmd: Some(epmd), server: None };
        node.restart().await;
        Some(node)
    }

    /// The AMQP URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/", self.port)
    }

    /// The AMQP port, for a proxy in front of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the node in order (SIGTERM) and waits until it has ended.
    pub async fn stop(&mut self) {
        end_group(self.server.take(), Signal::TERM).await;
    }

    /// Kills the node (SIGKILL).
    pub async fn kill(&mut self) {
        end_group(self.server.take(), Signal::KILL).await;
    }

    /// Stops the node's time: connections stay, nothing is answered. [`thaw`](Self::thaw) lets it go on.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(server) = &self.server {
            let _ = kill_process_group(pid(server), signal);
        }
    }

    /// Starts the node again on its data and its port.
    pub async fn restart(&mut self) {
        assert!(self.server.is_none(), "RabbitMQ runs already");
        let base = self.dir.path();
        let log = base.join("rabbitmq.log");
        fs::write(
            base.join("rabbitmq.conf"),
            format!(
                "listeners.tcp.1 = 127.0.0.1:{}\nlog.file = {}\nlog.file.level = info\ndisk_free_limit.absolute = 1MB\n",
                self.port,
                log.display()
            ),
        )
        .unwrap();
        let binary = rabbitmq_binary().expect("it was there");
        let mut command = Command::new(binary);
        command
            .env("HOME", base)
            .env("LC_ALL", "C.UTF-8")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("test-{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", base.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", base)
            .env("RABBITMQ_CONFIG_FILE", base.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", base.join("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", base.join("env.conf"))
            .env("RABBITMQ_PID_FILE", base.join("pid"))
            .current_dir(base);
        self.server = Some(guarded(&command).spawn().unwrap());
        listening(self.port, self.server.as_mut().unwrap(), &log).await;
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        kill_group_now(self.server.take());
        kill_group_now(self.epmd.take());
    }
}

/// A PostgreSQL server. Everybody on loopback is trusted.
pub struct Postgres {
    dir: TempDir,
    port: u16,
    options: Vec<String>,
    server: Option<Child>,
}

impl Postgres {
    /// The server that the tests running now in this process share; the last one that lets it go ends it.
    pub async fn shared(test: &str) -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(Self::start_with(test, &["max_connections=300"]).await?);
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// Creates a cluster and starts it; `None`, with a line that says so, where PostgreSQL is not installed.
    pub async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[]).await
    }

    /// As [`start`](Self::start) with settings, for example `max_connections=20`.
    pub async fn start_with(test: &str, settings: &[&str]) -> Option<Self> {
        let Some(bin) = postgres_bin() else {
            skip(test, "postgresql is not installed");
            return None;
        };
        let dir = TempDir::new().unwrap();
        open_to_postgres(dir.path());
        let data = dir.path().join("data");
        let made =
            quiet(as_postgres(bin.join("initdb")).args(["-A", "trust", "-U", "fogflow", "-E", "UTF8", "--no-sync", "-D"]).arg(&data))
                .status()
                .unwrap();
        assert!(made.success(), "initdb failed in {}", data.display());
        let options = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Postgres { dir, port: free_port(), options, server: None };
        server.restart().await;
        Some(server)
    }

    /// The libpq URL of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// The libpq URL of another database.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        format!("postgres://fogflow@127.0.0.1:{}/{database}", self.port)
    }

    /// The port, for a proxy in front of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL with `psql` and returns what it prints, unaligned and without headers.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        let output = Command::new(postgres_bin().unwrap().join("psql")).arg(self.url()).args(["-qAtc", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Creates an empty database and returns its URL.
    #[must_use]
    pub fn create_database(&self, name: &str) -> String {
        let _ = self.sql(&format!("CREATE DATABASE \"{name}\""));
        self.database_url(name)
    }

    /// Stops the server in order, with its connections cut ("fast").
    pub async fn stop(&mut self) {
        end(self.server.take(), Signal::INT).await;
    }

    /// Stops the server without any order ("immediate"): recovery from the write-ahead log follows.
    pub async fn kill(&mut self) {
        end(self.server.take(), Signal::QUIT).await;
    }

    /// Starts the server again on its data and its port.
    pub async fn restart(&mut self) {
        assert!(self.server.is_none(), "PostgreSQL runs already");
        let log = self.dir.path().join("postgres.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = as_postgres(postgres_bin().unwrap().join("postgres"));
        command.arg("-D").arg(self.dir.path().join("data")).arg("-p").arg(self.port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c"]).arg(format!("unix_socket_directories={}", self.dir.path().display()));
        for option in &self.options {
            command.arg("-c").arg(option);
        }
        self.server = Some(guarded(&command).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
        let start = Instant::now();
        listening(self.port, self.server.as_mut().unwrap(), &log).await;
        // The port is open before recovery has ended.
        let ready = postgres_bin().unwrap().join("pg_isready");
        while !quiet(Command::new(&ready).args(["-h", "127.0.0.1", "-p", &self.port.to_string()])).status().unwrap().success() {
            assert!(start.elapsed() < LIMIT, "PostgreSQL does not get ready:\n{}", tail(&log));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(&server, Signal::QUIT);
            let _ = server.wait();
        }
    }
}

/// pgbouncer in transaction mode in front of a [`Postgres`].
pub struct PgBouncer {
    _dir: TempDir,
    port: u16,
    server: Child,
}

impl PgBouncer {
    /// Starts the pooler with so few server connections that sessions must share them.
    pub async fn start(test: &str, behind: &Postgres) -> Option<Self> {
        let Some(binary) = in_path("pgbouncer") else {
            skip(test, "pgbouncer is not installed");
            return None;
        };
        let dir = TempDir::new().unwrap();
        open_to_postgres(dir.path());
        let (port, log) = (free_port(), dir.path().join("pgbouncer.log"));
        let ini = dir.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=fogflow\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 500\n\
             unix_socket_dir =\nlogfile = {}\n",
            behind.port,
            log.display()
        );
        fs::write(&ini, settings).unwrap();
        fs::set_permissions(&ini, fs::Permissions::from_mode(0o644)).unwrap();
        let mut server = guarded(as_postgres(binary).arg(&ini)).spawn().unwrap();
        listening(port, &mut server, &log).await;
        Some(PgBouncer { _dir: dir, port, server })
    }

    /// The libpq URL of the database `postgres` through the pooler.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://fogflow@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = kill_process_group(pid(&self.server), Signal::KILL);
        let _ = self.server.wait();
    }
}

/// A TCP port on loopback that nobody uses now.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn rabbitmq_binary() -> Option<PathBuf> {
    // Debian's wrapper in the path changes user and directory; the script behind it does what we say.
    let direct = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if direct.exists() { Some(direct) } else { in_path("rabbitmq-server") }
}

fn postgres_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.or_else(|| in_path("initdb").and_then(|initdb| fs::canonicalize(initdb).ok()?.parent().map(Path::to_owned)))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.exists())
}

/// PostgreSQL and pgbouncer refuse to run as root, so root runs them as the user `postgres`.
fn as_postgres(program: PathBuf) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program).current_dir("/");
    command
}

fn open_to_postgres(dir: &Path) {
    if rustix::process::geteuid().is_root() {
        let output = Command::new("id").args(["-u", "postgres"]).output().unwrap();
        let uid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("the user postgres");
        chown(dir, Some(uid), None).unwrap();
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// The same command under [`GUARD`] in a process group of its own, without output.
fn guarded(command: &Command) -> Command {
    let mut guarded = Command::new("sh");
    guarded.args(["-c", GUARD, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            guarded.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        guarded.current_dir(dir);
    }
    guarded.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    guarded
}

async fn listening(port: u16, server: &mut Child, log: &Path) {
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended with {ended:?}:\n{}", tail(log));
        assert!(start.elapsed() < LIMIT, "no server on port {port}:\n{}", tail(log));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(30).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn signal(child: &Child, signal: Signal) {
    let _ = kill_process(pid(child), signal);
}

/// Signals a server and waits until it has ended.
async fn end(server: Option<Child>, with: Signal) {
    let Some(server) = server else { return };
    signal(&server, with);
    ended(server).await;
}

/// Signals a server with its children and waits until all of them have ended.
async fn end_group(server: Option<Child>, with: Signal) {
    let Some(server) = server else { return };
    let group = pid(&server);
    let _ = kill_process_group(group, with);
    ended(server).await;
    let start = Instant::now();
    while rustix::process::test_kill_process_group(group).is_ok() {
        assert!(start.elapsed() < LIMIT, "children of the server do not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for the end without closing the server's standard input, which would kill it; dropping it afterwards ends the guard.
async fn ended(mut server: Child) {
    let start = Instant::now();
    while server.try_wait().unwrap().is_none() {
        if start.elapsed() > LIMIT {
            let _ = server.kill();
            panic!("the server did not stop within {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kill_group_now(server: Option<Child>) {
    if let Some(mut server) = server {
        let _ = kill_process_group(pid(&server), Signal::KILL);
        let _ = server.wait();
    }
}
