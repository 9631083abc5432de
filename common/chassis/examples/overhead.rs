//! What a declared route costs beside a bare one: `cargo run --release -p fogflow-chassis --example overhead`.
//!
//! Both routers are called without a network, so that the difference is access rule, body limit, metrics and error forms alone.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::routing::post;
use fogflow_chassis::{Access, Process, Routes, Security};
use tower::Service as _;

const CALLS: u32 = 300_000;
const ROUNDS: usize = 5;

async fn handler(body: Bytes) -> Bytes {
    body
}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let process = Process::new("overhead");
    let security = Security::with_token("token");
    let bare = Router::new().route("/ngsi10/updateContext", post(handler));
    let declared = Routes::new("Overhead").post("/ngsi10/updateContext", Access::Anyone, "Echo", handler).build((), &process, &security);
    for _ in 0..ROUNDS {
        let (without, with) = (runtime.block_on(nanoseconds(bare.clone())), runtime.block_on(nanoseconds(declared.clone())));
        println!("bare {without} ns, declared {with} ns, difference {} ns a request", with.saturating_sub(without));
    }
    Ok(())
}

async fn nanoseconds(mut router: Router) -> u128 {
    let peer = SocketAddr::from(([127, 0, 0, 1], 40000));
    let began = Instant::now();
    for _ in 0..CALLS {
        let mut request = Request::new(Body::from("{}"));
        *request.method_mut() = axum::http::Method::POST;
        *request.uri_mut() = axum::http::Uri::from_static("/ngsi10/updateContext");
        request.extensions_mut().insert(ConnectInfo(peer));
        // The error type of a router is `Infallible`.
        let Ok(response) = router.call(request).await;
        std::hint::black_box(response);
    }
    began.elapsed().as_nanos() / u128::from(CALLS)
}
