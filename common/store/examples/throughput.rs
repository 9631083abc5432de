//! Prints how many document updates a store commits per second, by batch size and number of writers at a time.
//!
//! ```text
//! cargo run --release -p fogflow-store --example throughput -- [embedded|relaxed|memory|postgres://…] [keys] [seconds]
//! ```
//!
//! Every commit overwrites random documents of 366 bytes (an NGSI entity of three attributes) and waits for durability. The latency is that of one commit. At the end it closes, opens and scans all.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fogflow_store::{Batch, Durability, Engine, Expect, Key, SharedStore, StoreSettings, Write, open};

const VALUE_BYTES: usize = 366;
const TEXT_BYTES: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let engine = arguments.next().unwrap_or_else(|| "embedded".to_owned());
    let keys: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("store-throughput-{}", std::process::id()));
    let settings = StoreSettings {
        engine: match engine.as_str() {
            "embedded" | "relaxed" => Engine::Embedded,
            "memory" => Engine::Memory,
            _ => Engine::Postgres,
        },
        durability: if engine == "relaxed" { Durability::Relaxed } else { Durability::Fsync },
        url: engine.clone(),
        service: "throughput".to_owned(),
        dir: dir.clone(),
        spawner: Default::default(),
    };
    let store = open(&settings).await?;
    fill(&store, keys).await?;
    println!("{engine}: {keys} documents of {VALUE_BYTES} bytes");
    println!("{:>6} {:>8} {:>12} {:>10} {:>10} {:>10}", "batch", "writers", "updates/s", "p50 µs", "p99 µs", "max µs");
    for (batch, writers) in [(1, 1), (1, 64), (1, 512), (16, 1), (64, 1), (64, 8), (128, 4), (512, 2)] {
        measure(&store, keys, batch, writers, Duration::from_secs(seconds)).await?;
    }
    store.close().await?;
    let start = Instant::now();
    let store = open(&settings).await?;
    let opened = start.elapsed();
    let found = scan(&store).await?;
    println!("open {opened:?}, scan of {found} documents until {:?}", start.elapsed());
    store.close().await?;
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

fn write(number: u64) -> Write {
    let key = Key::new("entity", "", format!("urn:ngsi-ld:Device:{number:08}"));
    // A window into prepared text costs nothing to make, so that the store is measured and not this program.
    let start = rand_number() as usize % (TEXT_BYTES - VALUE_BYTES);
    Write { key, expect: Expect::Any, value: Some(text().slice(start..start + VALUE_BYTES)) }
}

/// Half words, half random digits: compressible about as JSON is.
fn text() -> &'static Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        while text.len() < TEXT_BYTES {
            text.push_str(&format!("{:x} temperature ", rand_number()));
        }
        Bytes::from(text)
    })
}

fn rand_number() -> u64 {
    use std::cell::Cell;
    thread_local!(static STATE: Cell<u64> = const { Cell::new(0x9E37_79B9_7F4A_7C15) });
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x
    })
}

async fn fill(store: &SharedStore, keys: u64) -> Result<(), Box<dyn Error>> {
    let mut number = 0;
    while number < keys {
        let end = (number + 1000).min(keys);
        store.commit(Batch::independent((number..end).map(write))).await?;
        number = end;
    }
    Ok(())
}

async fn measure(store: &SharedStore, keys: u64, batch: usize, writers: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while start.elapsed() < time {
                let writes = (0..batch).map(|_| write(rand_number() % keys));
                let commit = Batch::independent(writes);
                let begin = Instant::now();
                store.commit(commit).await?;
                latencies.push(begin.elapsed());
                done.fetch_add(batch as u64, Ordering::Relaxed);
            }
            Ok::<_, fogflow_store::StoreError>(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).or(latencies.last()).map_or(0, Duration::as_micros);
    let rate = done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    println!("{batch:>6} {writers:>8} {rate:>12.0} {:>10} {:>10} {:>10}", at(0.5), at(0.99), at(1.0));
    Ok(())
}

async fn scan(store: &SharedStore) -> Result<usize, Box<dyn Error>> {
    let (mut found, mut after) = (0, None);
    loop {
        let page = store.scan(None, "entity", after.as_ref(), 10_000).await?;
        found += page.documents.len();
        after = page.documents.last().map(|document| document.key.clone());
        if !page.more {
            return Ok(found);
        }
    }
}
