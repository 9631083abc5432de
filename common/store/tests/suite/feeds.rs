//! The change feed.

use std::sync::Arc;

use fogflow_store::{Batch, Expect, Feed, Outcome, Sequence};

use super::{Fixture, bounded, changes, commit_one, delete, document, key, put, scan_all};

pub(crate) async fn the_feed_has_every_change_in_order(fixture: impl Fixture) {
    let store = fixture.store();
    assert!(changes(&*store, 0).await.is_empty());
    let mut expected = Vec::new();
    for number in 1..=20 {
        let (id, value) = (key(&format!("{}", number % 3)), number.to_string());
        let write = if number % 5 == 0 { delete(id.clone(), Expect::Any) } else { put(id.clone(), Expect::Any, &value) };
        let (version, sequence) = commit_one(&*store, write).await;
        assert_eq!(sequence, number);
        expected.push(document(id, version, sequence, (number % 5 != 0).then_some(value.as_str())));
    }
    assert_eq!(changes(&*store, 0).await, expected);
    assert_eq!(changes(&*store, 13).await, expected[13..]);
    assert!(changes(&*store, 20).await.is_empty());
    assert!(changes(&*store, 99).await.is_empty(), "beyond the head there is nothing yet");
}

pub(crate) async fn a_reader_beside_many_writers_sees_no_gap(fixture: impl Fixture) {
    const WRITERS: u64 = 6;
    const ROUNDS: u64 = 20;
    let store = fixture.store();
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut at: Sequence = 0;
            let mut hint = store.head_hint();
            while at < WRITERS * ROUNDS * 3 {
                let Feed::Changes(changes) = store.feed(at, 1000).await.unwrap() else { panic!("truncated at {at}") };
                for change in &changes {
                    assert_eq!(change.sequence, at + 1, "the feed has a gap or repeats itself");
                    at = change.sequence;
                }
                if changes.is_empty() {
                    let _ = tokio::time::timeout(std::time::Duration::from_millis(50), hint.changed()).await;
                }
            }
        })
    };
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                // One document is everybody's, so batches of different writers wait for each other.
                let group = vec![
                    put(key(&format!("{writer}")), Expect::Version(round), "x"),
                    put(key("shared"), Expect::Any, "x"),
                    put(key(&format!("{writer}-{round}")), Expect::Absent, "x"),
                ];
                let outcomes = store.commit(Batch::atomic(group)).await.unwrap();
                assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
            }
        }));
    }
    for writer in writers {
        bounded("the writers", writer).await.unwrap();
    }
    bounded("the reader", reader).await.unwrap();
    assert_eq!(store.get(&key("shared")).await.unwrap().unwrap().version, WRITERS * ROUNDS);
}

pub(crate) async fn an_old_reader_is_told_to_scan(fixture: impl Fixture) {
    let store = fixture.store();
    let value = "v".repeat(1000);
    let mut written = 0;
    let resume = bounded("the log to lose its beginning", async {
        loop {
            if written < fixture.log_overflow() {
                store
                    .commit(Batch::independent((0..100).map(|number| put(key(&format!("{number:03}")), Expect::Any, &value))))
                    .await
                    .unwrap();
                written += 100;
            } else {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            if let Feed::Truncated { resume } = store.feed(0, 1).await.unwrap() {
                break resume;
            }
        }
    })
    .await;
    // The advice works: scan, then go on from `resume`, and nothing is missing.
    commit_one(&*store, put(key("000"), Expect::Any, "newer")).await;
    assert_eq!(scan_all(&*store, None, "entity", 30).await.len(), 100);
    let later = changes(&*store, resume).await;
    assert_eq!(later.last().unwrap().sequence, store.head().await.unwrap());
    assert_eq!(later.first().unwrap().sequence, resume + 1);
}

pub(crate) async fn the_head_hint_moves(fixture: impl Fixture) {
    let store = fixture.store();
    let mut hint = store.head_hint();
    let (_, sequence) = commit_one(&*store, put(key("a"), Expect::Any, "1")).await;
    bounded("the hint", hint.wait_for(|head| *head >= sequence)).await.unwrap();
}
