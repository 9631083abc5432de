//! Writes, conditions, groups, reads.

use std::sync::Arc;

use bytes::Bytes;
use fogflow_store::{Batch, Expect, Key, MAX_KEY_BYTES, MAX_VALUE_BYTES, Outcome, StoreError, Write};

use super::{Fixture, bounded, changes, commit_one, delete, document, key, put, scan_all};

pub(crate) async fn versions_count_on_over_deletions(fixture: impl Fixture) {
    let store = fixture.store();
    assert_eq!(commit_one(&*store, put(key("a"), Expect::Absent, "1")).await.0, 1);
    assert_eq!(commit_one(&*store, put(key("a"), Expect::Version(1), "2")).await.0, 2);
    assert_eq!(commit_one(&*store, delete(key("a"), Expect::Version(2))).await.0, 3);
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    assert_eq!(commit_one(&*store, put(key("a"), Expect::Absent, "4")).await.0, 4);
    assert_eq!(commit_one(&*store, delete(key("a"), Expect::Any)).await.0, 5);
    assert_eq!(commit_one(&*store, put(key("a"), Expect::Version(5), "6")).await.0, 6);
    assert_eq!(store.get(&key("a")).await.unwrap(), Some(document(key("a"), 6, 6, Some("6"))));
    assert_eq!(store.head().await.unwrap(), 6);
}

pub(crate) async fn conditions_hold_or_say_what_stands_there(fixture: impl Fixture) {
    let store = fixture.store();
    let conflict = async |write| match store.commit(Batch::one(write)).await.unwrap().as_slice() {
        [Outcome::Conflict(there)] => there.clone(),
        other => panic!("expected a conflict, got {other:?}"),
    };
    assert_eq!(conflict(put(key("a"), Expect::Version(1), "x")).await, None);
    commit_one(&*store, put(key("a"), Expect::Version(0), "1")).await;
    let there = Some(document(key("a"), 1, 1, Some("1")));
    assert_eq!(conflict(put(key("a"), Expect::Absent, "x")).await, there);
    assert_eq!(conflict(put(key("a"), Expect::Version(2), "x")).await, there);
    assert_eq!(conflict(put(key("a"), Expect::Version(0), "x")).await, there);
    commit_one(&*store, delete(key("a"), Expect::Any)).await;
    assert_eq!(conflict(put(key("a"), Expect::Version(1), "x")).await, Some(document(key("a"), 2, 2, None)));
    assert_eq!(store.head().await.unwrap(), 2, "a conflict takes no place in the feed");
}

pub(crate) async fn a_group_applies_whole_or_not_at_all(fixture: impl Fixture) {
    let store = fixture.store();
    commit_one(&*store, put(key("b"), Expect::Absent, "1")).await;
    let group = vec![put(key("a"), Expect::Any, "x"), put(key("b"), Expect::Absent, "x"), put(key("c"), Expect::Any, "x")];
    let there = document(key("b"), 1, 1, Some("1"));
    let outcomes = store.commit(Batch::atomic(group)).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::GroupAborted, Outcome::Conflict(Some(there)), Outcome::GroupAborted]);
    assert_eq!(scan_all(&*store, None, "entity", 10).await.len(), 1);
    let batch = Batch {
        groups: vec![
            vec![put(key("a"), Expect::Absent, "2"), put(key("b"), Expect::Version(1), "2")],
            vec![put(key("c"), Expect::Version(7), "x"), put(key("d"), Expect::Any, "x")],
            vec![put(key("e"), Expect::Any, "2")],
        ],
    };
    let committed = |version, sequence| Outcome::Committed { version, sequence };
    let expected = vec![committed(1, 2), committed(2, 3), Outcome::Conflict(None), Outcome::GroupAborted, committed(1, 4)];
    assert_eq!(store.commit(batch).await.unwrap(), expected);
    assert_eq!(changes(&*store, 1).await.iter().map(|change| change.key.id.as_str()).collect::<Vec<_>>(), ["a", "b", "e"]);
}

pub(crate) async fn later_groups_see_earlier_ones(fixture: impl Fixture) {
    let store = fixture.store();
    let writes = [
        put(key("a"), Expect::Absent, "1"),
        put(key("a"), Expect::Version(1), "2"),
        put(key("a"), Expect::Absent, "x"),
        delete(key("a"), Expect::Version(2)),
        put(key("a"), Expect::Absent, "4"),
    ];
    let outcomes = store.commit(Batch::independent(writes)).await.unwrap();
    let committed = |version, sequence| Outcome::Committed { version, sequence };
    let conflict = Outcome::Conflict(Some(document(key("a"), 2, 2, Some("2"))));
    assert_eq!(outcomes, vec![committed(1, 1), committed(2, 2), conflict, committed(3, 3), committed(4, 4)]);
    let values: Vec<_> = changes(&*store, 0).await.into_iter().map(|change| change.value).collect();
    let expected = [Some("1"), Some("2"), None, Some("4")].map(|value| value.map(Bytes::from));
    assert_eq!(values, expected);
}

pub(crate) async fn a_key_may_come_twice_in_a_batch(fixture: impl Fixture) {
    let store = fixture.store();
    let group = vec![put(key("a"), Expect::Absent, "1"), put(key("a"), Expect::Version(1), "2")];
    let failing = vec![put(key("a"), Expect::Version(2), "x"), put(key("a"), Expect::Absent, "x")];
    let outcomes = store.commit(Batch { groups: vec![group, failing] }).await.unwrap();
    let conflict = Outcome::Conflict(Some(document(key("a"), 2, 2, Some("2"))));
    let committed = |version, sequence| Outcome::Committed { version, sequence };
    assert_eq!(outcomes, vec![committed(1, 1), committed(2, 2), Outcome::GroupAborted, conflict]);
    assert_eq!(store.get(&key("a")).await.unwrap(), Some(document(key("a"), 2, 2, Some("2"))));
}

pub(crate) async fn counting_from_many_tasks_loses_nothing(fixture: impl Fixture) {
    let store = fixture.store();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let there = store.get(&key("counter")).await.unwrap();
                    let count: u64 =
                        there.as_ref().map_or(0, |there| std::str::from_utf8(there.value.as_deref().unwrap()).unwrap().parse().unwrap());
                    let expect = Expect::Version(there.map_or(0, |there| there.version));
                    let write = put(key("counter"), expect, &(count + 1).to_string());
                    match &store.commit(Batch::one(write)).await.unwrap()[0] {
                        Outcome::Committed { .. } => break,
                        Outcome::Conflict(_) => {}
                        Outcome::GroupAborted => panic!("a single write has no group"),
                    }
                }
            }
        }));
    }
    for task in tasks {
        bounded("the counting tasks", task).await.unwrap();
    }
    assert_eq!(store.get(&key("counter")).await.unwrap(), Some(document(key("counter"), 200, 200, Some("200"))));
}

/// F 39: SQL was put together from requests.
pub(crate) async fn values_come_back_as_they_were(mut fixture: impl Fixture) {
    let values: Vec<Bytes> = vec![
        Bytes::new(),
        Bytes::from_static(b"{\"name\":\"Z\xc3\xbcrich\"}"),
        (0..=255).collect::<Vec<u8>>().into(),
        vec![b'x'; 3 * 1024 * 1024].into(),
    ];
    let odd = Key::new("ä/…", "tenant with spaces & 'quotes'", "urn:ngsi-ld:Ü\u{1f}%_\\\"\u{7f}€");
    let store = fixture.store();
    for (number, value) in values.iter().enumerate() {
        let write = Write { key: key(&number.to_string()), expect: Expect::Absent, value: Some(value.clone()) };
        commit_one(&*store, write).await;
    }
    commit_one(&*store, put(odd.clone(), Expect::Absent, "odd")).await;
    if fixture.durable() {
        fixture.restart().await;
    }
    let store = fixture.store();
    for (number, value) in values.iter().enumerate() {
        assert_eq!(store.get(&key(&number.to_string())).await.unwrap().unwrap().value.as_ref(), Some(value));
    }
    assert_eq!(store.get(&odd).await.unwrap().unwrap().key, odd);
    assert_eq!(scan_all(&*store, Some(&odd.tenant), &odd.collection, 10).await.len(), 1);
    let fed: Vec<_> = changes(&*store, 0).await.into_iter().take(4).map(|change| change.value.unwrap()).collect();
    assert_eq!(fed, values);
}

pub(crate) async fn what_no_engine_can_hold_is_refused(fixture: impl Fixture) {
    let store = fixture.store();
    let refused = async |write| matches!(store.commit(Batch::one(write)).await, Err(StoreError::Invalid(_)));
    assert!(refused(put(key(&"k".repeat(MAX_KEY_BYTES)), Expect::Any, "x")).await);
    assert!(refused(put(key("a\0b"), Expect::Any, "x")).await);
    assert!(refused(Write { key: key("a"), expect: Expect::Any, value: Some(vec![0; MAX_VALUE_BYTES + 1].into()) }).await);
    commit_one(&*store, put(key(&"k".repeat(MAX_KEY_BYTES - "entity".len())), Expect::Any, "x")).await;
    assert_eq!(store.head().await.unwrap(), 1);
}

pub(crate) async fn a_scan_is_in_key_order_over_pages_and_tenants(fixture: impl Fixture) {
    let store = fixture.store();
    let mut keys = Vec::new();
    for collection in ["entity", "entit", "entity2"] {
        for tenant in ["", "a", "b"] {
            for id in ["B", "a", "a/b", "ab", "é", "ä", "~"] {
                keys.push(Key::new(collection, tenant, id));
            }
        }
    }
    store.commit(Batch::independent(keys.iter().rev().map(|key| put(key.clone(), Expect::Absent, "1")))).await.unwrap();
    keys.sort();
    for page in [1, 3, 100] {
        for (tenant, collection) in [(None, "entity"), (Some(""), "entity"), (Some("a"), "entit"), (Some("none"), "entity"), (None, "x")] {
            let expected: Vec<_> = keys
                .iter()
                .filter(|key| key.collection == collection && tenant.is_none_or(|tenant| key.tenant == tenant))
                .cloned()
                .collect();
            let found: Vec<_> = scan_all(&*store, tenant, collection, page).await.into_iter().map(|document| document.key).collect();
            assert_eq!(found, expected, "{tenant:?} {collection} in pages of {page}");
        }
    }
    assert_eq!(store.collections().await.unwrap(), ["entit", "entity", "entity2"]);
    let behind = Key::new("entity", "c", "");
    assert!(store.scan(Some("b"), "entity", Some(&behind), 9).await.unwrap().documents.is_empty());
    let after = Key::new("entity", "a", "ab");
    let page = store.scan(Some("b"), "entity", Some(&after), 1).await.unwrap();
    assert_eq!((page.documents[0].key.tenant.as_str(), page.documents[0].key.id.as_str(), page.more), ("b", "B", true));
}

pub(crate) async fn a_scan_passes_many_deletions(mut fixture: impl Fixture) {
    let store = fixture.store();
    let id = |number: u32| key(&format!("{number:04}"));
    store.commit(Batch::independent((0..300).map(|number| put(id(number), Expect::Any, "1")))).await.unwrap();
    store
        .commit(Batch::independent((0..300).filter(|number| number % 100 != 99).map(|number| delete(id(number), Expect::Any))))
        .await
        .unwrap();
    let expected: Vec<_> = [99, 199, 299].into_iter().map(id).collect();
    for page in [1, 2, 3, 10] {
        let found: Vec<_> = scan_all(&*store, None, "entity", page).await.into_iter().map(|document| document.key).collect();
        assert_eq!(found, expected, "in pages of {page}");
    }
    if fixture.durable() {
        fixture.restart().await;
        assert_eq!(scan_all(&*fixture.store(), None, "entity", 2).await.len(), 3);
    }
}

pub(crate) async fn an_empty_batch_is_fine(fixture: impl Fixture) {
    let store = fixture.store();
    assert_eq!(store.commit(Batch::default()).await.unwrap(), vec![]);
    assert_eq!(store.commit(Batch { groups: vec![vec![], vec![]] }).await.unwrap(), vec![]);
    assert_eq!(store.head().await.unwrap(), 0);
}

pub(crate) async fn a_restart_keeps_everything(mut fixture: impl Fixture) {
    if !fixture.durable() {
        return;
    }
    for round in 1..=3_u64 {
        let store = fixture.store();
        assert_eq!(commit_one(&*store, put(key("live"), Expect::Version(round - 1), &round.to_string())).await.0, round);
        assert_eq!(commit_one(&*store, put(key("gone"), Expect::Absent, "x")).await.0, round * 2 - 1);
        commit_one(&*store, delete(key("gone"), Expect::Version(round * 2 - 1))).await;
        drop(store);
        fixture.restart().await;
        let store = fixture.store();
        assert_eq!(store.head().await.unwrap(), round * 3);
        assert_eq!(store.get(&key("live")).await.unwrap(), Some(document(key("live"), round, round * 3 - 2, Some(&round.to_string()))));
        assert_eq!(store.get(&key("gone")).await.unwrap(), None);
        assert_eq!(changes(&*store, 0).await.len() as u64, round * 3);
    }
}

pub(crate) async fn a_closed_store_refuses(fixture: impl Fixture) {
    let store = fixture.store();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let refused = |error| matches!(error, StoreError::Unavailable(_));
    assert!(store.commit(Batch::one(put(key("a"), Expect::Any, "x"))).await.is_err_and(refused));
    assert!(store.get(&key("a")).await.is_err_and(refused));
    assert!(store.scan(None, "entity", None, 1).await.is_err_and(refused));
    assert!(store.feed(0, 1).await.is_err_and(refused));
    assert!(store.head().await.is_err_and(refused));
    assert!(store.lease("x", "a", std::time::Duration::from_secs(1)).await.is_err_and(refused));
}
