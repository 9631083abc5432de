//! How a process ends: in-flight requests finish, idle and hanging connections do not hold it, failures are told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fogflow_chassis::{Access, Process, Routes, Security, UsageError, serve};
use support::{SOON, raw, request, served};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

fn security() -> Security {
    Security::with_token("t")
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_new_ones_are_refused() {
    let process = Process::new("test");
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, gate) = (entered.clone(), release.clone());
    let slow = move || {
        let (inside, gate) = (inside.clone(), gate.clone());
        async move {
            inside.notify_one();
            gate.notified().await;
            "done"
        }
    };
    let router = Routes::new("t").get("/slow", Access::Anyone, "Waits", slow).build((), &process, &security());
    let addr = served(&process, router).await;
    let in_flight = tokio::spawn(async move { request(addr, "GET", "/slow", &[], "").await });
    entered.notified().await;
    process.shutdown.cancel();
    // The listener is closed once a connection is refused.
    tokio::time::timeout(SOON, async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    release.notify_one();
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert!(process.tasks.drain(SOON).await.unfinished.is_empty());
    assert_eq!(process.tasks.failure(), None);
}

#[tokio::test]
async fn idle_keep_alive_connections_are_closed_at_once() {
    let process = Process::new("test");
    let router = Routes::new("t").get("/a", Access::Anyone, "A", || async { "a" }).build((), &process, &security());
    let addr = served(&process, router).await;
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(format!("GET /a HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0_u8; 1024];
    assert!(idle.read(&mut first).await.unwrap() > 0);
    let began = Instant::now();
    process.shutdown.cancel();
    assert!(process.tasks.drain(SOON).await.unfinished.is_empty());
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    assert_eq!(idle.read(&mut first).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_in_the_middle_of_its_request_does_not_hold_the_process_for_20_seconds() {
    let process = Process::new("test");
    let router = Routes::new("t").post("/a", Access::Anyone, "A", |body: axum::body::Bytes| async move { body.len().to_string() }).build(
        (),
        &process,
        &security(),
    );
    let addr = served(&process, router).await;
    let mut hanging = TcpStream::connect(addr).await.unwrap();
    hanging.write_all(format!("POST /a HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 100\r\n\r\nhalf").as_bytes()).await.unwrap();
    // A second exchange shows that the first request has been read that far.
    assert_eq!(request(addr, "POST", "/a", &[], "x").await.status, 200);
    let began = Instant::now();
    process.shutdown.cancel();
    assert!(process.tasks.drain(Duration::from_secs(15)).await.unfinished.is_empty());
    assert!(began.elapsed() < Duration::from_secs(14), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn garbage_instead_of_a_request_is_answered_and_the_listener_lives_on() {
    let process = Process::new("test");
    let router = Routes::new("t").get("/a", Access::Anyone, "A", || async { "a" }).build((), &process, &security());
    let addr = served(&process, router).await;
    assert_eq!(raw(addr, b"\x16\x03\x01 nonsense\r\n\r\n").await.status, 400);
    assert_eq!(request(addr, "GET", "/a", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_of_the_user_and_names_the_address() {
    let process = Process::new("test");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = serve(&process, "broker", addr, axum::Router::new()).await.unwrap_err();
    let usage = error.downcast_ref::<UsageError>().expect("exit code 2");
    assert_eq!(usage.0, format!("broker cannot listen on {addr}: the port is taken by another process"));
}

#[tokio::test]
async fn a_critical_task_that_fails_panics_or_ends_takes_the_whole_process_down_also_from_within_a_service() {
    for (fault, reason) in [(0, "disk gone"), (1, "panicked: on purpose"), (2, "it ended although nobody asked")] {
        let process = Process::new("node");
        let service = process.child("broker");
        service.tasks.spawn_critical("committer", async move {
            match fault {
                0 => anyhow::bail!("disk gone"),
                1 => panic!("on purpose"),
                _ => Ok(()),
            }
        });
        tokio::time::timeout(SOON, process.shutdown.cancelled()).await.expect("the process ends");
        assert_eq!(process.tasks.failure().as_deref(), Some(format!("committer: {reason}").as_str()));
        assert!(service.shutdown.is_cancelled());
    }
}

#[tokio::test]
async fn the_tasks_of_a_store_are_shown_by_name_may_end_with_it_and_their_failure_ends_the_process() {
    let process = Process::new("test");
    let dir = tempfile::tempdir().unwrap();
    let config = fogflow_config::Config { data_dir: dir.path().to_owned(), ..Default::default() };
    let store = fogflow_chassis::open_store(&config, &process, "broker", fogflow_config::Durability::Fsync).await.unwrap();
    let states = || process.tasks.status().into_iter().map(|task| (task.name, task.state)).collect::<std::collections::BTreeMap<_, _>>();
    let both = ["broker store transfer", "broker store writer"];
    assert_eq!(states(), both.map(|name| (name.to_owned(), "running")).into());
    store.close().await.unwrap();
    let ended = both.map(|name| (name.to_owned(), "ended")).into();
    tokio::time::timeout(SOON, async {
        while states() != ended {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", states()));
    assert_eq!(process.tasks.failure(), None);
    process.tasks.spawner("broker").spawn("store writer", async { Err("the disk is gone".to_owned()) });
    tokio::time::timeout(SOON, process.shutdown.cancelled()).await.unwrap();
    assert_eq!(process.tasks.failure().as_deref(), Some("broker store writer: the disk is gone"));
}

#[tokio::test]
async fn a_restarting_task_is_made_again_after_errors_and_panics_and_its_state_can_be_read() {
    let process = Process::new("test");
    let (attempts, done) = (Arc::new(std::sync::atomic::AtomicU32::new(0)), Arc::new(Notify::new()));
    let (count, signal) = (attempts.clone(), done.clone());
    process.tasks.spawn_restarting("consumer", move || {
        let (count, signal) = (count.clone(), signal.clone());
        async move {
            match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => anyhow::bail!("no connection"),
                1 => panic!("on purpose"),
                _ => signal.notify_one(),
            }
            std::future::pending().await
        }
    });
    tokio::time::timeout(SOON, done.notified()).await.expect("a third attempt");
    let status = process.tasks.status();
    assert_eq!((status[0].name.as_str(), status[0].state, status[0].restarts), ("consumer", "running", 2));
    assert_eq!(status[0].last_error.as_deref(), Some("panicked: on purpose"));
    process.shutdown.cancel();
    assert_eq!(process.tasks.drain(SOON).await.unfinished, ["consumer"]);
}

#[tokio::test]
async fn finished_best_effort_tasks_leave_no_trace_and_panicking_ones_are_told() {
    let process = Process::new("test");
    for _ in 0..1000 {
        process.tasks.spawn("short", async {});
    }
    process.tasks.spawn("unlucky", async { panic!("on purpose") });
    process.shutdown.cancel();
    assert!(process.tasks.drain(SOON).await.unfinished.is_empty());
    let status = process.tasks.status();
    assert_eq!(status.iter().map(|task| (task.name.as_str(), task.state)).collect::<Vec<_>>(), [("unlucky", "failed")]);
}
