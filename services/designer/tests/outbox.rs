//! Announcements to masters survive a dead bus and a restart.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use fogflow_orchestration::{MasterProfile, MessageType};
use serde_json::json;
use support::bus::MortalBus;
use support::{Designer, alone, counter, topology};

#[tokio::test]
async fn d_1_fault_24_an_intent_posted_while_the_bus_is_dead_is_announced_when_it_is_back() {
    let (_directory, config) = alone();
    let bus = MortalBus::new(false);
    let mut master = bus.master().await;
    let designer = Designer::start_on(&config, Arc::new(bus.clone())).await;
    designer.put("/operator", counter()).await;
    designer.put("/service", json!({"topology": topology("one")})).await;
    designer.put("/intent", json!({"id": "ServiceIntent.a", "topology": "one"})).await;
    assert!(master.next(Duration::from_millis(300)).await.is_none());
    bus.set_alive(true);
    assert_eq!(master.intent().await, ("ADD".to_owned(), "ServiceIntent.a".to_owned()));
    assert_eq!(designer.get("/ready").await.status, 200);
    designer.stop().await;
}

#[tokio::test]
async fn d_1_an_announcement_survives_a_restart_and_keeps_its_order() {
    let (_directory, config) = alone();
    let bus = MortalBus::new(false);
    let designer = Designer::start_on(&config, Arc::new(bus.clone())).await;
    designer.put("/operator", counter()).await;
    designer.put("/fogfunction", json!({"name": "Test", "topology": topology("Test"), "intent": {"id": "ServiceIntent.t"}})).await;
    designer.put("/service", json!({"topology": topology("one")})).await;
    for n in 0..5 {
        designer.put("/intent", json!({"id": format!("ServiceIntent.{n}"), "topology": "one"})).await;
    }
    assert_eq!(designer.delete("/intent/ServiceIntent.3").await.status, 200);
    assert_eq!(designer.get("/fogfunction/Test/disable").await.status, 200);
    designer.stop().await;

    let bus = MortalBus::new(true);
    let mut master = bus.master().await;
    let designer = Designer::start_on(&config, Arc::new(bus)).await;
    let mut heard = Vec::new();
    for _ in 0..8 {
        let (action, id) = master.intent().await;
        heard.push(format!("{action} {}", id.trim_start_matches("ServiceIntent.")));
    }
    assert_eq!(heard, ["ADD t", "ADD 0", "ADD 1", "ADD 2", "ADD 3", "ADD 4", "DELETE 3", "DELETE t"]);
    // What was taken is not sent again by the next one.
    designer.stop().await;
    let bus = MortalBus::new(true);
    let mut master = bus.master().await;
    let designer = Designer::start_on(&config, Arc::new(bus)).await;
    assert!(master.next(Duration::from_millis(300)).await.is_none());
    designer.stop().await;
}

#[tokio::test]
async fn a_master_that_joins_gets_all_active_intents_again() {
    let (_directory, config) = alone();
    let bus = MortalBus::new(true);
    let mut master = bus.master().await;
    let designer = Designer::start_on(&config, Arc::new(bus.clone())).await;
    designer.put("/operator", counter()).await;
    designer
        .put(
            "/fogfunction",
            json!([
                {"name": "On", "topology": topology("On"), "intent": {"id": "ServiceIntent.on"}},
                {"name": "Off", "topology": topology("Off"), "intent": {"id": "ServiceIntent.off"}}
            ]),
        )
        .await;
    designer.get("/fogfunction/Off/disable").await;
    for _ in 0..3 {
        master.intent().await;
    }
    bus.designer_listens().await;
    let profile = MasterProfile { id: "Master.001".to_owned(), ..Default::default() };
    bus.send(MessageType::MasterJoin, "designer.", "Master.001", &profile).await;
    assert_eq!(master.intent().await, ("ADD".to_owned(), "ServiceIntent.on".to_owned()));
    assert!(master.next(Duration::from_millis(300)).await.is_none());
    assert_eq!(designer.get("/info/master").await.body[0]["id"], "Master.001");
    designer.stop().await;
}

#[tokio::test]
async fn messages_that_nobody_understands_do_not_stop_the_ones_after_them() {
    let (_directory, config) = alone();
    let bus = MortalBus::new(true);
    let designer = Designer::start_on(&config, Arc::new(bus.clone())).await;
    bus.designer_listens().await;
    bus.send(MessageType::TaskUpdate, "task.", "Worker.001", &json!({"TaskID": 7, "Status": "dancing"})).await;
    bus.send(MessageType::MasterJoin, "designer.", "Master.001", &json!("text")).await;
    bus.send(MessageType::TaskUpdate, "task.", "Worker.001", &json!({"TaskID": "t", "Status": "running"})).await;
    support::until("the task being listed", || async {
        let tasks = designer.get("/info/task").await.body;
        if tasks[0]["Worker"] == "Worker.001" { Ok(()) } else { Err(tasks.to_string()) }
    })
    .await;
    designer.stop().await;
}
