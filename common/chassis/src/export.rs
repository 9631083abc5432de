//! The state of a service as text while it runs: one route for all that have a store.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use fogflow_store::{SharedStore, portable};
use futures::{StreamExt as _, stream};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

use crate::access::Access;
use crate::process::Process;
use crate::routes::Routes;
use crate::supervisor::Supervisor;

/// Bytes of text that wait for the reader; the export waits when there are more.
const AHEAD: usize = 256 * 1024;

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Adds `GET /internal/export`: the store in its portable form, as it was after one commit (see [`portable`]), without the
    /// collections in `without`, whose documents mean nothing in another store. A text that has no last line is not complete.
    #[must_use]
    pub fn store_export(self, store: &SharedStore, without: &'static [&'static str], process: &Process) -> Self {
        let (store, tasks) = (Arc::clone(store), process.tasks.clone());
        self.get("/internal/export", Access::Admin, "The whole state of this service as lines of JSON, for a backup", move || {
            let response = export(Arc::clone(&store), without, &tasks);
            async move { response }
        })
    }
}

fn export(store: SharedStore, without: &'static [&'static str], tasks: &Supervisor) -> Response {
    let (mut text, reader) = tokio::io::duplex(AHEAD);
    let (outcome, ended) = oneshot::channel();
    tasks.spawn("store export", async move {
        let failed = portable::export(&*store, without, &mut text).await.err().map(io::Error::other);
        if let Some(error) = &failed {
            tracing::warn!(%error, "an export of the store ended early");
        }
        // Nobody listens any more when the reader was the reason.
        let _ = outcome.send(failed);
    });
    // A failure at the end cuts the connection, so that the reader cannot take the text for complete.
    let failure = stream::once(ended).filter_map(|ended| async move { ended.ok().flatten().map(Err) });
    let parts = ReaderStream::new(reader).chain(failure);
    ([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(parts)).into_response()
}
