//! The main job, as a user sees it after `fogflow up`.

use std::time::Duration;

use fogflow_tests::tasks::{ECHO, in_state, register_function, tasks_when};
use fogflow_tests::{Http, Site, http, wait_for};
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test]
async fn the_demo_finds_anomalies_in_the_replayed_measurements() {
    let site = Site::new("001");
    let _node = site.up(&["--demo-speed", "200"]).await;
    let http = Http::new();
    let query = json!({"entities": [{"type": "Anomaly", "isPattern": true, "id": ""}]});
    let url = format!("{}/ngsi10/queryContext", site.url("broker"));
    let found = wait_for("an entity of type Anomaly", Duration::from_secs(60), async || {
        let (_, body) = http.post(&url, &query).await?;
        body["contextResponses"].as_array().filter(|list| !list.is_empty()).cloned().ok_or(body.to_string())
    })
    .await;
    assert_eq!(found[0]["contextElement"]["entityId"]["type"], "Anomaly");
    assert!(found[0]["contextElement"]["attributes"].as_array().is_some_and(|list| !list.is_empty()));

    tasks_when(&site, "a running task of the demo", Duration::from_secs(20), |rows| in_state(rows, "running") > 0).await;
    let (status, page) = http.get(&format!("{}/index.html", site.url("designer"))).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().is_some_and(|text| text.contains("<html")), "{page}");
}

#[tokio::test]
async fn a_function_starts_with_its_first_entity_and_ends_with_its_last() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let broker = site.url("broker");
    register_function(&site, "echo", "Thing", ECHO, json!({})).await;

    let (status, answer) =
        http.post(&format!("{broker}/ngsi10/updateContext"), &http::update("Thing.1", "Thing", &[("value", json!(7))])).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(http::acknowledged(&answer), "{answer}");
    let rows = tasks_when(&site, "one running task", Duration::from_secs(30), |rows| in_state(rows, "running") == 1).await;
    assert!(rows[0]["TaskID"].as_str().is_some_and(|id| id.starts_with("Task.echo.main.")), "{rows:?}");

    let echo = format!("{broker}/ngsi10/entity/Echo.Thing.1/value");
    for value in [7, 8, 9] {
        http.post(&format!("{broker}/ngsi10/updateContext"), &http::update("Thing.1", "Thing", &[("value", json!(value))])).await.unwrap();
        wait_for(&format!("the echo of {value}"), Duration::from_secs(10), async || {
            let attribute = http.ok(&echo).await?;
            if attribute["value"] == value { Ok(()) } else { Err(attribute.to_string()) }
        })
        .await;
    }

    http.delete(&format!("{broker}/ngsi10/entity/Thing.1")).await.unwrap();
    tasks_when(&site, "no task", Duration::from_secs(20), |rows| rows.is_empty()).await;
}

#[tokio::test]
async fn an_entity_written_through_one_face_is_read_through_the_others() {
    let site = Site::new("001");
    let _node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let broker = site.url("broker");
    let (_, answer) = http
        .post(
            &format!("{broker}/ngsi10/updateContext"),
            &http::update_at("urn:ngsi-ld:Room:1", "Room", &[("temperature", json!(21.5))], 47.6, -122.3),
        )
        .await
        .unwrap();
    assert!(http::acknowledged(&answer), "{answer}");

    let ld = http.ok(&format!("{broker}/ngsi-ld/v1/entities/urn:ngsi-ld:Room:1")).await.unwrap();
    assert_eq!(ld["temperature"]["value"], 21.5, "{ld}");
    assert_eq!(ld["location"]["value"]["coordinates"], json!([-122.3, 47.6]), "{ld}");
    let v2 = http.ok(&format!("{broker}/v2/entities/urn:ngsi-ld:Room:1?options=keyValues")).await.unwrap();
    assert_eq!(v2["temperature"], 21.5, "{v2}");

    let patch = json!({"type": "Property", "value": 23}).to_string().into_bytes();
    let (status, body) = http
        .send(reqwest::Method::PATCH, &format!("{broker}/ngsi-ld/v1/entities/urn:ngsi-ld:Room:1/attrs/temperature"), &[], Some(patch))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    let v1 = http.ok(&format!("{broker}/ngsi10/entity/urn:ngsi-ld:Room:1/temperature")).await.unwrap();
    assert_eq!(v1["value"], 23, "{v1}");
}
