//! What happens to a container after its start.

use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{is_missing, words};
use crate::engine::Observed;

const RETRY: Duration = Duration::from_secs(1);

/// Reports the end of a container, once. While the engine itself does not answer, that is reported as trouble: the
/// container may well be running.
pub(crate) fn observe(docker: Docker, id: String) -> BoxStream<'static, Observed> {
    enum State {
        Waiting { in_trouble: bool },
        Done,
    }
    stream::unfold((docker, id, State::Waiting { in_trouble: false }), |(docker, id, state)| async move {
        let State::Waiting { in_trouble } = state else { return None };
        loop {
            match ended(&docker, &id).await {
                Ok(Some(reason)) => return Some((Observed::Ended(reason), (docker, id, State::Done))),
                Ok(None) if in_trouble => return Some((Observed::Recovered, (docker, id, State::Waiting { in_trouble: false }))),
                Ok(None) => {
                    // Returns when the container ends or the connection does; either way it is looked at again.
                    let mut wait = Box::pin(docker.wait_container(&id, None::<WaitContainerOptions>));
                    while let Some(Ok(_)) = wait.next().await {}
                }
                Err(error) if in_trouble => {
                    tracing::debug!(container = id, %error, "the docker engine still does not answer");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    let trouble = Observed::Trouble(format!("the docker engine does not answer: {}", words(&error)));
                    return Some((trouble, (docker, id, State::Waiting { in_trouble: true })));
                }
            }
        }
    })
    .boxed()
}

/// Why a container ended; `None` while it runs.
async fn ended(docker: &Docker, id: &str) -> Result<Option<String>, bollard::errors::Error> {
    let inspected = match docker.inspect_container(id, None).await {
        Ok(inspected) => inspected,
        Err(error) if is_missing(&error) => return Ok(Some("its container was removed".to_owned())),
        Err(error) => return Err(error),
    };
    let Some(state) = inspected.state else { return Ok(Some("its container has no state".to_owned())) };
    if state.running == Some(true) {
        return Ok(None);
    }
    let code = state.exit_code.unwrap_or_default();
    let mut reason = match (state.oom_killed, state.error.filter(|error| !error.is_empty())) {
        (Some(true), _) => "killed because it used more memory than it may".to_owned(),
        (_, Some(error)) => error,
        // 128 and the signal's number is how docker tells of a signal.
        (_, None) if code > 128 => format!("killed by signal {}", code - 128),
        (_, None) => format!("exited with code {code}"),
    };
    if code == 0 {
        return Ok(Some(reason));
    }
    if let Some(line) = last_lines(docker, id, 20).await.lines().rev().find(|line| !line.trim().is_empty()) {
        reason.push_str(": ");
        reason.extend(line.trim().chars().take(200));
    }
    Ok(Some(reason))
}

/// The last lines that a container wrote.
pub(crate) async fn last_lines(docker: &Docker, id: &str, lines: usize) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&lines.to_string()).build();
    let mut text = Vec::new();
    let mut output = Box::pin(docker.logs(id, Some(options)));
    while let Some(Ok(part)) = output.next().await {
        text.extend_from_slice(&part.into_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}
