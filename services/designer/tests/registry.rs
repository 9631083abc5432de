//! The registry's routes: what upstream's clients get, and what upstream answered with a crash.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Designer, alone, answer, counter, topology};

async fn with_counter() -> (tempfile::TempDir, Designer) {
    let (directory, config) = alone();
    let designer = Designer::start(&config).await;
    designer.put("/operator", counter()).await;
    (directory, designer)
}

#[tokio::test]
async fn d_2_unknown_names_and_missing_parts_are_errors_and_the_designer_lives() {
    let (_directory, designer) = with_counter().await;
    for path in [
        "/operator/none",
        "/dockerimage/none",
        "/service/none",
        "/topology/none",
        "/intent/none",
        "/fogfunction/none",
        "/fogfunction/none/enable",
        "/fogfunction/none/disable",
        "/device/none",
        "/photo/none.png",
        "/nothing",
    ] {
        let answer = designer.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {}", answer.body);
        assert_eq!(answer.body["error"], "NotFound", "{path}");
    }
    for path in [
        "/operator/none",
        "/service/none",
        "/intent/none",
        "/fogfunction/none",
        "/device/none",
        "/subscription/none",
        "/dockerimage/none?image=x",
    ] {
        assert_eq!(designer.delete(path).await.status, 404, "{path}");
    }
    for (path, body) in [
        ("/service", json!([{"designboard": {}}])),
        ("/service", json!([{"topology": {"name": "x"}}])),
        ("/fogfunction", json!([{"name": "x"}])),
        ("/fogfunction", json!([{}])),
        ("/operator", json!([{"description": "without a name"}])),
        ("/operator", json!("text")),
        ("/operator", json!([1])),
        ("/dockerimage/none", json!({"name": "x"})),
        ("/intent", json!({})),
        ("/intent", json!({"topology": "none"})),
        ("/intent", Value::Null),
        ("/device", json!({"id": "x"})),
        ("/subscription", json!({"entity_type": "T", "reference_url": "file:///etc/passwd"})),
        ("/import", json!({"nothing": {}})),
        ("/internal/lease/x", json!({"holder": "", "ttlMs": 1000})),
        ("/internal/report", json!({"epoch": "one"})),
    ] {
        let answer = designer.post(path, body.clone()).await;
        assert!([400, 404].contains(&answer.status), "POST {path} {body}: {} {}", answer.status, answer.body);
        assert!(answer.body["description"].is_string(), "POST {path} {body}: {}", answer.body);
    }
    for wrong in ["", "{", "\u{0}", "[[[[[[", "{\"name\":\"a\",}"] {
        let answer = answer(designer.http.post(designer.url("/operator")).body(wrong)).await;
        assert_eq!(answer.status, 400, "{wrong:?}: {}", answer.body);
    }
    assert_eq!(designer.get("/operator/counter").await.status, 200);
    designer.stop().await;
}

#[tokio::test]
async fn d_2_a_function_without_intent_gets_one_and_an_operator_without_images_takes_images() {
    let (_directory, designer) = with_counter().await;
    designer.put("/fogfunction", json!([{"name": "Test", "topology": topology("Test")}])).await;
    let function = designer.get("/fogfunction/Test").await.body;
    assert_eq!(function["status"], "enabled");
    assert!(function["intent"]["id"].as_str().is_some_and(|id| id.starts_with("ServiceIntent.")));
    assert_eq!(function["intent"]["geoscope"]["scopeType"], "global");
    designer.put("/operator", json!({"name": "bare"})).await;
    designer.put("/dockerimage/bare", json!({"name": "fogflow/bare", "tag": "1"})).await;
    designer.put("/dockerimage", json!([{"name": "fogflow/other", "operatorName": "bare"}])).await;
    let images = designer.get("/dockerimage/bare").await.body;
    assert_eq!(images.as_array().map(Vec::len), Some(2));
    assert_eq!(designer.delete("/dockerimage/bare?image=fogflow/bare").await.status, 200);
    assert_eq!(designer.get("/dockerimage/bare").await.body[0]["name"], "fogflow/other");
    designer.stop().await;
}

#[tokio::test]
async fn d_3_the_intents_of_a_topology_are_listed() {
    let (_directory, designer) = with_counter().await;
    designer.put("/service", json!([{"topology": topology("one"), "designboard": {"blocks": []}}, {"topology": topology("two")}])).await;
    let first = designer.put("/intent", json!({"topology": "one", "qos": "Max Throughput"})).await;
    assert_eq!(first["outputType"], "Out");
    designer.put("/intent", json!({"id": "ServiceIntent.mine", "topology": "two"})).await;
    let listed = designer.get("/intent/topology/one").await.body;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["id"], first["id"]);
    assert_eq!(designer.get("/intent/topology/three").await.body, json!([]));
    designer.stop().await;
}

#[tokio::test]
async fn d_4_the_documented_operator_is_listed_with_an_empty_list_of_images_and_an_update_keeps_images() {
    let (_directory, designer) = with_counter().await;
    designer
        .put("/operator", json!([{"name": "documented", "description": "as in the guide", "parameters": [{"name": "p", "values": ["v"]}]}]))
        .await;
    let operators = designer.get("/operator").await.body;
    assert_eq!(operators["documented"]["dockerimages"], json!([]));
    assert_eq!(operators["documented"]["parameters"], json!([{"name": "p", "value": "v"}]));
    designer.put("/operator", json!({"name": "counter", "description": "new text"})).await;
    let counter = designer.get("/operator/counter").await.body;
    assert_eq!(counter["description"], "new text");
    assert_eq!(counter["dockerimages"][0]["name"], "fogflow/counter");
    designer.put("/operator", json!({"name": "counter", "dockerimages": []})).await;
    assert_eq!(designer.get("/operator/counter").await.body["dockerimages"], json!([]));
    designer.stop().await;
}

#[tokio::test]
async fn d_5_the_database_is_no_page_and_no_foreign_page_changes_state() {
    let (_directory, designer) = with_counter().await;
    designer.put("/fogfunction", json!({"name": "Test", "topology": topology("Test")})).await;
    for path in [
        "/data/meta/db.json",
        "/data/",
        "/admin-token",
        "/../admin-token",
        "/data/photo/..%2f..%2fadmin-token",
        "/assets/..%2f..%2fCargo.toml",
    ] {
        assert_eq!(designer.get(path).await.status, 404, "{path}");
    }
    let foreign = answer(designer.http.post(designer.url("/operator")).header("origin", "http://evil.example").json(&counter())).await;
    assert_eq!(foreign.status, 403, "{}", foreign.body);
    let by_get = answer(designer.http.get(designer.url("/fogfunction/Test/disable")).header("sec-fetch-site", "cross-site")).await;
    assert_eq!(by_get.status, 403);
    assert_eq!(designer.get("/fogfunction/Test").await.body["status"], "enabled");
    let own = designer.url("").trim_end_matches('/').to_owned();
    let from_own_page = answer(designer.http.post(designer.url("/operator")).header("origin", own).json(&counter())).await;
    assert_eq!(from_own_page.status, 200);
    designer.stop().await;
}

#[tokio::test]
async fn code_and_executables_need_a_caller_on_this_machine_or_the_admin_token_and_images_do_not() {
    let (directory, designer) = with_counter().await;
    let token = std::fs::read_to_string(directory.path().join("admin-token")).unwrap();
    let code = json!({"name": "code", "code": {"language": "python", "source": "x = 1"}});
    let command = json!({"name": "command", "executables": [{"command": ["true"]}]});
    let through_a_proxy = |body: &Value| designer.http.post(designer.url("/operator")).header("x-forwarded-for", "192.0.2.7").json(body);
    for body in [&code, &command] {
        assert_eq!(answer(through_a_proxy(body)).await.status, 403);
        assert_eq!(answer(through_a_proxy(body).bearer_auth("wrong")).await.status, 403);
        assert_eq!(answer(through_a_proxy(body).bearer_auth(token.trim())).await.status, 200);
        assert_eq!(designer.post("/operator", body.clone()).await.status, 200);
    }
    assert_eq!(answer(through_a_proxy(&counter())).await.status, 200);
    let import = designer.http.post(designer.url("/import")).header("x-forwarded-for", "192.0.2.7").json(&json!({"operators": {}}));
    assert_eq!(answer(import).await.status, 403);
    designer.stop().await;
}

#[tokio::test]
async fn d_7_asking_for_a_topology_does_not_change_it() {
    let (_directory, designer) = with_counter().await;
    designer.put("/service", json!({"topology": topology("one")})).await;
    let before = designer.get("/service/one").await.body;
    let asked = designer.get("/topology/one").await.body;
    assert_eq!(asked["operators"][0]["name"], "counter");
    assert_eq!(asked["operators"].as_array().map(Vec::len), Some(1));
    assert_eq!(designer.get("/service/one").await.body, before);
    assert_eq!(designer.get("/topology").await.body[0].get("operators"), None);
    designer.stop().await;
}

#[tokio::test]
async fn d_8_pictures_are_stored_and_read_under_both_paths() {
    let (_directory, designer) = with_counter().await;
    let png = b"\x89PNG\r\n\x1a\nnot really".to_vec();
    for (index, path) in ["/photo", "/data/photo"].iter().enumerate() {
        let name = format!("picture{index}.png");
        let form = reqwest::multipart::Form::new().part(name.clone(), reqwest::multipart::Part::bytes(png.clone()).file_name("any.png"));
        let stored = answer(designer.http.post(designer.url(path)).multipart(form)).await;
        assert_eq!((stored.status, stored.body), (200, json!("File is uploaded")));
        for folder in ["/photo", "/data/photo"] {
            let response = designer.http.get(designer.url(&format!("{folder}/{name}"))).send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "image/png");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff");
            assert_eq!(response.bytes().await.unwrap(), png);
        }
    }
    designer.stop().await;
}

#[tokio::test]
async fn d_10_a_field_name_with_dots_stays_in_the_folder_of_pictures() {
    let (directory, designer) = with_counter().await;
    // By hand: clients' libraries escape such names, attackers do not.
    let body = b"--b\r\ncontent-disposition: form-data; name=\"../../../index.html\"; filename=\"x\"\r\n\r\n\x89PNG\r\n\x1a\n\r\n--b--\r\n"
        .to_vec();
    let request = designer.http.post(designer.url("/data/photo")).header("content-type", "multipart/form-data; boundary=b").body(body);
    assert_eq!(answer(request).await.status, 200);
    assert!(directory.path().join("designer/photo/index.html").exists());
    let page = reqwest::multipart::Part::text("<script>alert(1)</script>").file_name("x");
    let form = reqwest::multipart::Form::new().part("page.html", page);
    assert_eq!(answer(designer.http.post(designer.url("/photo")).multipart(form)).await.status, 400);
    designer.stop().await;
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted_and_a_name_means_one_thing() {
    let (_directory, designer) = with_counter().await;
    designer.put("/service", json!({"topology": topology("one")})).await;
    designer.put("/fogfunction", json!({"name": "Test", "topology": topology("Test")})).await;
    let intent = designer.put("/intent", json!({"topology": "one"})).await;
    assert_eq!(designer.delete("/operator/counter").await.status, 409);
    assert_eq!(designer.delete("/service/one").await.status, 409);
    assert_eq!(designer.post("/service", json!({"topology": topology("Test")})).await.status, 409);
    assert_eq!(designer.post("/fogfunction", json!({"name": "one", "topology": topology("one")})).await.status, 409);
    let differs = designer.post("/fogfunction", json!({"name": "A", "topology": topology("B")})).await;
    assert!(differs.body["description"].as_str().unwrap().contains("topology.name"), "{}", differs.body);
    assert_eq!(designer.delete("/service/one?cascade=true").await.status, 200);
    assert_eq!(designer.get(&format!("/intent/{}", intent["id"].as_str().unwrap())).await.status, 404);
    assert_eq!(designer.delete("/fogfunction/Test").await.status, 200);
    assert_eq!(designer.get("/topology").await.body, json!([]));
    assert_eq!(designer.delete("/operator/counter").await.status, 200);
    designer.stop().await;
}

#[tokio::test]
async fn a_list_is_stored_as_a_whole_or_not_at_all() {
    let (_directory, designer) = with_counter().await;
    let answer = designer.post("/operator", json!([{"name": "good"}, {"name": "bad name"}])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(designer.get("/operator/good").await.status, 404);
    designer.stop().await;
}

#[tokio::test]
async fn d_9_everything_registered_is_there_after_a_restart() {
    let (_directory, config) = alone();
    let designer = Designer::start(&config).await;
    designer.put("/operator", counter()).await;
    designer.put("/service", json!({"topology": topology("one"), "designboard": {"edges": [{"id": 1, "module": null}]}})).await;
    designer.put("/fogfunction", json!({"name": "Test", "topology": topology("Test")})).await;
    designer.put("/intent", json!({"id": "ServiceIntent.x", "topology": "one"})).await;
    designer.put("/device", json!({"id": "Device.1", "type": "Temperature", "attributes": {"t": {"type": "float", "value": 1}}})).await;
    designer
        .put("/subscription", json!({"entity_type": "Out", "destination_broker": "NGSI-LD", "reference_url": "http://127.0.0.1:9"}))
        .await;
    let before = designer.get("/export").await.body;
    let generation = designer.get("/internal/registry").await.body["generation"].as_u64().unwrap();
    designer.stop().await;

    let designer = Designer::start(&config).await;
    assert_eq!(designer.get("/export").await.body, before);
    let after = designer.get("/internal/registry").await.body;
    assert!(after["generation"].as_u64().unwrap() >= generation);
    assert_eq!(after["intents"].as_array().map(Vec::len), Some(2));
    assert_eq!(after["topologies"].as_array().map(Vec::len), Some(2));
    designer.stop().await;
}

#[tokio::test]
async fn an_upstream_database_is_imported_and_what_is_wrong_in_it_is_named() {
    let (_directory, designer) = with_counter().await;
    let mut with_operators = topology("anomaly-detection");
    with_operators["operators"] = json!([{"name": "counter"}]);
    let database = json!({
        "devices": {"Device.Camera.1": {"id": "Device.Camera.1", "type": "Camera", "attributes": {}, "metadata": {"location": {"type": "point", "value": {"latitude": 35.7, "longitude": 138}}}, "entityId": {"id": "Device.Camera.1", "type": "Camera", "isPattern": false}}},
        "subscriptions": {"5f1": {"entity_type": "Out", "destination_broker": "NGSIv2", "reference_url": "http://orion:1026/v2", "tenant": ""}},
        "operators": {"dummy": {"name": "dummy", "description": "", "parameters": [], "dockerimages": [{"name": "fogflow/dummy", "tag": "latest", "hwType": "X86", "osType": "Linux", "operatorName": "dummy", "prefetched": false}], "designboard": {"blocks": []}}},
        "topologies": {"anomaly-detection": with_operators.clone(), "Test": topology("Test")},
        "services": {"anomaly-detection": {"topology": with_operators, "designboard": {"edges": []}}},
        "serviceintents": {"ServiceIntent.a": {"id": "ServiceIntent.a", "action": "ADD", "topology": "anomaly-detection", "stype": "ASYN", "priority": {"exclusive": false, "level": 50}, "qos": "NONE", "geoscope": {"scopeType": "global", "scopeValue": "global"}}, "undefined": {"topology": "bad name"}},
        "fogfunctions": {"Test": {"name": "Test", "topology": topology("Test"), "intent": {"id": "ServiceIntent.t", "topology": "Test", "qos": "default"}, "status": "disabled", "designboard": {}}}
    });
    let answer = designer.put("/import", database).await;
    assert_eq!(answer["skipped"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["skipped"][0]["id"], "undefined");
    assert_eq!(answer["imported"]["fogfunctions"], 1);
    let registry = designer.get("/internal/registry").await.body;
    let intents: Vec<&str> = registry["intents"].as_array().unwrap().iter().filter_map(|intent| intent["id"].as_str()).collect();
    assert_eq!(intents, ["ServiceIntent.a"], "the disabled function's intent is not active");
    assert_eq!(designer.get("/fogfunction/Test").await.body["status"], "disabled");

    let exported = designer.get("/export").await.body;
    let (_other_directory, config) = alone();
    let other = Designer::start(&config).await;
    assert_eq!(other.put("/import", exported.clone()).await["skipped"], json!([]));
    assert_eq!(other.get("/export").await.body, exported);
    other.stop().await;
    designer.stop().await;
}

#[tokio::test]
async fn d_15_the_address_for_browsers_follows_the_configuration_with_its_older_names() {
    let (_directory, base) = alone();
    let file = base.data_dir.join("config.json");
    std::fs::write(&file, r#"{"internal_hostip": "127.0.0.1", "external_hostip": "192.0.2.1", "designer": {"agentPort": 1031}}"#).unwrap();
    let mut config = fogflow_config::Config::load(Some(&file), [], &[]).unwrap().config;
    assert_eq!((config.my_hostip.as_str(), config.external_ip.as_str()), ("127.0.0.1", "192.0.2.1"));
    config = fogflow_config::Config { my_hostip: config.my_hostip, external_ip: config.external_ip, ..base };
    let designer = Designer::start(&config).await;
    let script = designer.get("/config.js").await.body;
    let script = script.as_str().unwrap();
    assert!(script.starts_with("var config = {") && script.contains(r#""agentIP":"127.0.0.1""#) && script.contains("./ngsi10"), "{script}");
    designer.stop().await;
}

#[tokio::test]
async fn the_page_and_its_files_are_served_under_a_strict_policy() {
    let (_directory, designer) = with_counter().await;
    let response = designer.http.get(designer.url("/index.html")).send().await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let page = response.text().await.unwrap();
    let page = page.replace("http://www.w3.org/2000/svg", "the name of SVG");
    assert!(!page.contains("__CSP_NONCE__") && !page.contains("http://") && !page.contains("https://"), "{page}");
    // Whether the dashboard was built or not, a page is there with its script.
    let script = page.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().trim_start_matches("./").to_owned();
    let file = designer.http.get(designer.url(&format!("/{script}"))).send().await.unwrap();
    assert_eq!(file.status(), 200);
    if let Some(etag) = file.headers().get("etag").cloned() {
        let squeezed = designer.http.get(designer.url(&format!("/{script}"))).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(squeezed.headers()["content-encoding"], "gzip");
        assert!(squeezed.bytes().await.unwrap().len() * 2 < file.bytes().await.unwrap().len());
        let again = designer.http.get(designer.url(&format!("/{script}"))).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert!(again.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    }
    designer.stop().await;
}
