//! Configurations as users write them, also wrong ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use fogflow_config::{BusEngine, Config, ConfigError, ContainerManagement, LogTarget, StoreEngine};
use proptest::prelude::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(name: &str) -> fogflow_config::Loaded {
    Config::load(Some(&fixture(name)), [], &[]).unwrap()
}

fn with(overrides: &[&str]) -> Result<Config, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|item| (*item).to_owned()).collect();
    Config::load(None, [], &overrides).map(|loaded| loaded.config)
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn without_anything_a_node_is_complete_and_speaks_to_its_own_machine_only() {
    let config = Config::load(None, [], &[]).unwrap().config;
    assert_eq!(config, Config::default());
    assert_eq!(config.listen_ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(config.broker_url(), "http://127.0.0.1:8070/ngsi10");
    assert_eq!(config.discovery_url(), "http://127.0.0.1:8090/ngsi9");
    assert_eq!(config.master_agent_url(), "http://127.0.0.1:1060");
    assert_eq!(config.amqp_url(), "amqp://guest:guest@127.0.0.1:5672/");
    assert_eq!(config.bus.engine, None);
}

/// D 12: sample configurations without heartbeat keys: brokers and workers vanished within seconds.
#[test]
fn the_configuration_at_the_root_of_the_project_is_valid_and_warns_of_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.json");
    let loaded = Config::load(Some(&path), [], &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.worker.container_management, ContainerManagement::Process);
}

#[test]
fn a_cloud_node_of_upstream_is_understood_as_it_is() {
    let loaded = load("cloud.json");
    let config = loaded.config;
    assert_eq!(config.logging.debug, LogTarget::Stdout);
    assert_eq!(config.worker.container_management, ContainerManagement::Docker);
    assert_eq!((config.worker.heartbeat_interval, config.worker.detection_duration), (Some(30), 10));
    assert!(!config.worker.container_autoremove);
    assert_eq!(config.listen_ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    assert_eq!(config.discovery_url(), "http://192.0.2.10:8090/ngsi9");
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("persistent_storage"), "{:?}", loaded.warnings);
}

#[test]
fn an_edge_node_with_the_older_names_and_other_letter_case_is_understood_d_15() {
    let config = load("edge-https.json").config;
    assert_eq!((config.my_hostip.as_str(), config.external_ip.as_str()), ("192.0.2.46", "edge.example.org"));
    assert_eq!(config.discovery_url(), "http://cloud.example.org:80/ngsi9");
    assert_eq!(config.broker_url(), "http://edge.example.org:8060/ngsi10");
    assert_eq!(config.amqp_url(), "amqp://guest:guest@cloud.example.org:5672/");
    assert_eq!(config.broker_id(""), "Broker.002");
    assert_eq!(config.worker_id("3"), "Worker.002.3");
}

#[test]
fn names_of_kubernetes_services_go_before_addresses_and_passwords_are_encoded_d_13() {
    let config = load("kubernetes.json").config;
    assert_eq!(config.broker_url(), "http://cloud-broker:8070/ngsi10");
    assert_eq!(config.designer_url(), "http://designer:8080");
    assert_eq!(config.master_url(), "http://master:8010");
    assert_eq!(config.amqp_url(), "amqp://admin:p%2Fs%40%3A@rabbitmq:5672/");
}

#[test]
fn missing_heartbeat_keys_have_working_defaults_d_12() {
    let config = load("kubernetes.json").config;
    assert_eq!(config.broker_heartbeat().as_secs(), 10);
    assert_eq!(config.worker_heartbeat().as_secs(), 2);
    assert_eq!(config.worker.detection_duration, 3);
}

#[test]
fn in_a_pod_the_default_engine_is_kubernetes_unless_another_is_named() {
    let pod = || env(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
    let engine = |name: Option<&str>| Config::load(name.map(fixture).as_deref(), pod(), &[]).unwrap().config.worker.container_management;
    assert_eq!(engine(None), ContainerManagement::Kubernetes);
    assert_eq!(engine(Some("cloud.json")), ContainerManagement::Docker);
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let variables = env(&[
        ("FOGFLOW_WORKER__CAPACITY", "5"),
        ("FOGFLOW_BROKER__HTTP_PORT", "8071"),
        ("FOGFLOW_DESIGNER__WEBSRVPORT", "8081"),
        ("FOGFLOW_SITE_ID", "042"),
        ("FOGFLOW_BUS__ENGINE", "rabbitmq"),
        ("FOGFLOW_BROKER__STORE__ENGINE", "postgres"),
        ("FOGFLOW_BROKER__STORE__URL", "postgres://db/broker"),
        ("FOGFLOW_SERVER", "http://elsewhere"),
        ("PATH", "/bin"),
    ]);
    let loaded = Config::load(Some(&fixture("cloud.json")), variables, &["worker.capacity=6".to_owned()]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.worker.capacity, config.broker.http_port, config.designer.web_srv_port), (6, 8071, 8081));
    assert_eq!(config.site_id, "042", "a text key takes digits as text");
    assert_eq!(config.bus.engine, Some(BusEngine::Rabbitmq));
    assert_eq!(config.store_of("broker").engine, StoreEngine::Postgres);
    assert_eq!(config.store_of("master").engine, StoreEngine::Embedded);
    assert_eq!(loaded.warnings.len(), 1, "variables of other programs are no configuration keys: {:?}", loaded.warnings);
}

#[test]
fn secrets_come_from_files_named_by_the_environment_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "from-file\n").unwrap();
    let secret = secret.display().to_string();
    let by_env = Config::load(None, env(&[("FOGFLOW_RABBITMQ__PASSWORD_FILE", &secret)]), &[]).unwrap().config;
    assert_eq!(by_env.rabbitmq.password, "from-file");
    let file = folder.path().join("config.json");
    std::fs::write(&file, format!("{{\"rabbitmq\": {{\"password_file\": {secret:?}}}}}")).unwrap();
    assert_eq!(Config::load(Some(&file), [], &[]).unwrap().config.rabbitmq.password, "from-file");
    let missing = Config::load(None, env(&[("FOGFLOW_RABBITMQ__PASSWORD_FILE", "/no/such/file")]), &[]).unwrap_err().to_string();
    assert!(missing.contains("rabbitmq.password_file") && missing.contains("/no/such/file"), "{missing}");
}

#[test]
fn passwords_are_neither_shown_nor_logged() {
    let config =
        with(&["rabbitmq.password=hush", "store.engine=postgres", "store.url=postgres://u:hush@db/f", "worker.registry.password=hush"])
            .unwrap();
    assert!(!config.redacted().to_string().contains("hush"), "{}", config.redacted());
    assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    assert!(config.redacted().to_string().contains("postgres://u:***@db/f"));
}

#[test]
fn unknown_keys_warn_with_their_path_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, r#"{"// comment": "x", "brocker": {"http_port": 1}, "broker": {"htp_port": 2}, "site_id": "7"}"#).unwrap();
    let loaded = Config::load(Some(&file), env(&[("FOGFLOW_WORKER__CAPCITY", "1")]), &[]).unwrap();
    for key in ["`brocker`", "`broker.htp_port`", "`worker.capcity`"] {
        assert!(loaded.warnings.iter().any(|warning| warning.contains(key)), "{key} in {:?}", loaded.warnings);
    }
    assert_eq!(loaded.warnings.len(), 3);
    assert_eq!(loaded.config.broker.http_port, 8070);
}

#[test]
fn wrong_values_name_the_key_the_place_and_the_reason() {
    for (setting, key, reason) in [
        ("worker.capacity=many", "worker.capacity", "expected u32"),
        ("worker.capacity=-1", "worker.capacity", "expected u32"),
        ("broker.http_port=70000", "broker.http_port", "expected u16"),
        ("broker.durability=never", "broker.durability", "fsync"),
        ("worker.container_management=podman", "worker.container_management", "docker"),
        ("store.engine=oracle", "store.engine", "postgres"),
        ("broker.store={\"engine\":\"oracle\"}", "broker.store.engine", "postgres"),
        ("https.enabled=yes", "https.enabled", "expected a boolean"),
        ("physical_location.latitude=91", "physical_location.latitude", "-90 to 90"),
        ("physical_location=here", "physical_location", "expected struct"),
        ("site_id=a.b", "site_id", "letters, digits"),
        ("site_id=", "site_id", "1 to 64"),
        ("my_hostip=", "my_hostip", "must not be empty"),
        ("my_hostip=http://x", "my_hostip", "no scheme"),
        ("listen=everywhere", "listen", "not an IP address"),
        ("broker.heartbeat_interval=0", "broker.heartbeat_interval", "at least 1"),
        ("worker.detection_duration=0", "worker.detection_duration", "at least 1"),
        ("broker.http_port=8090", "discovery.http_port", "also `broker.http_port`"),
        ("store.engine=postgres", "store.url", "must name the server"),
        ("https.enabled=true", "https.my_certificate", "must name a PEM file"),
        ("telemetry.otlp_endpoint=collector:4318", "telemetry.otlp_endpoint", "not an http"),
        ("logging.info=printer", "logging.info", "stdout"),
    ] {
        match with(&[setting]) {
            Err(error @ ConfigError::Value { .. }) => {
                let text = error.to_string();
                assert!(text.contains(&format!("`{key}`")) && text.contains(reason), "{setting}: {text}");
                assert_eq!(text.lines().count(), 1, "{text}");
            }
            other => panic!("{setting}: {other:?}"),
        }
    }
    assert_eq!(with(&["worker.capacity"]), Err(ConfigError::Override("worker.capacity".to_owned())));
}

#[test]
fn a_broken_file_is_told_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    for text in ["{\"site_id\": \"1\",\n  oops}", "[]", ""] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(Some(&file), [], &[]).unwrap_err().to_string();
        assert!(error.contains("config.json is not valid JSON"), "{error}");
    }
    assert!(matches!(Config::load(Some(Path::new("/no/such.json")), [], &[]), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let config = with(&["my_hostip=2001:db8::1"]).unwrap();
    assert_eq!(config.broker_url(), "http://[2001:db8::1]:8070/ngsi10");
    assert_eq!(config.amqp_url(), "amqp://guest:guest@[2001:db8::1]:5672/");
}

#[test]
fn with_https_components_are_called_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("x.pem");
    std::fs::write(&pem, "").unwrap();
    let pem = pem.display();
    let config = with(&[
        "https.enabled=true",
        &format!("https.my_certificate={pem}"),
        &format!("https.my_key={pem}"),
        &format!("https.my_ca={pem}"),
        "my_hostip=node.example.org",
    ])
    .unwrap();
    assert_eq!(config.broker_url(), "https://node.example.org:8072/ngsi10");
    assert_eq!(config.discovery_url(), "https://node.example.org:8092/ngsi9");
    assert_eq!(config.plain_broker_url(), "http://node.example.org:8070/ngsi10", "tasks have no certificates");
    assert_eq!(config.designer_url(), "http://node.example.org:8080");
}

proptest! {
    /// Whatever a file holds: a configuration or an error, never a panic.
    #[test]
    fn no_file_makes_the_loader_panic(text in r#"\{("(my_hostip|site_id|broker|worker|store|x)": (null|true|1|-1.5|"a"|"\{\}"|\{"(store|http_port|capacity)": (null|1|"x"|\{\}|\[\])\}),? ?){0,4}\}"#) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, text).unwrap();
        let _ = Config::load(Some(&file), [], &[]);
    }

    /// The redacted form of a configuration can be loaded again: every key is known and of the right type.
    #[test]
    fn what_is_shown_can_be_loaded_again(capacity in 0_u32..1000, port in 1_u16..1000) {
        let config = with(&[&format!("worker.capacity={capacity}"), &format!("broker.http_port={port}")]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.redacted().to_string()).unwrap();
        let again = Config::load(Some(&file), [], &["rabbitmq.password=guest".to_owned()]).unwrap();
        prop_assert_eq!(again.config, config);
    }
}
