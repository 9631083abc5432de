//! A process, or one service of several within a process.

use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::http_metrics::HttpMetrics;
use crate::readiness::Readiness;
use crate::supervisor::Supervisor;

/// What a service is given to live in. Clones are handles to the same process.
#[derive(Clone, Debug)]
pub struct Process {
    /// For example `fogflow-broker`.
    pub name: String,
    /// Cancelled when the process shall end.
    pub shutdown: CancellationToken,
    /// Its background tasks.
    pub tasks: Supervisor,
    /// Whether it can serve.
    pub readiness: Readiness,
    /// Its metrics, served at `/metrics`.
    pub metrics: Registry,
    pub(crate) http: HttpMetrics,
}

impl Process {
    /// A process of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let shutdown = CancellationToken::new();
        Self::assemble(name, shutdown.clone(), Supervisor::root(shutdown))
    }

    /// A service within this process: own metrics and readiness, ended with its parent; if one of its critical tasks fails,
    /// the whole process ends.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let shutdown = self.shutdown.child_token();
        Self::assemble(name, shutdown.clone(), self.tasks.child(shutdown))
    }

    fn assemble(name: &str, shutdown: CancellationToken, tasks: Supervisor) -> Self {
        let metrics = Registry::new();
        let http = HttpMetrics::register(&metrics);
        Process { name: name.to_owned(), shutdown, tasks, readiness: Readiness::default(), metrics, http }
    }
}
