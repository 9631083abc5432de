//! A whole node: from an entity that appears to its task.
//!
//! A fog function with one task for each entity is registered; then entities appear one after the other, and the designer's
//! event stream tells when the worker has the task (the first word about it, so a little later than `ADD_TASK`) and when
//! its process has been started.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

use super::once;
use crate::histogram::Histogram;
use crate::http::{Connection, Target};
use crate::template::Template;

/// How long one task may take.
const BOUND: Duration = Duration::from_secs(30);

/// Times in microseconds.
#[derive(Debug, Serialize)]
pub struct Appearances {
    /// How many entities appeared.
    pub count: u64,
    /// Until the worker has the task, median.
    pub scheduled_p50_us: u64,
    /// Until the worker has the task, 99th percentile.
    pub scheduled_p99_us: u64,
    /// Until the task runs, median.
    pub running_p50_us: u64,
    /// Until the task runs, 99th percentile.
    pub running_p99_us: u64,
}

/// Lets `present` entities appear at once and, when their tasks run, `count` more one by one.
///
/// # Errors
/// If a service cannot be reached, refuses, or a task does not come.
pub async fn appear(designer: &Target, broker: &Target, present: usize, count: usize) -> anyhow::Result<Appearances> {
    let name = format!("appear{}", std::process::id());
    let operator = json!([{"name": name, "description": "waits", "parameters": [],
        "executables": [{"command": ["sleep", "100000"], "hwType": "any", "osType": "any"}]}]);
    once(designer, &Template::new(designer, "POST", "/operator", &[], &operator.to_string())).await.context("registering the operator")?;
    let stream = json!({"selected_type": name, "selected_attributes": [], "groupby": "EntityID", "scoped": false});
    let task =
        json!({"name": "Wait", "operator": name, "input_streams": [stream], "output_streams": [{"entity_type": format!("{name}Out")}]});
    let intent = json!({"topology": name, "priority": {"exclusive": false, "level": 0}, "qos": "NONE",
        "geoscope": {"scopeType": "global", "scopeValue": "global"}});
    let function =
        json!([{"name": name, "topology": {"name": name, "description": "", "tasks": [task]}, "intent": intent, "status": "enabled"}]);
    once(designer, &Template::new(designer, "POST", "/fogfunction", &[], &function.to_string()))
        .await
        .context("registering the function")?;

    let mut events = Events::open(designer, &format!(".{name}.")).await?;
    let mut connection = Connection::open(broker).await?;
    for from in (0..present).step_by(500) {
        connection.exchange(entities(broker, &name, from..(from + 500).min(present)).bytes()).await?;
    }
    let mut running = std::collections::HashSet::new();
    while running.len() < present {
        let (task, runs) = events.next().await?;
        events.is_new(&task);
        if runs {
            running.insert(task);
        }
    }
    let (mut scheduled, mut started) = (Histogram::default(), Histogram::default());
    // The first one pays for connections and caches.
    for number in present..=present + count {
        let request = entities(broker, &name, number..number + 1);
        let sent = Instant::now();
        connection.exchange(request.bytes()).await?;
        let mut mine = String::new();
        loop {
            let (task, runs) = events.next().await?;
            if events.is_new(&task) && mine.is_empty() {
                mine.clone_from(&task);
                if number > present {
                    scheduled.add(sent.elapsed());
                }
            }
            if task == mine && runs {
                break;
            }
        }
        if number > present {
            started.add(sent.elapsed());
        }
    }
    once(designer, &Template::new(designer, "DELETE", &format!("/fogfunction/{name}"), &[], "")).await.context("removing the function")?;
    Ok(Appearances {
        count: started.len(),
        scheduled_p50_us: scheduled.quantile(0.5),
        scheduled_p99_us: scheduled.quantile(0.99),
        running_p50_us: started.quantile(0.5),
        running_p99_us: started.quantile(0.99),
    })
}

fn entities(broker: &Target, kind: &str, numbers: std::ops::Range<usize>) -> Template {
    let element = |number: usize| {
        json!({"entityId": {"id": format!("{kind}.{number:06}"), "type": kind},
            "attributes": [{"name": "temperature", "type": "float", "value": 21.5}]})
    };
    let elements: Vec<Value> = numbers.map(element).collect();
    Template::new(broker, "POST", "/ngsi10/updateContext", &[], &json!({"contextElements": elements, "updateAction": "APPEND"}).to_string())
}

/// The `task` events of the designer's stream that concern one function.
struct Events {
    lines: Lines<BufReader<TcpStream>>,
    seen: std::collections::HashSet<String>,
    infix: String,
}

impl Events {
    async fn open(designer: &Target, infix: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(&designer.authority).await?;
        let request = Template::new(designer, "GET", "/events", &[], "");
        stream.write_all(request.bytes()).await?;
        Ok(Events { lines: BufReader::new(stream).lines(), seen: Default::default(), infix: infix.to_owned() })
    }

    /// The next event: the task's id, and whether it runs.
    async fn next(&mut self) -> anyhow::Result<(String, bool)> {
        tokio::time::timeout(BOUND, self.read()).await.context("no event came within 30 s")?
    }

    /// Whether this is the first event of a task.
    fn is_new(&mut self, task: &str) -> bool {
        self.seen.insert(task.to_owned())
    }

    async fn read(&mut self) -> anyhow::Result<(String, bool)> {
        let mut is_task = false;
        while let Some(line) = self.lines.next_line().await? {
            if let Some(event) = line.strip_prefix("event:") {
                is_task = event.trim() == "task";
            } else if let Some(data) = line.strip_prefix("data:").filter(|_| is_task) {
                let row: Value = serde_json::from_str(data).context("an event is not JSON")?;
                let task = row["TaskID"].as_str().unwrap_or_default();
                if task.contains(&self.infix) {
                    // `sleep` never opens the port that would make it `running`; its process is there when it is `starting`.
                    return Ok((task.to_owned(), row["Status"] == "starting" || row["Status"] == "running"));
                }
            }
        }
        anyhow::bail!("the designer closed its event stream")
    }
}
