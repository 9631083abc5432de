//! Mutual TLS: peers of one installation reach each other, nobody else gets a byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use fogflow_chassis::{Access, Process, Routes, Security, UsageError, http_client, serve_tls, serve_tls_for_pages};
use fogflow_config::{Config, HttpsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority and a node's certificate by it, as PEM files in `folder`.
fn installation(folder: &Path) -> Config {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let node = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    Config {
        https: HttpsConfig {
            enabled: true,
            my_certificate: file("node.pem", node.pem()),
            my_key: file("node.key", key.serialize_pem()),
            my_ca: file("ca.pem", ca_pem),
        },
        ..Config::default()
    }
}

/// F 25: no access control, any URL was called, TLS was not verified, any page could write.
#[tokio::test(flavor = "multi_thread")]
async fn only_clients_with_a_certificate_of_the_installation_are_answered() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, foreign) = (installation(ours.path()), installation(others.path()));
    let process = Process::new("test");
    let router = Routes::new("t").get("/a", Access::Anyone, "A", || async { "a" }).build((), &process, &Security::with_token("t"));
    let addr = serve_tls(&process, "broker", "127.0.0.1:0".parse().unwrap(), router, &config).await.unwrap().unwrap();
    let url = format!("https://127.0.0.1:{}/a", addr.port());

    let answer = http_client(&config).unwrap().get(&url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "a");

    // Another authority's certificate is refused, although this client would trust the server.
    let mut stranger = foreign.clone();
    stranger.https.my_ca.clone_from(&config.https.my_ca);
    assert!(http_client(&stranger).unwrap().get(&url).send().await.is_err());
    // And a client refuses a server of another authority.
    assert!(http_client(&foreign).unwrap().get(&url).send().await.is_err());
    assert!(http_client(&Config::default()).unwrap().get(&url).send().await.is_err());

    process.shutdown.cancel();
    assert!(process.tasks.drain(support::SOON).await.unfinished.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_over_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = installation(folder.path());
    let process = Process::new("test");
    let router = Routes::new("t").get("/a", Access::Anyone, "A", || async { "a" }).build((), &process, &Security::with_token("t"));
    let addr = serve_tls(&process, "broker", "127.0.0.1:0".parse().unwrap(), router, &config).await.unwrap().unwrap();
    let url = format!("https://127.0.0.1:{}/a", addr.port());
    assert!(http_client(&config).unwrap().get(&url).send().await.is_ok());
    // The same paths, another authority.
    let renewed = installation(folder.path());
    let began = std::time::Instant::now();
    while http_client(&renewed).unwrap().get(&url).send().await.is_err() {
        assert!(began.elapsed() < support::SOON, "the new certificates are not in use");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    process.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_served_to_browsers_without_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let config = installation(folder.path());
    let process = Process::new("test");
    let router = Routes::new("t").get("/a", Access::Anyone, "A", || async { "a" }).build((), &process, &Security::with_token("t"));
    let addr = serve_tls_for_pages(&process, "designer", "127.0.0.1:0".parse().unwrap(), router, &config).await.unwrap().unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&config.https.my_ca).unwrap()).unwrap();
    // The provider is installed by the first client of the process.
    let _ = http_client(&config).unwrap();
    let browser = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
    let answer = browser.get(format!("https://127.0.0.1:{}/a", addr.port())).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "a");
    process.shutdown.cancel();
}

#[tokio::test]
async fn without_https_there_is_no_second_listener_and_a_wrong_certificate_is_an_error_of_the_user() {
    let process = Process::new("test");
    let addr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(serve_tls(&process, "broker", addr, axum::Router::new(), &Config::default()).await.unwrap(), None);
    let folder = tempfile::tempdir().unwrap();
    let mut config = installation(folder.path());
    std::fs::write(&config.https.my_key, "no key").unwrap();
    let error = serve_tls(&process, "broker", addr, axum::Router::new(), &config).await.unwrap_err();
    assert!(error.downcast_ref::<UsageError>().is_some_and(|usage| usage.0.contains("node.key")), "{error:#}");
    config.https.my_certificate = folder.path().join("missing.pem").display().to_string();
    let error = http_client(&config).unwrap_err();
    assert!(error.downcast_ref::<UsageError>().is_some_and(|usage| usage.0.contains("missing.pem")), "{error:#}");
}
