//! What every service's main needs: logs, metrics, health, access, TLS, supervised tasks, shutdown.
//!
//! A service declares its routes with [`Routes`], spawns its tasks through its [`Process`] and is started by [`main`] (or, all five
//! in one process, by `fogflow up`). Nothing here knows what a service does.

mod access;
mod body;
mod client;
mod connection_timer;
mod cors;
mod errors;
mod export;
mod guard;
mod http_metrics;
mod logs;
mod openapi;
pub mod outbound;
mod process;
mod process_metrics;
mod readiness;
mod resources;
mod routes;
mod run;
mod serve;
mod standing;
mod supervisor;
mod telemetry;
mod tls;
mod tokens;

pub use access::{Access, Refusal, Security};
pub use client::{component_client, http_client};
pub use errors::{ErrorForm, UsageError};
pub use logs::init as init_logs;
pub use process::Process;
pub use readiness::{Readiness, ReadyPart};
pub use resources::{open_bus, open_store, store_settings, when_there};
pub use routes::Routes;
pub use run::{CommonArgs, load_config, main, run};
pub use serve::{serve, serve_tls, serve_tls_for_pages};
pub use supervisor::{Drained, Supervisor, TaskClass, TaskStatus};
pub use telemetry::{continued, current_traceparent, inject_traceparent, set_parent, set_parent_from_headers};
pub use tokens::{Role, StoredToken, TokenFile};
pub use tokio_util::sync::CancellationToken;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
