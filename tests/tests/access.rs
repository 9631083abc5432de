//! With authentication on, the whole chain works with tokens, and nothing without.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fogflow_tests::tasks::ECHO;
use fogflow_tests::{Http, Site, http, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

/// A caller with a token, or without one.
struct Caller(Http, Option<String>);

impl Caller {
    async fn send(&self, method: Method, url: &str, body: Option<&Value>) -> (u16, Value) {
        let bearer = self.1.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let body = body.map(|body| body.to_string().into_bytes());
        let (status, answer) = self.0.send(method, url, &headers, body).await.unwrap();
        (status.as_u16(), answer)
    }
}

#[tokio::test]
async fn with_authentication_on_each_role_may_what_it_says_and_a_function_runs_from_end_to_end() {
    let site = Site::new("001").with(|config| config["security"] = json!({"authentication": "token"}));
    let _node = site.up(&["--no-demo"]).await;
    let token = async |name: &str, role: &str| {
        let (made, text) = site.command(&["token", "create", name, "--role", role]).await;
        assert!(made, "{text}");
        Caller(Http::new(), Some(text.trim().to_owned()))
    };
    let nobody = Caller(Http::new(), None);
    let (viewer, operator, admin) = (token("vera", "viewer").await, token("olga", "operator").await, token("ada", "admin").await);
    let designer = site.url("designer");
    let operators = format!("{designer}/operator");
    let bring_code = json!([{"name": "echo", "description": "", "parameters": [], "code": {"language": "python", "source": ECHO}}]);
    // The services look for new tokens once in a second.
    wait_for("the new tokens to be known", Duration::from_secs(10), async || match viewer.send(Method::GET, &operators, None).await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(nobody.send(Method::GET, &operators, None).await.0, 401);
    assert_eq!(viewer.send(Method::POST, &operators, Some(&bring_code)).await.0, 403);
    assert_eq!(
        operator.send(Method::POST, &operators, Some(&bring_code)).await.0,
        403,
        "code is the administrator's, also from this machine"
    );
    let (status, answer) = admin.send(Method::POST, &operators, Some(&bring_code)).await;
    assert_eq!(status, 200, "{answer}");
    let topology = json!({"name": "echo", "description": "", "tasks": [{"name": "main", "operator": "echo",
        "input_streams": [{"selected_type": "Thing", "selected_attributes": [], "groupby": "EntityID", "scoped": false}],
        "output_streams": [{"entity_type": "Echo"}]}]});
    let intent = json!({"topology": "echo", "priority": {"exclusive": false, "level": 0}, "qos": "MIN_LATENCY",
        "geoscope": {"scopeType": "global", "scopeValue": "global"}});
    let function = json!([{"name": "echo", "topology": topology, "intent": intent}]);
    let (status, answer) = operator.send(Method::POST, &format!("{designer}/fogfunction"), Some(&function)).await;
    assert_eq!(status, 200, "{answer}");

    // Devices and tasks need no token; master, discovery, worker and broker show each other theirs.
    let broker = site.url("broker");
    let (_, answer) = nobody
        .send(Method::POST, &format!("{broker}/ngsi10/updateContext"), Some(&http::update("Thing.1", "Thing", &[("value", json!(7))])))
        .await;
    assert!(http::acknowledged(&answer), "{answer}");
    wait_for("the function's result", Duration::from_secs(40), async || {
        let (_, attribute) = nobody.send(Method::GET, &format!("{broker}/ngsi10/entity/Echo.Thing.1/value"), None).await;
        if attribute["value"] == 7 { Ok(()) } else { Err(attribute.to_string()) }
    })
    .await;
    wait_for("the live picture to show task and entity", Duration::from_secs(20), async || {
        let (_, tasks) = viewer.send(Method::GET, &format!("{designer}/info/task"), None).await;
        let (status, entity) = viewer.send(Method::GET, &format!("{designer}/info/entity/Echo.Thing.1"), None).await;
        if tasks[0]["Status"] == "running" && status == 200 { Ok(()) } else { Err(format!("{tasks} {status} {entity}")) }
    })
    .await;
    let discovery = site.url("discovery");
    let (status, answer) = nobody.send(Method::POST, &format!("{discovery}/ngsi9/registerContext"), Some(&json!({}))).await;
    assert_eq!(status, 401, "{answer}");
    let (revoked, text) = site.command(&["token", "revoke", "vera"]).await;
    assert!(revoked, "{text}");
    wait_for("the revoked token to be refused", Duration::from_secs(10), async || match viewer.send(Method::GET, &operators, None).await {
        (401, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
