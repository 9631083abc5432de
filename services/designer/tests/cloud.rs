//! What the designer keeps at the cloud broker.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::broker::Broker;
use support::{Designer, alone, answer, until};

async fn with_broker() -> (tempfile::TempDir, fogflow_config::Config, Broker) {
    let broker = Broker::default();
    let (directory, mut config) = alone();
    config.broker.http_port = broker.start().await.port();
    (directory, config, broker)
}

async fn id_at_broker(designer: &Designer) -> (String, String) {
    until("the subscription being made", || async {
        let listed = designer.get("/subscription").await.body;
        let (id, record) = listed.as_object().and_then(|all| all.iter().next()).ok_or("none")?;
        let at_broker = record["brokerSubscriptionId"].as_str().ok_or_else(|| listed.to_string())?;
        Ok((id.clone(), at_broker.to_owned()))
    })
    .await
}

#[tokio::test]
async fn d_6_a_forwarded_subscription_keeps_its_id_when_designer_or_broker_restart_and_is_never_doubled() {
    let (_directory, config, broker) = with_broker().await;
    let designer = Designer::start(&config).await;
    let wanted = json!({"entity_type": "Out", "destination_broker": "NGSI-LD", "reference_url": "http://scorpio:9090", "tenant": "t1"});
    designer.put("/subscription", wanted).await;
    let (id, first) = id_at_broker(&designer).await;
    {
        let subscriptions = broker.subscriptions.lock();
        let made = &subscriptions[&first];
        assert_eq!(made["entities"][0]["type"], "Out");
        assert_eq!((&made["Subscriber"]["DestinationType"], &made["Subscriber"]["Tenant"]), (&json!("NGSI-LD"), &json!("t1")));
    }
    designer.stop().await;

    let designer = Designer::start(&config).await;
    assert_eq!(id_at_broker(&designer).await, (id.clone(), first.clone()));
    assert_eq!(broker.subscribed_by("http://scorpio:9090"), [first.as_str()]);
    designer.stop().await;

    // The broker has lost its state: made again under another id, the record is the same.
    broker.subscriptions.lock().clear();
    let designer = Designer::start(&config).await;
    let second = until("the subscription being made again", || async {
        let now = id_at_broker(&designer).await;
        if now.1 == first { Err(now.1) } else { Ok(now) }
    })
    .await;
    assert_eq!(second.0, id);
    assert_eq!(broker.subscribed_by("http://scorpio:9090"), [second.1.as_str()]);

    assert_eq!(designer.delete(&format!("/subscription/{id}")).await.status, 200);
    until("the subscription ending", || async {
        let left = broker.subscribed_by("http://scorpio:9090");
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    designer.stop().await;
}

#[tokio::test]
async fn devices_are_created_idempotently_and_newer_values_at_the_broker_stay() {
    let (_directory, config, broker) = with_broker().await;
    let designer = Designer::start(&config).await;
    let device = json!({"id": "Device.1", "type": "Temperature", "attributes": {"t": {"type": "float", "value": 1}},
        "metadata": {"location": {"type": "point", "value": {"latitude": 47.6, "longitude": -122.3}}}});
    designer.put("/device", device).await;
    assert_eq!(broker.entities.lock()["Device.1"]["attributes"][0]["value"], 1);
    assert_eq!(broker.entities.lock()["Device.1"]["domainMetadata"][0]["name"], "location");
    let stored = designer.get("/device").await.body;
    assert_eq!(stored["Device.1"]["entityId"]["id"], "Device.1");
    designer.stop().await;

    broker.entities.lock().insert("Device.1".to_owned(), json!({"newer": true}));
    broker.asked.lock().clear();
    let designer = Designer::start(&config).await;
    until("the device being checked", || async {
        let asked = broker.asked.lock().clone();
        if asked.contains(&"GET /ngsi10/entity/Device.1".to_owned()) { Ok(()) } else { Err(format!("{asked:?}")) }
    })
    .await;
    assert_eq!(broker.entities.lock()["Device.1"], json!({"newer": true}));

    assert_eq!(designer.delete("/device/Device.1").await.status, 200);
    until("the entity being deleted", || async {
        let left: Vec<String> = broker.entities.lock().keys().cloned().collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    designer.stop().await;
}

#[tokio::test]
async fn a_device_that_the_broker_refuses_is_not_kept_and_one_posted_while_it_is_away_is_created_later() {
    let (_directory, mut config, broker) = with_broker().await;
    broker.refused.lock().push("Device.bad".to_owned());
    let designer = Designer::start(&config).await;
    let refused = designer.post("/device", json!({"id": "Device.bad", "type": "T"})).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(designer.get("/device/Device.bad").await.status, 404);
    designer.stop().await;

    let reachable = config.broker.http_port;
    config.broker.http_port = 1;
    let designer = Designer::start(&config).await;
    let posted = designer.http.post(designer.url("/device")).json(&json!({"id": "Device.late", "type": "T"})).send().await.unwrap();
    assert_eq!((posted.status().as_u16(), posted.headers()["x-fogflow-pending"].to_str().unwrap()), (200, "broker"));
    assert_eq!(designer.get("/device/Device.late").await.body["pending"], true);
    designer.stop().await;

    config.broker.http_port = reachable;
    let designer = Designer::start(&config).await;
    until("the device being created", || async {
        let device = designer.get("/device/Device.late").await.body;
        if device.get("pending").is_none() { Ok(()) } else { Err(device.to_string()) }
    })
    .await;
    assert!(broker.entities.lock().contains_key("Device.late"));
    designer.stop().await;
}

#[tokio::test]
async fn live_entities_hang_on_exactly_one_subscription_which_ends_with_the_designer() {
    let (_directory, config, broker) = with_broker().await;
    let designer = Designer::start(&config).await;
    let reference = format!("http://{}", designer.running.agent);
    until("the subscription to all entities", || async {
        if broker.subscribed_by(&reference).len() == 1 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    let made = broker.subscriptions.lock().values().next().cloned().unwrap();
    assert_eq!(made["entities"][0], json!({"id": ".*", "isPattern": true}));
    designer.stop().await;
    assert_eq!(broker.subscribed_by(&reference), Vec::<String>::new());
}

#[tokio::test]
async fn d_18_no_view_asks_the_broker_for_task_or_worker_entities() {
    let (_directory, config, broker) = with_broker().await;
    let designer = Designer::start(&config).await;
    let report = json!({"master": "Master.001", "epoch": 1, "full": true, "tasks": [{"TaskID": "Task.a.b.1", "ServiceIntentID": "i", "Status": "running", "Worker": "Worker.001"}],
        "workers": [{"id": "Worker.001", "capacity": 8}]});
    designer.put("/internal/report", report).await;
    assert_eq!(designer.get("/info/task").await.body[0]["ID"], "Task.a.b.1");
    assert_eq!(designer.get("/info/task/i").await.body.as_array().map(Vec::len), Some(1));
    assert_eq!(designer.get("/info/task/other").await.body, json!([]));
    assert_eq!(designer.get("/info/worker").await.body[0]["capacity"], 8);
    assert!(!broker.asked.lock().iter().any(|request| request.contains("queryContext")));
    designer.stop().await;
}

#[tokio::test]
async fn the_broker_is_reached_through_the_designer_and_its_absence_is_said_plainly() {
    let (_directory, config, broker) = with_broker().await;
    broker.entities.lock().insert("a/b".to_owned(), json!({"entityId": {"id": "a/b"}}));
    let designer = Designer::start(&config).await;
    let through = designer.get("/ngsi10/entity/a%2Fb").await;
    assert_eq!((through.status, through.body["entityId"]["id"].as_str()), (200, Some("a/b")));
    let update = json!({"contextElements": [{"entityId": {"id": "x", "type": "T"}}], "updateAction": "UPDATE"});
    assert_eq!(designer.post("/internal/updateContext", update.clone()).await.status, 200);
    assert!(broker.entities.lock().contains_key("x"));
    let foreign =
        answer(designer.http.post(designer.url("/ngsi10/updateContext")).header("origin", "http://evil.example").json(&update)).await;
    assert_eq!(foreign.status, 403);
    let away = designer.get("/ngsi9/broker").await;
    assert_eq!(away.status, 503);
    assert!(away.body["description"].as_str().unwrap().contains("discovery"), "{}", away.body);
    assert_eq!(designer.get("/info/broker").await.body, Value::Array(vec![]));
    designer.stop().await;
}
