//! What only the PostgreSQL engine promises: replicas, many starters, servers and links that break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test helper fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fogflow_background::Spawner;
use fogflow_store::postgres::{PostgresOptions, PostgresStore};
use fogflow_store::{Batch, Document, Expect, Feed, Key, Outcome, Sequence, Store, StoreError, Write};
use fogflow_tests::proxy::Proxy;
use fogflow_tests::servers::Postgres;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn key(id: &str) -> Key {
    Key::new("entity", "", id)
}

fn put(id: &str, expect: Expect, value: &str) -> Write {
    Write { key: key(id), expect, value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

async fn open(url: &str, service: &str) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::open(url, service).await.unwrap())
}

async fn changes(store: &PostgresStore) -> Vec<Document> {
    let (mut all, mut from): (Vec<Document>, Sequence) = (Vec::new(), 0);
    loop {
        let Feed::Changes(changes) = store.feed(from, 1000).await.unwrap() else { panic!("truncated") };
        let Some(last) = changes.last() else { return all };
        from = last.sequence;
        all.extend(changes);
    }
}

async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("waited 60 s for {what}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_replicas_may_start_at_the_same_moment_on_one_empty_database() {
    let Some(server) = Postgres::shared("services_and_replicas_may_start").await else { return };
    let url = server.create_database("starters");
    let mut starts = Vec::new();
    for number in 0..16 {
        let url = url.clone();
        let service = ["broker", "discovery", "designer", "master"][number % 4];
        starts.push(tokio::spawn(async move {
            let store = PostgresStore::open(&url, service).await?;
            store.commit(Batch::one(put(&number.to_string(), Expect::Absent, "1"))).await?;
            store.close().await
        }));
    }
    for start in starts {
        bounded("a starter", start).await.unwrap().unwrap();
    }
    for service in ["broker", "discovery", "designer", "master"] {
        let store = open(&url, service).await;
        assert_eq!(store.head().await.unwrap(), 4, "{service} sees its own four replicas' writes");
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_see_each_others_writes_and_lose_no_update() {
    let Some(server) = Postgres::shared("replicas_see_each_others_writes").await else { return };
    let replicas = [open(&server.url(), "replicas").await, open(&server.url(), "replicas").await, open(&server.url(), "replicas").await];
    let mut tasks = Vec::new();
    for replica in &replicas {
        let replica = Arc::clone(replica);
        tasks.push(tokio::spawn(async move {
            for _ in 0..30 {
                // What this replica remembers is often old by now; it must find out.
                let mut version = 0;
                loop {
                    match &replica.commit(Batch::one(put("counter", Expect::Version(version), "x"))).await.unwrap()[0] {
                        Outcome::Committed { .. } => break,
                        Outcome::Conflict(there) => version = there.as_ref().map_or(0, |there| there.version),
                        Outcome::GroupAborted => panic!("a single write has no group"),
                    }
                }
                replica.commit(Batch::one(put("any", Expect::Any, "x"))).await.unwrap();
            }
        }));
    }
    for task in tasks {
        bounded("a replica", task).await.unwrap();
    }
    let feeds = [changes(&replicas[0]).await, changes(&replicas[2]).await];
    assert_eq!(feeds[0], feeds[1]);
    assert!(feeds[0].iter().zip(1..).all(|(change, sequence)| change.sequence == sequence), "a gap in the feed");
    for id in ["counter", "any"] {
        assert_eq!(replicas[1].get(&key(id)).await.unwrap().unwrap().version, 90);
        let versions: Vec<_> = feeds[0].iter().filter(|change| change.key.id == id).map(|change| change.version).collect();
        assert_eq!(versions, (1..=90).collect::<Vec<_>>(), "the versions of {id} are not in the order of the feed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_hears_of_a_change_with_and_without_notifications() {
    let Some(server) = Postgres::shared("another_replica_hears").await else { return };
    for notify in [true, false] {
        let options = PostgresOptions { notify, ..PostgresOptions::default() };
        let service = format!("hears_{notify}");
        let writer = PostgresStore::open_with(&server.url(), &service, options.clone()).await.unwrap();
        let reader = PostgresStore::open_with(&server.url(), &service, options).await.unwrap();
        for round in 1..=3 {
            writer.commit(Batch::one(put("a", Expect::Any, "x"))).await.unwrap();
            let start = Instant::now();
            bounded("the hint", reader.head_hint().wait_for(|head| *head >= round)).await.unwrap();
            println!("notify {notify}: heard after {:?}", start.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_looked_after_while_changes_never_pause() {
    let Some(server) = Postgres::shared("the_log_is_looked_after").await else { return };
    let options = PostgresOptions { log_partition: 10, log_keep: 10, ..PostgresOptions::default() };
    let store = PostgresStore::open_with(&server.url(), "upkeep", options).await.unwrap();
    let begun = Instant::now();
    // Each commit is a notification, and the next one does not wait.
    while let Feed::Changes(_) = store.feed(0, 1).await.unwrap() {
        store.commit(Batch::one(put("a", Expect::Any, "x"))).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing of the log was dropped, at {}", store.head().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_database_has_lost_commits_fails_instead_of_going_on_with_what_it_remembers() {
    let Some(server) = Postgres::shared("a_store_whose_database_has_lost_commits").await else { return };
    let (ended, mut ends) = mpsc::channel(2);
    let spawner = Spawner::new(move |name, task| {
        let (name, ended) = (name.to_owned(), ended.clone());
        tokio::spawn(async move { ended.send((name, task.await)).await });
    });
    let store = PostgresStore::open_with(&server.url(), "lost", PostgresOptions { spawner, ..PostgresOptions::default() }).await.unwrap();
    for _ in 0..5 {
        store.commit(Batch::one(put("a", Expect::Any, "x"))).await.unwrap();
    }
    // As after a backup was restored.
    let _ = server.sql("UPDATE fogflow_lost.state SET head = 2");
    let (name, outcome) = bounded("a task to end", ends.recv()).await.unwrap();
    assert_eq!(name, "store watcher");
    assert_eq!(outcome.unwrap_err(), "the database has lost commits: it was at 5 and is at 2");
}

/// What happened to writes while something broke.
#[derive(Default)]
struct Record {
    acknowledged: BTreeSet<String>,
    refused: BTreeSet<String>,
}

/// Writes new documents one after the other until told to stop.
async fn keep_writing(store: Arc<PostgresStore>, writer: usize, end: CancellationToken) -> Record {
    let mut record = Record::default();
    for number in 0_u64.. {
        if end.is_cancelled() {
            break;
        }
        let id = format!("{writer}-{number}");
        let start = Instant::now();
        match store.commit(Batch::one(put(&id, Expect::Absent, "x"))).await {
            Ok(outcomes) => {
                // A batch that is written twice would meet itself.
                assert!(matches!(outcomes[0], Outcome::Committed { version: 1, .. }), "{id}: {outcomes:?}");
                record.acknowledged.insert(id);
            }
            Err(StoreError::Unavailable(_)) => drop(record.refused.insert(id)),
            Err(error) => panic!("{error}"),
        }
        assert!(start.elapsed() < Duration::from_secs(7), "a commit is answered within 5 s");
    }
    record
}

/// Compares what was answered with what is there.
/// A refused batch whose answer was lost, and that could not be asked about in time, may be there, but not come later: it lies
/// before the writer's next one, and not after `settled`, the head when the last refusal had been answered, if that is known.
async fn verify(store: &PostgresStore, records: Vec<Record>, settled: Option<Sequence>) {
    let changes = changes(store).await;
    assert!(changes.iter().zip(1..).all(|(change, sequence)| change.sequence == sequence), "a gap in the feed");
    let there: BTreeSet<String> = changes.iter().map(|change| change.key.id.to_string()).collect();
    assert_eq!(there.len(), changes.len(), "a write was applied twice");
    let mut newest = BTreeMap::new();
    for change in &changes {
        let (writer, number) = change.key.id.split_once('-').unwrap();
        let number: u64 = number.parse().unwrap();
        let before = newest.insert(writer, number);
        assert!(before.is_none_or(|before| before < number), "{} came after {before:?} of its writer", change.key.id);
    }
    let (mut acknowledged, mut refused) = (0, 0);
    for record in records {
        acknowledged += record.acknowledged.len();
        refused += record.refused.len();
        let lost: Vec<_> = record.acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let late = changes
            .iter()
            .filter(|change| settled.is_some_and(|settled| change.sequence > settled) && record.refused.contains(change.key.id.as_str()));
        let late: Vec<_> = late.map(|change| &change.key.id).collect();
        assert!(late.is_empty(), "refused and yet applied: {late:?}");
    }
    println!("{acknowledged} acknowledged, {refused} refused");
    assert!(acknowledged > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_cut_at_any_moment_lose_no_write_and_apply_none_twice() {
    let Some(server) = Postgres::shared("links_cut_at_any_moment").await else { return };
    let proxy = Proxy::start(server.port()).await;
    let url = format!("postgres://fogflow@127.0.0.1:{}/postgres", proxy.port());
    let stores = [open(&url, "cut").await, open(&url, "cut").await];
    let end = CancellationToken::new();
    let writers: Vec<_> = (0..6).map(|writer| tokio::spawn(keep_writing(Arc::clone(&stores[writer % 2]), writer, end.clone()))).collect();
    for cut in 0..60_u64 {
        tokio::time::sleep(Duration::from_micros(20_000 + cut * 7_919 % 60_000)).await;
        proxy.cut();
    }
    // Longer than a commit may take: these are refused, and must stay out.
    proxy.close();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let settled = server.sql("SELECT head FROM fogflow_cut.state").parse().unwrap();
    proxy.open();
    tokio::time::sleep(Duration::from_secs(2)).await;
    end.cancel();
    let mut records = Vec::new();
    for writer in writers {
        records.push(bounded("a writer", writer).await.unwrap());
    }
    assert!(records.iter().any(|record| !record.refused.is_empty()));
    verify(&*open(&server.url(), "cut").await, records, Some(settled)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_or_crashes_loses_no_acknowledged_write() {
    let Some(mut server) = Postgres::start("a_server_that_restarts_or_crashes").await else { return };
    let store = open(&server.url(), "crash").await;
    let end = CancellationToken::new();
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(keep_writing(Arc::clone(&store), writer, end.clone()))).collect();
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        if round % 2 == 0 {
            server.kill().await;
        } else {
            server.stop().await;
        }
        server.restart().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    end.cancel();
    let mut records = Vec::new();
    for writer in writers {
        records.push(bounded("a writer", writer).await.unwrap());
    }
    verify(&store, records, None).await;
    let mut hint = store.head_hint();
    let Outcome::Committed { sequence, .. } = store.commit(Batch::one(put("last", Expect::Any, "x"))).await.unwrap()[0] else { panic!() };
    bounded("the hint after the restarts", hint.wait_for(|head| *head >= sequence)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_exclusive_over_replicas() {
    let Some(server) = Postgres::shared("leases_are_exclusive").await else { return };
    let (one, two) = (open(&server.url(), "leases").await, open(&server.url(), "leases").await);
    let first = one.lease("leader", "one", Duration::from_millis(400)).await.unwrap();
    assert!(first.granted && !two.lease("leader", "two", Duration::from_secs(9)).await.unwrap().granted);
    let second = bounded("the lease to end", async {
        loop {
            let asked = two.lease("leader", "two", Duration::from_secs(9)).await.unwrap();
            if asked.granted {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(second.epoch, first.epoch + 1);
    assert_eq!(one.lease("leader", "one", Duration::from_secs(9)).await.unwrap().holder, "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_newer_program_are_used_only_as_far_as_it_says() {
    let Some(server) = Postgres::shared("tables_of_a_newer_program").await else { return };
    open(&server.url(), "newer").await.close().await.unwrap();
    let _ = server.sql("UPDATE fogflow_newer.state SET version = 99, serves_from = 1");
    open(&server.url(), "newer").await.close().await.unwrap();
    assert_eq!(server.sql("SELECT version FROM fogflow_newer.state"), "99", "an older program does not turn the version back");
    let _ = server.sql("UPDATE fogflow_newer.state SET serves_from = 98");
    let refused = PostgresStore::open(&server.url(), "newer").await;
    assert!(matches!(refused, Err(StoreError::Unavailable(why)) if why.contains("newer")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_refuses_for_good_is_an_error_at_once() {
    let Some(server) = Postgres::shared("what_the_server_refuses").await else { return };
    let start = Instant::now();
    for url in [server.database_url("nothing_there"), server.url().replace("fogflow@", "nobody@"), "nonsense".to_owned()] {
        assert!(matches!(PostgresStore::open(&url, "x").await, Err(StoreError::Unavailable(_))), "{url}");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}
