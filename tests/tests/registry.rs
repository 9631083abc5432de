//! The designer as it runs in production: its registry in PostgreSQL, its announcements over RabbitMQ, and both going away.

use std::time::Duration;

use fogflow_tests::servers::{Postgres, RabbitMq};
use fogflow_tests::tasks::{ECHO, register_function};
use fogflow_tests::{Http, Site, http, wait_for};
use reqwest::StatusCode;
use serde_json::{Value, json};

const TEST: &str = "what_the_designer_acknowledged_outlives_postgresql_and_is_announced_after_rabbitmq_returns";

fn operator(name: &str) -> Value {
    json!([{"name": name, "description": "", "parameters": []}])
}

#[tokio::test]
async fn what_the_designer_acknowledged_outlives_postgresql_and_is_announced_after_rabbitmq_returns() {
    let Some(mut database) = Postgres::start(TEST).await else { return };
    let Some(mut rabbit) = RabbitMq::start(TEST).await else { return };
    let url = database.url();
    let site = Site::new("001").on_rabbitmq(&rabbit).with(|config| config["designer"]["store"] = json!({"engine": "postgres", "url": url}));
    let services = ["discovery", "broker", "master", "worker"];
    let _programs = services.map(|service| site.start(&format!("fogflow-{service}"), &[]));
    let mut designer = site.start("fogflow-designer", &[]);
    site.ready(&["discovery", "broker", "designer", "master", "worker"]).await;
    let (http, operators) = (Http::new(), format!("{}/operator", site.url("designer")));
    let (status, answer) = http.post(&operators, &operator("first")).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");

    database.stop().await;
    // The client gives up after 10 s, so an answer is one in time.
    let (status, answer) = http.post(&operators, &operator("refused")).await.unwrap();
    assert!(matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE), "{status} {answer}");
    database.restart().await;
    wait_for("a write after PostgreSQL's return", Duration::from_secs(30), async || {
        match http.post(&operators, &operator("second")).await? {
            (StatusCode::OK, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // What is acknowledged while the bus is away waits in the outbox, also when the designer is killed meanwhile.
    rabbit.stop().await;
    register_function(&site, "late", "Thing", ECHO, json!({})).await;
    designer.kill();
    designer = site.start("fogflow-designer", &[]);
    rabbit.restart().await;
    site.ready(&["designer"]).await;
    let broker = site.url("broker");
    let (_, answer) =
        http.post(&format!("{broker}/ngsi10/updateContext"), &http::update("Thing.1", "Thing", &[("value", json!(3))])).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
    wait_for("the result of the function", Duration::from_secs(60), async || {
        let attribute = http.ok(&format!("{broker}/ngsi10/entity/Echo.Thing.1/value")).await?;
        if attribute["value"] == 3 { Ok(()) } else { Err(attribute.to_string()) }
    })
    .await;
    let all = http.ok(&operators).await.unwrap().to_string();
    assert!(["first", "second", "late"].iter().all(|name| all.contains(&format!("\"{name}\""))), "{all}");
    assert!(!all.contains("\"refused\""), "an error reply, and the write was applied after all: {all}");
    assert_eq!(designer.terminate(Duration::from_secs(20)).await.code(), Some(0));
}
