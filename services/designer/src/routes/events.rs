//! `GET /events`: the live picture as one server-sent-events stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;

use crate::app::{MOST_STREAMS, Shared};
use crate::error::{ApiError, ApiResult};
use crate::live::{Frame, Hub};

struct Reader {
    hub: Arc<Hub>,
    waiting: VecDeque<Arc<Frame>>,
    rest: broadcast::Receiver<Arc<Frame>>,
    shutdown: CancellationToken,
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Reader {
    /// The next frame. A reader that fell behind gets a snapshot in place of what it missed.
    async fn next(&mut self) -> Option<Arc<Frame>> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Some(frame);
            }
            let received = tokio::select! {
                () = self.shutdown.cancelled() => return None,
                received = self.rest.recv() => received,
            };
            match received {
                Ok(frame) => return Some(frame),
                Err(broadcast::error::RecvError::Closed) => return None,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let attached = self.hub.attach(None);
                    self.waiting = attached.first.into();
                    self.rest = attached.rest;
                }
            }
        }
    }
}

/// See the module. `Last-Event-ID` resumes.
pub(super) async fn events(State(app): State<Shared>, headers: HeaderMap) -> ApiResult<Response> {
    let permit = Arc::clone(&app.streams)
        .try_acquire_owned()
        .map_err(|_| ApiError::unavailable(format!("{MOST_STREAMS} event streams are open already; try again later")))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let attached = app.hub.attach(last);
    app.counters.streams.inc();
    let reader = Reader {
        hub: Arc::clone(&app.hub),
        waiting: attached.first.into(),
        rest: attached.rest,
        shutdown: app.shutdown.clone(),
        gauge: app.counters.streams.clone(),
        _permit: permit,
    };
    let frames = stream::unfold(reader, |mut reader| async move {
        let frame = reader.next().await?;
        let event = Event::default().id(frame.id.as_str()).event(frame.event).data(frame.data.as_str()).retry(Duration::from_secs(1));
        Some((Ok::<_, Infallible>(event), reader))
    });
    let stream = Sse::new(frames).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)));
    // nginx would gather events before it passes them on.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], stream).into_response())
}
