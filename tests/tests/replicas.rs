//! Replicas of everything on one PostgreSQL and one RabbitMQ: what a master that stands still and wakes up may do.

use std::time::{Duration, Instant};

use fogflow_tests::cluster::{Cluster, Member};
use fogflow_tests::tasks::{ECHO, register_function};
use fogflow_tests::{Http, http, wait_for};
use serde_json::json;

const BOUND: Duration = Duration::from_secs(60);
/// A lease of 3 s, renewed every second; masters show their part in their metrics with a tick of a second.
const FAILOVER: Duration = Duration::from_secs(5);

async fn leads(http: &Http, master: &Member) -> Result<bool, String> {
    let metrics = http.ok(&format!("{}/metrics", master.url())).await?;
    let text = metrics.as_str().ok_or("no text")?;
    Ok(text.lines().any(|line| line == "fogflow_master_leads 1"))
}

async fn update(http: &Http, broker: &str, index: u32) {
    let body = http::update(&format!("Steady.{index}"), "Steady", &[("value", json!(index))]);
    wait_for("an update to be acknowledged", BOUND, async || {
        let (_, answer) = http.post(&format!("{broker}/ngsi10/updateContext"), &body).await?;
        if http::acknowledged(&answer) { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leading_master_that_stands_still_is_replaced_and_changes_nothing_when_it_wakes() {
    let Some(cluster) = Cluster::start("a_leading_master_that_stands_still_is_replaced_and_changes_nothing_when_it_wakes").await else {
        return;
    };
    let (http, broker) = (Http::new(), cluster.site.url("broker"));
    register_function(&cluster.site, "echo", "Steady", ECHO, json!({})).await;
    for index in 0..2 {
        update(&http, &broker, index).await;
    }
    let before = cluster.each_task_runs_once(2, BOUND).await;

    let masters: Vec<&Member> = cluster.replicas("master").collect();
    let leading =
        wait_for("exactly one leading master", BOUND, async || match (leads(&http, masters[0]).await?, leads(&http, masters[1]).await?) {
            (true, false) => Ok(0),
            (false, true) => Ok(1),
            other => Err(format!("{other:?}")),
        })
        .await;
    let (old, new) = (masters[leading], masters[1 - leading]);
    old.freeze();
    let began = Instant::now();
    wait_for("the other master to lead", BOUND, async || if leads(&http, new).await? { Ok(()) } else { Err("it follows".to_owned()) })
        .await;
    assert!(began.elapsed() < FAILOVER, "it took {:?}", began.elapsed());
    update(&http, &broker, 2).await;
    let meanwhile = cluster.each_task_runs_once(3, BOUND).await;
    assert!(before.iter().all(|task| meanwhile.get(task.0) == Some(task.1)), "{before:?} became {meanwhile:?}");

    // The old one wakes in the middle of whatever it was about to do, and believes that it leads.
    old.thaw();
    wait_for("the old master to follow", BOUND, async || if leads(&http, old).await? { Err("it leads".to_owned()) } else { Ok(()) }).await;
    update(&http, &broker, 3).await;
    let after = cluster.each_task_runs_once(4, BOUND).await;
    assert!(meanwhile.iter().all(|task| after.get(task.0) == Some(task.1)), "{meanwhile:?} became {after:?}");
    assert!(leads(&http, new).await.unwrap(), "the new one still leads");
}
