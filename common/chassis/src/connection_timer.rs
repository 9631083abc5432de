//! The timer of one HTTP connection.
//!
//! hyper sets a deadline for each request head and drops it as soon as the head is there. Here one running timer serves
//! all the deadlines of a connection: it is moved only when it fires, so that a request costs no entry in the runtime's
//! timer wheel.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::Timer;
use parking_lot::Mutex;
use tokio::time::Sleep;

type Running = Arc<Mutex<Pin<Box<Sleep>>>>;

/// Makes the deadlines of one connection, of which one is waited for at a time.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTimer {
    running: Running,
}

impl ConnectionTimer {
    pub(crate) fn new() -> Self {
        ConnectionTimer { running: Arc::new(Mutex::new(Box::pin(tokio::time::sleep(Duration::ZERO)))) }
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Deadline { at: deadline.into(), running: Arc::clone(&self.running) })
    }
}

struct Deadline {
    at: tokio::time::Instant,
    running: Running,
}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut running = self.running.lock();
        if running.deadline() > self.at {
            running.as_mut().reset(self.at);
        }
        loop {
            ready!(running.as_mut().poll(context));
            if running.deadline() >= self.at {
                return Poll::Ready(());
            }
            running.as_mut().reset(self.at);
        }
    }
}

impl hyper::rt::Sleep for Deadline {}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn each_deadline_is_kept_whatever_was_waited_for_before() {
        let timer = ConnectionTimer::new();
        let begin = Instant::now();
        let at = |steps: u32| begin + STEP * steps;
        timer.sleep_until(at(1)).await;
        assert!(begin.elapsed() >= STEP);
        // Given up before they are due; the next one is later, the one after that sooner again.
        for steps in [1000, 2000] {
            let pending = tokio::time::timeout(STEP / 4, timer.sleep_until(at(steps))).await;
            assert!(pending.is_err());
        }
        for steps in [3, 5, 2] {
            let due = at(steps);
            tokio::time::timeout(STEP * 200, timer.sleep_until(due)).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
