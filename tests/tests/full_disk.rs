//! A full disk: writes are refused, reads go on, nothing is lost, and writes work again when there is space.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fogflow_tests::{Http, Site, http, skip, wait_for};
use reqwest::StatusCode;
use serde_json::json;

/// A small file system in memory, mounted for the length of a test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=400m", "tmpfs"]).arg(at).status().ok()?;
        status.success().then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn writes_are_refused_on_a_full_disk_and_nothing_is_lost() {
    let site = Site::new("001");
    let data = site.directory().join("data");
    let Some(_disk) = SmallDisk::mount(&data) else {
        skip("writes_are_refused_on_a_full_disk_and_nothing_is_lost", "a tmpfs cannot be mounted here (needs root)");
        return;
    };
    let mut node = site.up(&["--no-demo"]).await;
    let http = Http::new();
    let update_url = format!("{}/ngsi10/updateContext", site.url("broker"));
    let entity_url = format!("{}/ngsi10/entity/Kept", site.url("broker"));
    let (_, answer) = http.post(&update_url, &http::update("Kept", "Thing", &[("value", json!(1))])).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");

    let ballast = data.join("ballast");
    let mut acknowledged = vec!["Kept".to_owned()];
    let filler = "x".repeat(30_000);
    let _ = Command::new("sh").arg("-c").arg(format!("head -c 1G /dev/zero > {}", ballast.display())).status();
    let mut refused = false;
    for index in 0..4_000 {
        let id = format!("Big.{index}");
        let (status, answer) = http.post(&update_url, &http::update(&id, "Thing", &[("value", json!(filler))])).await.unwrap();
        if status == StatusCode::OK && http::acknowledged(&answer) {
            acknowledged.push(id);
        } else {
            let code = answer["contextResponses"][0]["statusCode"]["code"].as_u64().unwrap_or_else(|| status.as_u16().into());
            assert!(matches!(code, 503 | 507), "{status} {answer}");
            refused = true;
            break;
        }
    }
    assert!(refused, "the disk never became full");
    assert_eq!(http.ok(&entity_url).await.unwrap()["entityId"]["id"], "Kept", "reads go on");

    std::fs::remove_file(&ballast).unwrap();
    wait_for("writes to work again", Duration::from_secs(30), async || {
        let (_, answer) = http.post(&update_url, &http::update("After", "Thing", &[("value", json!(2))])).await?;
        if http::acknowledged(&answer) { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    acknowledged.push("After".to_owned());
    node.kill();
    let _node = site.up(&["--no-demo"]).await;
    for id in acknowledged {
        let body = http.ok(&format!("{}/ngsi10/entity/{id}", site.url("broker"))).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(body["entityId"]["id"], id.as_str());
    }
}
