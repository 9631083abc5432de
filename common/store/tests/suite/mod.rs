//! The conformance suite: what every engine of the Store seam must do. [`conformance!`] makes one test per promise.

pub(crate) mod feeds;
pub(crate) mod leases;
pub(crate) mod model;
pub(crate) mod writes;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fogflow_store::{Batch, Document, Expect, Feed, Key, Outcome, Sequence, SharedStore, Store, Version, Write};

/// An engine under test.
#[async_trait]
pub(crate) trait Fixture: Send {
    /// The store as it is now.
    fn store(&self) -> SharedStore;
    /// Closes the store and opens it again on the same data.
    async fn restart(&mut self);
    /// Whether data survive [`restart`](Self::restart).
    fn durable(&self) -> bool;
    /// How many writes of 1 kB surely push the first change out of the log.
    fn log_overflow(&self) -> usize;
}

/// Makes the suite of one engine: a module with a test per promise. `$fixture` is an async expression of type
/// `Option<impl Fixture>`; `None` when the engine cannot run here, which it has said itself.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $fixture:expr) => {
        mod $name {
            $crate::conformance!(@tests $fixture;
                writes: versions_count_on_over_deletions, conditions_hold_or_say_what_stands_there,
                    a_group_applies_whole_or_not_at_all, later_groups_see_earlier_ones, a_key_may_come_twice_in_a_batch,
                    counting_from_many_tasks_loses_nothing, values_come_back_as_they_were, what_no_engine_can_hold_is_refused,
                    a_scan_is_in_key_order_over_pages_and_tenants, a_scan_passes_many_deletions, an_empty_batch_is_fine,
                    a_restart_keeps_everything, a_closed_store_refuses;
                feeds: the_feed_has_every_change_in_order, a_reader_beside_many_writers_sees_no_gap,
                    an_old_reader_is_told_to_scan, the_head_hint_moves;
                leases: a_lease_excludes_others_until_it_ends, a_released_lease_is_free_at_once,
                    epochs_grow_over_restarts, one_of_many_gets_the_lease;
                model: random_batches_do_what_the_model_does
            );
        }
    };
    (@tests $fixture:expr; $($group:ident: $($test:ident),+);+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                #[allow(unused_imports)]
                use super::*;
                let Some(fixture) = $fixture(stringify!($test)).await else { return };
                $crate::suite::$group::$test(fixture).await;
            }
        )+)+
    };
}

pub(crate) fn key(id: &str) -> Key {
    Key::new("entity", "", id)
}

pub(crate) fn put(key: Key, expect: Expect, value: &str) -> Write {
    Write { key, expect, value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

pub(crate) fn delete(key: Key, expect: Expect) -> Write {
    Write { key, expect, value: None }
}

/// Commits one write that must succeed.
pub(crate) async fn commit_one(store: &dyn Store, write: Write) -> (Version, Sequence) {
    let outcomes = store.commit(Batch::one(write)).await.unwrap();
    match outcomes.as_slice() {
        [Outcome::Committed { version, sequence }] => (*version, *sequence),
        other => panic!("expected one commit, got {other:?}"),
    }
}

pub(crate) fn document(key: Key, version: Version, sequence: Sequence, value: Option<&str>) -> Document {
    Document { key, version, sequence, value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())) }
}

/// All changes after `from`, read in small steps.
pub(crate) async fn changes(store: &dyn Store, mut from: Sequence) -> Vec<Document> {
    let mut all = Vec::new();
    loop {
        match store.feed(from, 7).await.unwrap() {
            Feed::Changes(changes) => {
                let Some(last) = changes.last() else { return all };
                assert!(changes.len() <= 7);
                from = last.sequence;
                all.extend(changes);
            }
            Feed::Truncated { resume } => panic!("the feed does not reach back to {from}, only to {resume}"),
        }
    }
}

/// All live documents of a collection, read in pages.
pub(crate) async fn scan_all(store: &dyn Store, tenant: Option<&str>, collection: &str, page: usize) -> Vec<Document> {
    let (mut all, mut after): (Vec<Document>, Option<Key>) = (Vec::new(), None);
    loop {
        let next = store.scan(tenant, collection, after.as_ref(), page).await.unwrap();
        assert!(next.documents.len() <= page);
        assert!(!next.more || next.documents.len() == page, "a page that is not the last one is full");
        after = next.documents.last().map(|document| document.key.clone()).or(after);
        all.extend(next.documents);
        if !next.more {
            return all;
        }
    }
}

/// Waits for a future with a bound that only a fault can reach.
pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("waited 60 s for {what}"))
}
