//! Serving HTTP/1.1: bind, accept, and end without cutting a request in two.
//!
//! An own accept loop over hyper rather than `axum::serve`, because shutdown must close idle connections, cut those that hang, and end in a known time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum_server::tls_rustls::RustlsConfig;
use fogflow_config::Config;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::body::PatientBody;
use crate::connection_timer::ConnectionTimer;
use crate::errors::UsageError;
use crate::process::Process;
use crate::tls::{self, Clients};

/// A request head must arrive within this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Each part of a request body must arrive within this time after the one before it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests in flight may take this long after shutdown began; then their connections are cut.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `addr` now and serves the router until shutdown. Handlers can extract `ConnectInfo<SocketAddr>`.
/// Returns the bound address, which has the real port when `addr` asks for port 0.
///
/// # Errors
/// [`UsageError`] when the address cannot be bound.
pub async fn serve(process: &Process, what: &str, addr: SocketAddr, router: Router) -> anyhow::Result<SocketAddr> {
    let listener = bind(what, addr).await?;
    let local = listener.local_addr().context("the listener has no address")?;
    tracing::info!(service = %process.name, address = %local, "{what} listens");
    let (shutdown, name) = (process.shutdown.clone(), format!("{what} listener"));
    process.tasks.spawn_critical(name, async move {
        accept_loop(listener, router, shutdown).await;
        Ok(())
    });
    Ok(local)
}

/// When `https.enabled`: binds a second, encrypted listener for the same router that demands a client certificate. Else `None`.
/// New certificates in the same files are used for new connections within seconds.
///
/// # Errors
/// [`UsageError`] when the address cannot be bound or a certificate cannot be used.
pub async fn serve_tls(
    process: &Process,
    what: &str,
    addr: SocketAddr,
    router: Router,
    config: &Config,
) -> anyhow::Result<Option<SocketAddr>> {
    encrypted(process, what, addr, router, config, Clients::Certified).await
}

/// [`serve_tls`] for pages: browsers need no certificate.
///
/// # Errors
/// As [`serve_tls`].
pub async fn serve_tls_for_pages(
    process: &Process,
    what: &str,
    addr: SocketAddr,
    router: Router,
    config: &Config,
) -> anyhow::Result<Option<SocketAddr>> {
    encrypted(process, what, addr, router, config, Clients::Any).await
}

async fn encrypted(
    process: &Process,
    what: &str,
    addr: SocketAddr,
    router: Router,
    config: &Config,
    clients: Clients,
) -> anyhow::Result<Option<SocketAddr>> {
    if !config.https.enabled {
        return Ok(None);
    }
    let listener = bind(what, addr).await?;
    let local = listener.local_addr().context("the listener has no address")?;
    let tls_config = RustlsConfig::from_config(tls::server_config(&config.https, clients)?);
    tracing::info!(service = %process.name, address = %local, "{what} listens (TLS)");
    let handle = axum_server::Handle::new();
    let std_listener = listener.into_std().context("the listener cannot be handed over")?;
    let server =
        axum_server::from_tcp_rustls(std_listener, tls_config.clone()).context("the TLS listener cannot be used")?.handle(handle.clone());
    let (https, shutdown) = (config.https.clone(), process.shutdown.clone());
    process.tasks.spawn(format!("{what} certificates"), async move { tls::renew(tls_config, https, clients, shutdown).await });
    let shutdown = process.shutdown.clone();
    process.tasks.spawn(format!("{what} TLS shutdown"), async move {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN));
    });
    process.tasks.spawn_critical(format!("{what} TLS listener"), async move {
        server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await.context("the TLS listener failed")
    });
    Ok(Some(local))
}

async fn bind(what: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the port is taken by another process".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
            io::ErrorKind::PermissionDenied => "the port needs more rights than this process has".to_owned(),
            _ => error.to_string(),
        };
        UsageError(format!("{what} cannot listen on {addr}: {reason}")).into()
    })
}

async fn accept_loop(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(connection(stream, peer, router.clone(), shutdown.clone(), cut.clone()));
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections with unfinished requests are cut");
        cut.cancel();
        connections.wait().await;
    }
}

/// The error concerns the connection that was to be accepted, not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken, cut: CancellationToken) {
    // Answers are written at once; waiting to fill a packet only adds delay.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let patient = |body: Incoming| if body.is_end_stream() { Body::empty() } else { Body::new(PatientBody::new(body, BODY_TIMEOUT)) };
        let mut request = request.map(patient);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move { router.call(request).await }
    });
    let connection = http1::Builder::new()
        .timer(ConnectionTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            biased;
            // How a connection ends is the client's business.
            _ = connection.as_mut() => return,
            () = shutdown.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = cut.cancelled(), if ending => return,
        }
    }
}
