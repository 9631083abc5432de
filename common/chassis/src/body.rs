//! Request bodies that may neither stand still for ever nor grow without end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Buf;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// Fails when the next part does not come in time. A body that is there already costs no timer.
pub(crate) struct PatientBody<B> {
    inner: B,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> PatientBody<B> {
    pub(crate) fn new(inner: B, limit: Duration) -> Self {
        PatientBody { inner, limit, waiting: None }
    }
}

impl<B> Body for PatientBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let limit = self.limit;
        let sleep = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err("the request body did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Hands what was left unread of a body back when it is dropped, so that a handler which does not care for the body need not read it.
pub(crate) struct ReturnedBody {
    inner: axum::body::Body,
    back: Option<oneshot::Sender<axum::body::Body>>,
}

impl ReturnedBody {
    pub(crate) fn new(inner: axum::body::Body) -> (Self, oneshot::Receiver<axum::body::Body>) {
        let (back, unread) = oneshot::channel();
        (ReturnedBody { inner, back: Some(back) }, unread)
    }
}

impl Body for ReturnedBody {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<bytes::Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ReturnedBody {
    fn drop(&mut self) {
        if let Some(back) = self.back.take()
            && !self.inner.is_end_stream()
        {
            // Nobody takes it back after the answer was given up; then the connection closes, as it should.
            let _ = back.send(std::mem::take(&mut self.inner));
        }
    }
}

/// A body whose length was not announced. What goes beyond the limit is read and thrown away before the failure, because a client that
/// is still sending when the connection closes never sees the answer.
pub(crate) struct LimitedBody<B> {
    inner: B,
    left: usize,
    thrown_away: usize,
    exceeded: Arc<AtomicBool>,
}

/// More than this is not read away: the connection is cut.
pub(crate) const MOST_READ_AWAY: usize = 256 * 1024 * 1024;

impl<B> LimitedBody<B> {
    /// The flag tells whoever answers that the limit was the reason.
    pub(crate) fn new(inner: B, limit: usize, exceeded: Arc<AtomicBool>) -> Self {
        LimitedBody { inner, left: limit, thrown_away: 0, exceeded }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None if self.thrown_away > 0 => return Poll::Ready(Some(Err("the request body is too large".into()))),
                None => return Poll::Ready(None),
            };
            let length = frame.data_ref().map_or(0, Buf::remaining);
            if self.thrown_away == 0 && length <= self.left {
                self.left -= length;
                return Poll::Ready(Some(Ok(frame)));
            }
            self.exceeded.store(true, Ordering::Relaxed);
            self.thrown_away += length;
            if self.thrown_away > MOST_READ_AWAY {
                return Poll::Ready(Some(Err("the request body is too large".into())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body as AxumBody, Bytes, to_bytes};
    use futures::{StreamExt as _, stream};

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_body_that_stands_still_fails_and_one_that_comes_in_parts_does_not() {
        let half = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"half"))]).chain(stream::pending());
        let body = AxumBody::new(PatientBody::new(AxumBody::from_stream(half.boxed()), LIMIT));
        let error = to_bytes(body, 100).await.unwrap_err().to_string();
        assert!(error.contains("did not arrive in time"), "{error}");

        let slow = stream::iter(0..5).then(|part| async move {
            tokio::time::sleep(LIMIT / 5).await;
            Ok::<_, std::io::Error>(Bytes::from(part.to_string()))
        });
        let body = AxumBody::new(PatientBody::new(AxumBody::from_stream(slow.boxed()), LIMIT));
        assert_eq!(to_bytes(body, 100).await.unwrap(), "01234");
    }
}
