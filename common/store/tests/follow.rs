//! Replicas that follow one store hold the same state, whoever commits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fogflow_store::follow::{Follower, StateMachine, Step, last_of};
use fogflow_store::memory::MemoryStore;
use fogflow_store::{Batch, Document, Expect, Key, Outcome, Sequence, SharedStore, StoreError, Write};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10);

/// What a replica has in memory, and how it came there.
#[derive(Default)]
struct Seen {
    values: BTreeMap<Key, Vec<u8>>,
    order: Vec<Sequence>,
    own: usize,
    restored: usize,
}

#[derive(Clone, Default)]
struct Machine {
    seen: Arc<Mutex<Seen>>,
    restoring: BTreeSet<Key>,
}

fn put(values: &mut BTreeMap<Key, Vec<u8>>, document: Document) {
    match document.value {
        Some(value) => values.insert(document.key, value.to_vec()),
        None => values.remove(&document.key),
    };
}

#[async_trait]
impl StateMachine for Machine {
    type Own = Document;

    async fn apply(&mut self, steps: Vec<Step<Document>>) -> Result<(), StoreError> {
        let mut seen = self.seen.lock();
        for step in steps {
            seen.order.push(step.sequence());
            match step {
                Step::Own(_, document) => {
                    seen.own += 1;
                    put(&mut seen.values, document);
                }
                Step::Read(document) => put(&mut seen.values, document),
            }
        }
        Ok(())
    }

    async fn restore(&mut self, documents: Vec<Document>, last: bool) -> Result<(), StoreError> {
        let mut seen = self.seen.lock();
        for document in documents {
            self.restoring.insert(document.key.clone());
            put(&mut seen.values, document);
        }
        if last {
            let there = std::mem::take(&mut self.restoring);
            seen.values.retain(|key, _| there.contains(key));
            seen.restored += 1;
        }
        Ok(())
    }
}

struct Replica {
    follower: Arc<Follower<Document>>,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
}

impl Replica {
    async fn start(store: &SharedStore) -> Self {
        let follower = Arc::new(Follower::new(Arc::clone(store), &["x"]));
        let mut machine = Machine::default();
        follower.load(&mut machine).await.unwrap();
        let replica = Replica { follower, seen: Arc::clone(&machine.seen), stop: CancellationToken::new() };
        replica.run(machine);
        replica
    }

    fn run(&self, mut machine: Machine) {
        let (follower, stop) = (Arc::clone(&self.follower), self.stop.clone());
        tokio::spawn(async move { follower.run(&mut machine, stop.cancelled()).await.unwrap() });
    }

    /// Commits and hands in what it was, as the broker does.
    async fn set(&self, id: &str, value: &str) {
        let under_way = self.follower.begin();
        let write = Write { key: Key::new("x", "", id), expect: Expect::Any, value: Some(value.to_owned().into()) };
        let outcomes = self.follower.store().commit(Batch::one(write.clone())).await.unwrap();
        let Outcome::Committed { version, sequence } = outcomes[0] else { panic!("{outcomes:?}") };
        self.follower.committed([(sequence, Document { key: write.key, version, sequence, value: write.value })]);
        drop(under_way);
        self.follower.reached(last_of(&outcomes), LIMIT).await.unwrap();
    }

    fn value(&self, id: &str) -> Option<String> {
        self.seen.lock().values.get(&Key::new("x", "", id)).map(|value| String::from_utf8(value.clone()).unwrap())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_replicas_apply_the_same_changes_in_commit_order_without_gaps() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let replicas = [Replica::start(&store).await, Replica::start(&store).await, Replica::start(&store).await];
    let writers = replicas.iter().enumerate().flat_map(|(number, replica)| {
        (0..4).map(move |task| async move {
            for value in 0..100 {
                replica.set(&format!("e{}", value % 7), &format!("{number}-{task}-{value}")).await;
            }
        })
    });
    futures::future::join_all(writers).await;
    let mut expected = None;
    for replica in &replicas {
        replica.follower.barrier(LIMIT).await.unwrap();
        let seen = replica.seen.lock();
        assert_eq!(seen.order, (1..=1200).collect::<Vec<_>>());
        let last = seen.values.clone();
        assert_eq!(*expected.get_or_insert_with(|| last.clone()), last);
        assert!(seen.own > 200, "only {} of 400 own commits were not read again", seen.own);
    }
}

#[tokio::test]
async fn after_the_barrier_a_replica_shows_what_another_one_acknowledged() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let (one, two) = (Replica::start(&store).await, Replica::start(&store).await);
    for value in 0..200 {
        one.set("e", &value.to_string()).await;
        two.follower.barrier(LIMIT).await.unwrap();
        assert_eq!(two.value("e"), Some(value.to_string()));
    }
}

#[tokio::test]
async fn a_replica_older_than_the_log_reads_the_whole_state() {
    let memory = Arc::new(MemoryStore::with_log_limit(10));
    let store: SharedStore = memory;
    let (one, two) = (Replica::start(&store).await, Replica::start(&store).await);
    one.set("stays", "1").await;
    one.set("goes", "1").await;
    two.follower.barrier(LIMIT).await.unwrap();
    two.stop.cancel();
    // Nobody follows for `two` while more is written than the log holds.
    tokio::task::yield_now().await;
    let delete = Write { key: Key::new("x", "", "goes"), expect: Expect::Any, value: None };
    store.commit(Batch::one(delete)).await.unwrap();
    for value in 0..50 {
        one.set("stays", &value.to_string()).await;
    }
    let again = Replica { follower: Arc::clone(&two.follower), seen: Arc::clone(&two.seen), stop: CancellationToken::new() };
    again.run(Machine { seen: Arc::clone(&two.seen), ..Machine::default() });
    again.follower.barrier(LIMIT).await.unwrap();
    assert_eq!((again.value("stays"), again.value("goes")), (Some("49".to_owned()), None));
    assert_eq!(again.seen.lock().restored, 2, "at its start, and because the log was too short");
}

#[tokio::test]
async fn a_barrier_fails_in_time_when_the_store_is_away() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let replica = Replica::start(&store).await;
    store.close().await.unwrap();
    let refused = replica.follower.barrier(Duration::from_secs(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}
