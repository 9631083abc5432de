//! Operators as upstream ships them, and our own examples, unchanged under the process engine.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

mod support;

use std::path::Path;

use fogflow_orchestration::{Code, ScheduledTaskInstance, TaskState};
use serde_json::{Value, json};
use support::{World, client, executable, has, is_alive, parameter, task};

fn agent(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents").join(name).display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_29_an_agent_that_answers_404_and_one_that_answers_200_both_run_unchanged() {
    for (program, file, status) in [("node", "agent.js", 404), ("python3", "agent.py", 200)] {
        if !has(program) {
            continue;
        }
        let world = World::new().await;
        let task = executable("Task.t.main.1", &[program, &agent(file), "-o"]);
        world.add(&task).await;
        world.until(&task.id, TaskState::Running).await;
        let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
        assert_eq!(world.broker.notify(subscriptions.values().next().unwrap(), "Device.1", 7.5).await, status);
        assert_eq!(world.broker.until_published("ResultDevice.1").await["temp"], 7.5);
        let pid = world.pid(&task.id);
        world.remove(&task).await;
        world.until(&task.id, TaskState::Removed).await;
        assert!(!is_alive(pid));
        world.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_javascript_runs_as_an_es_module_and_as_upstreams_common_js() {
    if !has("node") {
        return;
    }
    let sources = [
        "import { parameter } from 'fogflow-task';\nexport const handler = (e, publish) => publish({ attributes: { v: parameter('p', '') } });",
        "exports.handler = function (entity, publish) { publish({ attributes: { v: process.env.FOGFLOW_PARAM_p } }); };",
    ];
    for source in sources {
        let world = World::new().await;
        let code = Some(Code { language: "javascript".to_owned(), source: source.to_owned() });
        let task = ScheduledTaskInstance { code, parameters: vec![parameter("p", "seven")], ..task("Task.t.main.1") };
        world.add(&task).await;
        world.until(&task.id, TaskState::Running).await;
        let subscriptions = world.broker.until_subscribed(&["Device.1"]).await;
        assert_eq!(world.broker.notify(subscriptions.values().next().unwrap(), "Device.1", 7.5).await, 200);
        assert_eq!(world.broker.until_published("Out.Task.t.main.1.1").await["v"], "seven");
        world.terminate().await;
    }
}

/// Rows of the weather series as notifications to a task.
async fn replay(world: &World, endpoint: &str, rows: usize) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/seattle-weather.csv");
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let client = client();
    for line in lines.take(rows) {
        let attributes: Vec<Value> = names
            .iter()
            .zip(line.split(','))
            .map(|(name, text)| match text.parse::<f64>() {
                Ok(number) => json!({"name": name, "type": "float", "value": number}),
                Err(_) => json!({"name": name, "type": "string", "value": text}),
            })
            .collect();
        let element = json!({"entityId": {"type": "WeatherStation", "id": "Station.Seattle"}, "attributes": attributes});
        let body = json!({"subscriptionId": "1", "contextResponses": [{"contextElement": element, "statusCode": {"code": 200}}]});
        let status = client.post(format!("{endpoint}/notifyContext")).json(&body).send().await.unwrap().status();
        assert!(status.is_success(), "{status}; {}", world.log("Task.t.main.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_operators_work_on_the_real_weather_series() {
    if !has("python3") {
        return;
    }
    for (operator, attributes) in [("anomaly", ["station", "date"]), ("sum", ["sum", "station"]), ("forward", ["temp_max", "date"])] {
        let world = World::new().await;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/operators").join(operator).join("function.py");
        let code = Some(Code { language: "python".to_owned(), source: std::fs::read_to_string(file).unwrap() });
        let task = ScheduledTaskInstance { code, ..task("Task.t.main.1") };
        world.add(&task).await;
        let update = world.until(&task.id, TaskState::Running).await;
        replay(&world, &update.endpoint, 400).await;
        let published = world.broker.until_published("Out.Task.t.main.1.1").await;
        for name in attributes {
            assert!(published.contains_key(name), "{operator}: {published:?}");
        }
        let count = world.broker.updated("UPDATE").len();
        match operator {
            "anomaly" => assert!((1..100).contains(&count), "{count} anomalies in 400 days"),
            _ => assert_eq!(count, 400),
        }
        assert!(!world.log(&task.id).contains("Traceback"), "{}", world.log(&task.id));
        world.terminate().await;
    }
}
