//! The same system as five processes with a real RabbitMQ, and what happens when parts of it go away.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fogflow_tests::servers::RabbitMq;
use fogflow_tests::tasks::{ECHO, in_state, processes_of, register_function, tasks_when};
use fogflow_tests::{Http, Site, Started, http, wait_for};
use serde_json::{Value, json};

const ALL: [&str; 5] = ["discovery", "broker", "designer", "master", "worker"];

async fn five(site: &Site) -> Vec<Started> {
    let programs: Vec<Started> = ALL.iter().map(|service| site.start(&format!("fogflow-{service}"), &[])).collect();
    site.ready(&ALL).await;
    programs
}

async fn write(http: &Http, broker: &str, id: &str, value: u64) {
    let (_, answer) =
        http.post(&format!("{broker}/ngsi10/updateContext"), &http::update(id, "Thing", &[("value", json!(value))])).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
}

async fn echoed(http: &Http, broker: &str, id: &str, value: u64, bound: Duration) {
    wait_for(&format!("the echo of {id} = {value}"), bound, async || {
        let attribute = http.ok(&format!("{broker}/ngsi10/entity/Echo.{id}/value")).await?;
        if attribute["value"] == value { Ok(()) } else { Err(attribute.to_string()) }
    })
    .await;
}

fn ids(rows: &[Value]) -> Vec<(String, String)> {
    let mut ids: Vec<_> = rows.iter().map(|row| (row["TaskID"].to_string(), row["Worker"].to_string())).collect();
    ids.sort();
    ids
}

/// FAULT 1: a dead RabbitMQ connection was used on, and a deaf process went on beating.
#[tokio::test]
async fn rabbitmq_away_for_thirty_seconds_needs_no_hand_afterwards() {
    let Some(mut rabbit) = RabbitMq::start("rabbitmq_away_for_thirty_seconds_needs_no_hand_afterwards").await else { return };
    let site = Site::new("001").on_rabbitmq(&rabbit);
    let _programs = five(&site).await;
    let (http, broker) = (Http::new(), site.url("broker"));
    register_function(&site, "echo", "Thing", ECHO, json!({})).await;
    write(&http, &broker, "Thing.1", 1).await;
    echoed(&http, &broker, "Thing.1", 1, Duration::from_secs(40)).await;

    rabbit.stop().await;
    let back = tokio::time::Instant::now() + Duration::from_secs(30);
    // Context and running tasks do not need the bus.
    write(&http, &broker, "Thing.1", 2).await;
    echoed(&http, &broker, "Thing.1", 2, Duration::from_secs(10)).await;
    // Asked for while the bus is away: accepted, stored, and done when it is back.
    write(&http, &broker, "Thing.2", 5).await;
    register_function(&site, "late", "Other", &ECHO.replace("Echo", "Late"), json!({})).await;
    tokio::time::sleep_until(back).await;
    rabbit.restart().await;

    echoed(&http, &broker, "Thing.2", 5, Duration::from_secs(60)).await;
    http.post(&format!("{broker}/ngsi10/updateContext"), &http::update("Other.1", "Other", &[("value", json!(3))])).await.unwrap();
    let rows = tasks_when(&site, "three running tasks", Duration::from_secs(60), |rows| in_state(rows, "running") == 3).await;
    for row in rows {
        assert_eq!(processes_of(row["TaskID"].as_str().unwrap()).len(), 1, "{row}");
    }
    site.ready(&ALL).await;
}

#[tokio::test]
async fn the_tasks_of_a_killed_worker_move_and_a_killed_master_moves_nothing() {
    let Some(rabbit) = RabbitMq::start("the_tasks_of_a_killed_worker_move_and_a_killed_master_moves_nothing").await else { return };
    let site = Site::new("001").on_rabbitmq(&rabbit);
    let mut programs = five(&site).await;
    let [second_port] = fogflow_tests::node::free_ports();
    let port = format!("worker.http_port={second_port}");
    let _second = site.start("fogflow-worker", &["-i", "1", "--set", &port]);
    let (http, broker) = (Http::new(), site.url("broker"));
    let workers = format!("{}/info/worker", site.url("designer"));
    wait_for("two workers", Duration::from_secs(30), async || {
        let list = http.ok(&workers).await?;
        if list.as_array().is_some_and(|list| list.len() == 2) { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
    register_function(&site, "echo", "Thing", ECHO, json!({"qos": "MAX_THROUGHPUT"})).await;
    for index in 0..6 {
        write(&http, &broker, &format!("Thing.{index}"), index).await;
    }
    let before = tasks_when(&site, "six running tasks", Duration::from_secs(60), |rows| in_state(rows, "running") == 6).await;
    assert!(
        before.iter().any(|row| row["Worker"] == "Worker.001") && before.iter().any(|row| row["Worker"] == "Worker.001.1"),
        "{before:?}"
    );

    let master = ALL.iter().position(|service| *service == "master").unwrap();
    programs[master].kill();
    programs[master] = site.start("fogflow-master", &[]);
    site.ready(&["master"]).await;
    let after =
        tasks_when(&site, "six running tasks after the master's restart", Duration::from_secs(60), |rows| in_state(rows, "running") == 6)
            .await;
    assert_eq!(ids(&before), ids(&after), "a master's restart moves nothing");
    for row in &after {
        assert_eq!(processes_of(row["TaskID"].as_str().unwrap()).len(), 1, "{row}");
    }

    let worker = ALL.iter().position(|service| *service == "worker").unwrap();
    programs[worker].kill();
    let moved = tasks_when(&site, "all tasks at the other worker", Duration::from_secs(60), |rows| {
        rows.len() == 6 && rows.iter().all(|row| row["Worker"] == "Worker.001.1" && row["Status"] == "running")
    })
    .await;
    assert_eq!(moved.len(), 6);

    // The killed worker's processes live on without it; when it returns it removes what is no longer its own.
    programs[worker] = site.start("fogflow-worker", &[]);
    site.ready(&["worker"]).await;
    for row in &moved {
        let task = row["TaskID"].as_str().unwrap();
        wait_for(&format!("exactly one process of {task}"), Duration::from_secs(30), async || match processes_of(task).as_slice() {
            [_] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

#[tokio::test]
async fn sigterm_ends_each_of_the_five_with_exit_code_0() {
    let Some(rabbit) = RabbitMq::start("sigterm_ends_each_of_the_five_with_exit_code_0").await else { return };
    let site = Site::new("001").on_rabbitmq(&rabbit);
    for mut program in five(&site).await {
        let status = program.terminate(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0), "{}", program.log());
    }
}
