//! The HTTP client for notifications. It calls only where [`fogflow_chassis::outbound`] allows.

use std::sync::Arc;
use std::time::Duration;

use fogflow_chassis::outbound::Guarded;

/// The one client for notifications.
///
/// # Errors
/// If TLS cannot be set up.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(Arc::new(Guarded))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(10))
        // Node.js servers close idle connections after 5 s; a request sent into a closing one is lost.
        .pool_idle_timeout(Duration::from_secs(4))
        .pool_max_idle_per_host(2)
        .tcp_nodelay(true)
        // Small servers, and test suites, look for `Link` and not for `link`.
        .http1_title_case_headers()
        .no_proxy()
        .build()
}
