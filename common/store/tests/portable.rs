//! Export and import: any state, any engine, while the store goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fogflow_store::embedded::EmbeddedStore;
use fogflow_store::memory::MemoryStore;
use fogflow_store::portable::{Portable, PortableError, clear, export, import, is_empty};
use fogflow_store::{Batch, Durability, Expect, Key, Store, Write};
use tempfile::TempDir;

fn put(key: Key, value: impl Into<Bytes>) -> Write {
    Write { key, expect: Expect::Any, value: Some(value.into()) }
}

async fn all(store: &dyn Store) -> Vec<(Key, Bytes)> {
    let mut found = Vec::new();
    for collection in store.collections().await.unwrap() {
        let page = store.scan(None, &collection, None, 100_000).await.unwrap();
        found.extend(page.documents.into_iter().map(|document| (document.key, document.value.unwrap())));
    }
    found
}

#[tokio::test]
async fn every_value_moves_between_engines_as_it_was() {
    let store = MemoryStore::new();
    let values: [&[u8]; 8] = [b"{\"a\": [1, 2.50]}", b"", b"null", b" 1 ", b"{\n}", b"\xff\x00", b"\"end\"", b"{\"end\":true,\"lines\":0}"];
    for (number, value) in values.iter().enumerate() {
        let key = Key::new(["entity", "cursor"][number % 2], "t\"", format!("é{number}"));
        store.commit(Batch::one(put(key, value.to_vec()))).await.unwrap();
    }
    let gone = Key::new("entity", "", "gone");
    store.commit(Batch::one(put(gone.clone(), "x"))).await.unwrap();
    store.commit(Batch::one(Write { key: gone, expect: Expect::Any, value: None })).await.unwrap();
    let mut text = Vec::new();
    assert_eq!(export(&store, &[], &mut text).await.unwrap(), Portable { lines: 8, sequence: 10 });

    let dir = TempDir::new().unwrap();
    let copy = EmbeddedStore::open(dir.path(), Durability::Relaxed).await.unwrap();
    assert_eq!(import(&copy, &mut &text[..]).await.unwrap().lines, 8);
    assert_eq!(all(&copy).await, all(&store).await);
    assert!(matches!(import(&copy, &mut &text[..]).await, Err(PortableError::NotEmpty)));
    // A copy of the copy is the same text.
    let mut again = Vec::new();
    export(&copy, &[], &mut again).await.unwrap();
    let lines = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap().lines().take(9).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&again), lines(&text));
    // What was cleared takes a text again, and what stays behind is not in it.
    clear(&copy).await.unwrap();
    assert!(is_empty(&copy).await.unwrap());
    let mut without = Vec::new();
    assert_eq!(export(&store, &["cursor"], &mut without).await.unwrap().lines, 4);
    import(&copy, &mut &without[..]).await.unwrap();
    assert_eq!(copy.collections().await.unwrap().len(), 2, "names of collections are not forgotten");
    assert!(all(&copy).await.iter().all(|(key, _)| key.collection == "entity"));
}

#[tokio::test]
async fn a_text_that_is_cut_off_anywhere_is_refused() {
    let store = MemoryStore::new();
    store.commit(Batch::independent((0..3).map(|number| put(Key::new("entity", "", number.to_string()), "{}")))).await.unwrap();
    let mut text = Vec::new();
    export(&store, &[], &mut text).await.unwrap();
    for length in 0..text.len() - 1 {
        let imported = import(&MemoryStore::new(), &mut &text[..length]).await;
        assert!(matches!(imported, Err(PortableError::Text { .. })), "{length}");
    }
    let text = String::from_utf8(text).unwrap();
    let without_a_line: Vec<&str> = text.lines().enumerate().filter(|(number, _)| *number != 2).map(|(_, line)| line).collect();
    assert!(import(&MemoryStore::new(), &mut without_a_line.join("\n").as_bytes()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_running_store_is_the_state_of_one_moment() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(dir.path(), Durability::Relaxed).await.unwrap());
    store.commit(Batch::independent((0..3000).map(|number| put(Key::new("entity", "", format!("{number:04}")), "0")))).await.unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (store, end) = (Arc::clone(&store), Arc::clone(&end));
        async move {
            // All documents of a group change together: in one moment they are equal.
            for round in 1_u64.. {
                if end.load(Ordering::Relaxed) {
                    return round;
                }
                let group = [0, 1500, 2999].map(|number| put(Key::new("entity", "", format!("{number:04}")), round.to_string()));
                store.commit(Batch::atomic(group.into())).await.unwrap();
            }
            0
        }
    });
    for _ in 0..10 {
        let mut text = Vec::new();
        export(&*store, &[], &mut text).await.unwrap();
        let copy = MemoryStore::new();
        import(&copy, &mut &text[..]).await.unwrap();
        let documents = all(&copy).await;
        assert_eq!(documents.len(), 3000);
        assert_eq!(documents[0].1, documents[1500].1);
        assert_eq!(documents[0].1, documents[2999].1);
    }
    end.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 10);
}
