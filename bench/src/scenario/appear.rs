//! A whole node: from an entity that appears to its task.
//!
//! A fog function with one task for each entity is registered; then entities appear one after the other, and the worker is
//! asked again and again which tasks it has. So the times include the reading of its answer, and their grain is that of
//! the asking, well under a millisecond.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

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
pub async fn appear(designer: &Target, broker: &Target, worker: &Target, present: usize, count: usize) -> anyhow::Result<Appearances> {
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

    let mut tasks = Tasks::of(worker, &format!(".{name}.")).await?;
    let mut connection = Connection::open(broker).await?;
    for from in (0..present).step_by(500) {
        connection.exchange(entities(broker, &name, from..(from + 500).min(present)).bytes()).await?;
    }
    tasks.until(Instant::now(), |_, started| started >= present).await?;
    let (mut scheduled, mut started) = (Histogram::default(), Histogram::default());
    // The first one pays for connections and caches.
    for number in present..=present + count {
        let request = entities(broker, &name, number..number + 1);
        let sent = Instant::now();
        connection.exchange(request.bytes()).await?;
        let there = tasks.until(sent, |known, _| known > number).await?;
        let running = tasks.until(sent, |_, started| started > number).await?;
        if number > present {
            scheduled.add(there);
            started.add(running);
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

/// The worker's tasks of one function.
struct Tasks {
    connection: Connection,
    request: Template,
    infix: String,
}

impl Tasks {
    async fn of(worker: &Target, infix: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(worker).await.context("connecting to the worker")?;
        Ok(Tasks { connection, request: Template::new(worker, "GET", "/tasks", &[], ""), infix: infix.to_owned() })
    }

    /// Asks until the numbers of tasks that it has, and of those whose process is started, satisfy a condition. Returns the
    /// time since `since`.
    async fn until(&mut self, since: Instant, condition: impl Fn(usize, usize) -> bool) -> anyhow::Result<Duration> {
        loop {
            let answer = self.connection.exchange(self.request.bytes()).await?;
            let rows: Vec<Value> = serde_json::from_slice(self.connection.body(answer)).context("the worker's list of tasks")?;
            let mine = rows.iter().filter(|row| row["TaskID"].as_str().is_some_and(|id| id.contains(&self.infix)));
            // `sleep` never opens the port that would make it `running`; its process is there when it is `starting`.
            let (known, started) = mine.fold((0, 0), |(known, started), row| {
                (known + 1, started + usize::from(row["Status"] == "starting" || row["Status"] == "running"))
            });
            if condition(known, started) {
                return Ok(since.elapsed());
            }
            anyhow::ensure!(since.elapsed() < BOUND, "a task did not come within 30 s: the worker has {known}, of which {started} started");
        }
    }
}
