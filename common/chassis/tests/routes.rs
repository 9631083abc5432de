//! What every declared route gets: access, limits, errors in its face's form, metrics, OpenAPI, CORS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fogflow_chassis::{Access, Process, Role, Routes, Security, TokenFile};
use fogflow_config::{Authentication, Config, SecurityConfig};
use support::{request, served};

const TOKEN: &str = "the-token";

fn v1_form(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{{\"Error\":\"{message}\"}}")).into_response()
}

fn routes() -> Routes<()> {
    let v1 = Routes::new("v1")
        .post("/ngsi10/updateContext", Access::Anyone, "Update", |body: Bytes| async move { body.len().to_string() })
        .get("/ngsi10/entity/{eid}", Access::Anyone, "One entity", |Path(eid): Path<String>| async move { eid })
        .get("/ngsi10/number/{n}", Access::Anyone, "A number", |Path(n): Path<u32>| async move { n.to_string() })
        .get("/ngsi10/panic", Access::Anyone, "Panics", panics)
        .with_trailing_slash()
        .body_limit(1000)
        .errors(v1_form);
    Routes::new("Test")
        .get("/anyone", Access::Anyone, "For anyone", || async { "ok" })
        .post("/component", Access::Component, "For components", || async { "ok" })
        .get("/viewer", Access::Viewer, "For viewers", || async { "ok" })
        .post("/operator", Access::Operator, "For operators", || async { "ok" })
        .delete("/admin", Access::Admin, "For administrators", || async { "ok" })
        .put("/local", Access::LocalOrAdmin, "For this machine", || async { "ok" })
        .merge(v1)
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

async fn server() -> (Process, std::net::SocketAddr) {
    let process = Process::new("test");
    let router = routes().build((), &process, &Security::with_token(TOKEN));
    let addr = served(&process, router).await;
    (process, addr)
}

#[tokio::test]
async fn each_declared_route_lets_in_exactly_those_that_its_access_names() {
    let (_process, addr) = server().await;
    let bearer = format!("Bearer {TOKEN}");
    let callers: [(&str, Vec<(&str, &str)>); 6] = [
        ("local", vec![]),
        ("wrong token", vec![("Authorization", "Bearer other")]),
        ("admin", vec![("Authorization", &bearer)]),
        ("through a proxy", vec![("X-Forwarded-For", "203.0.113.9")]),
        ("rebound name", vec![("Host", "evil.example:8080")]),
        ("foreign page", vec![("Origin", "http://evil.example")]),
    ];
    for (method, path, access) in routes().declarations() {
        if path.starts_with("/ngsi10") {
            continue;
        }
        for (caller, headers) in &callers {
            let may = match (access, *caller) {
                (Access::Anyone | Access::Component | Access::Viewer, _) => true,
                (Access::Operator, caller) => caller != "foreign page",
                (Access::Admin, caller) => caller == "admin",
                (Access::LocalOrAdmin, caller) => matches!(caller, "local" | "admin" | "wrong token"),
            };
            let answer = request(addr, method.as_str(), path, headers, "").await;
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{caller} calls {method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn with_authentication_each_route_lets_in_exactly_the_roles_that_its_access_names() {
    let folder = tempfile::tempdir().unwrap();
    let security = SecurityConfig { authentication: Authentication::Token, ..SecurityConfig::default() };
    let config = Config { data_dir: folder.path().to_owned(), security, ..Config::default() };
    let mut file = TokenFile::open(&config).unwrap();
    let mut token = |name: &str, role| (name.to_owned(), Some(file.create(name, role).unwrap()));
    let mut callers = vec![token("viewer", Role::Viewer), token("operator", Role::Operator), token("other admin", Role::Admin)];
    let process = Process::new("test");
    let security = Security::from_config(&config).unwrap();
    callers.push(("admin".to_owned(), Some(security.admin_token().to_owned())));
    let own = std::fs::read_to_string(folder.path().join("component-token")).unwrap();
    callers.extend([
        ("component".to_owned(), Some(own.trim().to_owned())),
        ("nobody".to_owned(), None),
        ("wrong".to_owned(), Some("x".to_owned())),
    ]);
    let addr = served(&process, routes().build((), &process, &security)).await;
    for (method, path, access) in routes().declarations().filter(|(_, path, _)| !path.starts_with("/ngsi10")) {
        for (caller, token) in &callers {
            let known = !matches!(caller.as_str(), "nobody" | "wrong");
            let may = match access {
                Access::Anyone => true,
                Access::Viewer => known,
                Access::Component => matches!(caller.as_str(), "component" | "admin" | "other admin"),
                Access::Operator => matches!(caller.as_str(), "operator" | "admin" | "other admin"),
                Access::Admin | Access::LocalOrAdmin => matches!(caller.as_str(), "admin" | "other admin"),
            };
            let expected = if may {
                200
            } else if known {
                403
            } else {
                401
            };
            // Both ways of showing it.
            let headers =
                token.iter().flat_map(|token| [format!("Bearer {token}"), format!("Basic {}", STANDARD.encode(format!("me:{token}")))]);
            for header in headers.map(Some).chain(token.is_none().then_some(None)) {
                let headers: Vec<(&str, &str)> = header.iter().map(|header| ("Authorization", header.as_str())).collect();
                let answer = request(addr, method.as_str(), path, &headers, "").await;
                assert_eq!(answer.status, expected, "{caller} calls {method} {path}: {answer:?}");
                assert_eq!(answer.head.to_lowercase().contains("www-authenticate: basic"), expected == 401, "{answer:?}");
            }
        }
    }
    // A component's client shows its token by itself, and a refusal has the form of its face.
    let url = format!("http://{addr}/component");
    assert_eq!(fogflow_chassis::component_client(&config).unwrap().post(&url).send().await.unwrap().status(), 200);
    let refused = fogflow_chassis::http_client(&config).unwrap().post(&url).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.text().await.unwrap().contains("\"error\":\"Unauthorized\""));
}

/// F 27: no time limits, no body limits, a new connection and thread of work for each notification.
#[tokio::test]
async fn a_body_over_the_limit_is_413_in_the_faces_form_with_a_length_and_in_chunks() {
    let (_process, addr) = server().await;
    let fits = "x".repeat(1000);
    assert_eq!(request(addr, "POST", "/ngsi10/updateContext", &[], &fits).await.body, "1000");
    let large = "x".repeat(1001);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let with_length = request(addr, "POST", "/ngsi10/updateContext", &[], &large).await;
    let in_chunks = request(addr, "POST", "/ngsi10/updateContext", &[("Transfer-Encoding", "chunked")], &chunked).await;
    for answer in [with_length, in_chunks] {
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body.contains("{\"Error\":\"the request body is larger than 1000 bytes\"}"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_a_body_of_many_megabytes_gets_its_413() {
    let (_process, addr) = server().await;
    let large = "x".repeat(30 * 1024 * 1024);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (headers, body) in [(&[][..], &large), (&[("Transfer-Encoding", "chunked")][..], &chunked)] {
        let answer = request(addr, "POST", "/ngsi10/updateContext", headers, body).await;
        assert_eq!(answer.status, 413, "{}", answer.head);
    }
}

#[tokio::test]
async fn errors_outside_handlers_have_the_form_of_their_face() {
    let (_process, addr) = server().await;
    for (method, path, status) in [
        ("GET", "/ngsi10/nothing/there", 404),
        ("PATCH", "/ngsi10/updateContext", 405),
        ("GET", "/ngsi10/number/seven", 400),
        ("GET", "/ngsi10/panic", 500),
    ] {
        let answer = request(addr, method, path, &[], "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.starts_with("{\"Error\":"), "{answer:?}");
    }
    let other = request(addr, "GET", "/elsewhere", &[], "").await;
    assert_eq!((other.status, other.body.as_str()), (404, r#"{"error":"NotFound","description":"there is nothing at /elsewhere"}"#));
    let allow = request(addr, "PATCH", "/ngsi10/entity/x", &[], "").await;
    assert!(allow.head.contains("allow: get,head,options"), "{allow:?}");
}

#[tokio::test]
async fn the_openapi_document_shows_every_route_with_its_access_and_path_parameters() {
    let (_process, addr) = server().await;
    let answer = request(addr, "GET", "/openapi.json", &[], "").await;
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Test");
    for (method, path, access) in routes().declarations() {
        let operation = &document["paths"][path][method.as_str().to_ascii_lowercase()];
        assert_eq!(operation["x-access"], access.as_str(), "{method} {path}");
        assert!(operation["summary"].is_string() && operation["operationId"].is_string(), "{method} {path}");
    }
    let media_of = |operation: &serde_json::Value| operation["responses"]["4XX"]["content"].as_object().cloned().unwrap_or_default();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let media = media_of(operation);
            assert!(media.values().any(|form| form["schema"]["type"] == "object"), "{method} {path} does not say how it refuses");
        }
    }
    let entity = &document["paths"]["/ngsi10/entity/{eid}"]["get"];
    assert_eq!(entity["parameters"][0]["name"], "eid");
    assert_eq!(document["paths"]["/health"]["get"]["x-access"], "anyone");
}

#[tokio::test]
async fn a_slash_at_the_end_is_no_other_path_where_the_routes_say_so() {
    let (_process, addr) = server().await;
    let status = async |path: &str| request(addr, "GET", path, &[], "").await.head.lines().next().unwrap_or_default().to_owned();
    assert!(status("/ngsi10/entity/e1/").await.contains("200"));
    assert!(status("/ngsi10/updateContext/").await.contains("405"), "with the methods of the path");
    assert!(status("/anyone/").await.contains("404"));
}

/// F 25: no access control, any URL was called, TLS was not verified, any page could write.
#[tokio::test]
async fn a_page_of_another_origin_may_call_public_routes_with_patch_and_fiware_headers_and_without_credentials() {
    let (_process, addr) = server().await;
    let origin = ("Origin", "http://page.example");
    let preflight = request(
        addr,
        "OPTIONS",
        "/ngsi10/updateContext",
        &[origin, ("Access-Control-Request-Method", "PATCH"), ("Access-Control-Request-Headers", "fiware-service")],
        "",
    )
    .await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.head.contains("access-control-allow-origin: *"), "{preflight:?}");
    assert!(preflight.head.contains("patch") && preflight.head.contains("ngsild-tenant") && preflight.head.contains("fiware-servicepath"));
    assert!(!preflight.head.contains("allow-credentials"));
    let answer = request(addr, "GET", "/anyone", &[origin], "").await;
    assert!(answer.head.contains("access-control-allow-origin: *"), "{answer:?}");
}

#[tokio::test]
async fn health_readiness_metrics_and_version_are_there_without_being_declared() {
    let (process, addr) = server().await;
    let part = process.readiness.part("store");
    part.not_ready("opening");
    process.tasks.spawn("sleeper", std::future::pending());
    assert_eq!(request(addr, "GET", "/healthz", &[], "").await.status, 200);
    let verbose = request(addr, "GET", "/health?verbose", &[], "").await;
    assert!(verbose.body.contains("\"sleeper\""), "{verbose:?}");
    let waiting = request(addr, "GET", "/ready", &[], "").await;
    assert_eq!(waiting.status, 503);
    assert!(waiting.body.contains("store: opening"), "{waiting:?}");
    part.ready();
    assert_eq!(request(addr, "GET", "/readyz", &[], "").await.status, 200);
    let _ = request(addr, "GET", "/ngsi10/entity/a", &[], "").await;
    let metrics = request(addr, "GET", "/metrics", &[], "").await;
    for line in [
        "http_requests_total{method=\"GET\",route=\"/ngsi10/entity/{eid}\",status=\"2xx\"} 1",
        "http_request_duration_seconds_count{method=\"GET\",route=\"/ngsi10/entity/{eid}\"} 1",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.body.contains(line), "{line} in {}", metrics.body);
    }
    assert!(request(addr, "GET", "/version", &[], "").await.body.contains(fogflow_chassis::VERSION));
}

/// A reading of a sensor.
#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Reading {
    /// In degrees.
    value: f64,
    sensor: Sensor,
}

#[derive(schemars::JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Sensor {
    name: String,
}

#[tokio::test]
async fn bodies_are_described_by_schemas_that_the_document_has() {
    let process = Process::new("test");
    let routes = Routes::new("Test")
        .post("/readings", Access::Anyone, "Takes readings", || async { "ok" })
        .takes::<Vec<Reading>>()
        .gives::<Reading>()
        .get("/log", Access::Anyone, "Shows the log", || async { "ok" })
        .gives_as::<String>("text/plain")
        .delete("/log", Access::Anyone, "Empties the log", || async {})
        .gives_nothing()
        .put("/switch", Access::Anyone, "Takes nothing", || async { "ok" });
    let without: Vec<String> = routes.bodies_without_schema().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(without, ["PUT /switch"]);
    assert_eq!(routes.answers_without_schema().map(|(_, path)| path).collect::<Vec<_>>(), ["/switch"]);
    let addr = served(&process, routes.build((), &process, &Security::with_token(TOKEN))).await;
    let document: serde_json::Value = serde_json::from_str(&request(addr, "GET", "/openapi.json", &[], "").await.body).unwrap();
    let post = &document["paths"]["/readings"]["post"];
    let taken = &post["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(taken["items"]["$ref"], "#/components/schemas/Reading");
    assert_eq!(post["responses"]["2XX"]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Reading");
    let reading = &document["components"]["schemas"]["Reading"];
    assert_eq!(
        (&reading["description"], &reading["properties"]["value"]["description"]),
        (&"A reading of a sensor.".into(), &"In degrees.".into())
    );
    assert_eq!(reading["properties"]["sensor"]["$ref"], "#/components/schemas/Sensor");
    assert!(document["components"]["schemas"]["Sensor"].is_object());
    assert!(document["paths"]["/switch"]["put"].get("requestBody").is_none());
    let done = |method: &str| document["paths"]["/log"][method]["responses"]["2XX"].clone();
    assert_eq!(done("get")["content"]["text/plain"]["schema"]["type"], "string");
    assert!(done("delete").get("content").is_none());
    for standing in ["/health", "/healthz", "/ready", "/readyz", "/version", "/metrics"] {
        let content = &document["paths"][standing]["get"]["responses"]["2XX"]["content"];
        assert!(content.as_object().is_some_and(|content| !content.is_empty()), "{standing} does not say what it answers");
    }
}
