//! What a task wrote, from the API server; following goes on with the next pod when one ends.

use bytes::Bytes;
use futures::{AsyncReadExt, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::sync::watch;

use super::client::{Calls, is_missing, words};
use super::status;
use super::view::View;
use crate::engine::{EngineError, LogRange, LogStream};

const CHUNK: usize = 16 * 1024;

/// The log of a task, beginning with its current pod.
pub(crate) async fn read(api: Api<Pod>, calls: &Calls, view: watch::Receiver<View>, range: LogRange) -> Result<LogStream, EngineError> {
    let Some((pod, run)) = current(&view.borrow()) else {
        return Ok(stream::empty().boxed());
    };
    let first = calls.make("the log cannot be read", || open(&api, &pod, range)).await?;
    if !range.follow {
        return Ok(first);
    }
    let later = stream::unfold((api, view, run), |(api, mut view, run)| async move {
        let is_next = |view: &View| view.deployment.is_none() || current(view).is_some_and(|(_, next)| next != run);
        let next = view.wait_for(is_next).await.ok()?.clone();
        let (pod, run) = current(&next)?;
        let part = match open(&api, &pod, LogRange { tail: usize::MAX, follow: true }).await {
            Ok(part) => part,
            Err(error) if is_missing(&error) => stream::empty().boxed(),
            Err(error) => {
                stream::once(async move { Err(EngineError::Failed(format!("the log cannot be read: {}", words(&error)))) }).boxed()
            }
        };
        Some((part, (api, view, run)))
    });
    Ok(first.chain(later.flatten()).boxed())
}

/// The pod whose log is the task's, and the run of its container.
fn current(view: &View) -> Option<(String, String)> {
    let (name, pod) = status::current_pod(view)?;
    Some((name.to_owned(), format!("{}/{}", pod.uid, pod.restarts)))
}

async fn open(api: &Api<Pod>, pod: &str, range: LogRange) -> Result<LogStream, kube::Error> {
    let tail_lines = i64::try_from(range.tail).ok().filter(|lines| *lines < i64::MAX);
    let parameters = LogParams { follow: range.follow, tail_lines, ..LogParams::default() };
    let reader = Box::pin(api.log_stream(pod, &parameters).await?);
    let chunks = stream::try_unfold(reader, |mut reader| async move {
        let mut buffer = vec![0; CHUNK];
        let read = reader.read(&mut buffer).await.map_err(|error| EngineError::Failed(format!("the log breaks off: {error}")))?;
        buffer.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(buffer), reader)))
    });
    Ok(chunks.boxed())
}
