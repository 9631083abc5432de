//! A whole node: from an entity that appears to its task.
//!
//! A fog function with one task for each entity is registered; then entities appear one after the other, and the worker is
//! asked again and again how many tasks it has, and which of them are started. So the times include the reading of its
//! answer, and their grain is that of the asking: well under a millisecond, but for the list of ten thousand tasks.

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
/// How long the tasks that are there first may take.
const BOUND_OF_ALL: Duration = Duration::from_secs(180);
/// Between two looks at those.
const LOOK: Duration = Duration::from_millis(200);

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
    let begun = Instant::now();
    while tasks.started().await? < present {
        anyhow::ensure!(begun.elapsed() < BOUND_OF_ALL, "{present} tasks were not started within {} s", BOUND_OF_ALL.as_secs());
        tokio::time::sleep(LOOK).await;
    }
    // The broker has ended the one that was idle meanwhile.
    let mut connection = Connection::open(broker).await?;
    let (mut scheduled, mut started) = (Histogram::default(), Histogram::default());
    // The first one pays for connections and caches.
    for number in present..=present + count {
        let request = entities(broker, &name, number..number + 1);
        let sent = Instant::now();
        connection.exchange(request.bytes()).await?;
        while tasks.known().await? <= number {
            anyhow::ensure!(sent.elapsed() < BOUND, "no task for entity {number} within {} s", BOUND.as_secs());
        }
        let there = sent.elapsed();
        while tasks.started().await? <= number {
            anyhow::ensure!(sent.elapsed() < BOUND, "the task for entity {number} was not started within {} s", BOUND.as_secs());
        }
        if number > present {
            scheduled.add(there);
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

/// The worker's tasks.
struct Tasks {
    connection: Connection,
    list: Template,
    metrics: Template,
    /// What the ids of the function's tasks have in them.
    infix: String,
}

impl Tasks {
    async fn of(worker: &Target, infix: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(worker).await.context("connecting to the worker")?;
        let get = |path| Template::new(worker, "GET", path, &[], "");
        Ok(Tasks { connection, list: get("/tasks"), metrics: get("/metrics"), infix: infix.to_owned() })
    }

    /// How many tasks it has, of all functions; a number costs it the same however many there are.
    async fn known(&mut self) -> anyhow::Result<usize> {
        let answer = self.connection.exchange(self.metrics.bytes()).await?;
        let text = std::str::from_utf8(self.connection.body(answer)).context("the worker's metrics")?;
        let number = text.lines().find_map(|line| line.strip_prefix("fogflow_worker_tasks "));
        number.and_then(|number| number.trim().parse().ok()).context("the worker does not tell fogflow_worker_tasks")
    }

    /// Of how many tasks of the function the process is there. `sleep` never opens the port that would make it `running`.
    async fn started(&mut self) -> anyhow::Result<usize> {
        let answer = self.connection.exchange(self.list.bytes()).await?;
        let rows: Vec<Value> = serde_json::from_slice(self.connection.body(answer)).context("the worker's list of tasks")?;
        let mine = rows.iter().filter(|row| row["TaskID"].as_str().is_some_and(|id| id.contains(&self.infix)));
        Ok(mine.filter(|row| row["Status"] == "starting" || row["Status"] == "running").count())
    }
}
