//! `docs/faults.md` against the project, and those faults of the ancestor that only the project as a whole can show.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fogflow_tests::{Http, Site, http};
use serde_json::json;

/// The root of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file of the project, without what is built, installed or made at run time.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir()
                && !matches!(name.as_str(), "target" | "node_modules" | ".git" | "dist")
                && folder.join(&name) != root().join("data")
            {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_fault_has_a_row_and_every_test_named_there_exists() {
    let page = read("docs/faults.md");
    let mut numbers = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| No ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, proof] = cells.as_slice() else { panic!("not three cells: {row}") };
        assert!(numbers.insert((*number).to_owned()), "{number} has two rows");
        let mut file = None;
        let mut tests = 0;
        for word in quoted(proof) {
            if word.contains('/') {
                file = Some((word, read(word)));
                continue;
            }
            let (name, text) = file.as_ref().unwrap_or_else(|| panic!("{number}: `{word}` stands before any file"));
            let declared = if name.ends_with(".rs") { text.contains(&format!("fn {word}(")) } else { text.contains(&format!("'{word}'")) };
            assert!(declared, "{number}: there is no `{word}` in {name}");
            tests += 1;
        }
        assert!(tests > 0 || proof.contains("later"), "{number} has no test, and is not for later");
    }
    for (prefix, last) in [("F", 40), ("FAULT", 38), ("D", 21)] {
        for number in 1..=last {
            assert!(numbers.remove(&format!("{prefix} {number}")), "{prefix} {number} has no row");
        }
    }
    assert!(numbers.is_empty(), "rows of unknown numbers: {numbers:?}");
}

/// F 38: upstream prints what users send.
#[tokio::test]
async fn f38_no_value_gets_into_the_output() {
    const VALUE: &str = "heart-rate-of-somebody";
    let site = Site::new("001");
    let node = site.up(&["--no-demo"]).await;
    let (http, broker) = (Http::new(), site.url("broker"));
    let interest = json!({"entities": [{"type": "Thing", "isPattern": true, "id": ""}], "reference": "http://127.0.0.1:9"});
    http.post(&format!("{broker}/ngsi10/subscribeContext"), &interest).await.unwrap();
    let update = http::update("Thing.1", "Thing", &[("value", json!(VALUE))]);
    let (_, answer) = http.post(&format!("{broker}/ngsi10/updateContext"), &update).await.unwrap();
    assert!(http::acknowledged(&answer), "{answer}");
    http.post(&format!("{broker}/ngsi10/updateContext"), &json!({"contextElements": VALUE})).await.unwrap();
    let entity = json!({"id": "urn:ngsi-ld:Thing:2", "type": "Thing", "value": {"type": "Property", "value": VALUE}});
    http.post(&format!("{broker}/ngsi-ld/v1/entities"), &entity).await.unwrap();
    http.post(&format!("{}/ngsi9/registerContext", site.url("discovery")), &json!({"contextRegistrations": VALUE})).await.unwrap();
    let (_, found) = http.get(&format!("{broker}/ngsi10/entity/Thing.1/value")).await.unwrap();
    assert_eq!(found["value"], VALUE);
    let output = node.log();
    assert!(!output.is_empty() && !output.contains(VALUE), "{output}");
}

/// D 9
#[test]
fn d_9_every_service_of_the_compose_file_keeps_its_data_in_a_volume() {
    let compose = read("docker/docker-compose.yml");
    let count = |text: &str| compose.matches(text).count();
    assert_eq!((count("<<: *service"), count(":/data")), (5, 5));
}

/// D 14: upstream's repository holds the private key of its certification authority.
#[test]
fn d_14_no_private_key_is_in_the_project() {
    let begin = ["PRIVATE", "KEY-----"].join(" ");
    for path in files() {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        assert!(!matches!(ending.as_str(), "key" | "p12" | "pfx"), "{} is a key", path.display());
        let content = std::fs::read(&path).unwrap();
        assert!(!content.windows(begin.len()).any(|part| part == begin.as_bytes()), "{} has a private key in it", path.display());
    }
}

/// D 16: upstream's designer needs a newer Node than its image has.
#[test]
fn d_16_no_image_runs_node_and_the_one_that_builds_the_page_has_a_fitting_one() {
    let stages: Vec<String> = read("docker/Dockerfile").lines().filter_map(|line| line.strip_prefix("FROM ").map(str::to_owned)).collect();
    let node: Vec<u32> =
        stages.iter().filter_map(|stage| stage.strip_prefix("node:")?.split(['-', '.', ' ']).next()?.parse().ok()).collect();
    assert!(!node.is_empty() && node.iter().all(|version| *version >= 20), "{stages:?}");
    assert!(stages.contains(&"scratch AS base".to_owned()) && stages.contains(&"base AS designer".to_owned()), "{stages:?}");
}

/// D 19: upstream's pages load an older copy of a library, whose variables are everybody's.
#[test]
fn d_19_the_page_has_no_copied_library_and_is_made_of_modules() {
    let page = read("services/designer/dashboard/index.html");
    assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\"").count());
    let dashboard = root().join("services/designer/dashboard");
    let scripts: Vec<_> =
        files().into_iter().filter(|path| path.starts_with(&dashboard) && path.extension().is_some_and(|end| end == "js")).collect();
    assert!(scripts.is_empty(), "{scripts:?}");
}

/// D 21: upstream's clean-up script ends every container of the machine.
#[test]
fn d_21_no_script_removes_containers_wholesale() {
    for path in files() {
        let is_script = path.extension().is_none_or(|ending| matches!(ending.to_str(), Some("sh" | "yml" | "mk")));
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let commands = text.lines().filter(|line| line.contains("docker "));
        for line in commands.filter(|_| is_script) {
            assert!(
                !["prune", "docker rmi", "$(docker ps", "`docker ps"].iter().any(|words| line.contains(words)),
                "{}: {line}",
                path.display()
            );
        }
    }
}
