//! What the clients send, and how they understand what comes back, against a server that plays each part.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse as _;
use axum::routing::{any, get, post};
use fogflow_client::{BrokerClient, ClientError, Context, DesignerClient, Endpoint, Kind, PEER_USER_AGENT, Peers, Reported};
use fogflow_orchestration::MasterReport;
use serde_json::{Value, json};

async fn served(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    addr
}

fn endpoint(addr: SocketAddr, path: &str) -> Endpoint {
    let http = fogflow_chassis::http_client(&fogflow_config::Config::default()).unwrap();
    Endpoint::new(http, &format!("http://{addr}{path}")).with_timeout(Duration::from_secs(2))
}

/// Answers with what it was asked, as an error so that the client shows it.
async fn mirror(uri: Uri, headers: HeaderMap, body: Bytes) -> impl axum::response::IntoResponse {
    let shown: Vec<String> = headers.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_bytes()))).collect();
    (StatusCode::IM_A_TEAPOT, format!("{uri} {} {}", shown.join(" "), String::from_utf8_lossy(&body)))
}

#[tokio::test]
async fn the_context_of_a_request_travels_in_the_headers_that_brokers_look_at() {
    let addr = served(Router::new().fallback(any(mirror))).await;
    let broker = BrokerClient::new(endpoint(addr, "/ngsi10"));
    let context = Context {
        tenant: "city".to_owned(),
        service_path: "/north".to_owned(),
        correlator: "c-1".to_owned(),
        require_reliability: true,
        destination: "NGSI-LD".to_owned(),
        is_peer: true,
    };
    let told = broker.entity("a/b c", &context).await.unwrap_err().to_string();
    for part in [
        "/ngsi10/entity/a%2Fb%20c",
        "ngsild-tenant=city",
        "fiware-service=city",
        "fiware-servicepath=/north",
        "fiware-correlator=c-1",
        "require-reliability=true",
        "destination=NGSI-LD",
        &format!("user-agent={PEER_USER_AGENT}"),
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let plain = broker.entity("a", &Context::default()).await.unwrap_err().to_string();
    assert!(!plain.contains("tenant") && !plain.contains(PEER_USER_AGENT), "{plain}");
}

#[tokio::test]
async fn the_admin_token_goes_with_each_call() {
    let addr = served(Router::new().fallback(any(mirror))).await;
    let designer = DesignerClient::new(endpoint(addr, "").with_token(Some("secret".to_owned())));
    let told = designer.list(Kind::Operator).await.unwrap_err().to_string();
    assert!(told.contains("authorization=Bearer secret"), "{told}");
}

#[tokio::test]
async fn no_answer_a_slow_one_and_a_cut_one_are_all_unreachable_and_an_error_status_is_not() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let slow = served(Router::new().fallback(any(|| async { std::future::pending::<()>().await }))).await;
    for addr in [closed, slow] {
        let designer = DesignerClient::new(endpoint(addr, "").with_timeout(Duration::from_millis(200)));
        let error = designer.info("task").await.unwrap_err();
        assert!(error.is_unreachable() && error.is_transient(), "{error}");
    }
    let refusing =
        served(Router::new().fallback(any(|| async { (StatusCode::BAD_REQUEST, r#"{"error":"BadRequest","description":"no name"}"#) })))
            .await;
    let error = DesignerClient::new(endpoint(refusing, "")).info("task").await.unwrap_err();
    assert!(matches!(&error, ClientError::Status { status: 400, message, .. } if message == "no name"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn an_element_that_was_refused_is_an_error_although_the_status_is_200() {
    let answer = json!({"contextResponses": [{"contextElement": {}, "statusCode": {"code": 507, "details": "the disk is full"}}]});
    let addr = served(Router::new().route("/ngsi10/updateContext", post(move || async move { axum::Json(answer) }))).await;
    let broker = BrokerClient::new(endpoint(addr, "/ngsi10"));
    let error = broker.update_raw(Bytes::from_static(b"{}"), &Context::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(507));
    assert!(error.to_string().contains("the disk is full"));
}

#[tokio::test]
async fn upstreams_way_to_say_nothing_is_understood() {
    let empty = served(Router::new().fallback(any(|| async { "" }))).await;
    let designer = DesignerClient::new(endpoint(empty, ""));
    assert_eq!(designer.get(Kind::Operator, "unknown").await.unwrap(), None);
    assert_eq!(
        BrokerClient::new(endpoint(empty, "/ngsi10")).update_raw(Bytes::from_static(b"{}"), &Context::default()).await.ok(),
        Some(())
    );
    let ok = served(Router::new().fallback(any(|| async { "OK" }))).await;
    assert_eq!(DesignerClient::new(endpoint(ok, "")).put(Kind::Operator, &json!({"name": "o"})).await.unwrap(), Value::Null);
    let gone = served(Router::new().fallback(any(|| async { StatusCode::NOT_FOUND }))).await;
    assert!(!DesignerClient::new(endpoint(gone, "")).delete(Kind::Operator, "o").await.unwrap());
}

#[tokio::test]
async fn kinds_that_upstream_takes_as_arrays_are_sent_as_arrays() {
    let addr = served(Router::new().fallback(any(mirror))).await;
    let designer = DesignerClient::new(endpoint(addr, ""));
    for (kind, body) in [
        (Kind::Operator, "/operator"),
        (Kind::Topology, "/service"),
        (Kind::FogFunction, "/fogfunction"),
        (Kind::ServiceIntent, "/intent"),
        (Kind::Device, "/device"),
    ] {
        let told = designer.put(kind, &json!({"name": "x"})).await.unwrap_err().to_string();
        let is_array = matches!(kind, Kind::Operator | Kind::Topology | Kind::FogFunction);
        assert!(told.contains(body) && told.contains(r#"[{"name":"x"}]"#) == is_array, "{told}");
    }
}

#[tokio::test]
async fn a_report_of_a_master_that_no_longer_leads_is_stale_and_no_failure() {
    let addr = served(Router::new().route("/internal/report", post(|| async { StatusCode::CONFLICT }))).await;
    let designer = DesignerClient::new(endpoint(addr, ""));
    assert_eq!(designer.report(&MasterReport::default()).await.unwrap(), Reported::Stale);
}

#[tokio::test]
async fn a_broker_is_found_by_its_id_and_asked_for_again_after_it_was_forgotten() {
    let brokers = |url: &str| json!({"Broker.002": {"id": "Broker.002", "myURL": url, "Last_Heartbeat_Update": "2026-01-01T00:00:00Z"}});
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    let list = move || {
        let times = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let answer = if times == 0 { brokers("http://192.0.2.1:8060/ngsi10") } else { brokers("http://192.0.2.2:8060/ngsi10") };
        async move { axum::Json(answer).into_response() }
    };
    let addr = served(Router::new().route("/ngsi9/broker", get(list))).await;
    let peers = Peers::new(fogflow_chassis::http_client(&fogflow_config::Config::default()).unwrap(), &format!("http://{addr}/ngsi9"));
    assert_eq!(peers.broker("Broker.002").await.unwrap().url(), "http://192.0.2.1:8060/ngsi10");
    assert_eq!(peers.broker("Broker.002").await.unwrap().url(), "http://192.0.2.1:8060/ngsi10");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    peers.forget("Broker.002");
    assert_eq!(peers.broker("Broker.002").await.unwrap().url(), "http://192.0.2.2:8060/ngsi10");
    assert_eq!(peers.broker("Broker.009").await.unwrap_err().status(), Some(404));
}
