//! Replicas of everything, and random faults under load: nothing acknowledged is lost, each task runs exactly once at the
//! end, each subscriber has the final state of each entity, and all replicas tell the same.
//!
//! `FOGFLOW_CHAOS_FAULTS` says how many faults (40), `FOGFLOW_CHAOS_SEED` repeats the faults of an earlier run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fogflow_tests::cluster::Cluster;
use fogflow_tests::tasks::{ECHO, register_function};
use fogflow_tests::{Http, Sink, http, wait_for};
use serde_json::{Value, json};

const FAULTS: u64 = 40;
const WRITERS: usize = 3;
/// Entities of each writer.
const ENTITIES: u64 = 5;
/// Entities that have a task each.
const TASKS: usize = 3;
/// How long the system may take to settle after the last fault.
const SETTLED: Duration = Duration::from_secs(90);

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The newest value of each entity.
    values: BTreeMap<String, u64>,
    operators: BTreeSet<String>,
    updates: u64,
    refused: u64,
}

type Shared = Arc<Mutex<Acknowledged>>;

/// Numbers that follow from a seed (PCG's multiplier).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pause(&mut self, most: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(most)).unwrap())
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Past libtest's capture, so that a run that hangs can be repeated.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_lose_nothing_acknowledged_and_double_no_task() {
    let Some(mut cluster) = Cluster::start("random_faults_lose_nothing_acknowledged_and_double_no_task").await else { return };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let (faults, seed) = (setting("FOGFLOW_CHAOS_FAULTS", FAULTS), setting("FOGFLOW_CHAOS_SEED", now));
    say(&format!("chaos: {faults} faults, FOGFLOW_CHAOS_SEED={seed}"));

    let (http, broker) = (Http::new(), cluster.site.url("broker"));
    let sink = Sink::start().await;
    let interest = json!({"entities": [{"type": "Flow", "isPattern": true, "id": ""}], "reference": sink.url()});
    let (_, answer) = http.post(&format!("{broker}/ngsi10/subscribeContext"), &interest).await.unwrap();
    assert!(answer["subscribeResponse"]["subscriptionId"].is_string(), "{answer}");
    register_function(&cluster.site, "echo", "Steady", ECHO, json!({})).await;
    for index in 0..TASKS {
        let update = http::update(&format!("Steady.{index}"), "Steady", &[("value", json!(index))]);
        let (_, answer) = http.post(&format!("{broker}/ngsi10/updateContext"), &update).await.unwrap();
        assert!(http::acknowledged(&answer), "{answer}");
    }
    cluster.each_task_runs_once(TASKS, SETTLED).await;

    let (acknowledged, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let mut load: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(writer, broker.clone(), acknowledged.clone(), stop.clone()))).collect();
    load.push(tokio::spawn(register(cluster.site.url("designer"), acknowledged.clone(), stop.clone())));

    let (mut random, began) = (Random(seed), Instant::now());
    for number in 0..faults {
        let fault = strike(&mut cluster, &mut random).await;
        say(&format!("chaos: {:>4.0} s, fault {number}: {fault}", began.elapsed().as_secs_f32()));
        for member in &cluster.members {
            if let Some(log) = member.has_ended() {
                panic!("after fault {number} ({fault}): {} ended by itself: {log}", member.name());
            }
        }
        tokio::time::sleep(random.pause(1500)).await;
    }
    say(&format!("chaos: {faults} faults in {:?}", began.elapsed()));
    cluster.ready().await;
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }

    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    let Acknowledged { updates, refused, operators, .. } = &acknowledged;
    say(&format!("chaos: {updates} updates and {} operators acknowledged, {refused} requests refused or not answered", operators.len()));
    assert!(!acknowledged.values.is_empty() && !acknowledged.operators.is_empty(), "the load was acknowledged at times");
    nothing_is_lost(&cluster, &acknowledged, &sink).await;
    cluster.each_task_runs_once(TASKS, SETTLED).await;
}

/// One fault, healed when this returns, except that a process that was killed may still be starting.
async fn strike(cluster: &mut Cluster, random: &mut Random) -> String {
    let victim = random.below(cluster.members.len());
    let duration = Duration::from_millis(500) + random.pause(3500);
    match random.below(20) {
        0..=8 => {
            let member = &mut cluster.members[victim];
            member.kill();
            tokio::time::sleep(random.pause(1500)).await;
            member.start(&cluster.site);
            format!("kill -9 of {}", member.name())
        }
        9..=12 => {
            let member = &cluster.members[victim];
            member.freeze();
            tokio::time::sleep(duration).await;
            member.thaw();
            format!("{} stands still for {duration:?}", member.name())
        }
        13..=15 => {
            // Workers have no store.
            let stores = cluster.members.iter().filter(|member| member.service != "worker").count();
            let member = &cluster.members[victim % stores];
            member.link.close();
            tokio::time::sleep(duration).await;
            member.link.open();
            format!("{} is cut off from PostgreSQL for {duration:?}", member.name())
        }
        16 | 17 => {
            let how = random.below(2);
            if how == 0 {
                cluster.postgres.stop().await
            } else {
                cluster.postgres.kill().await
            }
            tokio::time::sleep(random.pause(2000)).await;
            cluster.postgres.restart().await;
            format!("PostgreSQL {} and starts again", if how == 0 { "stops" } else { "is killed" })
        }
        _ => {
            cluster.rabbit.kill().await;
            cluster.rabbit.restart().await;
            "RabbitMQ is killed and starts again".to_owned()
        }
    }
}

/// Writes growing values, each until it is acknowledged.
async fn write(writer: usize, broker: String, acknowledged: Shared, stop: Arc<AtomicBool>) {
    let (http, url) = (Http::new(), format!("{broker}/ngsi10/updateContext"));
    let mut value = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        value += 1;
        let id = format!("Flow.{writer}.{}", value % ENTITIES);
        match http.post(&url, &http::update(&id, "Flow", &[("value", json!(value))])).await {
            Ok((_, answer)) if http::acknowledged(&answer) => {
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.values.insert(id, value);
                acknowledged.updates += 1;
            }
            _ => acknowledged.lock().unwrap().refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Registers operators.
async fn register(designer: String, acknowledged: Shared, stop: Arc<AtomicBool>) {
    let http = Http::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("operator-{number}");
        match http.post(&format!("{designer}/operator"), &json!({"name": name})).await {
            Ok((status, _)) if status.is_success() => {
                acknowledged.lock().unwrap().operators.insert(name);
            }
            _ => acknowledged.lock().unwrap().refused += 1,
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn nothing_is_lost(cluster: &Cluster, acknowledged: &Acknowledged, sink: &Sink) {
    let http = Http::new();
    let mut last = BTreeMap::new();
    for (id, known) in &acknowledged.values {
        for broker in cluster.replicas("broker") {
            let value = wait_for(&format!("{id} at {}", broker.name()), SETTLED, async || {
                let attribute = http.ok(&format!("{}/ngsi10/entity/{id}/value", broker.url())).await?;
                attribute["value"].as_u64().ok_or(attribute.to_string())
            })
            .await;
            assert!(value >= *known, "{id} is {value} at {}, but {known} was acknowledged", broker.name());
            let before = last.insert(id, value);
            assert!(before.is_none_or(|before| before == value), "{id} is {value} at {} and {before:?} before it", broker.name());
        }
    }
    for (id, value) in last {
        wait_for(&format!("the subscriber to have {value} of {id}"), SETTLED, async || {
            let seen = sink.values(id, "value").last().and_then(Value::as_u64);
            if seen == Some(value) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }
    for designer in cluster.replicas("designer") {
        let operators = http.ok(&format!("{}/operator", designer.url())).await.unwrap();
        for name in &acknowledged.operators {
            assert!(operators.to_string().contains(&format!("\"{name}\"")), "{name} is lost at {}", designer.name());
        }
    }
    let everything = json!({"entities": [{"type": "Flow", "isPattern": true, "id": ""}]});
    for discovery in cluster.replicas("discovery") {
        wait_for(&format!("every entity at {}", discovery.name()), SETTLED, async || {
            let (_, found) = http.post(&format!("{}/ngsi9/discoverContextAvailability", discovery.url()), &everything).await?;
            let text = found.to_string();
            match acknowledged.values.keys().find(|id| !text.contains(&format!("\"{id}\""))) {
                None => Ok(()),
                Some(id) => Err(format!("{id} is missing in {text}")),
            }
        })
        .await;
    }
}
