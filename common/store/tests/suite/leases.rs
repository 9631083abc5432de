//! Leases.

use std::sync::Arc;
use std::time::Duration;

use super::{Fixture, bounded};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

pub(crate) async fn a_lease_excludes_others_until_it_ends(fixture: impl Fixture) {
    let store = fixture.store();
    let first = store.lease("leader", "a", LONG).await.unwrap();
    assert!(first.granted);
    let refused = store.lease("leader", "b", LONG).await.unwrap();
    assert_eq!((refused.granted, refused.holder.as_str(), refused.epoch), (false, "a", first.epoch));
    assert!(store.lease("other", "b", LONG).await.unwrap().granted, "names are apart");
    let renewed = store.lease("leader", "a", SHORT).await.unwrap();
    assert_eq!((renewed.granted, renewed.epoch), (true, first.epoch), "renewing keeps the epoch");
    let second = bounded("the lease to end", async {
        loop {
            let asked = store.lease("leader", "b", LONG).await.unwrap();
            if asked.granted {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(second.epoch > first.epoch);
    assert!(!store.lease("leader", "a", LONG).await.unwrap().granted);
}

pub(crate) async fn a_released_lease_is_free_at_once(fixture: impl Fixture) {
    let store = fixture.store();
    let first = store.lease("leader", "a", LONG).await.unwrap();
    store.release("leader", "b").await.unwrap();
    store.release("unknown", "b").await.unwrap();
    assert!(!store.lease("leader", "b", LONG).await.unwrap().granted, "only the holder can give it back");
    store.release("leader", "a").await.unwrap();
    let second = store.lease("leader", "b", LONG).await.unwrap();
    assert!(second.granted && second.epoch > first.epoch);
    store.release("leader", "b").await.unwrap();
    let third = store.lease("leader", "b", LONG).await.unwrap();
    assert!(third.granted && third.epoch > second.epoch, "also from a holder to itself");
}

pub(crate) async fn epochs_grow_over_restarts(mut fixture: impl Fixture) {
    if !fixture.durable() {
        return;
    }
    let before = fixture.store().lease("leader", "a", LONG).await.unwrap();
    fixture.restart().await;
    let store = fixture.store();
    let held = store.lease("leader", "b", LONG).await.unwrap();
    assert_eq!((held.granted, held.holder.as_str()), (false, "a"), "a restart of the store frees no lease");
    store.release("leader", "a").await.unwrap();
    assert!(store.lease("leader", "b", LONG).await.unwrap().epoch > before.epoch);
}

pub(crate) async fn one_of_many_gets_the_lease(fixture: impl Fixture) {
    let store = fixture.store();
    let mut tasks = Vec::new();
    for number in 0..10 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move { store.lease("leader", &format!("h{number}"), LONG).await.unwrap() }));
    }
    let mut granted = 0;
    for task in tasks {
        granted += usize::from(task.await.unwrap().granted);
    }
    assert_eq!(granted, 1);
}
