//! What only the embedded engine promises: one opener, crashes, full disks, torn files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test helper fails its test")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fogflow_store::embedded::{EmbeddedOptions, EmbeddedStore};
use fogflow_store::{Batch, Document, Durability, Expect, Feed, Key, Outcome, Sequence, Store, StoreError, Write};
use tempfile::TempDir;

const CRASH_DIR: &str = "FOGFLOW_STORE_CRASH_DIR";
const CRASH_DURABILITY: &str = "FOGFLOW_STORE_CRASH_DURABILITY";
const WRITERS: u64 = 4;

fn key(id: &str) -> Key {
    Key::new("entity", "", id)
}

fn put(id: &str, value: impl Into<Bytes>) -> Write {
    Write { key: key(id), expect: Expect::Any, value: Some(value.into()) }
}

/// Small files, so that a few seconds of work see new segments, trims and transfers.
fn small(durability: Durability) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 256 * 1024, feed_bytes: 8 * 1024 * 1024, ..EmbeddedOptions::new(durability) }
}

async fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open_with(dir, small(Durability::Fsync)).await.unwrap()
}

async fn feed_all(store: &EmbeddedStore) -> Vec<Document> {
    let (mut all, mut from): (Vec<Document>, Sequence) = (Vec::new(), 0);
    loop {
        match store.feed(from, 1000).await.unwrap() {
            Feed::Changes(changes) if changes.is_empty() => return all,
            Feed::Changes(changes) => {
                all.extend(changes);
                from = all.last().unwrap().sequence;
            }
            // It was trimmed: begin with the oldest change that is there.
            Feed::Truncated { resume } => {
                let mut low = from;
                let mut high = resume;
                while low + 1 < high {
                    let middle = u64::midpoint(low, high);
                    match store.feed(middle, 1).await.unwrap() {
                        Feed::Truncated { .. } => low = middle,
                        Feed::Changes(_) => high = middle,
                    }
                }
                from = high;
            }
        }
    }
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let second = EmbeddedStore::open(dir.path(), Durability::Fsync).await;
    assert!(matches!(second, Err(StoreError::InUse(_))));
    // Another process: flock(1) cannot take the lock file either.
    let taken = Command::new("flock").args(["--nonblock", "--conflict-exit-code", "42"]).arg(dir.path().join("lock")).arg("true").status();
    assert_eq!(taken.unwrap().code(), Some(42));
    store.close().await.unwrap();
    open(dir.path()).await.close().await.unwrap();
}

#[tokio::test]
async fn dropping_a_store_without_closing_it_loses_nothing_and_frees_the_directory() {
    let dir = TempDir::new().unwrap();
    for round in 1..=3 {
        let store = EmbeddedStore::open(dir.path(), Durability::Relaxed).await.unwrap();
        store.commit(Batch::one(put("a", round.to_string()))).await.unwrap();
        drop(store);
    }
    assert_eq!(open(dir.path()).await.get(&key("a")).await.unwrap().unwrap().version, 3);
}

/// Not a test of its own: the process that [`killed_at_any_moment`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_child() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let durability = if std::env::var(CRASH_DURABILITY).as_deref() == Ok("relaxed") { Durability::Relaxed } else { Durability::Fsync };
    let store = Arc::new(EmbeddedStore::open_with(dir, small(durability)).await.unwrap());
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            let there = store.get(&key(&format!("{writer}.0"))).await.unwrap();
            let mut round: u64 = there.map_or(0, |there| value(&there));
            loop {
                round += 1;
                // A group of three that must stay equal, and a growing set of others.
                let text = format!("{round} {}", "x".repeat(200));
                let mut group: Vec<Write> = (0..3).map(|part| put(&format!("{writer}.{part}"), text.clone())).collect();
                group.push(put(&format!("{writer}.many.{}", round % 5000), text));
                let outcomes = store.commit(Batch::atomic(group)).await.unwrap();
                let Outcome::Committed { sequence, .. } = outcomes[3] else { panic!("{outcomes:?}") };
                let mut out = std::io::stdout().lock();
                writeln!(out, "ACK {writer} {round} {sequence}").unwrap();
                out.flush().unwrap();
            }
        }));
    }
    futures::future::try_join_all(writers).await.unwrap();
}

fn value(document: &Document) -> u64 {
    let text = std::str::from_utf8(document.value.as_deref().unwrap()).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn spawn_child(dir: &Path, durability: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_child", "--nocapture"])
        .env(CRASH_DIR, dir)
        .env(CRASH_DURABILITY, durability)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn killed_at_any_moment(durability: &str, kills: u64) {
    let dir = TempDir::new().unwrap();
    let mut acknowledged: BTreeMap<u64, (u64, Sequence)> = BTreeMap::new();
    for kill in 0..kills {
        let mut child = spawn_child(dir.path(), durability);
        // Kill after a different number of acknowledgements each time, and a moment later.
        let acks = 1 + (kill * 37) % 300;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut read = |lines: &mut dyn Iterator<Item = std::io::Result<String>>, until: u64| {
            let start = Instant::now();
            while seen < until {
                let Some(Ok(line)) = lines.next() else { return };
                assert!(start.elapsed() < Duration::from_secs(60), "the child does not commit");
                // libtest may have written on the same line before.
                let Some((_, ack)) = line.split_once("ACK ") else { continue };
                let numbers: Vec<u64> = ack.split(' ').map(|number| number.parse().unwrap()).collect();
                acknowledged.insert(numbers[0], (numbers[1], numbers[2]));
                seen += 1;
            }
        };
        read(&mut lines, acks);
        std::thread::sleep(Duration::from_micros(kill * 997 % 7000));
        child.kill().unwrap();
        child.wait().unwrap();
        read(&mut lines, u64::MAX);
        verify(dir.path(), &acknowledged).await;
    }
    let total: u64 = acknowledged.values().map(|(round, _)| round).sum();
    println!("{kills} kills, {total} acknowledged groups, none lost or torn");
}

async fn verify(dir: &Path, acknowledged: &BTreeMap<u64, (u64, Sequence)>) {
    let store = open(dir).await;
    let head = store.head().await.unwrap();
    for (writer, (round, sequence)) in acknowledged {
        assert!(*sequence <= head, "the feed lost an acknowledged change");
        let mut values = Vec::new();
        for part in 0..3 {
            let there = store.get(&key(&format!("{writer}.{part}"))).await.unwrap().expect("an acknowledged document");
            assert_eq!(there.version, value(&there), "one version per round");
            values.push(value(&there));
        }
        assert!(values.iter().all(|value| value == &values[0]), "a torn group: {values:?}");
        assert!(values[0] == *round || values[0] == round + 1, "writer {writer}: acknowledged {round}, found {}", values[0]);
    }
    // Feed and documents agree: the newest change of each key in the feed is what stands there.
    let changes = feed_all(&store).await;
    assert!(changes.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "the feed has a gap");
    assert_eq!(changes.last().map(|change| change.sequence), Some(head));
    let newest: BTreeMap<Key, Document> = changes.into_iter().map(|change| (change.key.clone(), change)).collect();
    for (key, change) in newest {
        assert_eq!(store.get(&key).await.unwrap(), Some(change));
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn killed_at_any_moment_it_keeps_every_acknowledged_group_whole() {
    killed_at_any_moment("fsync", 25).await;
}

#[tokio::test]
async fn relaxed_durability_survives_kills_of_the_process_too() {
    killed_at_any_moment("relaxed", 10).await;
}

#[tokio::test]
async fn a_torn_end_of_the_log_is_cut_off_and_the_rest_stays() {
    for torn in 1..40 {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path()).await;
        store.commit(Batch::atomic(vec![put("a", "1"), put("b", "1")])).await.unwrap();
        store.close().await.unwrap();
        let log = dir.path().join("log/00000000000000000001.log");
        let good = fs::read(&log).unwrap();
        // Half of a next frame, as a crash in the middle of a write leaves it.
        OpenOptions::new().append(true).open(&log).unwrap().write_all(&good[..torn]).unwrap();
        let store = open(dir.path()).await;
        assert_eq!(store.head().await.unwrap(), 2);
        store.commit(Batch::one(put("a", "2"))).await.unwrap();
        store.close().await.unwrap();
        let store = open(dir.path()).await;
        assert_eq!(feed_all(&store).await.len(), 3);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn zeros_written_ahead_are_kept_and_a_torn_group_among_them_is_cut_off() {
    for torn in [0, 1, 15, 16, 39] {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path()).await;
        store.commit(Batch::atomic(vec![put("a", "1"), put("b", "1")])).await.unwrap();
        store.close().await.unwrap();
        let log = dir.path().join("log/00000000000000000001.log");
        let good = fs::read(&log).unwrap();
        // As a crash leaves it: whole frames, the beginning of one, and zeros.
        let mut file = OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(&good[..torn]).unwrap();
        file.write_all(&vec![0; 100_000]).unwrap();
        let store = open(dir.path()).await;
        assert_eq!(store.head().await.unwrap(), 2);
        let cut_off = fs::metadata(&log).unwrap().len() == good.len() as u64;
        assert_eq!(cut_off, torn > 0);
        // Into the zeros, and beyond them.
        for value in ["x".repeat(500), "y".repeat(200_000)] {
            store.commit(Batch::one(put("a", value))).await.unwrap();
        }
        store.close().await.unwrap();
        let store = open(dir.path()).await;
        assert_eq!(feed_all(&store).await.len(), 4);
        assert_eq!(store.get(&key("a")).await.unwrap().unwrap().version, 3);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_busy_log_is_longer_than_its_frames_and_gives_the_rest_back_at_the_end() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions::new(Durability::Fsync);
    let store = EmbeddedStore::open_with(dir.path(), options).await.unwrap();
    let log = dir.path().join("log/00000000000000000001.log");
    let length = || fs::metadata(&log).unwrap().len();
    let start = Instant::now();
    let mut commits = 0;
    // Several times over, so that frames have been written over zeros.
    while length() < 400_000 {
        assert!(start.elapsed() < Duration::from_secs(30), "the log stays at {} bytes", length());
        store.commit(Batch::one(put("a", vec![b'1'; 1000]))).await.unwrap();
        commits += 1;
    }
    assert!(length() > commits * 1300, "{} bytes for {commits} commits", length());
    store.close().await.unwrap();
    assert!(length() < commits * 1300);
    let store = open(dir.path()).await;
    assert_eq!(feed_all(&store).await.len() as u64, commits);
    store.close().await.unwrap();
}

#[tokio::test]
async fn documents_that_the_index_had_not_yet_come_back_from_the_log() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    store.commit(Batch::independent((0..500).map(|number| put(&number.to_string(), "1")))).await.unwrap();
    store.close().await.unwrap();
    // As if fjall had lost everything, for example by a power loss: it is behind, never ahead.
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let store = open(dir.path()).await;
    assert_eq!(store.scan(None, "entity", None, 1000).await.unwrap().documents.len(), 500);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_log_whose_beginning_the_documents_need_is_reported_as_damaged() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await;
    let value = vec![b'x'; 100_000];
    for _ in 0..9 {
        store.commit(Batch::one(put("a", value.clone()))).await.unwrap();
    }
    store.close().await.unwrap();
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    fs::remove_file(dir.path().join("log/00000000000000000001.log")).unwrap();
    let opened = EmbeddedStore::open(dir.path(), Durability::Fsync).await;
    assert!(matches!(opened, Err(StoreError::Damaged(_))), "{:?}", opened.err());
}

/// A file system of 48 MiB; `None`, with a line that says so, where mounting is not allowed.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(test: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(dir.path()).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            fogflow_tests::skip(test, "mounting a small file system needs root");
            return None;
        }
        Some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

async fn a_full_disk(test: &str, reserve_bytes: u64) {
    let Some(disk) = SmallDisk::mount(test) else { return };
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![7; 24 * 1024 * 1024]).unwrap();
    let dir = disk.0.path().join("store");
    let options = EmbeddedOptions { reserve_bytes, segment_bytes: 1024 * 1024, ..EmbeddedOptions::new(Durability::Fsync) };
    let store = EmbeddedStore::open_with(&dir, options).await.unwrap();
    let group = |round: u64| {
        let text = format!("{round} {}", "x".repeat(20_000));
        Batch::atomic((0..4).map(|part| put(&format!("{}.{part}", round % 50), text.clone())).collect())
    };
    for cycle in 0..3 {
        // Until it is full, and on for a while.
        let (mut kept, mut round, mut refused) = (BTreeMap::new(), 1, 0);
        let start = Instant::now();
        while refused < 20 {
            assert!(start.elapsed() < Duration::from_secs(60), "the disk does not fill");
            match store.commit(group(round)).await {
                Ok(_) => drop(kept.insert(round % 50, round)),
                Err(StoreError::Full) => refused += 1,
                Err(error) => panic!("cycle {cycle}: expected Full, got {error}"),
            }
            round += 1;
        }
        let check = async |store: &EmbeddedStore| {
            for (id, round) in &kept {
                for part in 0..4 {
                    let there = store.get(&key(&format!("{id}.{part}"))).await.unwrap().unwrap();
                    assert_eq!(value(&there), *round, "cycle {cycle}: a refused group must not be seen, an accepted one must");
                }
            }
            assert!(!store.scan(None, "entity", None, 1000).await.unwrap().documents.is_empty());
        };
        check(&store).await;
        assert_eq!(feed_all(&store).await.last().unwrap().sequence, store.head().await.unwrap());
        // Space returns: it goes on without a restart.
        let freed = fs::metadata(&ballast).unwrap().len().saturating_sub(8 * 1024 * 1024);
        OpenOptions::new().write(true).open(&ballast).unwrap().set_len(freed).unwrap();
        let start = Instant::now();
        while let Err(error) = store.commit(Batch::one(put("after", cycle.to_string()))).await {
            assert!(start.elapsed() < Duration::from_secs(20), "cycle {cycle}: still {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        check(&store).await;
    }
    let head = store.head().await.unwrap();
    store.close().await.unwrap();
    let store = open(&dir).await;
    assert_eq!(store.head().await.unwrap(), head);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_writes_and_goes_on_when_space_returns() {
    a_full_disk("a_nearly_full_disk", 6 * 1024 * 1024).await;
}

#[tokio::test]
async fn a_disk_that_is_full_to_the_last_byte_leaves_nothing_half_written() {
    a_full_disk("a_disk_that_is_full_to_the_last_byte", 0).await;
}
