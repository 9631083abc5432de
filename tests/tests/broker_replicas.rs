//! Two brokers of one site on a real PostgreSQL behind one address: they are one broker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fogflow_tests::balancer::{Balancer, address_of};
use fogflow_tests::history::{History, Register};
use fogflow_tests::node::Started;
use fogflow_tests::servers::Postgres;
use fogflow_tests::{Http, Sink, Site, http, wait_for};
use reqwest::StatusCode;
use serde_json::json;

const BOUND: Duration = Duration::from_secs(30);

/// The brokers, what they share, and the address before them.
struct Pair {
    site: Site,
    postgres: Postgres,
    brokers: Vec<Started>,
    _balancer: Balancer,
}

impl Pair {
    async fn start(test: &str) -> Option<Self> {
        let postgres = Postgres::start(test).await?;
        let site = Site::new("001").with(|config| {
            config["broker"]["store"] = json!({"engine": "postgres", "url": postgres.url()});
        });
        let port = site.url("broker").rsplit(':').next().unwrap().parse().unwrap();
        let balancer = Balancer::start(port, 2).await;
        let mut pair = Pair { site, postgres, brokers: Vec::new(), _balancer: balancer };
        // At the same time, on an empty database.
        pair.brokers = (0..2).map(|number| pair.start_one(number)).collect();
        for number in 0..2 {
            pair.ready(number).await;
        }
        Some(pair)
    }

    fn start_one(&self, number: usize) -> Started {
        self.start_with(number, "strong")
    }

    fn start_with(&self, number: usize, consistency: &str) -> Started {
        let (listen, consistency) = (format!("listen={}", address_of(number)), format!("broker.consistency={consistency}"));
        self.site.start("fogflow-broker", &["--set", &listen, "--set", &consistency])
    }

    async fn ready(&self, number: usize) {
        let (http, url) = (Http::new(), format!("{}/ready", self.url(number)));
        wait_for("a broker to be ready", BOUND, async || http.ok(&url).await).await;
    }

    /// The address of all.
    fn service(&self) -> String {
        self.site.url("broker")
    }

    /// The address of one.
    fn url(&self, number: usize) -> String {
        self.service().replace("127.0.0.1", &address_of(number).to_string())
    }

    async fn set(&self, url: &str, value: usize) -> Result<(), String> {
        let body = http::update("e1", "T", &[("a", json!(value))]);
        let (status, answer) = Http::new().post(&format!("{url}/ngsi10/updateContext"), &body).await?;
        if status == StatusCode::OK && http::acknowledged(&answer) { Ok(()) } else { Err(format!("{status} {answer}")) }
    }

    async fn subscribe(&self, sink: &Sink) {
        let body = json!({"entities": [{"type": "T", "isPattern": true}], "reference": sink.url()});
        let (status, answer) = Http::new().post(&format!("{}/ngsi10/subscribeContext", self.service()), &body).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
}

/// What each subscription was told, in order.
fn told(sink: &Sink) -> BTreeMap<String, Vec<u64>> {
    let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for body in sink.bodies() {
        let values = told.entry(body["subscriptionId"].as_str().unwrap_or_default().to_owned()).or_default();
        let elements = body["contextResponses"].as_array().into_iter().flatten();
        values.extend(elements.filter_map(|element| element["contextElement"]["attributes"][0]["value"].as_u64()));
    }
    told
}

/// Waits until each of the subscriptions was told all of the values.
async fn all_told(sink: &Sink, subscriptions: usize, values: std::ops::Range<u64>, bound: Duration) {
    wait_for("every change at every subscription", bound, async || {
        let told = told(sink);
        let complete = told.values().filter(|seen| values.clone().all(|value| seen.contains(&value))).count();
        if complete == subscriptions { Ok(()) } else { Err(format!("{complete} of {subscriptions}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_read_everywhere_told_once_and_survives_the_death_of_an_owner() {
    let name = "what_was_acknowledged_is_read_everywhere_told_once_and_survives_the_death_of_an_owner";
    let Some(mut pair) = Pair::start(name).await else { return };
    let (sink, http) = (Sink::start().await, Http::new());
    for value in 0..30 {
        pair.set(&pair.url(value % 2), value).await.unwrap();
        let read = http.ok(&format!("{}/ngsi10/entity/e1", pair.url((value + 1) % 2))).await.unwrap();
        assert_eq!(read["attributes"][0]["value"], value, "{read}");
    }
    for _ in 0..16 {
        pair.subscribe(&sink).await;
    }
    for value in 30..60 {
        pair.set(&pair.service(), value).await.unwrap();
    }
    all_told(&sink, 16, 30..60, BOUND).await;
    for (subscription, values) in told(&sink) {
        let expected: Vec<u64> = (29..60).collect();
        assert_eq!(values, expected, "{subscription}: the first is the state when it was made");
    }
    pair.brokers[0].kill();
    let begun = Instant::now();
    for value in 60..65 {
        pair.set(&pair.url(1), value).await.unwrap();
    }
    all_told(&sink, 16, 60..65, BOUND).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_is_not_seen_by_a_client_that_retries_once_and_repeats_no_notification() {
    let name = "a_rolling_restart_is_not_seen_by_a_client_that_retries_once_and_repeats_no_notification";
    let Some(mut pair) = Pair::start(name).await else { return };
    let sink = Sink::start().await;
    for _ in 0..16 {
        pair.subscribe(&sink).await;
    }
    let stop = AtomicBool::new(false);
    let written = AtomicUsize::new(0);
    let service = pair.service();
    let load = async {
        let http = Http::new();
        while !stop.load(Ordering::Relaxed) {
            let value = written.load(Ordering::Relaxed);
            let body = http::update("e1", "T", &[("a", json!(value))]);
            let mut answer = Err("not tried".to_owned());
            for _ in 0..2 {
                answer = http.post(&format!("{service}/ngsi10/updateContext"), &body).await;
                if matches!(&answer, Ok((StatusCode::OK, _))) {
                    break;
                }
            }
            let (status, body) = answer.unwrap();
            assert!(status == StatusCode::OK && http::acknowledged(&body), "{status} {body}");
            written.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut brokers = std::mem::take(&mut pair.brokers);
    let rolling = async {
        for (number, broker) in brokers.iter_mut().enumerate() {
            assert!(broker.terminate(BOUND).await.success());
            *broker = pair.start_one(number);
            pair.ready(number).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, rolling);
    let count = written.load(Ordering::Relaxed) as u64;
    all_told(&sink, 16, 0..count, BOUND).await;
    // A retried update may have been carried out twice; then it is told twice, too.
    for (subscription, values) in told(&sink) {
        assert!(values.is_sorted(), "{subscription}: {values:?}");
        assert!((values.len() as u64) < count + 10, "{subscription} was told {} of {count}", values.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_requests_are_refused_with_the_time_to_come_again_and_nothing_is_lost() {
    let name = "without_the_database_requests_are_refused_with_the_time_to_come_again_and_nothing_is_lost";
    let Some(mut pair) = Pair::start(name).await else { return };
    let sink = Sink::start().await;
    pair.subscribe(&sink).await;
    pair.set(&pair.service(), 1).await.unwrap();
    pair.postgres.stop().await;
    let plain = reqwest::Client::new();
    let read = plain.get(format!("{}/ngsi10/entity/e1", pair.url(0))).send().await.unwrap();
    assert_eq!((read.status(), read.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    let update = http::update("e1", "T", &[("a", json!(2))]).to_string();
    let write = plain.post(format!("{}/ngsi10/updateContext", pair.url(1))).body(update).send().await.unwrap();
    assert_eq!((write.status(), write.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    pair.postgres.restart().await;
    wait_for("a write to be taken again", BOUND, async || pair.set(&pair.service(), 3).await).await;
    all_told(&sink, 1, 3..4, BOUND).await;
    assert!(!told(&sink).values().flatten().any(|value| *value == 2), "what was refused is not applied later");
}

/// How long the database is away; and how much more memory a broker may have in the end than shortly after the beginning.
const AWAY: Duration = Duration::from_secs(60);
const SPARE: u64 = 32 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_the_database_under_load_loses_nothing_acknowledged_and_takes_no_more_memory() {
    let name = "a_minute_without_the_database_under_load_loses_nothing_acknowledged_and_takes_no_more_memory";
    let Some(mut pair) = Pair::start(name).await else { return };
    let eventual = pair.start_with(2, "eventual");
    pair.ready(2).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..16).map(|writer: usize| {
        let (stop, url) = (Arc::clone(&stop), format!("{}/ngsi10/updateContext", pair.url(writer % 2)));
        tokio::spawn(async move {
            let (client, mut acknowledged, mut refused) = (reqwest::Client::new(), 0, 0);
            for value in 1_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let body = http::update(&format!("w{writer}"), "T", &[("a", json!(value))]).to_string();
                // A connection that ends with its idle time was not answered; nothing is known of that update.
                let Ok(answer) = client.post(&url).body(body).send().await else { continue };
                match answer.status() {
                    StatusCode::OK => acknowledged = value,
                    StatusCode::SERVICE_UNAVAILABLE => refused += 1,
                    other => panic!("writer {writer}: {other}"),
                }
            }
            (acknowledged, refused)
        })
    });
    let writers: Vec<_> = writers.collect();
    let entities = [0, 1, 2].map(|number| format!("{}/ngsi10/entity/w0", pair.url(number)));
    let read = async |number: usize| {
        let answer = reqwest::get(&entities[number]).await.unwrap();
        (answer.status(), answer.headers().contains_key("retry-after"))
    };
    wait_for("an entity at both kinds of brokers", BOUND, async || match (read(0).await, read(2).await) {
        ((StatusCode::OK, _), (StatusCode::OK, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    pair.postgres.stop().await;
    let away = Instant::now();
    let mut memory = None;
    while away.elapsed() < AWAY {
        assert_eq!(read(0).await, (StatusCode::SERVICE_UNAVAILABLE, true), "after {:?}", away.elapsed());
        assert_eq!(read(2).await.0, StatusCode::OK, "an eventual read, after {:?}", away.elapsed());
        if memory.is_none() && away.elapsed() > AWAY / 6 {
            memory = Some([resident(&pair.brokers[0]), resident(&eventual)]);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for (before, broker) in memory.unwrap().into_iter().zip([&pair.brokers[0], &eventual]) {
        let after = resident(broker);
        assert!(after < before + SPARE, "{} MiB after 10 s and {} MiB after a minute", before >> 20, after >> 20);
    }
    pair.postgres.restart().await;
    wait_for("a write to be taken again", BOUND, async || pair.set(&pair.service(), 1).await).await;
    stop.store(true, Ordering::Relaxed);
    for (writer, task) in writers.into_iter().enumerate() {
        let (acknowledged, refused) = task.await.unwrap();
        assert!(acknowledged > 0 && refused > 0, "writer {writer}: {acknowledged} was acknowledged, {refused} were refused");
        let entity = Http::new().ok(&format!("{}/ngsi10/entity/w{writer}", pair.service())).await.unwrap();
        let there = entity["attributes"][0]["value"].as_u64().unwrap();
        assert!(there >= acknowledged, "writer {writer}: {acknowledged} was acknowledged, {there} is there");
    }
}

/// The bytes of memory that a process has.
fn resident(process: &Started) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_and_writes_of_a_register_over_both_replicas_are_linearizable_with_one_killed_in_the_middle() {
    let name = "reads_and_writes_of_a_register_over_both_replicas_are_linearizable_with_one_killed_in_the_middle";
    let Some(mut pair) = Pair::start(name).await else { return };
    pair.set(&pair.service(), 0).await.unwrap();
    let history = Arc::new(History::starting_with(0));
    let next = Arc::new(AtomicUsize::new(1));
    let clients = (0..6).map(|client| {
        let (history, next, urls) = (Arc::clone(&history), Arc::clone(&next), [pair.url(0), pair.url(1)]);
        tokio::spawn(async move {
            let http = Http::new();
            for step in 0..60 {
                let url = &urls[(client + step) % 2];
                if (client + step) % 3 == 0 {
                    let value = next.fetch_add(1, Ordering::Relaxed);
                    let call = history.invoke(Register::Write(value as u64));
                    let body = http::update("e1", "T", &[("a", json!(value))]);
                    match http.post(&format!("{url}/ngsi10/updateContext"), &body).await {
                        Ok((StatusCode::OK, answer)) if http::acknowledged(&answer) => history.complete(call, None),
                        // Never sent.
                        Err(why) if why.contains("Connect") => history.forget(call),
                        // Whether it was carried out is not known.
                        _ => {}
                    }
                } else {
                    let call = history.invoke(Register::Read);
                    match http.ok(&format!("{url}/ngsi10/entity/e1")).await {
                        Ok(entity) => history.complete(call, entity["attributes"][0]["value"].as_u64()),
                        Err(_) => history.forget(call),
                    }
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    wait_for("a third of the calls", BOUND, async || if history.len() > 120 { Ok(()) } else { Err(history.len().to_string()) }).await;
    pair.brokers[0].kill();
    pair.brokers[0] = pair.start_one(0);
    for client in clients {
        client.await.unwrap();
    }
    let completed = history.completed();
    assert!(completed > 100, "only {completed} calls were answered");
    if let Err(why) = history.check() {
        panic!("the history is not linearizable: {why}");
    }
}
