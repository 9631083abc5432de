//! One site as a cluster runs it: replicas of every service over one PostgreSQL and one RabbitMQ, each service behind an
//! address that hands connections round. Every process reaches PostgreSQL by a link of its own, which can be cut.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::balancer::{Balancer, address_of};
use crate::proxy::Proxy;
use crate::servers::{Postgres, RabbitMq};
use crate::tasks::processes_of;
use crate::{Http, Site, Started, wait_for};

/// How many replicas each service has. Workers are not replicas of each other here, but two workers.
pub const REPLICAS: [(&str, usize); 4] = [("discovery", 2), ("broker", 2), ("designer", 2), ("master", 2)];
/// How many workers there are.
pub const WORKERS: usize = 2;
/// How long a process may take to become ready, on a machine that is busy.
const READY: Duration = Duration::from_secs(60);

/// One process of the cluster.
pub struct Member {
    /// The service.
    pub service: &'static str,
    /// Which of its replicas.
    pub number: usize,
    /// Its way to PostgreSQL.
    pub link: Proxy,
    base: String,
    arguments: Vec<String>,
    program: Option<Started>,
}

impl Member {
    /// For messages: `designer.1`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.service, self.number)
    }

    /// The base URL of this replica alone.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it, or starts it again.
    pub fn start(&mut self, site: &Site) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.program = Some(site.start(&format!("fogflow-{}", self.service), &arguments));
    }

    /// Stops it in the middle of whatever it does, without its knowing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.program.as_ref().and_then(|program| Pid::from_raw(program.pid())) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it was started and has ended by itself; then what it printed last.
    #[must_use]
    pub fn has_ended(&self) -> Option<String> {
        let program = self.program.as_ref()?;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.pid())).unwrap_or_default();
        // Behind the name in brackets stands the state; an ended child that nobody has waited for is a zombie.
        let ended = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
        ended.then(|| program.log().lines().rev().take(5).collect::<Vec<_>>().join(" | "))
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self, http: &Http) {
        let url = format!("{}/ready", self.base);
        wait_for(&format!("{} to be ready", self.name()), READY, async || match self.has_ended() {
            Some(log) => panic!("{} has ended by itself: {log}", self.name()),
            None => http.ok(&url).await,
        })
        .await;
    }
}

/// See the module.
pub struct Cluster {
    /// All processes. They end before the site, which ends what their tasks left.
    pub members: Vec<Member>,
    /// Its addresses are those of the services.
    pub site: Site,
    /// The database.
    pub postgres: Postgres,
    /// The message bus.
    pub rabbit: RabbitMq,
    _balancers: Vec<Balancer>,
}

impl Cluster {
    /// Starts all of it; `None`, with a line that says why, where a server is not installed.
    pub async fn start(test: &str) -> Option<Self> {
        let postgres = Postgres::start_with(test, &["max_connections=300"]).await?;
        let rabbit = RabbitMq::start(test).await?;
        let site = Site::new("001").on_rabbitmq(&rabbit).with(|config| config["store"] = json!({"engine": "postgres", "url": ""}));
        let mut members = Vec::new();
        let mut balancers = Vec::new();
        for (service, replicas) in REPLICAS {
            let ports = [Some(port_of(&site.url(service))), site.agent_port(service)];
            for port in ports.into_iter().flatten() {
                balancers.push(Balancer::start(port, replicas).await);
            }
            for number in 0..replicas {
                let base = site.url(service).replace("127.0.0.1", &address_of(number).to_string());
                let listen = format!("listen={}", address_of(number));
                members.push(member(service, number, base, vec!["--set".to_owned(), listen], &postgres).await);
            }
        }
        for number in 0..WORKERS {
            let [port] = crate::node::free_ports();
            let base = format!("http://127.0.0.1:{port}");
            let arguments = ["-i".to_owned(), number.to_string(), "--set".to_owned(), format!("worker.http_port={port}")];
            members.push(member("worker", number, base, arguments.to_vec(), &postgres).await);
        }
        let mut cluster = Cluster { site, members, postgres, rabbit, _balancers: balancers };
        for member in &mut cluster.members {
            member.start(&cluster.site);
        }
        cluster.ready().await;
        Some(cluster)
    }

    /// Waits until every process is ready.
    pub async fn ready(&self) {
        let http = Http::new();
        for member in &self.members {
            member.ready(&http).await;
        }
    }

    /// Waits until there are this many tasks, all replicas of the designer show the same ones as running, and one process
    /// runs each. Returns the processes.
    pub async fn each_task_runs_once(&self, tasks: usize, bound: Duration) -> BTreeMap<String, i32> {
        let http = Http::new();
        wait_for(&format!("{tasks} tasks to run exactly once"), bound, async || {
            let mut tables = Vec::new();
            for designer in self.replicas("designer") {
                tables.push(by_id(&http.ok(&format!("{}/info/task", designer.url())).await?, "TaskID"));
            }
            let ids: Vec<Vec<&String>> = tables.iter().map(|table| table.keys().collect()).collect();
            if ids.iter().any(|these| these.len() != tasks || *these != ids[0]) {
                return Err(format!("the designers show {ids:?}"));
            }
            if let Some(row) = tables.iter().flat_map(BTreeMap::values).find(|row| row["Status"] != "running") {
                return Err(row.to_string());
            }
            let mut found = BTreeMap::new();
            for id in &ids[0] {
                match processes_of(id).as_slice() {
                    [process] => found.insert((*id).clone(), *process),
                    other => return Err(format!("{id} has the processes {other:?}")),
                };
            }
            Ok(found)
        })
        .await
    }

    /// The replicas of a service.
    pub fn replicas<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |member| member.service == service)
    }
}

async fn member(service: &'static str, number: usize, base: String, mut arguments: Vec<String>, postgres: &Postgres) -> Member {
    let link = Proxy::start(postgres.port()).await;
    let url = postgres.url().replace(&postgres.port().to_string(), &link.port().to_string());
    arguments.extend(["--set".to_owned(), format!("store.url={url}")]);
    Member { service, number, link, base, arguments, program: None }
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a URL with a port")
}

/// The rows of a list as `id -> row`.
fn by_id(rows: &Value, id: &str) -> BTreeMap<String, Value> {
    rows.as_array().into_iter().flatten().map(|row| (row[id].as_str().unwrap_or_default().to_owned(), row.clone())).collect()
}
